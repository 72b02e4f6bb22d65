"""One version of one Delta table: what it holds, and the commits that make the next one.

Belongs here: everything that speaks to the Delta library.
Does not belong here: contracts, locks, retries and what is published (`warehouse/store.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
from arro3.core import Table as ArrowTable
from deltalake import CommitProperties, DeltaTable, WriterProperties, write_deltalake

from warehouse.catalog import identifier, literal
from warehouse.contracts import Table

# Measured on 1 M rows x 25 columns (100 MB): with files of this size a merge of neighbouring keys rewrites
# one or two of them (0.5 s instead of 2.2 s), while writing is no slower than with few large files.
FILE_BYTES = 16 << 20

# A merge rewrites a table of up to this many files whole: that is as fast, and keeps it sorted and in one
# piece.
WHOLE_FILES = 1

# More files than this over what FILE_BYTES needs, and a merge rewrites the table whole: small appends pile
# up.
SPARE_FILES = 32

_WRITER = WriterProperties(compression="ZSTD", compression_level=1)
_CONFIGURATION: dict[str, str | None] = {
    "delta.targetFileSize": str(FILE_BYTES),  # MERGE takes the size from here
    "delta.enableExpiredLogCleanup": "false",  # history and rollback reach as far back as the data files do
}
_DELETED = "_marquee_deleted"
_INTEGERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64)


@dataclass(frozen=True)
class Version:
    """A version of the Delta table in `folder`; the base that a commit builds on.

    Every commit function below fails with a DeltaError when another process has committed since this was
    opened.
    """

    folder: Path
    delta: DeltaTable
    number: int

    @cached_property
    def actions(self) -> pl.DataFrame:
        """The data files: path (relative to the folder), size_bytes, num_records."""
        return pl.DataFrame(self.delta.get_add_actions()).select("path", "size_bytes", "num_records")

    @property
    def files(self) -> list[Path]:
        return [self.folder / path for path in self.actions["path"]]

    @property
    def rows(self) -> int:
        return int(self.actions["num_records"].sum())

    @cached_property
    def empty(self) -> pl.DataFrame:
        """A frame with this version's schema and no rows."""
        return pl.DataFrame(ArrowTable.from_batches([], schema=self.delta.schema().to_arrow()))

    @property
    def schema(self) -> pl.Schema:
        return self.empty.schema

    def scan(self) -> pl.LazyFrame:
        """All rows, in no particular order."""
        return pl.scan_parquet(self.files, glob=False) if self.files else self.empty.lazy()

    def has_rows_of(self, frame: pl.DataFrame) -> bool:
        """Whether this version holds exactly the rows of `frame`, in any order, under the same schema."""
        if self.schema != frame.schema or self.rows != frame.height:
            return False
        # File by file, so that a second copy of a large table never stands in memory.
        stored = [pl.read_parquet(file, glob=False).hash_rows() for file in self.files]
        return pl.concat([pl.Series(dtype=pl.UInt64), *stored]).sort().equals(row_hashes(frame))

    def matching(self, table: Table, keys: pl.DataFrame) -> pl.DataFrame:
        """The rows whose key is among `keys` (columns: the table's key)."""
        lazy = self.scan()
        for column, (low, high) in _ranges(keys, table.key).items():
            lazy = lazy.filter(
                pl.col(column).is_between(pl.lit(low), pl.lit(high))
            )  # lets the reader skip whole row groups
        return lazy.join(keys.lazy(), on=table.key, how="semi").collect(engine="streaming")

    @property
    def is_better_whole(self) -> bool:
        """Whether rewriting the table is as good as changing some of its files."""
        count = len(self.files)
        return count <= WHOLE_FILES or count > SPARE_FILES + 2 * int(self.actions["size_bytes"].sum()) // FILE_BYTES


def open_version(folder: Path, number: int | None = None) -> Version | None:
    """Open the newest (or the given) version of the Delta table in `folder`; None when there is no table.

    Raises DeltaError when the version does not exist or the log is damaged.
    """
    if not any(folder.glob("_delta_log/*.json")):
        return None
    delta = DeltaTable(str(folder), version=number)
    return Version(folder, delta, delta.version())


def row_hashes(frame: pl.DataFrame) -> pl.Series:
    """Sorted hashes of the rows: equal for equal rows in any order, within one version of polars."""
    return frame.hash_rows().sort()


def commit_properties(metadata: Mapping[str, Any]) -> CommitProperties:
    """Metadata to keep with a commit. The library's own retries are off: they would commit on top of a
    version that nobody has looked at.
    """
    return CommitProperties(custom_metadata=dict(metadata), max_commit_retries=0)


def create(folder: Path, table: Table, rows: pl.DataFrame, properties: CommitProperties) -> int:
    """Create the Delta table of `table` with `rows`, and return its version number."""
    folder.mkdir(parents=True, exist_ok=True)
    write_deltalake(
        str(folder),
        rows,
        mode="error",
        name=table.name,
        description=table.meaning,
        configuration=_CONFIGURATION,
        target_file_size=FILE_BYTES,
        writer_properties=_WRITER,
        commit_properties=properties,
    )
    return 0


def overwrite(base: Version, rows: pl.DataFrame, properties: CommitProperties) -> int:
    """Make `rows` the whole content, and return the new version number."""
    write_deltalake(
        base.delta,
        rows,
        mode="overwrite",
        schema_mode=None if base.schema == rows.schema else "overwrite",
        target_file_size=FILE_BYTES,
        writer_properties=_WRITER,
        commit_properties=properties,
    )
    return base.delta.version()


def append(base: Version, rows: pl.DataFrame, properties: CommitProperties) -> int:
    """Add `rows`, and return the new version number."""
    write_deltalake(
        base.delta,
        rows,
        mode="append",
        target_file_size=FILE_BYTES,
        writer_properties=_WRITER,
        commit_properties=properties,
    )
    return base.delta.version()


def replace_where(base: Version, rows: pl.DataFrame, column: str, value: str, properties: CommitProperties) -> int:
    """Put `rows` in the place of the rows whose `column` is `value`, and return the new version number."""
    write_deltalake(
        base.delta,
        rows,
        mode="overwrite",
        predicate=f"{identifier(column)} = {literal(value)}",
        target_file_size=FILE_BYTES,
        writer_properties=_WRITER,
        commit_properties=properties,
    )
    return base.delta.version()


def merge(
    base: Version,
    table: Table,
    upserts: pl.DataFrame,
    removed: pl.DataFrame,
    matched: pl.DataFrame,
    properties: CommitProperties,
) -> int:
    """Update or insert `upserts`, delete the keys in `removed`, and return the new version number.

    `matched` are the stored rows that this touches: the span of their values tells the library which files it
    need not open.
    """
    source = pl.concat(
        [
            upserts.with_columns(pl.lit(False).alias(_DELETED)),
            removed.with_columns(pl.lit(True).alias(_DELETED)),
        ],
        how="diagonal",
    )
    conditions = [f"t.{identifier(column)} = s.{identifier(column)}" for column in table.key]
    for column, (low, high) in _ranges(matched, (*table.key, *table.sort_by)).items():
        conditions += [f"t.{identifier(column)} >= {_sql(low)}", f"t.{identifier(column)} <= {_sql(high)}"]
    (
        base.delta.merge(
            source,
            " AND ".join(conditions),
            source_alias="s",
            target_alias="t",
            writer_properties=_WRITER,
            commit_properties=properties,
        )
        .when_matched_delete(f"s.{identifier(_DELETED)}")
        .when_matched_update_all(except_cols=[_DELETED])
        .when_not_matched_insert_all(except_cols=[_DELETED])
        .execute()
    )
    return base.delta.version()


def restore(base: Version, number: int, properties: CommitProperties) -> int:
    """Make the content of version `number` the newest, and return the new version number."""
    base.delta.restore(number, commit_properties=properties)
    return base.delta.version()


def unused_files(base: Version, keep: set[int], hours: int) -> list[Path]:
    """Data files that no version in `keep` uses, dropped or made more than `hours` ago."""
    # Listing only: the library's own removal would add two versions to the log.
    found = base.delta.vacuum(
        retention_hours=hours,
        dry_run=True,
        enforce_retention_duration=False,
        full=True,
        keep_versions=sorted(keep),
    )
    return [base.folder / path for path in found]


def _ranges(rows: pl.DataFrame, columns: tuple[str, ...]) -> dict[str, tuple[Any, Any]]:
    """Least and greatest value of those of `columns` whose statistics can be relied on: whole numbers and
    text.
    """
    usable = [c for c in dict.fromkeys(columns) if rows.schema[c] in (*_INTEGERS, pl.String)]
    usable = [c for c in usable if rows.height and not rows[c].null_count()]
    return {column: (rows[column].min(), rows[column].max()) for column in usable}


def _sql(value: int | str) -> str:
    # A cast text, because the parser reads a sign apart from its number and the least 64-bit number does not
    # survive that.
    return literal(value) if isinstance(value, str) else f"CAST('{value}' AS BIGINT)"

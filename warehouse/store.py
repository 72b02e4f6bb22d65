"""The store: every table is a Delta table; readers see the version that was published last.

Belongs here: writing, merging, replacing, publishing, reading, rolling back and vacuuming tables of a
warehouse folder. Does not belong here: what a table means (`warehouse/tables/`), the Delta library
(`warehouse/delta.py`), the catalogue (`warehouse/catalog.py`), queries (`warehouse/sql.py`).

Write-audit-publish: `write`, `merge` and `replace` make a new version that nobody reads until `publish` pins
it. A crash at any point leaves the pinned versions whole. The order of rows is no part of a table's content.
"""

from __future__ import annotations

import errno
import json
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from math import ceil
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import CommitProperties
from deltalake.exceptions import DeltaError

from warehouse import delta
from warehouse.catalog import (
    TABLES_FOLDER,
    CatalogError,
    Published,
    PublishedTable,
    UnusableName,
    carried_over,
    contract_views,
    described,
    duckdb_types,
    publish,
    read_published,
    table_folder,
)
from warehouse.contracts import ContractViolation, Table
from warehouse.delta import Version, open_version, row_hashes
from warehouse.locking import process_lock

LOCK_FILE = ".lock"

# How often a commit is tried again when another process committed first.
ATTEMPTS = 8

_METADATA_KEY = "marquee"

# The Delta library cannot address folders with these in their path (or, for * and ?, DuckDB takes them for
# patterns).
_UNUSABLE_IN_PATH = re.compile(r"[\[\]^|\\*?\x00-\x1f]|%[0-9a-fA-F]{2}")

# Left by writers that were killed: unfinished files end in #<number> or .tmp.
_UNFINISHED = re.compile(r".*(?:#\d+|\.tmp)")

# A full disk, a full quota, a file over the process's size limit.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_HISTORY = {
    "version": pl.Int64,
    "timestamp": pl.Int64,
    "operation": pl.String,
    "rows": pl.Int64,
    "rows_upserted": pl.Int64,
    "rows_deleted": pl.Int64,
    "is_published": pl.Boolean,
    "metadata": pl.String,
    "engine": pl.String,
}


class StoreError(RuntimeError):
    """A table cannot be read or written; the message names it. What was published stays readable."""


class NoSuchTable(StoreError):
    """There is no such table, or no such version of it."""


@dataclass(frozen=True)
class Commit:
    """What one write did.

    `rows` is the table's row count afterwards. `rows_upserted` counts rows written because they are new or
    differ (all of them for `write`, `replace` and `rollback`), `rows_deleted` the rows that were removed (for
    those three: all that stood where the new ones are). `changed` is False when there was nothing to do and
    `version` is an old one.
    """

    table: str
    version: int
    rows: int
    rows_upserted: int
    rows_deleted: int
    changed: bool


@dataclass(frozen=True)
class _Change:
    """What a commit is about to do: kept in the log, returned as a Commit."""

    table: str
    operation: str
    rows: int
    rows_upserted: int
    rows_deleted: int

    def noted(self, metadata: Mapping[str, Any] | None) -> CommitProperties:
        return delta.commit_properties({_METADATA_KEY: {**asdict(self), "metadata": dict(metadata or {})}})

    def done(self, version: int) -> Commit:
        return Commit(self.table, version, self.rows, self.rows_upserted, self.rows_deleted, changed=True)


class Warehouse:
    """A folder of tables.

    Making the object touches nothing on disk. Raises UnusableName when the folder's path has characters that
    the Delta library cannot address.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root).expanduser().resolve()
        if found := _UNUSABLE_IN_PATH.search(str(self.root)):
            raise UnusableName(f"{self.root}: a warehouse cannot stand in a path with {found.group()!r} in it")

    # -- writing -------------------------------------------------------------------------------------------

    def lock(self, on_wait: Callable[[str], None] | None = None) -> AbstractContextManager[None]:
        """Hold the warehouse for one writing run; a second process waits.

        `on_wait` is called once with who holds it, in words, if it is not free. Re-entrant inside a process.
        The kernel frees the lock of a process that dies.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        return process_lock(self.root / LOCK_FILE, on_wait)

    def write(self, table: Table, frame: pl.DataFrame, metadata: Mapping[str, Any] | None = None) -> Commit:
        """Make `frame` the whole content of `table`, in one new version, unless the latest has the same rows.

        `metadata` (JSON values) is kept with the version. Raises ContractViolation when `frame` breaks the
        contract, StoreError when it cannot be written.
        """
        rows = _sorted(table, _writable(table).check(frame))

        def once(base: Version | None) -> Commit:
            if base is not None and base.has_rows_of(rows):
                return _unchanged(table, base)
            change = _Change(table.name, "write", rows.height, rows.height, base.rows if base else 0)
            return self._write_whole(table, base, rows, change, metadata)

        return self._committed(table.name, once)

    def merge(
        self,
        table: Table,
        upserts: pl.DataFrame,
        deletes: pl.DataFrame | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Commit:
        """Insert or update `upserts` and remove the rows whose keys are in `deletes`, in one commit.

        `upserts` has the table's columns, `deletes` at least its key. Rows equal to the stored ones are not
        rewritten; keys to delete that are not stored are ignored; a missing table is created. Raises
        ContractViolation when `upserts` breaks the contract, a key is null or stands in both frames,
        StoreError when it cannot be written.
        """
        rows = _writable(table).check(upserts)
        gone = _keys(table, table.empty() if deletes is None else deletes)
        asked = pl.concat([_keys(table, rows), gone])
        both = rows.join(gone, on=table.key, how="semi")
        if both.height:
            raise ContractViolation(f"{table.name}: key {both.select(table.key).row(0)} is both upserted and deleted")

        def once(base: Version | None) -> Commit:
            if base is None:
                change = _Change(table.name, "merge", rows.height, rows.height, 0)
                return self._write_whole(table, None, _sorted(table, rows), change, metadata)
            matched = _fitted(table, base.matching(table, asked))
            changed = rows.join(matched, on=table.schema.names(), how="anti", nulls_equal=True)
            removed = gone.join(matched, on=table.key, how="semi")
            updated = changed.join(matched, on=table.key, how="semi").height
            is_same_schema = base.schema == table.schema
            if is_same_schema and not changed.height and not removed.height:
                return _unchanged(table, base)
            left = base.rows + changed.height - updated - removed.height
            change = _Change(table.name, "merge", left, changed.height, removed.height)
            if not is_same_schema or base.is_better_whole:
                touched = pl.concat([changed.select(table.key), removed])
                kept = _fitted(table, base.scan().collect()).join(touched, on=table.key, how="anti")
                return self._write_whole(table, base, _sorted(table, pl.concat([kept, changed])), change, metadata)
            if updated or removed.height:
                return change.done(delta.merge(base, table, changed, removed, matched, change.noted(metadata)))
            return change.done(delta.append(base, _sorted(table, changed), change.noted(metadata)))

        return self._committed(table.name, once)

    def replace(
        self,
        table: Table,
        frame: pl.DataFrame,
        column: str,
        value: str,
        metadata: Mapping[str, Any] | None = None,
    ) -> Commit:
        """Replace the rows whose `column` is `value` by `frame`, in one commit; an empty frame removes them.

        Raises ContractViolation when `frame` breaks the contract, holds another value in `column` or a key
        that remaining rows have; KeyError when there is no such column; StoreError when it cannot be written.
        """
        if table.column(column).dtype != pl.String:
            raise ContractViolation(f"{table.name}: {column} is no text column, rows cannot be replaced by it")
        rows = _sorted(table, _writable(table).check(frame))
        is_replaced = pl.col(column).eq_missing(pl.lit(value))
        strangers = rows.filter(~is_replaced).height
        if strangers:
            raise ContractViolation(f"{table.name}: {strangers:,} rows put for {column} = {value!r} do not have it")

        def once(base: Version | None) -> Commit:
            if base is None:
                change = _Change(table.name, "replace", rows.height, rows.height, 0)
                return self._write_whole(table, None, rows, change, metadata)
            is_same_schema = base.schema == table.schema
            stored = base.scan() if is_same_schema else _fitted(table, base.scan().collect()).lazy()
            if table.key and column not in table.key:
                others = stored.filter(~is_replaced).select(table.key).collect(engine="streaming")
                shared = rows.join(others, on=table.key, how="semi", nulls_equal=True)
                if shared.height:
                    key = shared.select(table.key).row(0)
                    raise ContractViolation(f"{table.name}: key {key} stands in rows with another {column}, too")
            replaced = stored.filter(is_replaced).collect(engine="streaming")
            if is_same_schema and row_hashes(replaced).equals(row_hashes(rows)):
                return _unchanged(table, base)
            left = base.rows - replaced.height + rows.height
            change = _Change(table.name, "replace", left, rows.height, replaced.height)
            if is_same_schema and not base.is_better_whole:
                return change.done(delta.replace_where(base, rows, column, value, change.noted(metadata)))
            kept = stored.filter(~is_replaced).collect()
            return self._write_whole(table, base, _sorted(table, pl.concat([kept, rows])), change, metadata)

        return self._committed(table.name, once)

    def publish(self, names: Iterable[str] | Mapping[str, int], contracts: Mapping[str, Table] | None = None) -> None:
        """Show readers the latest (or the given) versions of `names`: all of them, or none if anything fails.

        `contracts`, when given, are all contracts of the warehouse, dynamic ones included: they supply
        comments, columns that older versions lack, and the views. Raises NoSuchTable for a table or version
        that does not exist, CatalogError when a view does not hold or the files cannot be written.
        """
        wanted = dict(names) if isinstance(names, Mapping) else dict.fromkeys(names)
        entries = {name: self._entry(name, version) for name, version in wanted.items()}

        def change(before: Published) -> Published:
            tables = {**before.tables}
            for name, entry in entries.items():
                known = before.tables.get(name)
                tables[name] = carried_over(known, entry) if known else entry
            views = before.views
            if contracts is not None:
                tables = {name: described(entry, contracts.get(name)) for name, entry in tables.items()}
                views = contract_views(contracts)
            both = [name for name in views if name in tables]
            if both:
                raise CatalogError(f"{both[0]} is a table and cannot be a view")
            return Published(dict(sorted(tables.items())), dict(sorted(views.items())))

        self.root.mkdir(parents=True, exist_ok=True)
        publish(self.root, change)

    def rollback(self, name: str, version: int, metadata: Mapping[str, Any] | None = None) -> Commit:
        """Make a new version with the content of `version`, and publish it. Raises NoSuchTable when it is
        gone.
        """
        old = self._opened(name, version)
        missing = [file for file in old.files if not file.is_file()]
        if missing:
            raise NoSuchTable(f"{name}: files of version {version} have been removed ({missing[0].name})")

        def once(base: Version | None) -> Commit:
            if base is None:
                raise NoSuchTable(f"{self.root} has no table {name}")
            change = _Change(name, "rollback", old.rows, old.rows, base.rows)
            return change.done(delta.restore(base, version, change.noted(metadata)))

        commit = self._committed(name, once)
        self.publish({name: commit.version})
        return commit

    def vacuum(self, keep_versions: int = 10, keep_days: float = 7) -> list[Path]:
        """Remove data files that no kept version uses, and return them.

        Kept are the last `keep_versions` versions of every table, the published one, and every file that was
        made, or was still in use, less than `keep_days` ago. Raises StoreError when a file cannot be removed.
        """
        removed: list[Path] = []
        with self.lock():
            published = read_published(self.root)
            youngest = time.time() - timedelta(days=keep_days).total_seconds()
            for name in self.names():
                newest = self._opened(name)
                pinned = published.tables.get(name)
                keep = set(range(max(0, newest.number - keep_versions + 1), newest.number + 1))
                keep |= {pinned.version} if pinned else set()
                with _told(name):
                    unused = set(delta.unused_files(newest, keep, hours=ceil(keep_days * 24)))
                    unused |= {path for path in newest.folder.rglob("*") if _UNFINISHED.fullmatch(path.name)}
                    unused -= {newest.folder / file for file in (pinned.files if pinned else ())}
                    for path in sorted(unused):
                        if path.is_file() and path.stat().st_mtime < youngest:
                            path.unlink()
                            removed.append(path)
        return removed

    # -- reading -------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Names of all tables that have a version, published or not."""
        tables = self.root / TABLES_FOLDER
        if not tables.is_dir():
            return []
        return sorted(folder.parent.name for folder in tables.glob("*/_delta_log") if any(folder.glob("*.json")))

    def latest(self, name: str) -> int | None:
        """Number of the newest version of `name`, published or not; None when there is no such table."""
        found = self._open(name)
        return None if found is None else found.number

    def published(self, name: str) -> int | None:
        """Number of the version of `name` that readers see; None when none is published."""
        entry = read_published(self.root).tables.get(name)
        return None if entry is None else entry.version

    def rows(self, name: str, version: int | None = None) -> int:
        """Row count of `name` (published version by default). Raises NoSuchTable."""
        return self._pinned(name).rows if version is None else self._opened(name, version).rows

    def files(self, name: str, version: int | None = None) -> list[Path]:
        """Data files of `name` (published version by default), as whole paths. Raises NoSuchTable."""
        if version is None:
            version = self._pinned(name).version
        folder = self._folder(name)
        return [folder / file for file in self._opened(name, version).actions["path"]]

    def scan(self, name: str, version: int | None = None) -> pl.LazyFrame:
        """A lazy frame over `name` (published version by default). Raises NoSuchTable.

        It stays at that version whatever is written or published later.
        """
        if version is not None:
            return self._opened(name, version).scan()
        entry = self._pinned(name)
        if not entry.files:
            return self._opened(name, entry.version).scan()
        folder = self._folder(name)
        return pl.scan_parquet([folder / file for file in entry.files], glob=False)

    def read(self, name: str, columns: Sequence[str] | None = None, version: int | None = None) -> pl.DataFrame:
        """The rows of `name` (published version by default), in no particular order. Raises NoSuchTable,
        StoreError.
        """
        lazy = self.scan(name, version)
        try:
            if columns is not None:
                unknown = [column for column in columns if column not in lazy.collect_schema()]
                if unknown:
                    raise StoreError(f"{name} has no column {unknown[0]!r}")
                lazy = lazy.select(columns)
            return lazy.collect()
        except (OSError, pl.exceptions.PolarsError) as error:
            raise StoreError(f"{name}: cannot be read: {error}") from error

    def history(self, name: str) -> pl.DataFrame:
        """Every version of `name`, newest first.

        Columns: version, timestamp (UTC), operation, rows, rows_upserted, rows_deleted, is_published,
        metadata (JSON as given to the write), engine. Raises NoSuchTable.
        """
        published = self.published(name)
        lines = []
        for entry in self._opened(name).delta.history():
            change = entry.get(_METADATA_KEY, {})
            lines.append(
                {
                    "version": entry["version"],
                    "timestamp": entry.get("timestamp"),
                    "operation": change.get("operation", entry.get("operation")),
                    "rows": change.get("rows"),
                    "rows_upserted": change.get("rows_upserted"),
                    "rows_deleted": change.get("rows_deleted"),
                    "is_published": entry["version"] == published,
                    "metadata": json.dumps(change.get("metadata", {}), ensure_ascii=False),
                    "engine": entry.get("engineInfo"),
                }
            )
        return pl.DataFrame(lines, schema=_HISTORY).with_columns(pl.from_epoch("timestamp", time_unit="ms"))

    # -- inside --------------------------------------------------------------------------------------------

    def _folder(self, name: str) -> Path:
        folder = table_folder(self.root, name)
        if folder.is_symlink():
            raise StoreError(f"{name}: {folder} is a link, a table must be a folder of the warehouse")
        return folder

    def _open(self, name: str, version: int | None = None) -> Version | None:
        folder = self._folder(name)
        try:
            return open_version(folder, version)
        except (DeltaError, OSError) as error:
            if version is not None:
                raise NoSuchTable(f"{name} has no version {version}: {error}") from error
            raise StoreError(f"{name}: the log in {folder} cannot be read: {error}") from error

    def _opened(self, name: str, version: int | None = None) -> Version:
        found = self._open(name, version)
        if found is None:
            raise NoSuchTable(f"{self.root} has no table {name}")
        return found

    def _pinned(self, name: str) -> PublishedTable:
        entry = read_published(self.root).tables.get(name)
        if entry is None:
            latest = self.latest(name)
            known = "no such table" if latest is None else f"version {latest} is written but none is published"
            raise NoSuchTable(f"{name}: {known} in {self.root}")
        return entry

    def _entry(self, name: str, version: int | None) -> PublishedTable:
        found = self._opened(name, version)
        files = tuple(found.actions["path"])
        return PublishedTable(found.number, found.rows, files, columns=duckdb_types(found.schema))

    def _write_whole(
        self,
        table: Table,
        base: Version | None,
        rows: pl.DataFrame,
        change: _Change,
        metadata: Mapping[str, Any] | None,
    ) -> Commit:
        properties = change.noted(metadata)
        if base is None:
            return change.done(delta.create(self._folder(table.name), table, rows, properties))
        return change.done(delta.overwrite(base, rows, properties))

    def _committed(self, name: str, once: Callable[[Version | None], Commit]) -> Commit:
        """Run `once` on the newest version, again from the start whenever another process committed first."""
        for attempt in range(ATTEMPTS):
            base = self._open(name)
            with _told(name):
                try:
                    return once(base)
                except (DeltaError, OSError):
                    if self.latest(name) == (None if base is None else base.number):
                        raise  # nobody else was here: it is no conflict
            time.sleep(random.uniform(0, 0.05 * 2**attempt))
        raise StoreError(f"{name}: other processes kept committing first, {ATTEMPTS} attempts failed")


def _writable(table: Table) -> Table:
    if table.kind != "table":
        raise ContractViolation(f"{table.name} is a view and cannot be written")
    return table


def _sorted(table: Table, rows: pl.DataFrame) -> pl.DataFrame:
    # Neighbouring keys in one file: that is what lets a merge leave the other files alone.
    by = table.sort_by or table.key
    return rows.sort(by, maintain_order=True) if by else rows


def _unchanged(table: Table, base: Version) -> Commit:
    return Commit(table.name, base.number, base.rows, 0, 0, changed=False)


def _fitted(table: Table, stored: pl.DataFrame) -> pl.DataFrame:
    """Stored rows in the shape of a contract that may have gained or lost columns since they were written."""
    return table.conform(stored.select(column for column in stored.columns if column in table.schema))


def _keys(table: Table, rows: pl.DataFrame) -> pl.DataFrame:
    """The distinct keys of `rows`, in the contract's types. Raises ContractViolation when there is none to
    merge on.
    """
    if not table.key:
        raise ContractViolation(f"{table.name}: has no key to merge on")
    missing = [column for column in table.key if column not in rows.columns]
    if missing:
        raise ContractViolation(f"{table.name}: key column missing from the rows to delete: {', '.join(missing)}")
    try:
        keys = rows.select(pl.col(column).cast(table.column(column).dtype) for column in table.key).unique()
    except pl.exceptions.PolarsError as error:
        raise ContractViolation(f"{table.name}: {error}") from error
    if any(keys[column].null_count() for column in table.key):
        raise ContractViolation(f"{table.name}: a key with a null in it cannot be merged on")
    return keys


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Turn what the system, polars or the Delta library says into a StoreError that names the table."""
    try:
        yield
    except (DeltaError, OSError, pl.exceptions.PolarsError) as error:
        full = any(f"os error {number})" in str(error) or f"Errno {number}]" in str(error) for number in _NO_ROOM)
        trouble = "no room left to write" if full else "cannot be written"
        raise StoreError(f"{name}: {trouble}, its versions so far stay as they are: {error}") from error

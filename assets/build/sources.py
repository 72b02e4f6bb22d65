"""Reading sources into raw tables: only files that changed, each source on its own, the books of all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import polars as pl

from assets.build.tables import kept, latest_or_empty, published_or_empty
from assets.contracts import raw_contract
from pipelines.sources.blocks import SourceBlock
from pipelines.sources.read import ReadResult, read_source, reject_share, source_files, unread_rows
from pipelines.sources.records import ReadError
from warehouse.contracts import Table
from warehouse.store import Commit, Warehouse
from warehouse.tables.titles import META_ROW_ACCOUNTING, META_SOURCE_FILES, RAW_REJECTS

Status = Literal["read", "unchanged", "absent", "gone", "refused"]

# After these nothing more of a file could be read: how many rows are lost nobody knows.
_BROKEN_OFF = ("gzip stream ", "cannot be read on", "more than ", "expands more than ", "JSON breaks at ")


@dataclass(frozen=True)
class SourceOutcome:
    """What came of one source.

    `status`: `read` (a new version was written), `unchanged` (its files are those of the last version), `absent` (there never were files),
    `gone` (its files have vanished: the last version stays), `refused` (`problem` says why: the last version stays).
    `commit` is the version that stands for the source now, None where it was refused.
    `bad_share` is the share of rows, over all its files, that could not be read.
    """

    source: str
    status: Status
    commit: Commit | None = None
    rows_kept: int = 0
    rows_rejected: int = 0
    bad_share: float = 0.0
    problem: str | None = None
    messages: tuple[str, ...] = ()


@dataclass(frozen=True)
class SourcesBuilt:
    """`outcomes` by source, and the commits of raw_rejects, meta_row_accounting and meta_source_files."""

    outcomes: Mapping[str, SourceOutcome]
    shared: tuple[Commit, ...]


def build_sources(
    warehouse: Warehouse,
    blocks: Mapping[str, SourceBlock],
    folder: Path,
    full: bool,
    tell: Callable[[str], None],
) -> SourcesBuilt:
    """Bring the raw tables of `blocks` up to date with the files under `folder`.

    With `full`, files are read even when their fingerprints have not changed. A source that cannot be read, or of which too
    much cannot be read, keeps its last version; the others go on.
    """
    known = published_or_empty(warehouse, META_SOURCE_FILES)
    outcomes: dict[str, SourceOutcome] = {}
    books: list[tuple[str, ReadResult]] = []
    for number, (name, block) in enumerate(blocks.items(), start=1):
        tell(f"source {number} of {len(blocks)}: {name}")
        before = known.filter(pl.col("source") == name)
        now = source_files(block, folder, before)
        table = raw_contract(block)
        is_published = warehouse.published(table.name) is not None
        if now.is_empty():
            commit = kept(warehouse, table) if is_published else warehouse.write(table, table.empty())
            if before.height:
                outcomes[name] = SourceOutcome(
                    name, "gone", commit, rows_kept=commit.rows, problem="its files are gone"
                )
            else:
                outcomes[name] = SourceOutcome(name, "absent", commit)
            continue
        same = ["file", "sha256", "block_hash"]
        if not full and is_published and now.select(same).sort("file").equals(before.select(same).sort("file")):
            commit = kept(warehouse, table)
            outcomes[name] = SourceOutcome(name, "unchanged", commit, rows_kept=commit.rows)
            continue
        try:
            result = read_source(block, folder, tell)
        except ReadError as error:
            outcomes[name] = SourceOutcome(name, "refused", problem=str(error))
            continue
        outcomes[name] = _stored(warehouse, table, block, result)
        books.append((name, result))
    return SourcesBuilt(outcomes, _keep_books(warehouse, outcomes, books))


def _stored(warehouse: Warehouse, table: Table, block: SourceBlock, result: ReadResult) -> SourceOutcome:
    share, bad = reject_share(result.accounting, result.rejects), unread_rows(result.rejects)
    outcome = SourceOutcome(
        block.name,
        "refused",
        rows_kept=result.titles.height,
        rows_rejected=result.rejects.height,
        bad_share=share,
        messages=result.messages,
    )
    if share > block.reject_share_max:
        reason, number = bad["reason"].value_counts(sort=True).row(0)
        first = bad.row(0, named=True)
        problem = (
            f"{bad.height:,} of {int(result.accounting['rows_in'].sum()):,} rows could not be read ({share:.1%}, allowed {block.reject_share_max:.1%}); "
            f"most often: {reason} ({number:,} times); first: {first['file']} line {first['line']}: {first['reason']}"
        )
        return replace(outcome, problem=problem)
    had = warehouse.published(table.name) is not None and warehouse.rows(table.name)
    if had and result.titles.is_empty():
        return replace(outcome, problem=f"no rows are left of {had:,}")
    broken = bad.filter(_is_reason(_BROKEN_OFF))
    if had and broken.height:
        first = broken.row(0, named=True)
        return replace(outcome, problem=f"{first['file']} breaks off at line {first['line']}: {first['reason']}")
    return replace(outcome, status="read", commit=sync_rows(warehouse, table, result.titles))


def _is_reason(starts: Iterable[str]) -> pl.Expr:
    return pl.any_horizontal(pl.col("reason").str.starts_with(start) for start in starts)


def sync_rows(warehouse: Warehouse, table: Table, rows: pl.DataFrame) -> Commit:
    """Make `rows` the content of `table`, whose rows carry a `row_hash`, by merging only what differs."""
    if warehouse.latest(table.name) is None:
        return warehouse.write(table, rows)
    key = list(table.key)
    stored = latest_or_empty(warehouse, table, [*key, "row_hash", "file", "line"])
    # A record that moved to another line has the same content, but its provenance must stay true.
    upserts = rows.join(stored, on=[*key, "row_hash", "file", "line"], how="anti")
    deletes = stored.join(rows, on=key, how="anti").select(key)
    return warehouse.merge(table, upserts, deletes)


def _keep_books(
    warehouse: Warehouse, outcomes: Mapping[str, SourceOutcome], books: list[tuple[str, ReadResult]]
) -> tuple[Commit, ...]:
    """Write the rejects and the accounting of every source that was read, the fingerprints of those that were accepted.

    A refused source keeps the fingerprints of its last good version, but as files to be read again in any case: its
    books are now those of what was refused, even if the good files come back.
    """
    read = [name for name, _ in books]
    accepted = [name for name in read if outcomes[name].status == "read"]
    commits = []
    for table, names, frames in (
        (RAW_REJECTS, read, [result.rejects for _, result in books]),
        (META_ROW_ACCOUNTING, read, [result.accounting for _, result in books]),
        (META_SOURCE_FILES, accepted, [result.files for name, result in books if name in accepted]),
    ):
        # What is published belongs together; a newer version may be of a run that was killed.
        others = published_or_empty(warehouse, table).filter(~pl.col("source").is_in(names))
        if table is META_SOURCE_FILES:
            is_refused = pl.col("source").is_in([name for name in read if name not in accepted])
            others = others.with_columns(block_hash=pl.when(~is_refused).then("block_hash").otherwise(pl.lit("")))
        commits.append(warehouse.write(table, pl.concat([others, *frames])))
    return tuple(commits)

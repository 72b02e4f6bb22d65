"""Reading the dialogue datasets into tables: only datasets whose files changed, each on its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from assets.build.tables import Built, Tell, published_or_empty
from pipelines.dialogues.read import REPEATED, DialoguesRead, dataset_files, read_dataset
from warehouse.contracts import Table
from warehouse.store import Warehouse
from warehouse.tables.dialogues import (
    CORE_DIALOGUE_ITEMS,
    CORE_DIALOGUES,
    CORE_FEEDBACK,
    CORE_MENTION_HINTS,
    CORE_TURN_LABELS,
    CORE_TURNS,
    META_DIALOGUE_FILES,
    RAW_DIALOGUE_REJECTS,
)

Status = Literal["read", "unchanged", "absent", "gone", "refused"]

# A dataset of which more could not be read keeps its last version: its files are damaged, or are not what they are taken for.
# Files count by their size: of one that cannot be read at all nobody knows how many records it holds.
REJECT_SHARE_MAX = 0.2

_FRAMES: tuple[tuple[Table, str], ...] = (
    (CORE_DIALOGUES, "dialogues"),
    (CORE_TURNS, "turns"),
    (CORE_TURN_LABELS, "labels"),
    (CORE_MENTION_HINTS, "hints"),
    (CORE_FEEDBACK, "feedback"),
    (CORE_DIALOGUE_ITEMS, "items"),
    (RAW_DIALOGUE_REJECTS, "rejects"),
    (META_DIALOGUE_FILES, "files"),
)
TABLES = tuple(table for table, _ in _FRAMES)


@dataclass(frozen=True)
class DatasetOutcome:
    """What came of one dataset; `problem` says what is wrong with it, if anything (see `Status` in assets/build/sources.py)."""

    dataset: str
    status: Status
    dialogues: int = 0
    rejected: int = 0
    problem: str | None = None


def build_dialogues(
    warehouse: Warehouse, datasets: Sequence[str], sources: Path, full: bool, tell: Tell
) -> tuple[Built, dict[str, DatasetOutcome]]:
    """Bring the tables of conversations up to date with the files under `sources`, for some `datasets`.

    A dataset whose files are gone, or of which too much cannot be read, keeps its last version.
    """
    known = published_or_empty(warehouse, META_DIALOGUE_FILES)
    outcomes: dict[str, DatasetOutcome] = {}
    fresh: dict[str, DialoguesRead] = {}
    for dataset in datasets:
        tell(f"reading {dataset}")
        before = known.filter(pl.col("dataset") == dataset)
        now = dataset_files(dataset, sources, before)
        same = ["file", "sha256", "reader_version"]
        if now.is_empty():
            outcomes[dataset] = (
                DatasetOutcome(dataset, "gone", problem=f"{dataset}: its files are gone; the last version stays")
                if before.height
                else DatasetOutcome(dataset, "absent")
            )
        elif not full and now.select(same).sort("file").equals(before.select(same).sort("file")):
            outcomes[dataset] = DatasetOutcome(dataset, "unchanged")
        else:
            read = read_dataset(dataset, sources, tell)
            outcomes[dataset] = _judged(dataset, read, before)
            if outcomes[dataset].status == "read":
                fresh[dataset] = read
    commits = []
    for table, field in _FRAMES:
        others = published_or_empty(warehouse, table)
        others = others.filter(~pl.col("dataset").is_in(list(fresh)))
        frames = [table.conform(getattr(read, field)) for read in fresh.values()]
        commits.append(warehouse.write(table, pl.concat([others, *frames])))
    counts = {
        "datasets read": len(fresh),
        "dialogues read": sum(read.dialogues.height for read in fresh.values()),
        "turns read": sum(read.turns.height for read in fresh.values()),
        "records rejected": sum(read.rejects.height for read in fresh.values()),
    }
    return Built(tuple(commits), counts), outcomes


def _judged(dataset: str, read: DialoguesRead, before: pl.DataFrame) -> DatasetOutcome:
    """Whether what was read may replace what is stored; `before` are the files as they were then. Repeated conversations are no damage."""
    bad = read.rejects.filter(~pl.col("reason").str.starts_with(REPEATED))
    files = _weighed(read.files, bad, before)
    total = int(files["size"].sum())
    share = float((files["size"] * files["bad_share"]).sum()) / total if total else 0.0
    problem = None
    if share > REJECT_SHARE_MAX:
        found = [f"{file} is empty now" for file in files.filter("is_emptied")["file"]]
        if bad.height:
            reason, number = bad["reason"].value_counts(sort=True).row(0)
            first = bad.row(0, named=True)
            found += [
                f"most often: {reason} ({number:,} of {bad.height:,} rejects)",
                f"first: {first['file']} line {first['line']}: {first['reason']}",
            ]
        problem = f"{dataset}: {share:.0%} of its files could not be read (allowed {REJECT_SHARE_MAX:.0%}); {'; '.join(found)}"
    elif read.dialogues.is_empty():
        problem = f"{dataset}: no dialogue in {', '.join(read.files['file'].to_list()[:3])}"
    return DatasetOutcome(
        dataset, "refused" if problem else "read", read.dialogues.height, read.rejects.height, problem
    )


def _weighed(files: pl.DataFrame, bad: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """The files with the share of each that is `bad`, its size, before or now, whichever was larger, and whether it has lost all content."""
    rejected = bad.group_by("file").agg(bad=pl.len())
    then = before.select("file", size_then="size_bytes", rows_then="rows_in")
    is_emptied = (pl.col("rows_in") == 0) & (pl.col("rows_then").fill_null(0) > 0)
    share = pl.col("bad").fill_null(0) / pl.max_horizontal("rows_in", pl.lit(1))
    return (
        files.join(rejected, on="file", how="left")
        .join(then, on="file", how="left")
        .select(
            "file",
            is_emptied=is_emptied,
            bad_share=pl.when(is_emptied).then(1.0).otherwise(share),
            size=pl.max_horizontal("size_bytes", "size_then"),
        )
    )

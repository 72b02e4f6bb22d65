"""A later state of a pack: some records edited, removed and added, everything else as it was.

Belongs here: choosing changes and carrying them out in files of every format.
Does not belong here: what a new film is (`world.py`) and how a catalogue writes it (`catalogues/`).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipelines.synth import formats
from pipelines.synth.catalogues.base import Part
from pipelines.synth.draw import Stream, stream
from pipelines.synth.formats import Format
from pipelines.synth.pack import CATALOGUES, FILM_COLUMNS, TRUTH
from pipelines.synth.words import Numbers
from pipelines.synth.world import added

# Of ten changes six are edits, two removals and two additions.
REMOVED_SHARE, ADDED_SHARE = 0.2, 0.2
# Catalogues that list American films only need a few more to choose from.
SPARE_FILMS = 60


def _more(text: str) -> str:
    return str(int(text) + 1) if text.isdigit() else "90"


def _other_genre(text: str) -> str:
    return "Comedy" if text == "Drama" else "Drama"


# How a value changes, by the column that a catalogue's changes rewrite.
EDITS: dict[str, Callable[[Any], Any]] = {
    "runtimeMinutes": _more,
    "imdbVotes": _more,
    "vote_count": lambda value: value + 1,
    "popularity": lambda value: (value or 0.0) + 1.0,
    "genres": _other_genre,
    "genre": _other_genre,
    "description": lambda value: f"{value} Newly restored.",
    "extract": lambda value: f"{value or 'A film.'} It was restored.",
    "title": lambda value: f"{value} (Uncut)",
}


@dataclass(frozen=True)
class ChurnSummary:
    """What churn did: changed records by source, and the files that differ from the pack's (by name)."""

    out: Path
    edited: dict[str, int]
    removed: dict[str, int]
    added: dict[str, int]
    files: tuple[str, ...]


@dataclass(frozen=True)
class Changes:
    """Changes of one file: 0-based positions of rows to edit and to remove; the part that holds the new
    rows, if any.
    """

    edited: Numbers
    removed: Numbers
    new: Part | None


def churn(pack: Path, out: Path, share: float = 0.01, seed: int = 1) -> ChurnSummary:
    """Copy the pack in `pack` to `out` with a `share` (0..1) of every catalogue's records changed.

    Files without a change keep bytes and time of change. The new pack's truth is beside it, with
    changes.parquet (source, source_id, change: edited, removed or added, column: what an edit rewrote).
    Raises ValueError when `share` is not between 0 and 0.5, FileNotFoundError when `pack` has no truth,
    FileExistsError when `out` has content.
    """
    if not 0 <= share <= 0.5:
        raise ValueError(f"share must be between 0 and 0.5: {share}")
    if out.is_dir() and any(out.iterdir()):
        raise FileExistsError(f"{out} is not empty: a pack is written to a folder of its own")
    records = pl.read_parquet(pack / TRUTH / "records.parquet")
    films = pl.read_parquet(pack / TRUTH / "films.parquet")
    shutil.copytree(pack, out, dirs_exist_ok=True, copy_function=shutil.copy2)
    new_films = _new_films(records, films, share, seed)
    truths, logs, changed_files = [], [], set()
    for catalogue in CATALOGUES:
        known = records.filter(pl.col("source") == catalogue.name)
        count = round(known.height * share)
        eligible = new_films.filter(catalogue.eligible).head(round(count * ADDED_SHARE))
        form, column = _row_format(catalogue.parts_of(new_films.head(1), seed))
        parts = catalogue.parts_of(eligible, seed) if eligible.height else []
        random = stream(seed, f"{catalogue.name} churn")
        changed = _choose(pack, known, form, count - eligible.height, random)
        news = {part.name: part for part in parts if part.records is not None}
        for name in sorted(set(known["file"]) | set(news)):
            rows = known.filter(pl.col("file") == name)
            here = changed.filter(pl.col("file") == name)
            new = news.get(name)
            if new is None and not here.height:
                truths.append(rows)
                continue
            changed_files.add(name)
            changes = Changes(
                here.filter(change="edited")["at"].to_numpy(),
                here.filter(change="removed")["at"].to_numpy(),
                new,
            )
            first = 2 if form.kind == "delimited" and form.header else 1
            total = _rewrite(pack / name, out / name, form, column, changes)
            truths.append(_new_truth(catalogue.name, rows, changes, first, total))
        for part in parts:
            if part.records is None:
                changed_files.add(part.name)
                _append(out / part.name, part)
        logs.append(_log(catalogue.name, changed, column, list(news.values())))
    return _finish(out, pl.concat(truths), films, new_films, pl.concat(logs), changed_files)


def _new_films(records: pl.DataFrame, films: pl.DataFrame, share: float, seed: int) -> pl.DataFrame:
    most = records.group_by("source").len()["len"].max()
    count = round(int(str(most or 0)) * share * ADDED_SHARE) * 4 + SPARE_FILMS
    first = int(str(max(records["film"].max() or 0, films["film"].max() or 0))) + 1
    return added(count, seed, first, set(films["title"].str.to_lowercase())).with_columns(is_again=pl.lit(False))


def _row_format(parts: list[Part]) -> tuple[Format, str]:
    part = next(part for part in parts if part.records is not None)
    return part.form, part.edited


def _choose(pack: Path, known: pl.DataFrame, form: Format, count: int, random: Stream) -> pl.DataFrame:
    """The records to change: source_id, file, `at` (0-based row of the file) and change (edited or
    removed).
    """
    first = 2 if form.kind == "delimited" and form.header else 1
    rows = known.select("source_id", "file", at=pl.col("line") - first)
    if form.kind in ("delimited", "jsonl") and count:
        # A record whose exact repetition follows stays: changed, it would turn the repetition into a record.
        for name in rows["file"].unique(maintain_order=True):
            lines = pl.Series(formats.lines_of(formats.read_bytes(pack / name), form)[1], dtype=pl.Binary)
            is_repeated = np.append((lines.slice(1) == lines.slice(0, len(lines) - 1)).to_numpy(), False)
            repeated = np.flatnonzero(is_repeated)
            rows = rows.filter((pl.col("file") != name) | ~pl.col("at").is_in(repeated.tolist()))
    removed = round(count * REMOVED_SHARE / (1 - ADDED_SHARE))
    order = random.permutation(rows.height)[:count]
    change = ["removed"] * min(removed, len(order)) + ["edited"] * max(0, len(order) - removed)
    return (
        rows.select(pl.all().gather(order)).with_columns(change=pl.Series(change, dtype=pl.String)).sort("file", "at")
    )


def _rewrite(old: Path, new: Path, form: Format, column: str, changes: Changes) -> int:
    """Write the changed file; returns the number of its rows."""
    edit = EDITS[column]
    removed = set(changes.removed.tolist())
    part = changes.new
    if form.kind == "parquet":
        frame = pl.read_parquet(old)
        values = frame[column].to_list()
        for at in changes.edited.tolist():
            values[at] = edit(values[at])
        frame = frame.with_columns(pl.Series(column, values, dtype=frame.schema[column]))
        frame = frame.filter(~pl.int_range(pl.len()).is_in(sorted(removed)))
        frame = frame if part is None else pl.concat([frame, part.frame.cast(frame.schema)])
        formats.write_bytes(new, formats.parquet_bytes(frame))
        return frame.height
    if form.kind == "json":
        objects = formats.read_array(old) if old.exists() else []
        for at in changes.edited.tolist():
            objects[at][column] = edit(objects[at].get(column))
        objects = [value for at, value in enumerate(objects) if at not in removed]
        objects += [] if part is None else formats.as_objects(part.frame, part.optional)
        formats.write_bytes(new, formats.array_bytes(objects))
        return len(objects)
    header, lines = formats.lines_of(formats.read_bytes(old), form)
    for at in changes.edited.tolist():
        lines[at] = formats.with_edit(lines[at], header, form, column, edit)
    lines = [line for at, line in enumerate(lines) if at not in removed]
    lines += [] if part is None else formats.text_lines(part.frame, form)[1]
    formats.write_bytes(new, formats.joined(header, lines, form))
    return len(lines)


def _append(path: Path, part: Part) -> None:
    """Add the rows of a file that only completes another one's records."""
    header, lines = formats.lines_of(formats.read_bytes(path), part.form)
    lines += formats.text_lines(part.frame, part.form)[1]
    formats.write_bytes(path, formats.joined(header, lines, part.form))


def _new_truth(source: str, rows: pl.DataFrame, changes: Changes, first: int, total: int) -> pl.DataFrame:
    """The truth of a rewritten file of `total` rows, whose first row stands on line `first`."""
    removed = np.sort(changes.removed)
    kept = rows.filter(~(pl.col("line") - first).is_in(removed.tolist()))
    before = np.searchsorted(removed, (kept["line"] - first).to_numpy())
    kept = kept.with_columns(pl.col("line") - pl.Series(before))
    if changes.new is None or changes.new.records is None:
        return kept
    count = changes.new.frame.height
    new = changes.new.records.select(
        source=pl.lit(source),
        source_id="source_id",
        file=pl.lit(changes.new.name),
        line=pl.int_range(first + total - count, first + total),
        film=pl.col("film").cast(pl.Int64),
        is_film="is_film",
        title="title",
        year="year",
    )
    return pl.concat([kept, new])


def _log(source: str, changed: pl.DataFrame, column: str, news: list[Part]) -> pl.DataFrame:
    edited = pl.when(pl.col("change") == "edited").then(pl.lit(column))
    pieces = [changed.select(source=pl.lit(source), source_id="source_id", change="change", column=edited)]
    for part in news:
        if part.records is not None:
            nothing = pl.lit(None, dtype=pl.String)
            pieces.append(
                part.records.select(
                    source=pl.lit(source), source_id="source_id", change=pl.lit("added"), column=nothing
                )
            )
    return pl.concat(pieces)


def _finish(
    out: Path,
    records: pl.DataFrame,
    films: pl.DataFrame,
    new_films: pl.DataFrame,
    log: pl.DataFrame,
    files: set[str],
) -> ChurnSummary:
    """Write the new pack's truth and sum up."""
    used = new_films.filter(pl.col("film").is_in(records["film"].implode()))
    both = pl.concat([films, used.select(FILM_COLUMNS).cast(films.schema)])
    formats.write_bytes(out / TRUTH / "records.parquet", formats.parquet_bytes(records))
    formats.write_bytes(out / TRUTH / "films.parquet", formats.parquet_bytes(both))
    formats.write_bytes(out / TRUTH / "changes.parquet", formats.parquet_bytes(log))

    def counts(change: str) -> dict[str, int]:
        return dict(log.filter(pl.col("change") == change).group_by("source", maintain_order=True).len().iter_rows())

    return ChurnSummary(out, counts("edited"), counts("removed"), counts("added"), tuple(sorted(files)))

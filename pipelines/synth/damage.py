"""Rows that cannot be read, and rows that stand there twice.

Belongs here: damaging the rows of a file, and the count of what a reader must reject.
Does not belong here: wrong values in rows that can be read (`noise.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from pipelines.synth.catalogues.base import Part
from pipelines.synth.draw import Stream, exactly
from pipelines.synth.formats import Format

BROKEN_SHARE = 0.0002
# Files with fewer rows stay whole.
ROWS_MIN = 40


@dataclass(frozen=True)
class Damaged:
    """A part's rows as they will be written: `source` [rows written] names the row of the part each comes
    from.
    """

    source: np.ndarray
    is_duplicate: np.ndarray
    is_broken: np.ndarray


def damaged(part: Part, random: Stream) -> Damaged:
    """Choose which rows of a part stand there twice, and which are broken (text files only)."""
    n = part.frame.height
    twice = exactly(random, n, _count(n, part.duplicates))
    source = np.sort(np.concatenate([np.arange(n), twice]), kind="stable")
    is_duplicate = np.append(False, source[1:] == source[:-1])[: len(source)]
    is_broken = np.zeros(len(source), dtype=bool)
    if part.form.kind in ("delimited", "jsonl"):
        # A row that stands there twice stays whole: were its first copy broken, the second would be no
        # duplicate.
        whole = np.flatnonzero(~np.isin(source, twice))
        is_broken[whole[exactly(random, len(whole), _count(n, BROKEN_SHARE))]] = True
    return Damaged(source, is_duplicate, is_broken)


def _count(n: int, share: float) -> int:
    return max(1, round(n * share)) if share and n >= ROWS_MIN else 0


def broken(line: bytes, number: int, form: Format) -> bytes:
    """`line` damaged in one of the ways that occur in the wild, by turns of `number`: no reader can make
    sense of it.
    """
    if form.kind == "jsonl":
        return line[: len(line) // 2]
    separator = form.separator.encode()
    ways = [line.split(separator)[0], line.replace(separator, b"|"), b"\x00" + line]
    if form.encoding == "utf-8":
        ways.append(line[:-1] + b"\xff" + line[-1:])
    return ways[number % len(ways)]


def truth(name: str, part: Part, damage: Damaged) -> pl.DataFrame:
    """What the readable rows of a written part are about: source, file, line and the part's own record
    columns.
    """
    if part.records is None:
        raise ValueError(f"{part.name} holds no records of its own")
    first = 2 if part.form.kind == "delimited" and part.form.header else 1
    good = ~(damage.is_duplicate | damage.is_broken)
    lines = np.arange(first, first + len(damage.source))
    return part.records.select(pl.all().gather(damage.source[good])).select(
        pl.lit(name).alias("source"),
        "source_id",
        pl.lit(part.name).alias("file"),
        pl.Series("line", lines[good]),
        pl.col("film").cast(pl.Int64),
        "is_film",
        "title",
        "year",
    )

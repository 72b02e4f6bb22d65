"""The shape in which every reader hands over what it read, whatever the file format.

Belongs here: `Records`, the names of its reserved columns, and how pieces are put together.
Does not belong here: knowledge of any format, or of the fields that columns are mapped to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import polars as pl

# Reserved columns. The control character keeps them apart from any column a file can have (readers rename
# those).
LINE = "\x1fline"  # Int64: line or array position, from 1
RAW = "\x1fraw"  # String: the record's text, cut at RAW_CHARACTERS
REST = "\x1frest"  # String: JSON object of what no wanted column took, where the reader knows it already

RESERVED = frozenset({LINE, RAW, REST})

RAW_CHARACTERS = 2_000

REJECTS = pl.Schema({"line": pl.Int64, "reason": pl.String, "raw": pl.String})


class ReadError(ValueError):
    """A file cannot be read as its block says (not: a row is bad). The message names file, column and key."""


@dataclass(frozen=True)
class Records:
    """A run of records of one file.

    `frame`: `LINE`, `RAW`, perhaps `REST`, and source columns of type String or List(String).
    `rejects`: schema `REJECTS`. Always rows_in == frame.height + rejects.height.
    """

    frame: pl.DataFrame
    rejects: pl.DataFrame
    rows_in: int


def reject_rows(rows: Iterable[tuple[int, str, str]]) -> pl.DataFrame:
    """Frame with schema `REJECTS` of (line, reason, raw) tuples."""
    return pl.DataFrame([(line, reason, printable(raw)) for line, reason, raw in rows], schema=REJECTS, orient="row")


def printable(text: str) -> str:
    """`text` cut to RAW_CHARACTERS.

    What no text column can hold (undecodable bytes, NULs) is written `\\x..`.
    """
    cut = text[:RAW_CHARACTERS]
    if cut.isascii() and "\0" not in cut:
        return cut
    # Undecodable bytes arrive as lone surrogates U+DC80..U+DCFF (the surrogateescape convention).
    cut = "".join(
        f"\\x{ord(c) - 0xDC00:02x}" if "\udc80" <= c <= "\udcff" else ("\\x00" if c == "\0" else c) for c in cut
    )
    return cut.encode("utf-8", "backslashreplace").decode("utf-8")


def concat_rejects(pieces: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """All of `pieces` in one frame, also when there are none."""
    return pl.concat([pl.DataFrame(schema=REJECTS), *pieces])


def concat_frames(pieces: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """All of `pieces` in one frame:

    missing columns are null, and a column that is a list anywhere is one everywhere.
    """
    if len(pieces) == 1:
        return pieces[0]
    lists = {name for piece in pieces for name, dtype in piece.schema.items() if dtype == pl.List(pl.String)}
    return pl.concat([as_lists(piece, lists) for piece in pieces], how="diagonal")


def as_lists(frame: pl.DataFrame, names: Iterable[str]) -> pl.DataFrame:
    """Turn the String columns `names` of `frame` into lists of one item; null stays null."""
    return frame.with_columns(
        pl.when(pl.col(name).is_not_null()).then(pl.concat_list(name)).otherwise(None).alias(name)
        for name in names
        if frame.schema.get(name) == pl.String
    )

"""Films as text: what sentence encoders embed and what the language model is shown of a candidate.

One line a field, `Key: value`, in the order of RAR's table 7 (section A.1, A.2: title, year, genre, director, cast, plot). The plot is last, so
that an encoder that reads only so much cuts the plot. Does not belong here: encoding (`models/encoders.py`), prompts.
"""

from __future__ import annotations

import polars as pl

from pipelines.preferences.rows import stable_hashes

# Raise when the same film would give another text.
TEXT_VERSION = "1"

# Leading actors that are named. The median film with a cast states ten; five are 20 tokens or so of the 256 that MiniLM reads, and leave the rest
# to the plot.
CAST_MAX = 5
# Films of episodes and anthologies state dozens of directors, which would leave no room for anything else.
DIRECTORS_MAX = 5

MOVIE_COLUMNS = ("movie_id", "title", "year", "genres", "directors", "cast_members", "plot")

_BLANKS = r"\s+"


def _words(value: pl.Expr) -> pl.Expr:
    """Text on one line; null where there is none: a line break in a plot must not begin a field."""
    line = value.str.replace_all(_BLANKS, " ").str.strip_chars()
    return pl.when(line != "").then(line)


def _list(column: str, most: int | None = None) -> pl.Expr:
    named = pl.col(column).list.eval(_words(pl.element()).drop_nulls())
    return _words((named if most is None else named.list.head(most)).list.join(", "))


# Key and value of each line.
_LINES: tuple[tuple[str, pl.Expr], ...] = (
    ("Title", _words(pl.col("title"))),
    ("Year", pl.col("year").cast(pl.String)),
    ("Genre", _list("genres")),
    ("Director", _list("directors", DIRECTORS_MAX)),
    ("Cast", _list("cast_members", CAST_MAX)),
    ("Plot", _words(pl.col("plot"))),
)


def item_text(movies: pl.DataFrame) -> pl.DataFrame:
    """Text of each film: movie_id, text, text_hash (63 bits of the text's MD5), in the order of `movies`.

    `movies` has MOVIE_COLUMNS of core_movies. Fields that a film lacks are left out. Equal films give equal texts on every machine and run.
    """
    lines = [pl.concat_str(pl.lit(f"{key}: "), value) for key, value in _LINES]
    # Rechunked: expressions over lists of several chunks are not safe.
    frame = movies.rechunk().select("movie_id", text=pl.concat_str(lines, separator="\n", ignore_nulls=True))
    return frame.with_columns(text_hash=(stable_hashes(frame["text"]) // 2).cast(pl.Int64))

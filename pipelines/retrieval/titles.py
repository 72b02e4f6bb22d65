"""Titles that somebody typed, as films: by name, and by year where one is stated. Nothing is guessed: a name nobody knows gets suggestions.

Does not belong here: mentions in running text (`pipelines/mentions`), whose finder makes up its mind by context.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from pipelines.linking.keys import title_key
from pipelines.mentions.lookup import prepare

SUGGESTIONS = 5
_SIMILARITY_MIN = 60.0
# How long a suggestion is at least, as a share of what was typed.
_LENGTH_SHARE_MIN = 0.7

FILM_COLUMNS = ("movie_id", "title", "original_title", "aliases", "year", "votes")


@dataclass(frozen=True)
class FoundTitle:
    """What a typed title is: the film and how many others it might have been, or no film and the most similar titles."""

    typed: str
    movie_id: str | None
    others: int = 0
    suggestions: tuple[str, ...] = ()


def find_titles(typed: list[str], films: pl.DataFrame) -> list[FoundTitle]:
    """The film of each of `typed` titles (`Heat`, `heat (1995)`, `Matrix, The`).

    `films` has FILM_COLUMNS of core_movies. A display title goes before an original title or alias, and of several films so called the one with most votes is
    taken. A stated year must be the film's, to one year. Capitals, accents, punctuation and leading articles do not matter.
    """
    if not typed:
        return []
    asked = prepare(pl.Series(typed, dtype=pl.String)).with_row_index("query")
    asked = asked.with_columns(key=title_key(pl.col("title")), asked_year="year").drop("title", "year")
    known = films.select("movie_id", "title", "year", "votes", key=title_key(pl.col("title")), order=0)
    found = _joined(asked, known)
    rest = asked.join(found, on="query", how="anti")
    if rest.height:
        others = (
            films.rechunk()
            .select(
                "movie_id", "title", "year", "votes", name=pl.concat_list(pl.concat_list("original_title"), "aliases")
            )
            .explode("name")
            .drop_nulls("name")
        )
        found = pl.concat(
            [found, _joined(rest, others.with_columns(key=title_key(pl.col("name")), order=1).drop("name"))]
        )
    counts = found.group_by("query").agg(pl.len())
    first = {
        query: (movie_id, number - 1)
        for query, movie_id, number in found.unique("query", keep="first", maintain_order=True)
        .join(counts, on="query")
        .select("query", "movie_id", "len")
        .iter_rows()
    }
    return [
        FoundTitle(text, *first[k]) if k in first else FoundTitle(text, None, 0, _similar(text, films))
        for k, text in enumerate(typed)
    ]


def labelled(title: str, year: int | None) -> str:
    """`Heat (1995)`."""
    return title if year is None else f"{title} ({year})"


def _joined(asked: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Films of each query's key and year, the best first: query, movie_id."""
    gap = (pl.col("year") - pl.col("asked_year")).abs()
    return (
        asked.filter(pl.col("key") != "")
        .join(known, on="key")
        .filter(pl.col("asked_year").is_null() | (gap <= 1))
        .sort(gap.fill_null(0), "order", "votes", "movie_id", descending=[False, False, True, False], nulls_last=True)
        .unique(["query", "movie_id"], keep="first", maintain_order=True)
        .select("query", "movie_id")
    )


def _similar(text: str, films: pl.DataFrame) -> tuple[str, ...]:
    """Titles most like `text`, the better known first among equals."""
    from rapidfuzz import fuzz, process
    from rapidfuzz.utils import default_process

    ordered = films.select("movie_id", "title", "year", "votes").sort(
        "votes", "movie_id", descending=[True, False], nulls_last=True
    )
    # The year would count as letters of the title.
    bare = prepare(pl.Series([text]))["title"].item()
    # Parts of names count, so a title of one letter would be like any that has it.
    ordered = ordered.filter(pl.col("title").str.len_chars() >= _LENGTH_SHARE_MIN * len(bare))
    found = process.extract(
        bare,
        ordered["title"].to_list(),
        scorer=fuzz.WRatio,
        processor=default_process,
        limit=SUGGESTIONS,
        score_cutoff=_SIMILARITY_MIN,
    )
    return tuple(labelled(ordered["title"][at], ordered["year"][at]) for _, _, at in found)

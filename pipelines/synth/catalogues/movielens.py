"""MovieLens: movies.csv and links.csv of the 32M release, movies.dat of the 1M release.

Belongs here: GroupLens's file layouts and title style (`Matrix, The (1999)`). Does not belong here: ratings.
"""

from __future__ import annotations

import polars as pl

from pipelines.synth.catalogues.base import Catalogue, Part, about, numbered_id, some, words
from pipelines.synth.draw import Stream
from pipelines.synth.formats import Format
from pipelines.synth.noise import ARTICLES, blanked, wrong_ids

MOVIES_CSV = Format("delimited", line_end="\r\n")
MOVIES_DAT = Format("delimited", separator="::", encoding="latin-1", header=False)
# Genres GroupLens does not use.
UNKNOWN_GENRES = ["Biography", "History", "Sport", "Short"]


def _moved(title: pl.Expr) -> pl.Expr:
    """The article at the end, as GroupLens writes titles."""
    return title.str.replace(f"^({ARTICLES}) (.+)$", "${2}, ${1}").str.replace(r"^L'(.+)$", "${1}, L'")


def _titles(records: pl.DataFrame, random: Stream) -> pl.DataFrame:
    foreign = (pl.col("original_latin") != pl.col("true_title")) & (pl.col("title") == pl.col("true_title"))
    original = pl.format(" ({})", _moved(pl.col("original_latin")))
    alias = pl.format(" (a.k.a. {})", _moved(pl.col("aliases").list.first()))
    shown = (
        _moved(pl.col("title"))
        + pl.when(foreign & some(records, 0.8, random))
        .then(original)
        .when(pl.col("aliases").list.len().gt(0) & some(records, 0.12, random))
        .then(alias)
        .otherwise(pl.lit(""))
        + pl.when(some(records, 0.007, random)).then(pl.lit("")).otherwise(pl.format(" ({})", "year"))
        + pl.when(some(records, 0.002, random)).then(pl.lit(" ")).otherwise(pl.lit(""))
    )
    return records.with_columns(shown=shown)


def _genres(records: pl.DataFrame, random: Stream) -> pl.Expr:
    kept = words("movielens_words", "genres").list.set_difference(pl.lit(UNKNOWN_GENRES)).list.sort()
    listed = pl.when((kept.list.len() > 0) & ~some(records, 0.07, random)).then(kept.list.join("|"))
    return listed.fill_null("(no genres listed)")


def _render_32m(records: pl.DataFrame, random: Stream) -> list[Part]:
    records = _titles(records.with_columns(movieId=numbered_id("movielens_id")).sort("movieId"), random)
    n = records.height
    movies = records.select("movieId", title="shown", genres=_genres(records, random))
    links = records.select(
        "movieId",
        imdbId=pl.lit(wrong_ids(records["imdb_number"], 0.004, 0.0, random)).cast(pl.String).str.zfill(7),
        tmdbId=blanked(pl.lit(wrong_ids(records["tmdb_id"], 0.008, 0.0006, random)), 0.002, n, random),
    )
    return [
        Part("ml-32m/movies.csv", MOVIES_CSV, movies, about(records, pl.col("movieId")), edited="genres"),
        Part("ml-32m/links.csv", MOVIES_CSV, links),
    ]


def _render_1m(records: pl.DataFrame, random: Stream) -> list[Part]:
    records = _titles(records.sort("movielens_id"), random)
    genres = _genres(records, random).str.replace("Children", "Children's", literal=True)
    movies = records.select(pl.col("movielens_id").alias("id"), title="shown", genres=genres)
    return [Part("ml-1m/movies.dat", MOVIES_DAT, movies, about(records, pl.col("movielens_id")), edited="genres")]


MOVIELENS_32M = Catalogue(
    name="movielens_32m",
    share=0.25,
    render=_render_32m,
    title_rate=0.06,
    year_rate=0.025,
    steepness=6.0,
    eligible=pl.col("year") <= 2023,
    again=0.003,
)
MOVIELENS_1M = Catalogue(
    name="movielens_1m",
    share=0.012,
    render=_render_1m,
    title_rate=0.08,
    year_rate=0.025,
    steepness=8.0,
    eligible=pl.col("year") <= 2000,
)

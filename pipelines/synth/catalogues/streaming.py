"""Titles on Netflix, Disney+ and Amazon Prime: three CSV files with films and shows, without ids.

Belongs here: the columns and words of those files. Does not belong here: the Netflix Prize.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from pipelines.synth.catalogues.base import (
    Catalogue,
    Part,
    about,
    comma_list,
    numbered_id,
    runtimes,
    some,
    words,
)
from pipelines.synth.draw import Stream
from pipelines.synth.formats import CSV, Format
from pipelines.synth.noise import blanked, doubly_encoded

FIRST_COLUMN = "__row"
NETFLIX_CSV = Format("delimited", unnamed=(FIRST_COLUMN,))


def _shows(
    records: pl.DataFrame, random: Stream, no_director: float, no_country: float, plain_genres: bool
) -> tuple[pl.DataFrame, pl.DataFrame]:
    records = records.select(pl.all().gather(random.permutation(records.height)))
    records = records.with_columns(show_id=pl.format("s{}", numbered_id("film") + 1))
    n = records.height
    is_show = pl.col("kind") == "tv_series"
    genres = pl.col("genres") if plain_genres else words("streaming_words", "genres")
    seasons = pl.Series(random.integers(1, 9, n))
    seasons_word = (
        pl.when(pl.lit(seasons) == 1).then(pl.lit("1 Season")).otherwise(pl.format("{} Seasons", pl.lit(seasons)))
    )
    frame = records.select(
        "show_id",
        type=pl.when(is_show).then(pl.lit("TV Show")).otherwise(pl.lit("Movie")),
        title=doubly_encoded(records["title"], 0.015, random),
        director=blanked(comma_list(pl.col("directors")), no_director, n, random),
        cast=blanked(comma_list(pl.col("cast")), 0.09, n, random),
        country=blanked(comma_list(words("countries", "countries")), no_country, n, random),
        date_added=pl.when(some(records, 0.98, random)).then(pl.lit("August 14, 2020")),
        release_year="year",
        rating=pl.lit("TV-MA"),
        duration=pl.when(is_show).then(seasons_word).otherwise(pl.format("{} min", pl.lit(runtimes(records, random)))),
        genre=comma_list(genres),
        description="plot",
    )
    return frame, about(records, pl.col("show_id"))


def _netflix(records: pl.DataFrame, random: Stream) -> list[Part]:
    frame, truth = _shows(records, random, no_director=0.3, no_country=0.065, plain_genres=False)
    rows = pl.Series(np.arange(frame.height))
    frame = frame.rename({"genre": "listed_in"}).select(rows.alias(FIRST_COLUMN), rows.alias("Unnamed: 0"), pl.all())
    return [
        Part(
            "streaming-titles/netflix_titles.csv.gz",
            NETFLIX_CSV,
            frame,
            truth,
            edited="description",
            duplicates=0.001,
        )
    ]


def _plain(name: str, no_director: float, no_country: float) -> Callable[[pl.DataFrame, Stream], list[Part]]:
    def render(records: pl.DataFrame, random: Stream) -> list[Part]:
        frame, truth = _shows(records, random, no_director, no_country, plain_genres=True)
        return [Part(f"streaming-titles/{name}", CSV, frame, truth, edited="description")]

    return render


RECENT = pl.col("year") <= 2021
NETFLIX = Catalogue(
    name="netflix",
    share=0.016,
    render=_netflix,
    title_rate=0.07,
    year_rate=0.04,
    steepness=4.0,
    eligible=RECENT,
    others=0.007,
    other_kinds=("tv_series",),
)
DISNEY_PLUS = Catalogue(
    name="disney_plus",
    share=0.003,
    render=_plain("disney_plus_titles.csv", 0.33, 0.15),
    title_rate=0.07,
    year_rate=0.04,
    steepness=4.0,
    eligible=RECENT,
    others=0.0012,
    other_kinds=("tv_series",),
)
AMAZON_PRIME = Catalogue(
    name="amazon_prime",
    share=0.023,
    render=_plain("amazon_prime_titles.csv.gz", 0.22, 0.93),
    title_rate=0.09,
    year_rate=0.045,
    steepness=2.0,
    eligible=RECENT,
    others=0.006,
    other_kinds=("tv_series",),
    again=0.01,
)

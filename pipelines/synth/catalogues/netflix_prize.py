"""The Netflix Prize's list of titles: id, year and title, Latin-1, unquoted, DVD editions and seasons among
the films.

Belongs here: that one file. Does not belong here: Netflix's streaming titles.
"""

from __future__ import annotations

import polars as pl

from pipelines.synth.catalogues.base import Catalogue, Part, about, numbered_id, some
from pipelines.synth.draw import Stream, pick
from pipelines.synth.formats import Format
from pipelines.synth.noise import VARIANTS, blanked
from pipelines.synth.words import lists

TITLES_CSV = Format("delimited", quote="never", null="NULL", encoding="latin-1", header=False)


def _render(records: pl.DataFrame, random: Stream) -> list[Part]:
    records = records.select(pl.all().gather(random.permutation(records.height)))
    n = records.height
    edition = pick(random, n, lists()["edition"])
    season = pl.Series(random.integers(1, 8, n))
    title = (
        pl.when(pl.col("kind") == "tv_series")
        .then(pl.format("{}: Season {}", "title", pl.lit(season)))
        .when(some(records, 0.02, random))
        .then(pl.format("{} {}", "title", pl.lit(edition)))
        .otherwise("title")
    )
    records = records.with_columns(title=title, id=numbered_id("film") + 1)
    frame = records.select("id", blanked(pl.col("year"), 0.0004, n, random).alias("year"), "title")
    return [
        Part(
            "netflix-prize/movie_titles_original.csv",
            TITLES_CSV,
            frame,
            about(records, pl.col("id")),
            edited="title",
        )
    ]


CATALOGUE = Catalogue(
    name="netflix_prize",
    share=0.05,
    render=_render,
    title_rate=0.072,
    year_rate=0.06,
    steepness=4.0,
    eligible=pl.col("year") <= 2005,
    others=0.002,
    other_kinds=("tv_series",),
    again=0.012,
    variants=VARIANTS | {"original": 8},
)

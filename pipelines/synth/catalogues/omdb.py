"""OMDb as one Windows-1252 CSV file with NA for missing values.

Belongs here: that file's columns. Does not belong here: OMDb's API.
"""

from __future__ import annotations

import polars as pl

from pipelines.synth.catalogues.base import (
    Catalogue,
    Part,
    about,
    comma_list,
    dates,
    imdb_id,
    ratings,
    runtimes,
    words,
)
from pipelines.synth.draw import Stream, hits
from pipelines.synth.formats import Format
from pipelines.synth.noise import blanked

OMDB_CSV = Format("delimited", quote="non_numeric", null="NA", encoding="cp1252")


def _render(records: pl.DataFrame, random: Stream) -> list[Part]:
    records = records.sort("imdb_number").with_row_index("row", offset=1)
    n = records.height
    people = comma_list(pl.col("directors"))
    frame = records.select(
        pl.col("row").cast(pl.String).alias(""),
        ID="imdb_number",
        imdbID=imdb_id(),
        Title="title",
        Year="year",
        Rating=blanked(pl.lit("Not Rated"), 0.4, n, random),
        Runtime=pl.when(hits(random, n, 0.008)).then(0).otherwise(pl.lit(runtimes(records, random))),
        Genre=blanked(comma_list(pl.col("genres")), 0.02, n, random),
        Released=blanked(dates(records, random), 0.02, n, random),
        Director=blanked(people, 0.03, n, random),
        Writer=blanked(people + " (screenplay)", 0.3, n, random),
        Cast=blanked(comma_list(pl.col("cast").list.head(4)), 0.05, n, random),
        Metacritic=blanked(pl.lit(50), 0.8, n, random),
        imdbRating=ratings(records, random),
        imdbVotes="votes",
        Language=blanked(comma_list(words("languages", "languages")), 0.04, n, random),
        Country=blanked(comma_list(words("countries", "countries")), 0.01, n, random),
        Awards=blanked(pl.lit("1 nomination."), 0.6, n, random),
        lastUpdated=pl.lit("2014-03-31 02:13:23.440000000"),
        Oscars=pl.lit(0),
    )
    return [
        Part(
            "omdb/omdb.csv.gz",
            OMDB_CSV,
            frame,
            about(records, imdb_id()),
            edited="imdbVotes",
            duplicates=0.0005,
        )
    ]


CATALOGUE = Catalogue(
    name="omdb",
    share=0.35,
    render=_render,
    title_rate=0.04,
    year_rate=0.025,
    steepness=4.0,
    eligible=pl.col("year") <= 2026,
)

"""MovieTweetings' films mapped to DBpedia: a quoted, semicolon-separated file keyed by the IMDb id as an
integer.

Belongs here: that one file. Does not belong here: the tweets.
"""

from __future__ import annotations

import polars as pl

from pipelines.synth.catalogues.base import Catalogue, Part, about, some
from pipelines.synth.catalogues.wikipedia import hrefs
from pipelines.synth.draw import Stream, pick
from pipelines.synth.formats import Format
from pipelines.synth.noise import VARIANTS, with_entities

MAPPINGS_CSV = Format("delimited", separator=";")


def _render(records: pl.DataFrame, random: Stream) -> list[Part]:
    records = records.sort("imdb_number")
    n = records.height
    shown = records.select(t=pl.format("{} ({})", "title", "year"))["t"]
    articles = records["article"]
    # A match by title alone now and then finds the neighbour.
    other = pl.Series(hrefs(articles)).shift(1)
    uri = pl.when(some(records, 0.02, random)).then(pl.lit(other)).otherwise(pl.lit(hrefs(articles)))
    mapped = some(records, 0.65, random)
    method = pick(random, n, ["perfect", "any", "pattern", "partial"], [86, 6, 4, 4])
    frame = records.select(
        id="imdb_number",
        title=with_entities(shown, 0.3, random),
        genre=pl.col("genres").list.join("|"),
        uri=pl.when(mapped).then(pl.lit("http://dbpedia.org/resource/") + uri),
        method=pl.when(mapped).then(pl.lit(method)),
        tc=pl.when(mapped).then(1.0),
        yc=pl.when(mapped).then(1.0),
        gc=pl.when(mapped).then(1.0),
        updated=pl.lit("2015-09-25T13:13:56"),
    )
    return [
        Part(
            "movietweetings-dbpedia/mappings.csv.gz",
            MAPPINGS_CSV,
            frame,
            about(records, pl.col("imdb_number")),
            edited="genre",
            duplicates=0.0005,
        )
    ]


CATALOGUE = Catalogue(
    name="movietweetings",
    share=0.08,
    render=_render,
    title_rate=0.072,
    year_rate=0.03,
    steepness=8.0,
    eligible=pl.col("year") <= 2018,
    variants=VARIANTS | {"original": 60},
)

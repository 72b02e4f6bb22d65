"""Letterboxd films, enriched with TMDB's facts, as one Parquet file.

Belongs here: that file's columns and slugs. Does not belong here: ratings.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from pipelines.synth.catalogues.base import Catalogue, Part, about, dates, runtimes, some, words
from pipelines.synth.draw import Stream
from pipelines.synth.formats import PARQUET
from pipelines.synth.noise import doubly_encoded


def _slugs(records: pl.DataFrame) -> pl.DataFrame:
    """Unique slugs: the title in small letters, the year where films share a title, a number where that
    fails.
    """
    plain = pl.col("true_title").str.normalize("NFKD").str.replace_all(r"\p{M}", "").str.to_lowercase()
    slug = plain.str.replace_all("'", "", literal=True).str.replace_all(r"[^a-z0-9]+", "-").str.strip_chars("-")
    slug = pl.when(slug == "").then(pl.format("film-{}", "film")).otherwise(slug)
    slug = pl.when("is_shared_title").then(pl.format("{}-{}", slug, "true_year")).otherwise(slug)
    records = records.with_columns(slug=slug)
    turn = pl.int_range(pl.len()).over("slug")
    return records.with_columns(
        slug=pl.when(turn > 0).then(pl.format("{}-{}-f{}", "slug", turn, "film")).otherwise("slug")
    )


def _render(records: pl.DataFrame, random: Stream) -> list[Part]:
    records = _slugs(records).sort("slug")
    bare = some(records, 0.04, random)

    def enriched(value: pl.Expr) -> pl.Expr:
        return pl.when(~bare).then(value)

    popularity = pl.Series((np.sqrt(records["votes"].to_numpy()) * 0.05).round(4))
    frame = records.select(
        image_url=pl.format("film-poster/{}-0-230-0-345-crop", "slug"),
        movie_id="slug",
        movie_title=doubly_encoded(records["title"], 0.01, random),
        year_released=pl.col("year").cast(pl.Float64),
        genres=enriched(words("tmdb_words", "genres")),
        original_language=enriched(pl.col("languages").list.first()),
        popularity=enriched(pl.lit(popularity)),
        release_date=enriched(dates(records, random)),
        runtime=enriched(pl.lit(runtimes(records, random))).cast(pl.Float64),
        content_type=pl.when(pl.col("is_film")).then(pl.lit("movie")).otherwise(pl.lit("tv")),
    )
    return [
        Part(
            "letterboxd/sample_movie_data_1000000.parquet",
            PARQUET,
            frame,
            about(records, pl.col("slug")),
            edited="popularity",
        )
    ]


CATALOGUE = Catalogue(
    name="letterboxd",
    share=0.30,
    render=_render,
    title_rate=0.045,
    year_rate=0.02,
    steepness=4.0,
    others=0.008,
    other_kinds=("tv_series",),
    again=0.003,
)

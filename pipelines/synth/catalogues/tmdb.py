"""TMDB: the daily id export, and film details as the API returns them.

Belongs here: TMDB's keys and words. Does not belong here: exports of TMDB that others reshaped.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from pipelines.synth.catalogues.base import (
    Catalogue,
    Part,
    about,
    dates,
    imdb_id,
    numbered_id,
    ratings,
    runtimes,
)
from pipelines.synth.draw import Stream, hits
from pipelines.synth.formats import JSONL
from pipelines.synth.noise import blanked, doubly_encoded, wrong_ids
from pipelines.synth.words import facts


def _popularity(records: pl.DataFrame, random: Stream) -> pl.Series:
    spread = np.exp(random.normal(0, 0.4, records.height))
    return pl.Series((0.6 + np.sqrt(records["votes"].to_numpy()) * 0.08 * spread).round(4))


def _original(records: pl.DataFrame) -> pl.Expr:
    return pl.coalesce("original_title", "title")


def _render_ids(records: pl.DataFrame, random: Stream) -> list[Part]:
    records = records.with_columns(id=numbered_id("tmdb_id"), popularity=_popularity(records, random)).sort("id")
    export = records.select(
        adult=pl.lit(False),
        id="id",
        original_title=_original(records),
        popularity="popularity",
        video=pl.col("kind") == "video",
    )
    truth = about(records.with_columns(title=_original(records), year=None), pl.col("id"))
    return [Part("tmdb/movie_ids_11_20_2026.json.gz", JSONL, export, truth, edited="popularity", duplicates=0.0003)]


def _objects(column: str, fields: dict[str, pl.Expr]) -> pl.Expr:
    """The list column `column` as a list of objects: `fields` computed from each entry."""
    return pl.col(column).list.eval(pl.struct(*(value.alias(name) for name, value in fields.items())))


def _people(records: pl.DataFrame, ids: str, names: str, fields: dict[str, pl.Expr], kept: pl.Series) -> pl.Series:
    """Two lists a film (numbers and names of people) as one list of objects; empty where `kept` is false."""
    rows = records.select(row=pl.int_range(pl.len()), person=ids, name=names).filter(kept).explode("person", "name")
    rows = rows.drop_nulls("person").with_columns(order=pl.int_range(pl.len()).over("row"))
    one = pl.struct(
        pl.lit(False).alias("adult"),
        (pl.col("person") + 1).alias("id"),
        pl.col("name"),
        pl.col("name").alias("original_name"),
        *(value.alias(name) for name, value in fields.items()),
    )
    objects = rows.select("row", entry=one).group_by("row", maintain_order=True).agg("entry")
    every = pl.DataFrame({"row": range(records.height)}).join(objects, on="row", how="left", maintain_order="left")
    return every.select(pl.col("entry").fill_null(pl.lit([], dtype=objects.schema["entry"])))["entry"]


def _render_details(records: pl.DataFrame, random: Stream) -> list[Part]:
    records = records.sort("tmdb_id")
    n = records.height
    genre_ids, entry = facts("tmdb_genres"), pl.element()
    crew = _people(
        records,
        "director_ids",
        "directors",
        {"department": pl.lit("Directing"), "job": pl.lit("Director")},
        ~hits(random, n, 0.06),
    )
    cast = _people(
        records,
        "cast_ids",
        "cast",
        {"character": pl.format("Role {}", pl.col("order") + 1), "order": pl.col("order")},
        ~hits(random, n, 0.10),
    )
    known_genres = pl.col("genres").list.set_intersection(pl.lit(list(genre_ids))).list.sort()
    wrong = pl.lit(wrong_ids(records["imdb_number"], 0.01, 0.0005, random))
    records = records.with_columns(genres=known_genres, title=doubly_encoded(records["title"], 0.015, random))
    votes = (pl.col("votes") // 12).cast(pl.Int64)
    details = records.select(
        adult=pl.lit(False),
        backdrop_path=pl.lit(None, dtype=pl.String),
        budget=pl.lit(0),
        genres=_objects(
            "genres",
            {
                "id": entry.replace_strict(genre_ids, return_dtype=pl.Int64),
                "name": entry.replace(facts("tmdb_words")),
            },
        ),
        homepage=pl.lit(""),
        id="tmdb_id",
        imdb_id=blanked(imdb_id(wrong), 0.12, n, random),
        origin_country="countries",
        original_language=pl.col("languages").list.first(),
        original_title=_original(records),
        overview=blanked(pl.col("plot"), 0.12, n, random).fill_null(""),
        popularity=_popularity(records, random),
        poster_path=pl.lit(None, dtype=pl.String),
        production_countries=_objects("countries", {"iso_3166_1": entry, "name": entry.replace(facts("countries"))}),
        release_date=blanked(dates(records, random), 0.01, n, random).fill_null(""),
        revenue=pl.lit(0),
        runtime=pl.when(hits(random, n, 0.1)).then(0).otherwise(pl.lit(runtimes(records, random))),
        spoken_languages=_objects(
            "languages",
            {"english_name": entry.replace(facts("languages")), "iso_639_1": entry, "name": entry},
        ),
        status=pl.when(pl.col("year") > 2026).then(pl.lit("Planned")).otherwise(pl.lit("Released")),
        tagline=pl.lit(""),
        title="title",
        video=pl.lit(False),
        vote_average=ratings(records, random),
        vote_count=votes,
        credits=pl.struct(pl.lit(cast).alias("cast"), pl.lit(crew).alias("crew")),
    )
    return [
        Part(
            "tmdb/tmdb_details.jsonl.gz",
            JSONL,
            details,
            about(records, pl.col("tmdb_id")),
            edited="vote_count",
        )
    ]


TMDB_IDS = Catalogue(
    name="tmdb_ids",
    share=0.85,
    render=_render_ids,
    title_rate=0.012,
    year_rate=0.0,
    steepness=2.5,
    again=0.005,
)
TMDB_DETAILS = Catalogue(
    name="tmdb_details", share=0.24, render=_render_details, title_rate=0.04, year_rate=0.025, steepness=5.0
)

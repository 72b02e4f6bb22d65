"""Stable film ids: a film keeps its id for as long as most of its records stay together."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import polars as pl

HISTORY_SCHEMA = pl.Schema({"movie_id": pl.String, "new_movie_id": pl.String, "event": pl.String})


@dataclass(frozen=True)
class Identified:
    """`ids`: record_id, movie_id. `history`: movie_id, new_movie_id, event for every id that changed hands."""

    ids: pl.DataFrame
    history: pl.DataFrame


def mint(name: str) -> str:
    """Make the id of a film first known as `name` (an external id or a record)."""
    return "mv" + hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()[:16]


def _names(films: pl.DataFrame) -> pl.DataFrame:
    """Name each film by its most stated IMDb id, else TMDB id, else its first record: label, name, fallback."""
    base = films.group_by("label").agg(first=pl.col("record_id").min()).sort("label")
    name = pl.concat_str(pl.lit("record:"), "first")
    for column, prefix in (("tmdb_id", "tmdb"), ("imdb_id", "imdb")):
        stated = (
            films.drop_nulls(column)
            .group_by("label", column)
            .len()
            .sort("len", column, descending=[True, False])
            .group_by("label", maintain_order=True)
            .agg(pl.col(column).first())
        )
        base = base.join(stated, on="label", how="left")
        name = pl.when(pl.col(column).is_not_null()).then(pl.concat_str(pl.lit(prefix + ":"), column)).otherwise(name)
    return base.select("label", name.alias("name"), pl.concat_str(pl.lit("record:"), "first").alias("fallback"))


def assign_ids(films: pl.DataFrame, previous: pl.DataFrame, taken: pl.Series) -> Identified:
    """Give each film an id.

    `films`: label, record_id, imdb_id, tmdb_id for every record that was grouped anew. `previous`: record_id, movie_id as
    published before, for the same records and for records that are gone. `taken`: ids that other films hold or held.

    A film takes over the id of which it holds the most records; an id goes to the film that holds most of it. Ties
    go to the smaller id and the smaller record. Films left over get a new id. Ids that vanish get a history row
    pointing to where their records went; an id whose film was divided gets one for each part that left.
    """
    held = films.select("label", "record_id").join(previous, on="record_id", how="left")
    shares = (
        held.drop_nulls("movie_id")
        .group_by("label", "movie_id")
        .agg(records=pl.len(), first=pl.col("record_id").min())
        .sort("records", "movie_id", "first", descending=[True, False, False])
    )
    # Largest share first; a label or an id that is spoken for drops out. Shares are few: only films that changed.
    chosen: dict[int, str] = {}
    spoken: set[str] = set()
    for label, movie_id in shares.select("label", "movie_id").iter_rows():
        if label not in chosen and movie_id not in spoken:
            chosen[label] = movie_id
            spoken.add(movie_id)
    used = spoken | set(taken.to_list()) | set(previous["movie_id"].to_list())
    for label, name, fallback in _names(films).iter_rows():
        if label not in chosen:
            movie_id = mint(name)
            if movie_id in used:
                movie_id = mint(fallback)
            attempt = 1
            while movie_id in used:
                attempt += 1
                movie_id = mint(f"{fallback}#{attempt}")
            chosen[label] = movie_id
            used.add(movie_id)
    labels = pl.DataFrame(
        {"label": list(chosen), "now": list(chosen.values())},
        schema={"label": films.schema["label"], "now": pl.String},
    )
    ids = films.select("label", "record_id").join(labels, on="label").select("record_id", movie_id="now")
    moved = (
        previous.join(ids.rename({"movie_id": "now"}), on="record_id", how="left")
        .select("movie_id", "now")
        .unique()
        .with_columns(lives=pl.col("movie_id").is_in(list(spoken)), goes=pl.col("now").is_not_null())
    )
    left = moved.filter(pl.col("goes") & (pl.col("movie_id") != pl.col("now"))).select(
        "movie_id",
        new_movie_id="now",
        event=pl.when("lives").then(pl.lit("split")).otherwise(pl.lit("merged")),
    )
    gone = (
        moved.group_by("movie_id")
        .agg(pl.col("goes").any())
        .filter(~pl.col("goes"))
        .select("movie_id", new_movie_id=pl.lit(""), event=pl.lit("withdrawn"))
    )
    history = pl.concat([left, gone]).sort("movie_id", "new_movie_id")
    return Identified(ids, history.select(HISTORY_SCHEMA.names()))

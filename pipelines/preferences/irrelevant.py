"""Films that have nothing to do with another one, chosen by hash.

Films stand on a ring for each band of popularity, in the order of a hash of their ids, and each place takes the first film behind its own
hash that fits. So a choice depends on nothing but the place and the films, and adding or dropping films changes few choices (consistent
hashing: Karger et al. 1997).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from pipelines.preferences.rows import stable_hashes, with_hash

# How many films of the ring are looked at in one go, and how many of those that fit by genre and decade are looked at closely.
_WINDOW = 64
_CLOSELY = 8

# Films with at least so many votes (10 to this power) are one band: there are too few to choose from above.
_HIGHEST_BAND = 5

_PLACE = ["dialogue_id", "turn", "movie_id"]


@dataclass(frozen=True)
class _Ring:
    """Films of one band in the order of their hashes: rows of the facts, and the hashes."""

    rows: np.ndarray
    hashes: np.ndarray


def irrelevant_films(places: pl.DataFrame, named: pl.DataFrame, movies: pl.DataFrame) -> pl.DataFrame:
    """A film for each place that has nothing to do with the one there: dialogue_id, turn, movie_id, other_id.

    places: dialogue_id, turn, movie_id. named: dialogue_id, movie_id, which nothing may be chosen among. movies: core_movies.
    The other film shares no genre, director, cast member or title, is of another decade and of the same band of votes (a power of ten),
    so that popularity does not tell which answer is worse. Within a turn no film is chosen twice. Films without
    genres, and places for which nothing fits, get none.
    """
    facts = _facts(movies)
    wanted = (
        places.select(_PLACE)
        .unique()
        .join(facts.select("movie_id", "row", "band"), on="movie_id")
        .filter(pl.col("row").is_in(facts.filter(pl.col("mask") != 0)["row"].implode()))
        .sort(_PLACE)
        .with_row_index("want")
    )
    wanted = with_hash(wanted, "hash", *_PLACE)
    found = pl.DataFrame(schema={**{name: wanted.schema[name] for name in _PLACE}, "other_id": pl.String})
    rings = _rings(facts)
    masks, decades = facts["mask"].to_numpy(), facts["decade"].to_numpy()
    at = 0
    while wanted.height:
        reachable = [band for band, ring in rings.items() if at < len(ring.rows)]
        wanted = wanted.filter(pl.col("band").is_in(reachable))
        options = pl.concat(
            [_fitting(wanted.filter(pl.col("band") == band), rings[band], masks, decades, at) for band in reachable]
            or [pl.DataFrame(schema={"want": pl.UInt32, "rank": pl.Int64, "other": pl.Int64})]
        )
        picked = _picked(_close(options, wanted, facts, named), wanted, found)
        found = pl.concat([found, picked.select(found.columns)])
        wanted = wanted.join(picked, on=_PLACE, how="anti")
        at += _WINDOW
    return found.sort(_PLACE)


def _facts(movies: pl.DataFrame) -> pl.DataFrame:
    """What films are compared by: row, movie_id, title, mask (a bit for each genre), decade, people, band, is_candidate."""
    ordered = movies.select("movie_id", "title", "year", "kind", "genres", "directors", "cast_members", "votes").sort(
        "movie_id"
    )
    genres = sorted(ordered["genres"].explode().drop_nulls().unique())
    # Genres that share a bit count as one: films are then kept apart for less than they might be, never brought together.
    bits = {genre: 1 << (number % 62) for number, genre in enumerate(genres)}
    masks = (
        ordered.select("movie_id", genre="genres")
        .explode("genre")
        .drop_nulls()
        .select("movie_id", bit=pl.col("genre").replace_strict(bits, default=0, return_dtype=pl.Int64))
        .unique()
        .group_by("movie_id")
        .agg(mask=pl.col("bit").unique().bitwise_or())
    )
    return (
        ordered.join(masks, on="movie_id", how="left", maintain_order="left")
        .with_columns(
            pl.col("mask").fill_null(0),
            title_key=pl.col("title").str.to_lowercase(),
            decade=(pl.col("year") // 10).fill_null(0).cast(pl.Int64),
            band=(pl.col("votes").fill_null(0) + 1).log10().floor().cast(pl.Int32).clip(upper_bound=_HIGHEST_BAND),
            people=pl.concat_list("directors", "cast_members"),
        )
        .with_columns(
            is_candidate=(pl.col("mask") != 0)
            & pl.col("year").is_not_null()
            & (pl.col("kind") == "movie")
            & pl.col("title").str.contains(r"[\p{L}\p{N}]")
        )
        .with_row_index("row")
        .with_columns(pl.col("row").cast(pl.Int64))
        .select("row", "movie_id", "title_key", "mask", "decade", "people", "band", "is_candidate")
    )


def _rings(facts: pl.DataFrame) -> dict[int, _Ring]:
    candidates = facts.filter("is_candidate")
    placed = candidates.select("row", "band", hash=stable_hashes(candidates["movie_id"])).sort("hash", "row")
    return {
        int(band): _Ring(films["row"].to_numpy(), films["hash"].to_numpy())
        for (band,), films in placed.partition_by("band", as_dict=True, maintain_order=True).items()
    }


def _fitting(wanted: pl.DataFrame, ring: _Ring, masks: np.ndarray, decades: np.ndarray, at: int) -> pl.DataFrame:
    """The next films on the ring that fit by genre and decade: want, rank (from 0), other (row of the facts)."""
    size = min(_WINDOW, len(ring.rows) - at)
    start = np.searchsorted(ring.hashes, wanted["hash"].to_numpy())
    seen = ring.rows[(start[:, None] + at + np.arange(size)) % len(ring.rows)]
    own = wanted["row"].to_numpy()[:, None]
    fits = ((masks[seen] & masks[own]) == 0) & (decades[seen] != decades[own])
    fits &= fits.cumsum(axis=1) <= _CLOSELY
    which, rank = np.nonzero(fits)
    return pl.DataFrame(
        {"want": wanted["want"].gather(which), "rank": rank, "other": seen[which, rank]},
        schema={"want": pl.UInt32, "rank": pl.Int64, "other": pl.Int64},
    )


def _close(options: pl.DataFrame, wanted: pl.DataFrame, facts: pl.DataFrame, named: pl.DataFrame) -> pl.DataFrame:
    """Those of the options that share neither people nor title with the place's film and that the dialogue does not name."""
    known = facts.select("row", other_id="movie_id", other_title="title_key", other_people="people")
    own = wanted.select("want", "dialogue_id", "turn", "row").join(facts.select("row", "title_key", "people"), on="row")
    return (
        options.join(own, on="want")
        .join(known, left_on="other", right_on="row")
        .filter(
            (pl.col("title_key") != pl.col("other_title"))
            & (pl.col("people").list.set_intersection("other_people").list.len() == 0)
        )
        .join(named, left_on=["dialogue_id", "other_id"], right_on=["dialogue_id", "movie_id"], how="anti")
        .select("want", "rank", "dialogue_id", "turn", "other_id")
    )


def _picked(options: pl.DataFrame, wanted: pl.DataFrame, taken: pl.DataFrame) -> pl.DataFrame:
    """The first option of each place, no film twice in a turn: _PLACE, other_id."""
    in_turn = ["dialogue_id", "turn", "other_id"]
    left = options.join(taken, on=in_turn, how="anti")
    while True:
        first = left.sort("want", "rank").unique("want", keep="first", maintain_order=True)
        again = first.filter(pl.col("want") != pl.col("want").min().over(in_turn))
        if again.is_empty():
            return first.join(wanted.select("want", "movie_id"), on="want").select(*_PLACE, "other_id")
        left = left.join(again.select("want", "other_id"), on=["want", "other_id"], how="anti")

"""Which film of the corpus a release's id is."""

from __future__ import annotations

import hashlib

import polars as pl

from pipelines.interactions.releases import Release


def film_ids(release: Release, links: pl.DataFrame, movies: pl.DataFrame) -> pl.DataFrame:
    """Columns source_item_id (Int64, unique) and movie_id of all films whose id in `release` is known.

    `links`: source, source_id, movie_id of core_movie_links. `movies`: movie_id, movielens_id of core_movies. A source nearer to the release wins, the
    films' own movielens_id comes last; of two films that claim one id that with the lower movie_id counts.
    """
    rank = {source: position for position, source in enumerate(release.catalogues)}
    linked = links.filter(pl.col("source").is_in(list(rank))).select(
        source_item_id=pl.col("source_id").cast(pl.Int64, strict=False),
        movie_id="movie_id",
        rank=pl.col("source").replace_strict(rank, return_dtype=pl.Int32),
    )
    parts = [linked]
    if release.shares_ids:
        parts.append(
            movies.select(
                source_item_id=pl.col("movielens_id").cast(pl.Int64),
                movie_id="movie_id",
                rank=pl.lit(len(rank), dtype=pl.Int32),
            )
        )
    known = pl.concat(parts).drop_nulls(["source_item_id", "movie_id"])
    first = known.sort("source_item_id", "rank", "movie_id").unique("source_item_id", keep="first", maintain_order=True)
    return first.select("source_item_id", "movie_id")


def content_hash(ids: pl.DataFrame) -> str:
    """SHA-256 of what `film_ids` returned: what decides whether ratings must be given their films again."""
    return hashlib.sha256(ids.sort("source_item_id").write_csv().encode()).hexdigest()

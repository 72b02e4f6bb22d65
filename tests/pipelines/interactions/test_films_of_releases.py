"""Which film a release's id is."""

from __future__ import annotations

import polars as pl

from pipelines.interactions.films import content_hash, film_ids
from pipelines.interactions.releases import RELEASES

BY_NAME = {release.name: release for release in RELEASES}
LINKS = pl.DataFrame(
    [
        ("movielens_1m", "1", "own"),
        ("movielens_32m", "1", "other"),
        ("movielens_32m", "2", "from 32m"),
        ("movielens_small", "2", "from small"),
        ("movielens_100k", "1", "of 100k"),
        ("imdb", "3", "no id of MovieLens"),
        ("movielens_32m", "not a number", "nothing"),
    ],
    schema=["source", "source_id", "movie_id"],
    orient="row",
)
MOVIES = pl.DataFrame({"movie_id": ["b", "a", "c", "d"], "movielens_id": [5, 5, 2, None]})


def known(release: str) -> dict[int, str]:
    return dict(film_ids(BY_NAME[release], LINKS, MOVIES).iter_rows())


def test_the_nearest_source_wins_and_the_films_own_id_comes_last() -> None:
    assert known("ml-1m") == {1: "own", 2: "from 32m", 5: "a"}
    assert known("ml-latest-small") == {1: "other", 2: "from small", 5: "a"}
    assert known("ml-10m") == {1: "other", 2: "from 32m", 5: "a"}


def test_ml_100k_has_ids_of_its_own() -> None:
    assert known("ml-100k") == {1: "of 100k"}


def test_the_hash_tells_maps_apart_and_not_their_order() -> None:
    ids = film_ids(BY_NAME["ml-1m"], LINKS, MOVIES)
    assert content_hash(ids.reverse()) == content_hash(ids)
    assert content_hash(ids.head(2)) != content_hash(ids)

"""Film ids survive refreshes; merges and splits leave a trail."""

from __future__ import annotations

import polars as pl

from pipelines.linking.identity import assign_ids, mint

FILMS = {"label": pl.Int64, "record_id": pl.Int64, "imdb_id": pl.String, "tmdb_id": pl.Int64}
NONE = pl.Series("movie_id", [], dtype=pl.String)


def films(*groups: list[int], imdb: dict[int, str] | None = None) -> pl.DataFrame:
    rows = [(label, record, (imdb or {}).get(record), None) for label, group in enumerate(groups) for record in group]
    return pl.DataFrame(rows, schema=FILMS, orient="row")


def previous(**ids: list[int]) -> pl.DataFrame:
    rows = [(record, movie) for movie, records in ids.items() for record in records]
    return pl.DataFrame(rows, schema={"record_id": pl.Int64, "movie_id": pl.String}, orient="row")


def id_of(result, record: int) -> str:
    return result.ids.filter(pl.col("record_id") == record)["movie_id"].item()


def test_a_new_film_is_named_after_its_imdb_id():
    result = assign_ids(films([1, 2], imdb={2: "tt0000007"}), previous(), NONE)
    assert id_of(result, 1) == id_of(result, 2) == mint("imdb:tt0000007")
    assert result.history.is_empty()


def test_a_growing_film_keeps_its_id():
    result = assign_ids(films([1, 2, 3], imdb={3: "tt0000001"}), previous(mv1=[1, 2]), NONE)
    assert id_of(result, 3) == "mv1"
    assert result.history.is_empty()


def test_a_merge_keeps_the_larger_id_and_redirects_the_other():
    result = assign_ids(films([1, 2, 3]), previous(mv1=[1], mv2=[2, 3]), NONE)
    assert id_of(result, 1) == "mv2"
    assert result.history.rows() == [("mv1", "mv2", "merged")]


def test_a_split_keeps_the_id_with_the_larger_part():
    result = assign_ids(films([1, 2], [3]), previous(mv1=[1, 2, 3]), NONE)
    assert id_of(result, 1) == "mv1"
    assert id_of(result, 3) != "mv1"
    assert result.history.rows() == [("mv1", id_of(result, 3), "split")]


def test_a_film_whose_records_are_gone_is_withdrawn():
    result = assign_ids(films([1]), previous(mv1=[1], mv2=[9]), NONE)
    assert result.history.rows() == [("mv2", "", "withdrawn")]


def test_an_id_once_used_is_never_given_to_another_film():
    taken = pl.Series("movie_id", [mint("imdb:tt0000001"), mint("record:1")])
    result = assign_ids(films([1], imdb={1: "tt0000001"}), previous(), taken)
    assert id_of(result, 1) not in taken.to_list()


def test_two_films_with_one_imdb_id_get_two_ids():
    result = assign_ids(films([1], [2], imdb={1: "tt0000001", 2: "tt0000001"}), previous(), NONE)
    assert id_of(result, 1) != id_of(result, 2)


def test_the_order_of_records_does_not_matter():
    some = films([1, 2], [3, 4], [5], imdb={3: "tt0000003"})
    old = previous(mv1=[1, 3], mv2=[2, 4, 5])
    one, other = assign_ids(some, old, NONE), assign_ids(some.reverse(), old.reverse(), NONE)
    assert one.ids.sort("record_id").equals(other.ids.sort("record_id"))
    assert one.history.equals(other.history)

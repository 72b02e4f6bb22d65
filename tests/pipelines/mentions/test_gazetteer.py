"""The names by which films are found."""

from __future__ import annotations

import pickle
from dataclasses import fields

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.mentions.gazetteer import NAMES, Gazetteer, build_gazetteer, names_of
from pipelines.mentions.tokens import hash_of

FILMS = pl.DataFrame(
    {
        "movie_id": ["m1", "m2", "m3", "m4", "m5"],
        "title": [
            "The Glass Harbour",
            "Glass Harbour",
            "Iron Tide: Return of the Kelp",
            "...",
            "Ana Voss and the Lantern",
        ],
        "original_title": [None, "Glasharfe", None, None, None],
        "aliases": [[], ["Glass Harbour", "Harbour 7"], [], [], []],
        "year": [1990, 2004, 2010, 1999, 2015],
        "kind": ["movie"] * 5,
        "genres": [[], ["Drama"], [], [], []],
        "directors": [["Ana Voss"], ["Ana Voss", "Prince"], [], None, []],
        "cast_members": [["Bo Lindqvist"], [], ["Ø. Hansen"], [], []],
        "votes": [10, 500, None, 3, 4],
        "source_count": [1, 2, 1, 1, 1],
    },
    schema_overrides={"year": pl.Int32, "source_count": pl.Int32, "votes": pl.Int64, "aliases": pl.List(pl.String)},
)


def built(films: pl.DataFrame = FILMS) -> Gazetteer:
    return build_gazetteer(films, names_of(films))


def names_by_key(gazetteer: Gazetteer) -> dict[str, set[tuple[str, str]]]:
    joined = gazetteer.names.join(gazetteer.keys, on="key_id")
    return {
        key[0]: set(rows.select("movie_id", "kind").iter_rows())
        for key, rows in joined.group_by("key", maintain_order=True)
    }


def assert_same(one: Gazetteer, other: Gazetteer) -> None:
    for field in fields(Gazetteer):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, pl.DataFrame):
            assert a.equals(b), field.name
        else:
            assert np.array_equal(a, b), field.name


def test_names_of_films() -> None:
    names = names_of(FILMS)
    assert names.schema == NAMES
    assert names.filter(movie_id="m2").sort("kind", "name").rows() == [
        ("m2", "Glass Harbour", "alias"), ("m2", "Harbour 7", "alias"), ("m2", "Glasharfe", "original"), ("m2", "Glass Harbour", "title"),
    ]  # fmt: skip
    assert names.filter(movie_id="m1").height == 1


def test_each_film_of_a_key_stands_there_once_with_its_best_kind() -> None:
    found = names_by_key(built())
    assert found["glassharbour"] == {("m1", "title"), ("m2", "title")}
    assert found["glasharfe"] == {("m2", "original")}
    assert found["harbour7"] == {("m2", "alias")}
    assert found["..."] == {("m4", "title")}


def test_parts_of_names() -> None:
    found = names_by_key(built())
    assert found["returnofthekelp"] == {("m3", "part")}
    assert found["anavoss"] == {("m5", "part")}
    assert found["irontide"] == {("m3", "part")}


def test_parts_that_name_no_film_are_left_out() -> None:
    titles = [
        "Owl: The Movie",
        "Vast Ocean: Chapter Two",
        "Kettle (Director's Cut)",
        "Il Lungo Ponte",
        "Star Owls: Part 4 - New Feathers",
    ]
    films = FILMS.with_columns(
        title=pl.Series(titles),
        original_title=pl.lit(None, dtype=pl.String),
        aliases=pl.lit([], dtype=pl.List(pl.String)),
    )
    parts = {key for key, rows in names_by_key(built(films)).items() if any(kind == "part" for _, kind in rows)}
    assert parts == {"vastocean", "kettle", "lungoponte", "starowls", "newfeathers", "part4newfeathers"}


def test_people_of_two_names() -> None:
    gazetteer = built()
    assert gazetteer.person_keys.to_list() == ["anavoss", "bolindqvist", "ohansen"]
    keys = gazetteer.keys.filter(key="anavoss")
    assert keys["is_film"].item() and keys["is_person"].item()


def test_keys_are_found_by_hash() -> None:
    gazetteer = built()
    asked = ["glassharbour", "bolindqvist", "...", "nowhere"]
    found = gazetteer.find(np.array([hash_of(key) for key in asked], dtype=np.uint64))
    assert [gazetteer.keys["key"][int(k)] if k >= 0 else None for k in found] == [*asked[:3], None]
    at, names = gazetteer.names_of_keys(found[:1])
    assert at.tolist() == [0, 0]
    assert names["movie_id"].to_list() == ["m1", "m2"]
    assert gazetteer.films["movie_id"].gather(names["film"]).to_list() == ["m1", "m2"]


@given(st.permutations(range(FILMS.height)), st.integers(0, 99))
@settings(max_examples=8, deadline=None)
def test_order_of_the_input_does_not_matter(order: list[int], seed: int) -> None:
    films = FILMS[list(order)]
    names = names_of(FILMS).sample(fraction=1, shuffle=True, seed=seed)
    assert_same(build_gazetteer(films, names), built())


def test_it_can_be_pickled() -> None:
    gazetteer = built()
    assert gazetteer.omissions.keys.size > 0
    again = pickle.loads(pickle.dumps(gazetteer))
    assert_same(again, gazetteer)
    assert np.array_equal(again.omissions.hashes, gazetteer.omissions.hashes)


def test_no_films() -> None:
    gazetteer = built(FILMS.clear())
    assert gazetteer.keys.height == gazetteer.names.height == 0
    assert gazetteer.find(np.array([1, 2], dtype=np.uint64)).tolist() == [-1, -1]


def test_absurd_names_are_passed_over() -> None:
    films = FILMS.with_columns(
        title=pl.Series(["x" * 1_000_000, "A\x00B", "\u202e", "\ud55c\uae00", "ok \U0001f600"]),
        directors=pl.Series([["y z" * 100_000], [""], [None], ["\x00 \x01"], []], dtype=pl.List(pl.String)),
    )
    keys = built(films).keys["key"].to_list()
    assert "ab" in keys and "ok" in keys
    assert max(map(len, keys)) < 400

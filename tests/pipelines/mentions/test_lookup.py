"""Films that a stated title can be."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.mentions.gazetteer import Gazetteer, build_gazetteer, names_of
from pipelines.mentions.lookup import CANDIDATES, look_up, prepare

FILMS = pl.DataFrame(
    {
        "movie_id": [f"m{k}" for k in range(10)],
        "title": [
            "The Copper Lantern", "Copper Lantern", "Kestrel: Night of the Heron", "Rivermen", "Rivermen II", "!!!",
            "Les Jours Clairs", "The Old Ferry", "Old Ferry", "Wren",
        ],
        "original_title": [None, None, None, None, None, None, "Les Jours Clairs", None, None, "Zaunkönig"],
        "aliases": [[], [], [], ["River Men of York"], [], [], ["The Clear Days"], [], [], []],
        "votes": [10, 900, 5, 50, 60, 1, 1, None, 700, 3],
    },
    schema_overrides={"aliases": pl.List(pl.String)},
).with_columns(
    year=pl.lit(2000, dtype=pl.Int32),
    kind=pl.lit("movie"),
    genres=pl.lit([], dtype=pl.List(pl.String)),
    directors=pl.lit([], dtype=pl.List(pl.String)),
    cast_members=pl.lit([], dtype=pl.List(pl.String)),
    source_count=pl.lit(1, dtype=pl.Int32),
)  # fmt: skip
GAZETTEER = build_gazetteer(FILMS, names_of(FILMS))


def looked_up(*titles: str, limit: int = 8, gazetteer: Gazetteer = GAZETTEER) -> pl.DataFrame:
    queries = pl.DataFrame(
        {"query": range(len(titles)), "title": titles}, schema={"query": pl.Int64, "title": pl.String}
    )
    found = look_up(queries, gazetteer, limit)
    assert found.schema == CANDIDATES
    return found


def best(title: str) -> tuple[str, str] | None:
    found = looked_up(title, limit=1)
    return found.select("movie_id", "match").row(0) if found.height else None


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("The Copper Lantern", ("m0", "exact")),
        ("copper lantern", ("m1", "exact")),
        ("COPPERLANTERN", ("m1", "exact")),
        ("Rivermen 2", ("m4", "exact")),
        ("river men", ("m3", "exact")),
        ("River Men of York", ("m3", "alias")),
        ("zaunkonig", ("m9", "alias")),
        ("The Clear Days", ("m6", "alias")),
        ("Night of the Heron", ("m2", "part")),
        ("Jours Clairs", ("m6", "part")),
        ("Wren: A Life in Feathers", ("m9", "part")),
        ("!!!", ("m5", "exact")),
        ("Coper Lantern", ("m1", "fuzzy")),
        ("Teh Copper Lantern", ("m1", "fuzzy")),
        ("Rivremen", ("m3", "fuzzy")),
        ("kestral night of the heroon", ("m2", "fuzzy")),
        ("something quite different", None),
        ("", None),
        ("???", None),
    ],
)
def test_likeliest_film(title: str, expected: tuple[str, str] | None) -> None:
    assert best(title) == expected


def test_namesakes_come_as_written_first_then_by_votes() -> None:
    assert looked_up("old ferry")["movie_id"].to_list() == ["m8", "m7"]
    assert looked_up("The Old Ferry")["movie_id"].to_list() == ["m7", "m8"]
    assert looked_up("OLD-FERRY")["similarity"].to_list() == [1.0, 1.0]


def test_a_misspelt_name_agrees_in_its_article() -> None:
    assert looked_up("The Old Ferrry", limit=2)["movie_id"].to_list() == ["m7", "m8"]
    assert looked_up("Old Ferrry", limit=2)["movie_id"].to_list() == ["m8", "m7"]


def test_limit_and_uniqueness() -> None:
    assert looked_up("Rivermn", limit=1).height == 1
    found = looked_up("Rivermen", "Rivermen", "Rivermn", "Copper", limit=8)
    assert found.unique(["query", "movie_id"]).height == found.height
    assert found.filter(query=0).drop("query").equals(found.filter(query=1).drop("query"))


def test_queries_do_not_depend_on_each_other() -> None:
    titles = ["Rivremen", "Copper Lantren", "", "Wren", "nothing of the kind", "Night of the Heron", "teh old ferry"]
    together = looked_up(*titles)
    alone = [looked_up(title).with_columns(query=pl.lit(k, dtype=pl.Int64)) for k, title in enumerate(titles)]
    assert together.equals(pl.concat(alone))


@given(
    st.sampled_from(["The Copper Lantern", "Kestrel: Night of the Heron", "Les Jours Clairs", "Rivermen"]), st.data()
)
@settings(max_examples=60, deadline=None)
def test_one_typing_error_is_forgiven(title: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(5, len(title) - 2))
    letter = data.draw(st.sampled_from("abcxyz"))
    wrong = data.draw(
        st.sampled_from(
            [
                title[:at] + title[at + 1 :],
                title[:at] + letter + title[at:],
                title[:at] + letter + title[at + 1 :],
                title[:at] + title[at + 1] + title[at] + title[at + 2 :],
            ]
        )
    )
    names = looked_up(wrong, limit=3)["name"].to_list()
    assert title in names


@given(st.lists(st.text(max_size=30), max_size=5))
@settings(max_examples=60, deadline=None)
def test_any_text_can_be_looked_up(texts: list[str]) -> None:
    prepared = prepare(pl.Series(texts, dtype=pl.String))
    assert prepared.height == len(texts)
    found = looked_up(*prepared["title"].to_list())
    assert found["similarity"].is_between(0, 1).all()
    assert found["query"].is_sorted()


def test_names_as_datasets_state_them() -> None:
    names = pl.Series(
        [
            "How to Mend a Roof ",
            "Whisk It  (2009)",
            "%22Heron%22 Dundas (1986)",
            "Ferry, The (1999)",
            " (2015)",
            None,
            "a" * 2_000_000,
        ]
    )
    found = prepare(names)
    assert found["title"].to_list()[:4] == ["How to Mend a Roof", "Whisk It", '"Heron" Dundas', "The Ferry"]
    assert found["year"].to_list()[:4] == [None, 2009, 1986, 1999]
    assert found["title"].to_list()[5] == ""
    assert found["title"].null_count() == 0
    assert found["title"].str.len_chars().max() < 1000


def test_no_films() -> None:
    nothing = build_gazetteer(FILMS.clear(), names_of(FILMS.clear()))
    assert looked_up("Rivermen", "Rivermn", gazetteer=nothing).height == 0

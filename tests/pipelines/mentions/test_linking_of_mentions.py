"""From names to films: items, placeholders, hints, titles with their year, titles in running text."""

from __future__ import annotations

import random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.mentions.gazetteer import Gazetteer, build_gazetteer, names_of
from pipelines.mentions.link import link_items, link_mentions
from tests.conversation_frames import films, hints, movie_id, turns
from warehouse.tables.mentions import CORE_ITEM_LINKS, CORE_MENTIONS

FILMS = films(
    {
        "title": "The Copper Lantern",
        "year": 1994,
        "votes": 400_000,
        "source_count": 20,
        "cast_members": ["Mara Ellison"],
    },
    {"title": "The Copper Lantern", "year": 2016, "votes": 90_000, "source_count": 7, "cast_members": ["Tobin Hale"]},
    {"title": "Never Say Marigold", "year": 2003},
    {"title": "Good", "year": 2008, "votes": 9_000},
    {"title": "Eve", "year": 2019, "votes": 3_000},
    {"title": "Insidious Harbour", "year": 2011, "votes": 200_000, "source_count": 15},
    {"title": "Glass Orchard", "year": 2001, "votes": 300_000, "source_count": 18},
    {"title": "Glass Orchard 2", "year": 2005, "votes": 100_000, "source_count": 12},
    {"title": "Mara Ellison", "year": 1950, "votes": 40, "source_count": 1},
)
COPPER_OLD, COPPER_NEW, MARIGOLD, GOOD, EVE, INSIDIOUS, GLASS, GLASS_2, PERSON = (movie_id(n) for n in range(1, 10))


@pytest.fixture(scope="module")
def gazetteer() -> Gazetteer:
    return build_gazetteer(FILMS.drop("content_hash"), names_of(FILMS))


def items(*names: str, dataset: str = "redial") -> pl.DataFrame:
    return pl.DataFrame(
        {"dataset": [dataset] * len(names), "item_id": [str(n) for n in range(len(names))], "item_name": list(names)},
        schema={"dataset": pl.String, "item_id": pl.String, "item_name": pl.String},
    )


def item_links(gazetteer: Gazetteer, *names: str) -> pl.DataFrame:
    return link_items(items(*names), gazetteer, lambda _: None)


def mentions(
    gazetteer: Gazetteer, talk: pl.DataFrame, stated: pl.DataFrame | None = None, links: pl.DataFrame | None = None
):
    stated = hints() if stated is None else stated
    found = link_mentions(talk, stated, CORE_ITEM_LINKS.empty() if links is None else links, gazetteer, lambda _: None)
    assert CORE_MENTIONS.violations(found) == []
    return found


def linked(found: pl.DataFrame) -> list[tuple[int, str, str]]:
    return (
        found.filter(pl.col("movie_id").is_not_null() & ~pl.col("is_quarantined"))
        .select("turn", "surface", "movie_id")
        .rows()
    )


def test_the_year_of_an_item_decides_between_films_of_one_name(gazetteer):
    links = item_links(gazetteer, "The Copper Lantern  (2016)", "Copper Lantern, The (1994)", "The Copper Lantern ")
    assert links["movie_id"].to_list() == [COPPER_NEW, COPPER_OLD, COPPER_OLD]
    with_year, _, without = links["score_prob"]
    assert without < with_year
    assert [other["movie_id"] for other in links["alternatives"][2]][:1] == [COPPER_NEW]
    assert CORE_ITEM_LINKS.violations(links) == []


def test_an_item_that_is_no_film_of_the_corpus_is_none(gazetteer):
    links = item_links(gazetteer, "Quite Another Thing (1987)", "List of accolades received by The Copper Lantern")
    assert links["movie_id"].to_list()[0] is None
    assert links["match"].to_list()[0] == "none"
    assert links["quarantine_reason"].to_list()[1] == "not_a_film"


def test_a_placeholder_is_linked_through_its_item_and_one_without_a_name_is_set_aside(gazetteer):
    talk = turns(["I loved @11 and @12!"], dataset="redial")
    stated = hints(
        {"kind": "id", "start": 8, "end": 11, "item_id": "11", "item_name": "Glass Orchard (2001)"},
        {"kind": "id", "start": 16, "end": 19, "item_id": "12"},
        dataset="redial",
    )
    found = mentions(gazetteer, talk, stated)
    assert found.select("surface", "item_id", "movie_id", "method", "quarantine_reason").rows() == [
        ("@11", "11", GLASS, "id", None),
        ("@12", "12", None, "id", "unresolved_id"),
    ]


def test_a_placeholder_without_a_year_is_decided_by_the_people_of_the_dialogue(gazetteer):
    stated = hints(
        {"turn": 0, "kind": "id", "start": 16, "end": 18, "item_id": "2", "item_name": "The Copper Lantern "},
        dataset="redial",
    )
    links = item_links(gazetteer, "a", "b", "The Copper Lantern ")
    plain = mentions(gazetteer, turns(["Have you seen   @2 ?"], dataset="redial"), stated, links)
    told = mentions(
        gazetteer, turns(["Have you seen   @2 ?", "The one with Tobin Hale, in 2016?"], dataset="redial"), stated, links
    )
    newer = [
        next((x["score_prob"] for x in row["alternatives"] if x["movie_id"] == COPPER_NEW), row["score_prob"])
        for row in (plain.row(0, named=True), told.row(0, named=True))
    ]
    assert plain["movie_id"].to_list() == [COPPER_OLD]
    assert newer[1] > newer[0]


def test_titles_are_found_in_running_text_whatever_the_case(gazetteer):
    talk = turns(["I watched Never Say Marigold last night", "have you seen glass orchard?"])
    assert linked(mentions(gazetteer, talk)) == [(0, "Never Say Marigold", MARIGOLD), (1, "glass orchard", GLASS)]


def test_a_year_in_brackets_decides_and_names_the_method(gazetteer):
    found = mentions(gazetteer, turns(["You should watch The Copper Lantern (2016) tonight."]))
    assert found.select("surface", "movie_id", "method").rows() == [("The Copper Lantern", COPPER_NEW, "title_year")]


def test_the_newer_film_is_meant_where_somebody_says_new(gazetteer):
    found = mentions(
        gazetteer, turns(["Have you seen the new The Copper Lantern yet?", "Yes, The Copper Lantern was great."])
    )
    assert {film for _, _, film in linked(found)} == {COPPER_NEW}


def test_a_longer_title_wins_over_the_shorter_one_in_it(gazetteer):
    assert linked(mentions(gazetteer, turns(["I really liked Glass Orchard 2."]))) == [(0, "Glass Orchard 2", GLASS_2)]


def test_several_films_under_a_name_are_no_film(gazetteer):
    assert linked(mentions(gazetteer, turns(["I like all the Glass Orchard movies"]))) == []


def test_a_misspelt_title_is_found_as_a_fuzzy_match(gazetteer):
    found = mentions(gazetteer, turns(["I just watched Incidious Harbour with my wife"]))
    assert found.select("surface", "movie_id", "match").rows() == [("Incidious Harbour", INSIDIOUS, "fuzzy")]


@pytest.mark.parametrize(
    "text", ["That sounds good", "I never watched it", "hello, how are you?", "who directed that?", ""]
)
def test_common_words_are_no_titles(gazetteer, text):
    assert linked(mentions(gazetteer, turns([text]))) == []


def test_diseases_of_hints_are_set_aside_with_their_link(gazetteer):
    talk = turns(["I never liked anything good"])
    stated = hints(
        {"start": 3, "end": 6, "item_name": "Eve (2019)"}, {"start": 23, "end": 27, "item_name": "Good (2008)"}
    )
    found = mentions(gazetteer, talk, stated).filter(pl.col("method") == "hint")
    assert found.select("surface", "movie_id", "quarantine_reason").rows() == [
        ("eve", EVE, "inside_word"),
        ("good", GOOD, "function_word"),
    ]


def test_other_domains_and_places_outside_the_text_are_left_alone(gazetteer):
    assert mentions(gazetteer, turns(["I watched Never Say Marigold"], domain="book")).height == 0
    stated = hints(
        {"start": 10, "end": 99, "item_name": "Eve (2019)"},
        {"item_name": "Eve (2019)"},
        {"start": 5, "end": 5, "item_name": "Eve (2019)"},
    )
    assert mentions(gazetteer, turns(["nothing here"]), stated).height == 0


def test_quotation_marks_written_as_a_word_show_a_title(gazetteer):
    found = mentions(gazetteer, turns(["He said QUOTATION_MARKGlass OrchardQUOTATION_MARK was fine"]))
    assert linked(found) == [(0, "Glass Orchard", GLASS)]


SENTENCES = (
    "I watched Never Say Marigold last night", "the new Copper Lantern?", "Tobin Hale was in it", "good", "Glass Orchard 2 (2005)",
    "an old classic from 1994", "Incidious Harbour 😀", "Have you seen The Copper Lantern?", "\x00\u200b", "GLASS ORCHARD", "Eve, Good and Mara Ellison",
)  # fmt: skip


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=4), min_size=1, max_size=6), st.integers(0, 99)
)
def test_a_dialogue_is_linked_the_same_alone_and_in_company(gazetteer, dialogues, seed):
    talk = turns(*dialogues)
    whole = mentions(gazetteer, talk.sample(fraction=1, shuffle=True, seed=seed))
    alone = [mentions(gazetteer, talk.filter(pl.col("dialogue_id") == name)) for name in talk["dialogue_id"].unique()]
    assert whole.equals(pl.concat(alone).sort("dialogue_id", "turn", "start", "end", "method"))


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=40), st.text(max_size=40))
def test_offsets_point_at_the_surface_in_any_text(gazetteer, before, behind):
    clean = [part.encode("utf-8", "replace").decode() for part in (before, behind)]
    text = f"{clean[0]} I watched Never Say Marigold {clean[1]}"
    for row in mentions(gazetteer, turns([text])).iter_rows(named=True):
        assert text[row["start"] : row["end"]] == row["surface"]


def test_a_very_long_turn_is_linked_to_its_end(gazetteer):
    text = "so I said well. " * 20_000 + "I watched Never Say Marigold"
    assert linked(mentions(gazetteer, turns([text]))) == [(0, "Never Say Marigold", MARIGOLD)]


def test_order_of_films_does_not_matter(gazetteer):
    shuffled = FILMS.sample(fraction=1, shuffle=True, seed=random.Random(3).randrange(99))
    other = build_gazetteer(shuffled.drop("content_hash"), names_of(shuffled))
    talk = turns(list(SENTENCES))
    assert mentions(gazetteer, talk).equals(mentions(other, talk))

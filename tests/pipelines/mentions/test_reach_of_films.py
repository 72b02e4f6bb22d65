"""Linking only the dialogues in reach of changed films gives what linking all of them gives."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.mentions.gazetteer import build_gazetteer, names_of
from pipelines.mentions.link import link_items, link_mentions
from pipelines.mentions.reach import changed_films, in_reach
from tests.conversation_frames import films, hints, turns

BASE = (
    {"number": 1, "title": "The Copper Lantern", "year": 1994, "votes": 400_000, "cast_members": ["Mara Ellison"]},
    {"number": 2, "title": "The Copper Lantern", "year": 2016, "votes": 90_000, "genres": ["Horror"]},
    {"number": 3, "title": "Never Say Marigold", "year": 2003},
    {"number": 4, "title": "Glass Orchard: The Return", "year": 2001, "votes": 300_000},
    {"number": 5, "title": "Insidious Harbour", "year": 2011, "votes": 200_000, "cast_members": ["Tobin Hale"]},
    {"number": 6, "title": "Tobin", "year": 1999, "votes": 800, "source_count": 2},
)
OTHER = (
    {
        "number": 1,
        "title": "The Copper Lantern",
        "year": 1994,
        "votes": 10,
        "cast_members": ["Mara Ellison", "Never Say"],
    },
    {"number": 2, "title": "Copper Lanterns", "year": 2016},
    {"number": 3, "title": "Never Say Marigolds", "year": 2003, "aliases": ["Blumen", "The Copper Lantern"]},
    {"number": 4, "title": "Glass Orchard", "year": 2002, "genres": ["Comedy"]},
    {"number": 7, "title": "Glass Orchard 2", "year": 2005, "votes": 250_000},
    {"number": 8, "title": "Marigold", "year": 2003, "directors": ["Tobin Hale"]},
)
TALK = turns(
    ["I watched Never Say Marigold", "With Tobin Hale?"], ["Have you seen glass orchard", "The Return? no"],
    ["the new Copper Lantern", "a horror movie from 2016"], ["Incidious Harbour", "Marigold is nice"], ["hello", "who are you?"],
    ["I like Tobin and Mara Ellison"], ["Glass Orchard 2", "all the Glass Orchard movies"], ["@5 was good", "yes"],
)  # fmt: skip
HINTS = hints(
    {"dialogue": 7, "kind": "id", "start": 0, "end": 2, "item_id": "5", "item_name": "The Copper Lantern"},
    {"dialogue": 3, "turn": 1, "start": 0, "end": 8, "item_id": "m", "item_name": "Marigold (2003)"},
    {"dialogue": 4, "turn": 0, "start": 0, "end": 5, "item_id": "h", "item_name": "Hello (2001)"},
)
ITEMS = pl.DataFrame(
    {"dataset": ["inspired"], "item_id": ["5"], "item_name": ["The Copper Lantern"], "domain": ["film"]}
)


def linked(movies: pl.DataFrame, talk: pl.DataFrame = TALK) -> tuple[pl.DataFrame, pl.DataFrame]:
    gazetteer = build_gazetteer(movies.drop("content_hash"), names_of(movies))
    links = link_items(ITEMS, gazetteer, lambda _: None)
    own = HINTS.filter(pl.col("dialogue_id").is_in(talk["dialogue_id"].unique().implode()))
    return links, link_mentions(talk, own, links, gazetteer, lambda _: None)


STATES = (
    st.lists(st.sampled_from(BASE), min_size=2, unique_by=id),
    st.lists(st.sampled_from(BASE + OTHER), unique_by=lambda film: film["number"]),
)


def relinking_equals_linking_all(first: list[dict], second: list[dict]) -> None:
    before, now = films(*first), films(*(second or BASE))
    links, stored = linked(before)
    reached = in_reach(TALK, HINTS, ITEMS, links, before, now)
    kept = stored.filter(~pl.col("dialogue_id").is_in(reached.implode()))
    again = linked(now, TALK.filter(pl.col("dialogue_id").is_in(reached.implode())))[1]
    assert pl.concat([kept, again]).sort("dialogue_id", "turn", "start", "end", "method").equals(linked(now)[1])


@settings(max_examples=3, deadline=None)
@given(*STATES)
def test_linking_what_is_in_reach_equals_linking_all(first, second):
    relinking_equals_linking_all(first, second)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(*STATES)
def test_linking_what_is_in_reach_equals_linking_all_for_many_changes(first, second):
    relinking_equals_linking_all(first, second)


def test_nothing_is_in_reach_when_nothing_changed_and_little_when_little_did():
    before = films(*BASE)
    links, _ = linked(before)
    assert in_reach(TALK, HINTS, ITEMS, links, before, before).len() == 0
    now = films(*(film if film["number"] != 3 else {**film, "votes": 60_000} for film in BASE))
    assert changed_films(before, now).height == 2
    # Where its name stands, and where an item could be it.
    assert in_reach(TALK, HINTS, ITEMS, links, before, now).to_list() == ["inspired-0", "inspired-3"]

"""Expectations and checks of mentions: what linking makes passes, each damage fails its own check."""

from __future__ import annotations

import polars as pl
import pytest

from pipelines.mentions.gazetteer import build_gazetteer, names_of
from pipelines.mentions.link import link_items, link_mentions
from tests.conversation_frames import films, hints, turns
from warehouse.quality.run import audit, cross_checks
from warehouse.quality.suites.mentions import SUITES
from warehouse.tables.mentions import CORE_ITEM_LINKS, CORE_MENTIONS, TABLES

FILMS = films({"title": "Glass Orchard", "year": 2001}, {"title": "Never Say Marigold", "year": 2003})
TALK = turns(["I loved @11 and @12", "Have you seen Never Say Marigold? 😀 Or Glass Orchard (2001)?"], dataset="redial")
HINTS = hints(
    {"kind": "id", "start": 8, "end": 11, "item_id": "11", "item_name": "Glass Orchard (2001)"},
    {"kind": "id", "start": 16, "end": 19, "item_id": "12"},
    dataset="redial",
)
ITEMS = pl.DataFrame(
    {"dataset": ["redial"], "item_id": ["11"], "item_name": ["Glass Orchard (2001)"], "domain": ["film"]}
)


@pytest.fixture(scope="module")
def tables() -> dict[str, pl.DataFrame]:
    gazetteer = build_gazetteer(FILMS.drop("content_hash"), names_of(FILMS))
    links = link_items(ITEMS, gazetteer, lambda _: None)
    return {
        "core_item_links": links,
        "core_mentions": link_mentions(TALK, HINTS, links, gazetteer, lambda _: None),
        "core_turns": TALK,
        "core_mention_hints": HINTS,
        "core_dialogue_items": ITEMS,
        "core_dialogues": pl.DataFrame({"dialogue_id": ["redial-0"], "dataset": ["redial"], "domain": ["film"]}),
    }


def failed(name: str, frame: pl.DataFrame) -> set[str]:
    return {each.check for each in audit(name, frame) if each.status == "failed"}


def broken(tables: dict[str, pl.DataFrame]) -> set[str]:
    import duckdb

    found = set()
    for check in cross_checks(TABLES):
        if check.table not in (CORE_MENTIONS.name, CORE_ITEM_LINKS.name) or not set(check.needs) <= set(tables):
            continue
        connection = duckdb.connect()
        for name in check.needs:
            connection.register(name, tables[name].to_arrow())
        if connection.sql(check.sql).fetchall():
            found.add(check.name)
    return found


def changed(frame: pl.DataFrame, **values: object) -> pl.DataFrame:
    """The first row with other values."""
    first = pl.int_range(pl.len()) == 0
    return frame.with_columns(
        pl.when(first).then(pl.lit(value, dtype=frame.schema[name])).otherwise(pl.col(name)).alias(name)
        for name, value in values.items()
    )


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.table.name)
def test_empty_tables_pass(suite):
    assert failed(suite.table.name, suite.table.empty()) == set()


def test_what_linking_makes_passes(tables):
    assert tables["core_mentions"].height == 4
    assert failed("core_item_links", tables["core_item_links"]) == set()
    assert failed("core_mentions", tables["core_mentions"]) == {
        "few_mentions_quarantined"
    }  # one of four: the placeholder without a name
    assert broken(tables) == set()


@pytest.mark.parametrize(
    ("values", "check"),
    [
        ({"is_quarantined": True}, "reason_goes_with_flag"),
        ({"match": "none"}, "match_goes_with_film"),
        ({"end": 8}, "ends_after_it_begins"),
        ({"end": 12}, "surface_fits_offsets"),
        ({"method": "free_text", "movie_id": None, "match": "none"}, "found_in_text_means_linked"),
    ],
)
def test_damage_of_mentions_fails_its_check(tables, values, check):
    assert check in failed("core_mentions", changed(tables["core_mentions"], **values))


@pytest.mark.parametrize(
    ("values", "check"),
    [
        ({"surface": "@99"}, "surface_stands_in_text"),
        ({"method": "hint"}, "every_placeholder_is_a_mention"),
        ({"movie_id": "mv0000000000000002"}, "mentions_follow_their_item"),
    ],
)
def test_damage_across_tables_fails_its_check(tables, values, check):
    damaged = changed(tables["core_mentions"], **values)
    assert check in broken({**tables, "core_mentions": damaged})


def test_overlapping_finds_and_unlinked_items_are_seen(tables):
    doubled = pl.concat(
        [
            tables["core_mentions"],
            tables["core_mentions"].filter(pl.col("method") == "title_year").with_columns(pl.col("end") - 2),
        ]
    )
    assert "found_mentions_do_not_overlap" in broken({**tables, "core_mentions": doubled})
    assert "every_item_is_linked" in broken({**tables, "core_item_links": CORE_ITEM_LINKS.empty()})

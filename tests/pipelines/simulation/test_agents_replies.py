"""What can be said to a user, and the search tool."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.simulation.agents.asking import Misfit
from pipelines.simulation.agents.replies import REPLY_CHARACTERS, SEARCH, quoted, step
from pipelines.simulation.agents.tools import KNOWN_CHARACTERS, MOST_KNOWN, MOST_SEARCHES, TOP, Tools
from pipelines.simulation.parts import Item, Search
from tests.simulated import played
from warehouse.tables.simulation import ACTIONS


def item(title: str, item_id: str = "i") -> Item:
    return Item(item_id, title, f"Title: {title}\nGenres: Drama")


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ("Salt Road", 'How about "Salt Road"?'),
        ("Salt Road", 'How about "Salt Road?"'),
        ("Salt Road", 'How about "Salt Road," then?'),
        ("Salt Road", "How about “SALT\u00a0road” then?"),
        ("Salt Road", "«Salt Road»"),
        ("Salt Road", 'I mean "Salt Road (1994)".'),
        ("Ninth Harbour (1994)", '"Ninth Harbour (1994)"'),
        ("Anna's Oven – Reheated", '"Anna’s Oven - Reheated"'),
        ('The "Quiet" Oven', "\"The 'Quiet' Oven\""),
        ('The "Quiet" Oven', '"The "Quiet" Oven"'),
        ("Up [3D] (a.k.a. $*?)", '"Up [3D] (a.k.a. $*?)"'),
        ("Straße", '"STRASSE"'),
        ("Salt &amp; Sea", '"Salt & Sea"'),
    ],
)
def test_titles_in_quotes_are_found(title: str, text: str) -> None:
    assert quoted(text, [item(title)]) == [item(title)]


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ("Salt Road", "How about Salt Road?"),
        ("Salt Road", "How about 'Salt Road'?"),
        ("Salt Road", 'How about "Salt"?'),
        ("Salt Road", 'How about "The Salt Road"?'),
        ("Salt Road", 'How about "Salt Road II"?'),
        ("It", 'I like it: "Is it good?"'),
        ("", '""'),
        (" ", '" "'),
    ],
)
def test_what_is_no_full_title_in_quotes_is_not(title: str, text: str) -> None:
    assert quoted(text, [item(title)]) == []


@given(st.text(min_size=1, max_size=60))
def test_any_title_can_be_quoted(title: str) -> None:
    assert bool(quoted(f'Try "{title}" tonight.', [item(title)])) == bool(title.strip())


def value(action: str, text: str) -> dict[str, str]:
    return {"action": action, "text": text, "reasoning": "hm"}


@pytest.mark.parametrize("action", [*ACTIONS, SEARCH])
@pytest.mark.parametrize("text", ["", " \n ", "...", '""', "\u200b"])
def test_empty_texts_are_misfits(action: str, text: str) -> None:
    with pytest.raises(Misfit, match="empty"):
        step(value(action, text), [item("Salt Road")], allowed=(*ACTIONS, SEARCH))


def test_other_actions_are_misfits() -> None:
    for action in ("sing", SEARCH, "", "Recommend"):
        with pytest.raises(Misfit, match="one of: ask, recommend, respond"):
            step(value(action, '"Salt Road"'), [item("Salt Road")])


def test_a_recommendation_of_nothing_is_a_misfit() -> None:
    for text in ("Salt Road", 'How about "Heron"?'):
        with pytest.raises(Misfit, match="double quotes"):
            step(value("recommend", text), [item("Salt Road")])
    with pytest.raises(Misfit, match="double quotes"):
        step(value("recommend", '"Salt Road"'), [])
    assert step(value("recommend", ' "Salt Road"\n'), [item("Salt Road")]).text == '"Salt Road"'


def test_a_title_beyond_what_is_kept_of_a_reply_does_not_count() -> None:
    late = "a" * REPLY_CHARACTERS + '"Salt Road"'
    with pytest.raises(Misfit):
        step(value("recommend", late), [item("Salt Road")])


def test_a_search_is_said_to_nobody() -> None:
    with pytest.raises(ValueError, match="nobody"):
        _ = step(value(SEARCH, "maps"), [], allowed=(SEARCH,)).spoken


def search(tools: Tools, query: str, found: list[Item]) -> list[Search]:
    """Search once; what was looked up for it."""
    looked: list[Search] = []

    def look(wanted: Search) -> list[Item]:
        looked.append(wanted)
        return found

    played(tools.search(query), lambda request: None, look)
    return looked


def test_searches_are_limited_and_need_a_query() -> None:
    tools = Tools("film", {})
    for number in range(MOST_SEARCHES):
        assert search(tools, f"query {number}", []) == [Search("film", f"query {number}", TOP)]
    assert tools.searches_left == 0
    with pytest.raises(ValueError, match="more than 4"):
        search(tools, "one more", [])
    with pytest.raises(ValueError, match="empty"):
        search(Tools("film", {}), " \n", [])


def test_items_come_once_in_the_order_they_were_found() -> None:
    first, second, third = item("A", "1"), item("B", "2"), item("C", "3")
    known = Tools("film", {}).reply("ask", "?", []).memory
    assert known == {"known": []}
    tools = Tools(
        "film", {"known": [{"item_id": "3", "title": "C", "text": "old"}, {"item_id": "4", "title": "D", "text": ""}]}
    )
    search(tools, "a", [second, first])
    assert search(tools, "A ", []) == [], "the same again is not looked up"
    search(tools, "b", [first, third])
    assert tools.found == (second, first, third)
    assert [each.item_id for each in tools.candidates] == ["2", "1", "3", "4"]
    assert tools.queries == ["a", "A", "b"]


def test_what_is_remembered_is_bounded_and_titles_stay_whole() -> None:
    title = "A very long title " * 20
    many: list[dict[str, Any]] = [{"item_id": str(n), "title": title, "text": "x" * 5_000} for n in range(50)]
    memory = Tools("film", {"known": many}).reply("respond", "Well.", ["one\n two", "three"], mood="calm").memory
    assert len(memory["known"]) == MOST_KNOWN and memory["mood"] == "calm"
    assert all(each["title"] == title and len(each["text"]) == KNOWN_CHARACTERS for each in memory["known"])
    assert Tools("film", {}).reply("respond", "Well.", ["one\n two", "", "three"]).reasoning == "one two\n\nthree"

"""He et al.'s rules: lists read, titles matched, rows and figures by hand."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.reranking.zero_shot import Turn, figures, grade, listed_titles, name_of, nearest

NAMES = ("Heat", "Cats", "Alien", "Crime", "The Ring")


def test_a_list_begins_at_the_first_one() -> None:
    text = "I like 20 films. 11. is not it.\n\n1. Heat (1995)\n2. The Ring\n\nEnjoy"
    assert listed_titles(text) == ["Heat", "The Ring", "Enjoy"]
    assert listed_titles("no list") == []


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ("<http://dbpedia.org/resource/Heat_(1995_film)>", "Heat"),
        ("http://dbpedia.org/resource/Spider-Man_2", "Spider Man 2"),
        ("<http://dbpedia.org/resource/Tom_%22T%22_Hill>", 'Tom "T" Hill'),
        ("Spider-Man (2002)", "Spider-Man"),
    ],
)
def test_entries_become_names_without_years(entry: str, name: str) -> None:
    assert name_of(entry) == name


def test_the_nearest_name_within_two_edits_is_meant() -> None:
    found = nearest(["heat", "Het", "Hxxt", "Hxxx", "Casts", "Completely different"], NAMES)
    assert found == {
        "heat": ("Heat", 0),
        "Het": ("Heat", 1),
        "Hxxt": ("Heat", 2),
        "Hxxx": None,
        "Casts": ("Cats", 1),
        "Completely different": None,
    }


def test_of_names_equally_near_the_first_is_meant() -> None:
    assert nearest(["bat"], ["cat", "rat"])["bat"] == ("cat", 1)
    assert nearest(["bat"], ["rat", "cat"])["bat"] == ("rat", 1)
    assert nearest(["bat"], [])["bat"] is None


def edits(one: str, other: str) -> int:
    """Levenshtein's distance, by its recursion."""
    row = list(range(len(other) + 1))
    for at, letter in enumerate(one, start=1):
        before, row[0] = row[0], at
        for to, wanted in enumerate(other, start=1):
            before, row[to] = row[to], min(row[to] + 1, row[to - 1] + 1, before + (letter != wanted))
    return row[-1]


WORDS = st.text("abAB ", max_size=6)


@given(st.lists(WORDS, max_size=6), st.lists(WORDS.filter(bool), min_size=1, max_size=6, unique=True))
def test_matching_is_the_plain_definition(titles: list[str], names: list[str]) -> None:
    for title, match in nearest(titles, names).items():
        distances = [edits(title.lower(), name.lower()) for name in names]
        least = min(distances)
        assert match == ((names[distances.index(least)], least) if least <= 2 else None)


LISTS = [["Unheard Of", "Crime", "Heat", "Alien"], ["Cats"], []]
TURNS = [
    Turn("d1", ("Heat", "Crime"), frozenset({"Crime"})),
    Turn("d1", ("Alien",), frozenset()),
    Turn("d2", ("The Ring",), frozenset()),
]


@pytest.mark.parametrize(
    ("drop_oov", "drop_seen", "ranks"),
    [
        (False, False, [3, 2, None, None]),
        (True, False, [2, 1, None, None]),
        (False, True, [2, None, None]),
        (True, True, [1, None, None]),
    ],
)
def test_switches_drop_titles_and_labels(drop_oov: bool, drop_seen: bool, ranks: list[int | None]) -> None:
    assert grade(LISTS, TURNS, NAMES, drop_oov, drop_seen)["rank"].to_list() == ranks


def test_lists_and_turns_are_as_many() -> None:
    with pytest.raises(ValueError, match="2 lists for 3 turns"):
        grade(LISTS[:2], TURNS, NAMES, True, True)


def test_figures_are_means_over_rows() -> None:
    rows = pl.DataFrame(
        {"cluster": ["a", "a", "b", "c"], "label": list("wxyz"), "rank": [1, 3, None, 12]},
        schema_overrides={"rank": pl.Int64},
    )
    found = {(each.metric, each.k): each for each in figures(rows, 100)}
    assert {key: each.value for key, each in found.items()} == pytest.approx(
        {
            ("recall", 1): 0.25,
            ("recall", 5): 0.5,
            ("recall", 10): 0.5,
            ("recall", 20): 0.75,
            ("ndcg", 10): (1 + 0.5) / 4,
        }
    )
    assert all(each.low <= each.value <= each.high and (each.n, each.clusters) == (4, 3) for each in found.values())
    assert found["recall", 10].chance == pytest.approx(0.1)
    assert found["ndcg", 10].chance == pytest.approx(sum(1 / math.log2(r + 1) for r in range(1, 11)) / 100)
    assert figures(rows.clear(), 100) == []


def test_chance_is_what_a_random_order_gives() -> None:
    random = np.random.default_rng(1)
    ranks = random.integers(1, 51, 200_000)
    rows = pl.DataFrame({"cluster": (np.arange(len(ranks)) % 50).astype(str), "label": "x", "rank": ranks})
    for each in figures(rows, 50):
        assert each.value == pytest.approx(each.chance, abs=0.005)

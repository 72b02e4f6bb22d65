"""ROUGE-L against values worked out by hand, and the largest of all pairs against a slow reading of the definition."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.simulation.diversity import largest_rouge_l, rouge_l, text_of


def longest_common(first: list[str], second: list[str]) -> int:
    """Length of the longest common subsequence, by the recursion that defines it."""
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, left in enumerate(first):
        for j, right in enumerate(second):
            table[i + 1][j + 1] = table[i][j] + 1 if left == right else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


@pytest.mark.parametrize(
    ("first", "second", "value"),
    [
        # Lin (2004), section 3.2: police killed the gunman / police kill the gunman: L = 3 of 4 and 4.
        ("police killed the gunman", "police kill the gunman", 0.75),
        # The same reference, the other candidate: "the gunman" in order, L = 2 of 4 and 4.
        ("police killed the gunman", "the gunman kill police", 0.5),
        # L = 2 of 2 and 4: P = 1, R = 1/2, F1 = 2/3.
        ("a b", "a x b y", 2 / 3),
        ("a b c", "c b a", 1 / 3),
        ("Same, words!", "same words", 1.0),
        ("one", "two", 0.0),
        ("", "two", 0.0),
        ("", "", 0.0),
    ],
)
def test_rouge_l_by_hand(first: str, second: str, value: float) -> None:
    assert rouge_l(first, second) == pytest.approx(value, abs=1e-12) == rouge_l(second, first)


def test_the_largest_to_any_other() -> None:
    # a-b: L = 2 of 3 and 3: 2/3; a-c: 0; b-c: L = 1 of 3 and 1: 2/4.
    assert largest_rouge_l(["the cat sat", "the cat ran", "ran"]) == pytest.approx([2 / 3, 2 / 3, 0.5])


def test_nobody_is_compared_with_itself() -> None:
    assert largest_rouge_l([]) == [] and largest_rouge_l(["alone"]) == [None]
    assert largest_rouge_l(["one two", "three"]) == [0.0, 0.0]
    assert largest_rouge_l(["twin here", "twin here"]) == [1.0, 1.0]
    assert largest_rouge_l(["", ""]) == [0.0, 0.0]


words = st.lists(st.sampled_from("abcde"), max_size=8).map(" ".join)


@given(st.lists(words, min_size=2, max_size=6))
def test_all_pairs_at_once_equal_the_definition(texts: list[str]) -> None:
    expected = []
    for at, text in enumerate(texts):
        others = texts[:at] + texts[at + 1 :]
        found = [(longest_common(text.split(), other.split()), len(text.split()) + len(other.split())) for other in others]  # fmt: skip
        expected.append(max(2 * common / both if both else 0.0 for common, both in found))
    assert largest_rouge_l(texts) == pytest.approx(expected)


def test_more_words_than_there_are_characters_below_the_surrogates_and_more_texts_than_a_block() -> None:
    # Every word of letters alone, all different: 60,000 of them reach past the code points that cannot stand in a text.
    letters = "abcdefghijklmnopqrstuvwxyz"
    many = [a + b + c + d for a in letters[:4] for b in letters for c in letters for d in letters][:60_000]
    texts = [" ".join(many[start : start + 100]) for start in range(0, 60_000, 100)]
    texts[550] = texts[599]
    found = largest_rouge_l(texts)
    assert [at for at, value in enumerate(found) if value] == [550, 599] and found[550] == 1.0


def test_traits_in_order_and_those_left_out() -> None:
    assert text_of({"tone": "Warm.", "activities": "Looks.", "interests": ""}) == "Looks. Warm."


@pytest.mark.real_data
def test_what_was_inferred_is_more_diverse_than_what_was_drawn(real_data: Path) -> None:
    # ECPO, figure 4, on the personas that its authors released.
    def mean(name: str, key: str) -> float:
        rows = [json.loads(line) for line in (real_data / "ecpo" / "persona" / name).read_text().splitlines()]
        found = largest_rouge_l([_flat(row[key]) for row in rows])
        assert len(found) == 100 and None not in found
        return sum(value for value in found if value is not None) / len(found)

    assert mean("personas_v0.jsonl", "FilledValues") == pytest.approx(0.300, abs=0.001)
    assert mean("random_personas.jsonl", "Persona") == pytest.approx(0.833, abs=0.001)


def _flat(value: Any) -> str:
    return " ".join(map(_flat, value.values())) if isinstance(value, dict) else str(value)

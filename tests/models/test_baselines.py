"""Scores of baselines against values worked out by hand, and the draws that they and the sampled protocols rest on."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import baselines, hashing, negatives
from models.baselines import build, copy_last, markov, popularity, random, sequences_of

COUNTS = np.array([5, 0, 9, 2])


def arrays(*histories: list[int]) -> list[np.ndarray]:
    return [np.array(each, dtype=np.int64) for each in histories]


def test_popularity_is_the_count_whatever_the_history() -> None:
    scores = popularity(COUNTS)(["a", "b"], arrays([2], []))
    assert scores.tolist() == [[5, 0, 9, 2], [5, 0, 9, 2]]


def test_the_last_film_comes_first_then_popularity() -> None:
    scores = copy_last(COUNTS)(["a", "b"], arrays([2, 1], []))
    # The earlier film 2 keeps its place by popularity.
    assert np.argsort(-scores[0]).tolist() == [1, 2, 0, 3]
    assert np.argsort(-scores[1]).tolist() == [2, 0, 3, 1]


def test_random_depends_on_example_and_seed_alone() -> None:
    score = random(50, 7)
    first, second = score(["a", "b"], arrays([], [1]))
    assert np.array_equal(score(["b"], arrays([3]))[0], second)
    assert not np.array_equal(first, second)
    assert not np.array_equal(random(50, 8)(["a"], arrays([]))[0], first)


def test_markov_by_hand() -> None:
    # Sequence 0 1 2 with window 2: 0->1 (1), 1->2 (1), 0->2 (1/2).
    score = markov(sequences_of([([0, 1, 2], 1)]), np.array([1, 1, 1]), window=2, history_length=2)
    shares_of_0 = np.array([0, 1 / 1.5, 0.5 / 1.5])
    shares_of_1 = np.array([0, 0, 1.0])
    tie = 1e-9
    got = score(["a", "b"], arrays([0, 1], [1, 0]))
    assert got[0] == pytest.approx(shares_of_1 + shares_of_0 / 2 + tie, abs=1e-15)
    assert got[1] == pytest.approx(shares_of_0 + shares_of_1 / 2 + tie, abs=1e-15)


def test_markov_counts_transitions_into_targets_only_and_not_across_sequences() -> None:
    # Of the first sequence only the last item is a target; nothing leads from it into the second one.
    score = markov(sequences_of([([0, 1, 2], 2), ([3, 0], 1)]), np.ones(4), window=3, history_length=1)
    by_0, by_1, by_2 = score(["a", "b", "c"], arrays([0], [1], [2]))
    assert by_0.argmax() == 2 and by_1.argmax() == 2
    assert by_0[1] == by_0[3] == pytest.approx(1e-9)
    assert len(set(by_2)) == 1


def test_markov_falls_back_to_popularity() -> None:
    score = markov(sequences_of([([0, 1], 1)]), COUNTS)
    assert np.argsort(-score(["a"], arrays([]))[0]).tolist() == [2, 0, 3, 1]
    # Film 1 followed film 0, so it is first though nobody else watched it; the others are by popularity.
    assert np.argsort(-score(["a"], arrays([0]))[0]).tolist() == [1, 2, 0, 3]


@given(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=8), min_size=1, max_size=6), st.integers(1, 4))
def test_markov_equals_counting_pair_by_pair(sequences: list[list[int]], window: int) -> None:
    table = np.zeros((6, 6))
    for sequence in sequences:
        for later in range(1, len(sequence)):
            for distance in range(1, min(window, later) + 1):
                table[sequence[later - distance], sequence[later]] += 1 / distance
    totals = table.sum(1, keepdims=True)
    shares = np.divide(table, totals, out=np.zeros_like(table), where=totals > 0)
    history = sequences[0]
    expected = sum(shares[item] / place for place, item in enumerate(history[::-1][:3], start=1))
    score = markov(sequences_of([(each, 1) for each in sequences]), np.zeros(6), window, history_length=3)
    assert score(["a"], arrays(history))[0] == pytest.approx(expected, abs=1e-12)


def test_without_sequences_markov_is_popularity() -> None:
    assert np.argsort(-markov(sequences_of([]), COUNTS)(["a"], arrays([0]))[0])[0] == 2


def test_every_baseline_can_be_built_and_no_other() -> None:
    for name in baselines.BASELINES:
        assert build(name, COUNTS, lambda: sequences_of([([0, 1], 1)]), 0)(["a"], arrays([1])).shape == (1, 4)
    with pytest.raises(KeyError):
        build("oracle", COUNTS, lambda: sequences_of([]), 0)


def test_the_warehouse_knows_the_same_baselines() -> None:
    from warehouse.tables.ranking_evaluation import BASELINES

    assert BASELINES == baselines.BASELINES


def test_hashes_are_the_same_in_another_process() -> None:
    code = (
        "import numpy as np; from models import hashing, negatives;"
        "print(hashing.key('a', 1), hashing.order(5).tolist(), negatives.uniform('x', 1000, np.array([3]), 5).tolist(),"
        " negatives.ByPopularity(np.arange(9)).draw('x', np.array([8]), 4).tolist())"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    here = negatives.uniform("x", 1000, np.array([3]), 5).tolist()
    drawn = negatives.ByPopularity(np.arange(9)).draw("x", np.array([8]), 4).tolist()
    assert other == f"{hashing.key('a', 1)} {hashing.order(5).tolist()} {here} {drawn}"


def test_the_order_of_ties_is_a_permutation_that_keeps_when_films_are_added() -> None:
    few, many = hashing.order(20), hashing.order(50)
    assert sorted(few) == list(range(20))
    assert [item for item in many if item < 20] == few.tolist()
    assert few.tolist() != sorted(few)


@given(st.integers(1, 60), st.data())
def test_negatives_are_different_allowed_and_as_many_as_there_can_be(items: int, data: st.DataObject) -> None:
    left_out = np.array(sorted(data.draw(st.sets(st.integers(0, items - 1)))), dtype=np.int64)
    size = data.draw(st.integers(1, 30))
    counts = np.array(data.draw(st.lists(st.integers(0, 3), min_size=items, max_size=items)))
    name = data.draw(st.text(max_size=5))
    for drawn in (
        negatives.uniform(name, items, left_out, size),
        negatives.ByPopularity(counts).draw(name, left_out, size),
    ):
        assert len(drawn) == len(set(drawn.tolist())) == min(size, items - len(left_out))
        assert not np.isin(drawn, left_out).any()
        assert ((drawn >= 0) & (drawn < items)).all()


def test_films_that_nobody_watched_are_popularity_negatives_only_when_others_run_out() -> None:
    counts = np.array([3, 0, 1, 0, 2, 0])
    drawn = negatives.ByPopularity(counts).draw("x", np.array([], dtype=np.int64), 5)
    assert set(drawn[:3].tolist()) == {0, 2, 4}
    assert set(drawn[3:].tolist()) <= {1, 3, 5}


def test_uniform_negatives_are_uniform_and_popularity_negatives_popular() -> None:
    none = np.array([], dtype=np.int64)
    trials = 4000
    uniform = np.zeros(10)
    popular = np.zeros(3)
    draws = negatives.ByPopularity(np.array([6, 3, 1]))
    for at in range(trials):
        uniform[negatives.uniform(f"e{at}", 10, none, 3)] += 1
        popular[draws.draw(f"e{at}", none, 1)] += 1
    # Five standard errors.
    assert np.abs(uniform / trials - 0.3).max() < 5 * np.sqrt(0.3 * 0.7 / trials)
    assert np.abs(popular / trials - [0.6, 0.3, 0.1]).max() < 5 * np.sqrt(0.6 * 0.4 / trials)

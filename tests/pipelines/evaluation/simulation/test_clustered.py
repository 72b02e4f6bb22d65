"""Means over clustered units: the wider interval stands, and neither order nor names matter."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.evaluation.simulation.clustered import TARGET, USER, mean
from pipelines.evaluation.simulation.figures import figure

CASES = st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 5), st.integers(0, 9)), min_size=1, max_size=40)  # fmt: skip


def by(cases: list[tuple[float, int, int]], prefix: str = "") -> dict[str, list[str]]:
    return {TARGET: [f"{prefix}t{each[1]}" for each in cases], USER: [f"{prefix}u{each[2]}" for each in cases]}


@given(CASES, st.randoms(use_true_random=False))
def test_neither_order_nor_names_matter(cases: list[tuple[float, int, int]], chance: random.Random) -> None:
    shuffled = list(cases)
    chance.shuffle(shuffled)
    one = mean([each[0] for each in cases], by(cases))
    assert one == mean([each[0] for each in shuffled], by(shuffled, "other "))


@given(CASES)
def test_the_value_lies_in_its_interval_and_the_interval_in_the_bounds(cases: list[tuple[float, int, int]]) -> None:
    got = mean([each[0] for each in cases], by(cases))
    assert got.value is not None and got.low is not None and got.high is not None
    assert 0 <= got.low <= got.value <= got.high <= 1
    assert got.n == len(cases)


@given(CASES)
def test_the_wider_of_the_two_is_taken(cases: list[tuple[float, int, int]]) -> None:
    values, both = [each[0] for each in cases], by(cases)
    alone = {kind: mean(values, {kind: both[kind]}) for kind in (TARGET, USER)}
    got = mean(values, both)
    widths = {kind: (each.high or 0) - (each.low or 0) for kind, each in alone.items()}
    assert (got.high or 0) - (got.low or 0) == max(widths.values())
    assert got == alone[got.clustered_by]


@given(CASES)
def test_other_bounds_only_stretch_the_interval(cases: list[tuple[float, int, int]]) -> None:
    values = [each[0] for each in cases]
    plain, stretched = mean(values, by(cases)), mean([4 * value + 1 for value in values], by(cases), 1.0, 5.0)
    assert plain.value is not None and plain.low is not None and plain.high is not None
    expected = [4 * each + 1 for each in (plain.value, plain.low, plain.high)]
    assert [stretched.value, stretched.low, stretched.high] == pytest.approx(expected, abs=1e-6)


def test_repeats_of_a_target_widen_the_interval() -> None:
    values = [0.0, 1.0] * 20
    apart = {TARGET: [f"t{at}" for at in range(40)]}
    repeated = {TARGET: [f"t{at % 4}" for at in range(40)]}
    one, other = mean(values, apart), mean(values, repeated)
    assert one.value == other.value == 0.5
    assert (other.high or 0) - (other.low or 0) > 1.5 * ((one.high or 0) - (one.low or 0))
    assert (one.clusters, other.clusters) == (40, 4)


def test_without_variation_the_exact_bound_stands() -> None:
    # Clopper and Pearson for 0 of 10: 1 - .025 ** (1 / 10).
    got = mean([0.0] * 10, {TARGET: [f"t{at}" for at in range(10)]})
    assert (got.value, got.low, got.high) == (0, 0, pytest.approx(1 - 0.025**0.1))


def test_a_constant_is_not_certain_where_a_scale_has_room() -> None:
    # Six pairs, all ties: unseen ones may make up 1 - .025 ** (1 / 6), all won or all lost.
    seen = 0.025 ** (1 / 6)
    got = mean([0.5] * 6, {TARGET: [str(at) for at in range(6)]})
    assert (got.low, got.high) == (pytest.approx(seen / 2), pytest.approx(1 - seen / 2))
    scores = mean([3.0] * 6, {TARGET: [str(at) for at in range(6)]}, 1.0, 5.0)
    assert (scores.low, scores.high) == (pytest.approx(1 + 4 * seen / 2), pytest.approx(5 - 4 * seen / 2))
    alone = mean([0.5, 0.5], {TARGET: ["a", "a"]})
    assert (alone.low, alone.high) == (0, 1)


def test_no_bound_is_needed() -> None:
    got = mean([3.0, 9.0, 3.0, 9.0], {TARGET: ["a", "b", "c", "d"]}, highest=None)
    assert got.value == 6 and 3 <= (got.low or 0) <= 6 <= (got.high or 0) <= 9


def test_nothing_gives_nothing_and_rubbish_is_refused() -> None:
    empty = mean([], {TARGET: []})
    assert (empty.value, empty.low, empty.high, empty.n, empty.clusters) == (None, None, None, 0, 0)
    for values, clusters in (([2.0], ["a"]), ([float("nan")], ["a"]), ([-0.1], ["a"]), ([1.0], ["a", "b"])):
        with pytest.raises(ValueError, match=r"values must lie|every unit"):
            mean(values, {TARGET: clusters})
    with pytest.raises(ValueError, match="every unit"):
        mean([1.0], {})


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=20), st.integers(0, 9))
def test_the_books_of_a_figure_balance(values: list[float | None], beside: int) -> None:
    got = figure("m", values, {TARGET: [str(at) for at in range(len(values))]}, invalid_reason="why", invalid=beside)
    assert got.estimate.n + got.invalid == len(values) + beside
    assert got.estimate.n == sum(value is not None for value in values)
    assert (got.invalid_reason is None) == (got.invalid == 0)

"""Metrics against values worked out by hand and against definitions written out; chance against enumeration."""

from __future__ import annotations

from itertools import combinations, permutations
from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.evaluation.ranking.metrics import chance, per_unit
from pipelines.evaluation.ranking.protocols import Figure

INF = float("inf")
ALL = ("recall", "ndcg", "mrr", "hit_rate")


def figures(*ks: int) -> list[Figure]:
    return [Figure(metric, k) for metric in ALL for k in ks]


def units(*places: list[float]) -> tuple[np.ndarray, np.ndarray]:
    flat = np.array([place for unit in places for place in unit])
    return flat, np.repeat(np.arange(len(places)), [len(unit) for unit in places])


def test_single_labels_by_hand() -> None:
    got = per_unit(*units([1], [3], [11], [INF]), figures(10))
    assert got.tolist() == [[1, 1, 1, 1], [1, 1 / log2(4), 1 / 3, 1], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_several_labels_by_hand() -> None:
    got = per_unit(*units([2, 4, INF]), figures(3, 5))[0]
    by_name = dict(zip([(each.metric, each.k) for each in figures(3, 5)], got, strict=True))
    ideal = 1 + 1 / log2(3) + 1 / log2(4)
    assert by_name["recall", 3] == pytest.approx(1 / 3) and by_name["recall", 5] == pytest.approx(2 / 3)
    assert by_name["ndcg", 3] == pytest.approx(1 / log2(3) / ideal)
    assert by_name["ndcg", 5] == pytest.approx((1 / log2(3) + 1 / log2(5)) / ideal)
    assert by_name["mrr", 3] == by_name["mrr", 5] == 0.5
    assert by_name["hit_rate", 3] == by_name["hit_rate", 5] == 1


def test_the_ideal_holds_no_more_labels_than_fit() -> None:
    # Three labels, two places: a list with two of them on top is perfect.
    assert per_unit(*units([1, 2, 3]), [Figure("ndcg", 2)])[0, 0] == pytest.approx(1)


def written_out(places: list[float], metric: str, k: int) -> float:
    listed = {place for place in places if place <= k}
    if metric == "recall":
        return len(listed) / len(places)
    if metric == "hit_rate":
        return float(bool(listed))
    if metric == "mrr":
        return 1 / min(listed) if listed else 0.0
    best = sum(1 / log2(place + 1) for place in range(1, min(k, len(places)) + 1))
    return sum(1 / log2(place + 1) for place in listed) / best


a_unit = st.lists(st.one_of(st.integers(1, 30).map(float), st.just(INF)), min_size=1, max_size=5).filter(
    lambda places: len({p for p in places if p < INF}) == sum(p < INF for p in places)
)


@given(st.lists(a_unit, min_size=1, max_size=6), st.integers(1, 30))
def test_metrics_equal_their_definitions(places: list[list[float]], k: int) -> None:
    got = per_unit(*units(*places), figures(k))
    expected = [[written_out(unit, metric, k) for metric in ALL] for unit in places]
    assert got == pytest.approx(np.array(expected))


@given(st.lists(a_unit, min_size=1, max_size=6), st.integers(1, 29))
def test_bounds_and_order(places: list[list[float]], k: int) -> None:
    flat = units(*places)
    recall, ndcg, mrr, hit_rate = per_unit(*flat, figures(k)).T
    longer = per_unit(*flat, figures(k + 1)).T
    for values in (recall, ndcg, mrr, hit_rate):
        assert (values >= 0).all() and (values <= 1 + 1e-12).all()
    assert (hit_rate >= recall).all() and (hit_rate >= mrr).all()
    assert (per_unit(*flat, [Figure("hit_rate", 1)])[:, 0] <= mrr).all()
    for now, then in zip((recall, mrr, hit_rate), (longer[0], longer[2], longer[3]), strict=True):
        assert (then >= now).all()
    single = np.array([len(unit) == 1 for unit in places])
    assert (recall == hit_rate)[single].all() and (mrr <= ndcg)[single].all() and (ndcg <= recall)[single].all()
    assert (longer[1] >= ndcg)[single].all()


@given(a_unit, st.randoms(use_true_random=False), st.integers(1, 30))
def test_the_order_of_labels_does_not_matter(places: list[float], shuffle: object, k: int) -> None:
    mixed = places[:]
    shuffle.shuffle(mixed)  # type: ignore[attr-defined]
    assert per_unit(*units(mixed), figures(k)) == pytest.approx(per_unit(*units(places), figures(k)))


def test_no_units_give_no_values() -> None:
    assert per_unit(np.empty(0), np.empty(0, np.int64), figures(10)).shape == (0, 4)
    assert chance(np.empty(0, np.int64), np.empty(0, np.int64), figures(10)).shape == (0, 4)


def test_an_unknown_metric_is_an_error() -> None:
    with pytest.raises(ValueError, match="beauty is no metric"):
        per_unit(np.ones(1), np.zeros(1, np.int64), [Figure("beauty", 1)])


@pytest.mark.parametrize(("films", "labels"), [(1, 1), (5, 1), (5, 2), (5, 5), (6, 3)])
@pytest.mark.parametrize("k", [1, 2, 4, 9])
def test_chance_is_the_mean_over_all_orders(films: int, labels: int, k: int) -> None:
    every = [per_unit(*units(list(map(float, at))), figures(k))[0] for at in combinations(range(1, films + 1), labels)]
    got = chance(np.array([films]), np.array([labels]), figures(k))[0]
    assert got == pytest.approx(np.mean(every, axis=0))


def test_chance_of_a_label_among_99_negatives() -> None:
    got = chance(np.array([100, 100]), np.array([1, 1]), [Figure("recall", 10), Figure("recall", 50)])
    assert got.tolist() == [[0.1, 0.5], [0.1, 0.5]]


def test_chance_of_units_of_different_pools() -> None:
    got = chance(np.array([4, 2, 4]), np.array([1, 1, 2]), [Figure("hit_rate", 1), Figure("recall", 1)])
    assert got == pytest.approx(np.array([[0.25, 0.25], [0.5, 0.5], [0.5, 0.25]]))


def test_chance_of_a_large_catalogue_is_exact() -> None:
    got = chance(np.array([337_731]), np.array([3]), [Figure("hit_rate", 10)])[0, 0]
    none = 1.0
    for at in range(3):
        none *= (337_721 - at) / (337_731 - at)
    assert got == pytest.approx(1 - none, rel=1e-6)


def test_more_labels_than_films_is_an_error() -> None:
    with pytest.raises(ValueError, match="more labels than its pool has films"):
        chance(np.array([1]), np.array([2]), figures(1))


def test_every_order_of_a_pool_is_as_likely_as_the_next() -> None:
    # The label's place over all orders of five films, one by one.
    places = [order.index(0) + 1 for order in permutations(range(5))]
    mean = per_unit(np.array(places, float), np.arange(len(places)), figures(3)).mean(axis=0)
    assert chance(np.array([5]), np.array([1]), figures(3))[0] == pytest.approx(mean)

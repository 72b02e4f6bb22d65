"""Intervals and tests: against simple resampling, scipy's own tests, worked examples, and in simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipelines.evaluation.ranking.comparisons import bonferroni, holm, paired
from pipelines.evaluation.ranking.intervals import (
    BINOMIAL,
    BOOTSTRAP,
    NOT_GIVEN,
    RESAMPLES,
    cluster_sums,
    estimate,
    weights,
)


def clustered(random: np.random.Generator, clusters: int) -> tuple[np.ndarray, np.ndarray]:
    """Hits whose probability differs from cluster to cluster (mean .3), in clusters of 1 to 6."""
    sizes = random.integers(1, 7, clusters)
    chances = random.beta(1.5, 3.5, clusters)
    cluster = np.repeat(np.arange(clusters), sizes)
    return (random.random(len(cluster)) < chances[cluster]).astype(float)[:, None], cluster


def test_every_resample_draws_as_many_clusters_as_there_are() -> None:
    drawn = weights(7)
    assert drawn.shape == (RESAMPLES, 7)
    assert (drawn.sum(axis=1) == 7).all()
    assert np.array_equal(drawn, weights(7)) and not np.array_equal(drawn, weights(7, seed=1))


def test_sums_by_cluster_by_hand() -> None:
    values = np.array([[1.0, 10], [2, 20], [4, 40]])
    assert cluster_sums(values, np.array([2, 0, 2]), 4).tolist() == [[2, 20], [0, 0], [5, 50], [0, 0]]


def test_the_bootstrap_is_that_of_resampled_clusters() -> None:
    values, cluster = clustered(np.random.default_rng(3), 12)
    drawn = weights(12, resamples=50)
    means = []
    for row in drawn:
        chosen = np.repeat(np.arange(12), row.astype(int))
        means.append(np.concatenate([values[cluster == each, 0] for each in chosen]).mean())
    found = estimate(values, cluster, drawn)
    assert found.value[0] == pytest.approx(values.mean())
    assert [found.low[0], found.high[0]] == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=1e-6)
    assert found.method == [BOOTSTRAP]


def test_a_slice_leaves_out_resamples_in_which_it_has_no_unit() -> None:
    drawn = weights(3)
    assert (drawn[:, :2].sum(axis=1) == 0).any()
    found = estimate(np.array([[0.0], [1.0]]), np.array([0, 1]), drawn)
    assert (found.value[0], found.low[0], found.high[0]) == (0.5, 0.0, 1.0)


def test_without_variation_the_bound_is_binomial() -> None:
    values = np.zeros((40, 2))
    values[:, 1] = 1
    found = estimate(values, np.arange(40), weights(40))
    upper = stats.beta.ppf(0.975, 1, 40)
    assert [found.low[0], found.high[0]] == pytest.approx([0, upper])
    assert [found.low[1], found.high[1]] == pytest.approx([1 - upper, 1])
    assert found.method == [BINOMIAL, BINOMIAL]


def test_one_cluster_says_nothing_and_no_units_are_an_error() -> None:
    found = estimate(np.array([[0.0], [1.0]]), np.array([0, 0]), weights(1))
    assert (found.value[0], found.low[0], found.high[0], found.method) == (0.5, 0, 1, [NOT_GIVEN])
    with pytest.raises(ValueError, match="no units"):
        estimate(np.empty((0, 1)), np.empty(0, np.int64), weights(1))


@given(st.integers(2, 8), st.integers(0, 1000))
def test_an_interval_holds_its_number(clusters: int, seed: int) -> None:
    values, cluster = clustered(np.random.default_rng(seed), clusters)
    found = estimate(values, cluster, weights(clusters, resamples=30))
    assert 0 <= found.low[0] <= found.value[0] <= found.high[0] <= 1


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    random = np.random.default_rng(8)
    drawn = weights(120, resamples=400)
    trials, covered, naive = 400, 0, 0
    # The mean over units of an endless population: sizes and chances are independent.
    truth = 1.5 / 5
    for _ in range(trials):
        values, cluster = clustered(random, 120)
        found = estimate(values, cluster, drawn)
        covered += found.low[0] <= truth <= found.high[0]
        error = 1.96 * values.std() / np.sqrt(len(values))
        naive += abs(values.mean() - truth) <= error
    # 95 % less three standard errors of the simulation, and a bit for percentile intervals of 120 clusters.
    assert 0.91 <= covered / trials <= 0.985
    # What clustering is for: units taken as independent promise too much.
    assert naive < covered


def test_one_unit_a_cluster_is_the_ordinary_paired_t_test() -> None:
    random = np.random.default_rng(0)
    one, other = random.random((2, 50))
    found = paired((one - other)[:, None], np.arange(50))
    expected = stats.ttest_rel(one, other)
    assert found.difference[0] == pytest.approx((one - other).mean())
    assert found.p_value[0] == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert [found.low[0], found.high[0]] == pytest.approx([interval.low, interval.high])


def test_clusters_of_equal_size_are_a_t_test_of_their_means() -> None:
    random = np.random.default_rng(1)
    differences = random.normal(0.1, 1, (20, 4)).clip(-1, 1)
    found = paired(differences.reshape(-1, 1), np.repeat(np.arange(20), 4))
    expected = stats.ttest_1samp(differences.mean(axis=1), 0)
    assert found.p_value[0] == pytest.approx(expected.pvalue)


def test_units_said_twice_do_not_make_a_difference_surer() -> None:
    random = np.random.default_rng(2)
    differences = random.normal(0.2, 0.5, 30).clip(-1, 1)
    once = paired(differences[:, None], np.arange(30))
    thrice = paired(np.repeat(differences, 3)[:, None], np.repeat(np.arange(30), 3))
    assert thrice.p_value[0] == pytest.approx(once.p_value[0])


def test_equal_systems_do_not_differ_and_one_cluster_is_an_error() -> None:
    found = paired(np.zeros((10, 1)), np.arange(10))
    assert (found.difference[0], found.p_value[0]) == (0, 1)
    with pytest.raises(ValueError, match="two clusters"):
        paired(np.ones((3, 1)), np.zeros(3, np.int64))


def test_differences_that_cancel_out_within_each_cluster_are_none() -> None:
    found = paired(np.array([[0.1], [-0.1], [0.3], [-0.3]]), np.array([0, 0, 1, 1]))
    assert (found.difference[0], found.p_value[0]) == (0, 1)


def test_a_true_null_is_rejected_about_as_often_as_it_should_be() -> None:
    random = np.random.default_rng(5)
    columns = []
    for _ in range(300):
        values, cluster = clustered(np.random.default_rng(6), 80)
        flips = random.choice([-1.0, 1.0], 80)[cluster]
        columns.append(values[:, 0] * flips)
    rejected = (paired(np.stack(columns, axis=1), cluster).p_value < 0.05).mean()
    assert 0.01 <= rejected <= 0.09


def test_corrections_by_hand() -> None:
    p_values = np.array([0.01, 0.04, 0.03, 0.5])
    assert bonferroni(p_values).tolist() == [0.04, 0.16, 0.12, 1.0]
    # Sorted: .01 * 4, .03 * 3, .04 * 2 (not below .09), .5 * 1.
    assert holm(p_values) == pytest.approx([0.04, 0.09, 0.09, 0.5])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_corrections_never_help(values: list[float]) -> None:
    p_values = np.array(values)
    assert (p_values <= holm(p_values) + 1e-15).all()
    assert (holm(p_values) <= bonferroni(p_values) + 1e-15).all() and (bonferroni(p_values) <= 1).all()
    smallest = p_values.argmin()
    assert holm(p_values)[smallest] == pytest.approx(bonferroni(p_values)[smallest])

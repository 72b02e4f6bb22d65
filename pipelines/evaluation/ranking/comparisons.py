"""Which systems differ: paired tests on the same units, and their correction for being many.

The difference of two means over units in clusters is a ratio: D = sum_c d_c / sum_c n_c, where d_c is the sum of the paired differences in
cluster c and n_c its number of units. Its variance is that of the mean of

    z_c = D + C (d_c - D n_c) / sum_c n_c,   c = 1 .. C,

(the ratio linearised; the mean of z is D). The test is a t-test of z against 0, so that it agrees with the difference it is printed beside;
with one unit in each cluster it is the ordinary paired t-test. Source: Cochran 1977, section 6.3; Holm 1979.

Belongs here: arrays in, arrays out. Does not belong here: what is compared (`evaluate.py`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.evaluation.ranking.intervals import LEVEL, cluster_sums

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Means of differences of figures up to 1 are exact to this much.
_ROUNDING = 1e-12


class Differences(NamedTuple):
    """Mean differences, their intervals and two-sided p-values, [M] each."""

    difference: Floats
    low: Floats
    high: Floats
    p_value: Floats


def paired(differences: Floats, cluster: Ints) -> Differences:
    """Test columns of paired `differences [U, M]` against 0; `cluster [U]`: number of the cluster of each unit.

    A column whose differences are nought, or cancel out, has p = 1. Raises ValueError with fewer than two clusters.
    """
    from scipy.special import stdtr, stdtrit

    present, number = np.unique(cluster, return_inverse=True)
    clusters = len(present)
    if clusters < 2:
        raise ValueError("a test needs two clusters at least")
    sums, sizes = cluster_sums(differences, number, clusters), np.bincount(number).astype(np.float64)
    mean = sums.sum(0) / sizes.sum()
    linear = mean + clusters * (sums - mean * sizes[:, None]) / sizes.sum()
    error = linear.std(axis=0, ddof=1) / np.sqrt(clusters)
    reach = stdtrit(clusters - 1, (1 + LEVEL) / 2) * error
    # Where differences cancel out within each cluster, mean and error are both nought, or what rounding left of it.
    is_equal = np.abs(mean) <= _ROUNDING
    with np.errstate(divide="ignore", invalid="ignore"):
        p_value = np.where(is_equal, 1.0, 2 * stdtr(clusters - 1, -np.abs(mean) / error))
    return Differences(mean, np.clip(mean - reach, -1, 1), np.clip(mean + reach, -1, 1), p_value)


def bonferroni(p_values: Floats) -> Floats:
    """Each times the number of tests, at most 1."""
    return np.minimum(1.0, p_values * len(p_values))


def holm(p_values: Floats) -> Floats:
    """By Holm's step-down: the i-th smallest of m times m - i + 1, never less than those before it, at most 1."""
    order = np.argsort(p_values, kind="stable")
    stepped = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    adjusted = np.empty_like(stepped)
    adjusted[order] = np.minimum(1.0, stepped)
    return adjusted

"""95 % intervals of means over units that come in clusters: labels of a dialogue, examples of a user.

A cluster bootstrap: whole clusters are drawn with replacement, RESAMPLES times with a fixed seed, and the mean is taken as the ratio of sums
over the clusters drawn; the interval runs from the 2.5th to the 97.5th percentile. It holds for new dialogues (users) of the same kind with
the same trained weights; for a mean over seeds, with these seeds.

Source: Efron and Tibshirani 1993, chapter 13 (percentile intervals); Cameron, Gelbach and Miller 2008 (resampling of clusters).
Where all units have the value 0, or all 1, resampling shows no variation; there the exact binomial bound for the clusters is given (Clopper
and Pearson 1934). One cluster gives no interval but [0, 1].
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
SEED = 42
LEVEL = 0.95

BOOTSTRAP = f"cluster bootstrap, {RESAMPLES:,} resamples, percentile"
BINOMIAL = "exact binomial bound on clusters: no variation"
NOT_GIVEN = "none: one cluster"

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Estimates(NamedTuple):
    """Means with their intervals [M] each, and how each was made."""

    value: Floats
    low: Floats
    high: Floats
    method: list[str]


def weights(clusters: int, resamples: int = RESAMPLES, seed: int = SEED) -> NDArray[np.float32]:
    """How often each cluster is drawn in each resample: [resamples, clusters], rows add up to `clusters`."""
    drawn = np.random.default_rng(seed).integers(0, clusters, (resamples, clusters))
    drawn += clusters * np.arange(resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=resamples * clusters).reshape(resamples, clusters).astype(np.float32)


def cluster_sums(values: Floats, cluster: Ints, clusters: int) -> Floats:
    """Sums of `values [U, M]` by `cluster [U]`: [clusters, M]."""
    order = np.argsort(cluster, kind="stable")
    present, starts = np.unique(cluster[order], return_index=True)
    sums = np.zeros((clusters, values.shape[1]))
    if len(starts):
        sums[present] = np.add.reduceat(values[order], starts, axis=0)
    return sums


def estimate(values: Floats, cluster: Ints, drawn: NDArray[np.float32]) -> Estimates:
    """Means of the columns of `values [U, M]`, which lie between 0 and 1, and their intervals.

    `cluster [U]`: numbers of clusters, below drawn.shape[1]; `drawn`: see `weights`. The units may be a part of those of all clusters (a
    slice); resamples in which none of them is drawn are left out. Raises ValueError without units.
    """
    if not len(values):
        raise ValueError("there are no units to average over")
    sums = cluster_sums(values, cluster, drawn.shape[1])
    sizes = np.bincount(cluster, minlength=drawn.shape[1]).astype(np.float64)
    value = sums.sum(0) / sizes.sum()
    totals = drawn @ sizes.astype(np.float32)
    usable = totals > 0
    means = (drawn[usable] @ sums.astype(np.float32)) / totals[usable, None]
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(means, (tail, 1 - tail), axis=0).astype(np.float64)
    there = int((sizes > 0).sum())
    method = [BOOTSTRAP] * len(value)
    for at in range(len(value)):
        if there == 1:
            low[at], high[at], method[at] = 0.0, 1.0, NOT_GIVEN
        elif not values[:, at].any():
            low[at], high[at], method[at] = 0.0, 1 - tail ** (1 / there), BINOMIAL
        elif (values[:, at] == 1).all():
            low[at], high[at], method[at] = tail ** (1 / there), 1.0, BINOMIAL
    # With a handful of clusters a percentile may leave the mean itself out.
    return Estimates(value, np.clip(np.minimum(low, value), 0, 1), np.clip(np.maximum(high, value), 0, 1), method)

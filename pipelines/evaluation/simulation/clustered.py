"""Means whose units come in clusters of several kinds: the interval by each kind, and the wider one of them.

Simulated tasks repeat targets and users (the 100 tasks that ECPO ships logs for have 50 targets), so units that share one are no independent evidence. Does not belong
here: the bootstrap itself (pipelines/evaluation/ranking/intervals.py), what is averaged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipelines.evaluation.ranking import intervals
from pipelines.evaluation.ranking.intervals import Floats

# Kinds of clusters, as the column `clustered_by` names them.
TARGET, USER, EPISODE, DIALOGUE = "target", "user", "episode", "dialogue"


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` units, its 95 % interval, and the clusters that the interval rests on. Without units, value and interval are None."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    clusters: int
    clustered_by: str


def mean(
    values: Sequence[float], by: Mapping[str, Sequence[str]], lowest: float = 0.0, highest: float | None = 1.0
) -> Estimate:
    """Mean of `values [U]`, each from `lowest` to `highest` (None: no bound is known), with the widest interval over the clusterings.

    `by`: the cluster of each unit [U], for each kind of cluster; of two equal intervals the first kind's stands. Neither the order of the units nor the clusters' names matter. Where all
    units have one value, resampling shows no variation: see `_unseen`. Raises ValueError for values outside of their bounds, and for clusterings of
    another length.
    """
    kinds = list(by)
    if not kinds or any(len(by[kind]) != len(values) for kind in kinds):
        raise ValueError("every unit needs its cluster of each kind")
    if not len(values):
        return Estimate(None, None, None, 0, 0, kinds[0])
    plain = np.asarray(values, dtype=np.float64)
    if not np.isfinite(plain).all() or plain.min() < lowest or (highest is not None and plain.max() > highest):
        raise ValueError(f"values must lie between {lowest} and {highest}")
    # Where no bound is known, twice the largest value leaves room, so that no unit seems to sit on a bound.
    span = (highest if highest is not None else 2 * max(float(plain.max()), 1.0)) - lowest
    value = math.fsum(plain) / len(plain)
    found = [_by_one(plain, value, by[kind], lowest, span, kind, highest is not None) for kind in kinds]
    return max(found, key=lambda each: (each.high or 0) - (each.low or 0))


def _by_one(
    values: Floats, value: float, clusters: Sequence[str], lowest: float, span: float, kind: str, is_bounded: bool
) -> Estimate:
    members: dict[str, list[float]] = {}
    for cluster, each in zip(clusters, (values - lowest) / span, strict=True):
        members.setdefault(cluster, []).append(float(each))
    # In an order that neither names of clusters nor the order of units have a part in: the same evidence gives the same interval to the last bit.
    ordered = sorted(sorted(own) for own in members.values())
    scaled = np.concatenate([np.asarray(own) for own in ordered])[:, None]
    numbers = np.repeat(np.arange(len(ordered), dtype=np.int64), [len(own) for own in ordered])
    got = intervals.estimate(scaled, numbers, _drawn(len(ordered)))
    low, high = (float(lowest + span * part[0]) for part in (got.low, got.high))
    if is_bounded and scaled.min() == scaled.max():
        low, high = (lowest + span * bound for bound in _unseen(float(scaled[0, 0]), len(ordered)))
    return Estimate(value, min(low, value), max(high, value), len(values), len(ordered), kind)


def _unseen(value: float, clusters: int) -> tuple[float, float]:
    """Bounds of a mean where every one of so many clusters has the same value, 0..1: what was not seen may make up 1 - tail ** (1 / clusters), at either end of the scale.

    For 0 and 1 these are the exact binomial bounds (Clopper and Pearson 1934). One cluster says nothing.
    """
    if clusters == 1:
        return 0.0, 1.0
    seen = ((1 - intervals.LEVEL) / 2) ** (1 / clusters)
    return value * seen, value * seen + 1 - seen


@lru_cache(maxsize=64)
def _drawn(clusters: int) -> NDArray[np.float32]:
    return intervals.weights(clusters)

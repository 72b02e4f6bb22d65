"""Recall, NDCG, MRR and hit rate at any cut-off, from places of labels; and what a random order would give, exactly.

A unit (a label or a turn) has G labels at places r_1 .. r_G, counted from 1; no place is infinity. With [.] 1 or 0:

    recall@k    sum_g [r_g <= k] / G
    hit_rate@k  [min_g r_g <= k]
    mrr@k       [min_g r_g <= k] / min_g r_g
    ndcg@k      sum_g [r_g <= k] / log2(r_g + 1)  /  sum_{i = 1 .. min(G, k)} 1 / log2(i + 1)

For G = 1, recall and hit rate are the same and NDCG is 1 / log2(r + 1). Source: Järvelin and Kekäläinen 2002 (NDCG with binary gain);
He et al. 2023 for single labels.

Belongs here: arrays in, arrays out. Does not belong here: which labels count (`evaluate.py`), intervals (`intervals.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.evaluation.ranking.protocols import Figure

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def per_unit(places: Floats, unit: Ints, figures: Sequence[Figure]) -> Floats:
    """The figures of every unit: [U, len(figures)].

    `places [n]`: of each label, from 1, inf where it has none. `unit [n]`: the label's unit; units are 0..U-1, each with a label, in
    ascending order.
    """
    starts = _starts(unit)
    golds = np.diff(np.append(starts, len(unit)))
    best = np.minimum.reduceat(places, starts) if len(unit) else np.empty(0)
    values = np.empty((len(starts), len(figures)))
    for at, (metric, k) in enumerate((each.metric, each.k) for each in figures):
        found = places <= k
        if metric == "recall":
            values[:, at] = _sums(found.astype(np.float64), starts) / golds
        elif metric == "hit_rate":
            values[:, at] = best <= k
        elif metric == "mrr":
            values[:, at] = (best <= k) / best
        elif metric == "ndcg":
            gains = np.where(found, _discount(places), 0.0)
            values[:, at] = _sums(gains, starts) / _ideal(golds, k)
        else:
            raise ValueError(f"{metric} is no metric")
    return values


def chance(pool: Ints, golds: Ints, figures: Sequence[Figure]) -> Floats:
    """Expected figures of every unit when its pool is in random order: [U, len(figures)], exact.

    `pool [U]`: films that are ranked, the unit's labels among them; `golds [U]`: labels of the unit. With P films and G labels, cut at
    m = min(k, P): recall m / P; NDCG sum_{i <= m} (G / P) / log2(i + 1) / ideal; the best place is r with probability
    C(P - r, G - 1) / C(P, G), from which hit rate and MRR follow. Raises ValueError where a unit has more labels than films.
    """
    if (golds > pool).any():
        raise ValueError("a unit has more labels than its pool has films")
    pairs, where = np.unique(np.stack([pool, golds], axis=1), axis=0, return_inverse=True)
    table = np.array([[_chance(int(films), int(labels), each) for each in figures] for films, labels in pairs])
    return table.reshape(len(pairs), len(figures))[where.reshape(-1)]


def _chance(films: int, labels: int, figure: Figure) -> float:
    cut = np.arange(1, min(figure.k, films) + 1)
    if figure.metric == "recall":
        return len(cut) / films
    if figure.metric == "ndcg":
        return float(labels / films * _discount(cut).sum() / _ideal(np.array([labels]), figure.k)[0])
    # Places from which the other labels still fit behind.
    cut = cut[cut <= films - labels + 1]
    is_best = np.exp(_log_choose(films - cut, labels - 1) - _log_choose(np.array([films]), labels))
    return float(is_best.sum() if figure.metric == "hit_rate" else (is_best / cut).sum())


def _log_choose(n: NDArray, k: int) -> Floats:
    from scipy.special import gammaln

    return gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0)


def _discount(places: NDArray) -> Floats:
    return 1.0 / np.log2(places + 1.0)


def _ideal(golds: Ints, k: int) -> Floats:
    """The largest DCG that is possible with so many labels, cut at k."""
    cumulated = np.cumsum(_discount(np.arange(1, k + 1)))
    return cumulated[np.minimum(golds, k) - 1]


def _starts(unit: Ints) -> Ints:
    return np.flatnonzero(np.diff(unit, prepend=-1))


def _sums(values: Floats, starts: Ints) -> Floats:
    return np.add.reduceat(values, starts) if len(values) else np.empty(0)

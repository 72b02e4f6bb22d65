"""Seeded random draws, vectorised.

Belongs here: random streams and the few ways of drawing from them that every part of the pack shares.
Does not belong here: what is drawn (`words.py`, `world.py`, `catalogues.py`).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import numpy as np
import polars as pl

from pipelines.synth.words import Numbers

Stream = np.random.Generator


def stream(seed: int, purpose: str) -> Stream:
    """Random stream of one purpose: other purposes drawing more or less never shift its numbers.

    Raises ValueError when `seed` is negative.
    """
    if seed < 0:
        raise ValueError(f"seed must not be negative: {seed}")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(purpose.encode())])))


def positions(random: Stream, n: int, weights: Sequence[float]) -> Numbers:
    """Draw `n` positions [n] of `weights` [k], each as often as its weight says."""
    edges = np.cumsum(np.asarray(weights, dtype=float))
    drawn = np.searchsorted(edges, random.random(n) * edges[-1], side="right")
    return np.minimum(drawn, len(edges) - 1)


def pick(random: Stream, n: int, values: Sequence[str], weights: Sequence[float] | None = None) -> pl.Series:
    """Draw `n` of `values`, uniformly or by `weights`."""
    chosen = random.integers(0, len(values), n) if weights is None else positions(random, n, weights)
    return pl.Series(values, dtype=pl.String).gather(chosen)


def hits(random: Stream, n: int, share: float) -> pl.Series:
    """Boolean mask [n], true with probability `share`."""
    return pl.Series(random.random(n) < share)


def exactly(random: Stream, n: int, count: int) -> Numbers:
    """`count` distinct positions below `n` (all of them when there are fewer), ascending."""
    return np.sort(random.permutation(n)[: max(0, min(n, count))])


def covered(random: Stream, known: Numbers, eligible: np.ndarray, count: int, steepness: float) -> Numbers:
    """Choose about `count` rows of `eligible` [n], the better `known` [n] (0..1, 1 = best) the likelier.

    The chance is logistic in `known` with slope `steepness`; its offset is solved for, so that the expected
    number is `count`. Returns ascending positions.
    """
    rows = np.flatnonzero(eligible)
    if not len(rows) or count <= 0:
        return rows[:0]
    if count >= len(rows):
        return rows
    low, high = -60.0, 60.0
    for _ in range(60):
        middle = (low + high) / 2
        expected = (1 / (1 + np.exp(-(middle + steepness * (known[rows] - 0.5))))).sum()
        low, high = (middle, high) if expected < count else (low, middle)
    chance = 1 / (1 + np.exp(-(high + steepness * (known[rows] - 0.5))))
    return rows[random.random(len(rows)) < chance]


def at_least(movies: int, share: float, minimum: int = 3) -> int:
    """`share` of `movies` rounded up, but never fewer than `minimum` (nor more than `movies`)."""
    return min(movies, max(minimum, math.ceil(movies * share)))

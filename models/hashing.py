"""Pseudo-random numbers that follow from names alone: the same on every machine, in every process and for every system.

Belongs here: hashing names and counters to numbers, vectorised. Does not belong here: what is drawn with them (`negatives.py`,
`baselines.py`). Nothing here is for secrets.

Source of the mixing function: SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators").
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
# Doubles have 53 bits.
_UNIT = 2.0**-53


def key(*names: str | int) -> int:
    """64 bits that depend on all of `names` and their order."""
    text = "\x1f".join(str(name) for name in names)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def numbers(start: int, counters: NDArray[np.integer]) -> Keys:
    """The numbers at `counters` (whole, from 0, any shape) of the stream that `start` (see `key`) names."""
    with np.errstate(over="ignore"):
        mixed = np.uint64(start) + (counters.astype(np.uint64) + np.uint64(1)) * _GAMMA
        mixed = (mixed ^ (mixed >> np.uint64(30))) * _FIRST
        mixed = (mixed ^ (mixed >> np.uint64(27))) * _SECOND
        return mixed ^ (mixed >> np.uint64(31))


def uniforms(start: int, counters: NDArray[np.integer]) -> NDArray[np.float64]:
    """The same as numbers in (0, 1), both ends excluded."""
    return ((numbers(start, counters) >> np.uint64(11)).astype(np.float64) + 0.5) * _UNIT


def order(items: int) -> NDArray[np.int64]:
    """The items 0..items-1 in the fixed pseudo-random order in which equal scores are ranked.

    An item's place relative to another does not depend on how many there are. An order by index would rank ties by however the catalogue
    is sorted, which may well be by popularity.
    """
    return np.argsort(numbers(key("order of ties"), np.arange(items)), kind="stable").astype(np.int64)

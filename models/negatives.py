"""The films that a label is ranked among under the sampled protocols: drawn for an example, the same for every system.

Belongs here: drawing them. Does not belong here: ranking (`rank.py`), negatives that a loss is trained with (`losses.py`).

A draw follows from example_id, the catalogue, and the films left out (those of the example's history and labels). Sampled metrics are not
consistent with those of the full catalogue (Krichene and Rendle 2020, "On sampled metrics for item recommendation"): they can order
systems the other way round. They are here because the literature prints them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.hashing import key, numbers, uniforms

NEGATIVES = 99

Items = NDArray[np.int64]


def uniform(example_id: str, items: int, left_out: Items, size: int = NEGATIVES) -> Items:
    """`size` of the items 0..items-1 without those `left_out`, uniformly and without replacement; all there are if they are fewer.

    `left_out`: different items. By rejection: items are drawn with replacement, and those left out or drawn before are passed over. The
    bias of taking a 64-bit number modulo `items` is under 2^-40 for any catalogue.
    """
    wanted = min(size, items - len(left_out))
    start, draws = key("uniform negatives", example_id), wanted + len(left_out)
    while True:
        drawn = (
            (numbers(start, np.arange(draws)) % np.uint64(items)).astype(np.int64) if draws else np.empty(0, np.int64)
        )
        different, first = np.unique(drawn, return_index=True)
        different = different[np.argsort(first)]
        kept = different[~np.isin(different, left_out)]
        if len(kept) >= wanted:
            return kept[:wanted]
        # The beginning of the longer stream is the shorter one, so that what is kept does not depend on how far was drawn.
        draws *= 2


class ByPopularity:
    """Draws in proportion to how often an item is a target in training.

    `counts [N]`. Items that never are come only after all others, uniformly: so there are always as many negatives as `uniform` gives.
    """

    def __init__(self, counts: NDArray[np.integer]) -> None:
        self._items = len(counts)
        self._known = np.flatnonzero(counts > 0)
        self._weights = counts[self._known].astype(np.float64)

    def draw(self, example_id: str, left_out: Items, size: int = NEGATIVES) -> Items:
        """As `uniform`, one after the other without replacement.

        Each item gets an exponential waiting time whose rate is its count; those that come first are drawn, which is successive sampling
        (Efraimidis and Spirakis 2006).
        """
        waits = -np.log(uniforms(key("popularity negatives", example_id), self._known)) / self._weights
        waits[np.isin(self._known, left_out)] = np.inf
        there = min(size, int(np.isfinite(waits).sum()))
        first = np.argpartition(waits, there - 1)[:there] if there else np.empty(0, np.int64)
        drawn = self._known[first[np.argsort(waits[first])]]
        if there == size:
            return drawn
        rest = uniform(example_id, self._items, np.concatenate([left_out, drawn]), size - there)
        return np.concatenate([drawn, rest])

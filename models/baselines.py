"""Rankings that need no learning: what every number of a retriever has to be compared with.

Belongs here: scores of the whole catalogue, from counts of the training files alone (numpy, no torch).
Does not belong here: places and lists made of scores (`rank.py`). Equal scores are ranked in a fixed pseudo-random order of the items
(`hashing.order`), whichever system gave them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.hashing import key, uniforms

Scores = NDArray[np.float64]
# Scores [B, N] of B examples, from their ids and histories (items, the latest last).
Scorer = Callable[[Sequence[str], Sequence[NDArray[np.int64]]], Scores]

# Transitions are counted between films at most so many places apart, those d apart with weight 1 / d.
MARKOV_WINDOW = 3
# So many of the latest films speak, the k-th latest with weight 1 / k.
MARKOV_HISTORY = 5
# What popularity may add at most: less than any share of a row that a count can make, so that it decides between equals only.
_MARKOV_TIE = 1e-9


@dataclass(frozen=True)
class Sequences:
    """The training sequences, one after the other: `items [T]`; sequence s is items[starts[s]:starts[s + 1]].

    Its positions from `first_target[s]` on are targets (see the training files).
    """

    items: NDArray[np.int64]
    starts: NDArray[np.int64]
    first_target: NDArray[np.int64]


def random(items: int, seed: int) -> Scorer:
    """A random order for each example, from example_id and `seed`."""

    def score(example_ids: Sequence[str], histories: Sequence[NDArray[np.int64]]) -> Scores:
        every = np.arange(items)
        return np.stack([uniforms(key("random baseline", seed, each), every) for each in example_ids])

    return score


def popularity(counts: NDArray[np.integer]) -> Scorer:
    """Films by how often they are targets in training; `counts [N]`."""

    def score(example_ids: Sequence[str], histories: Sequence[NDArray[np.int64]]) -> Scores:
        return np.tile(counts.astype(np.float64), (len(example_ids), 1))

    return score


def copy_last(counts: NDArray[np.integer]) -> Scorer:
    """The film mentioned last, then all others by popularity.

    The earlier films of the history are not moved. With an empty history it is popularity, and so it is where the history is masked.
    """
    by_popularity = popularity(counts)
    above_all = float(counts.max(initial=0)) + 1.0

    def score(example_ids: Sequence[str], histories: Sequence[NDArray[np.int64]]) -> Scores:
        scores = by_popularity(example_ids, histories)
        for row, history in zip(scores, histories, strict=True):
            if len(history):
                row[history[-1]] = above_all
        return scores

    return score


def markov(
    sequences: Sequences,
    counts: NDArray[np.integer],
    window: int = MARKOV_WINDOW,
    history_length: int = MARKOV_HISTORY,
) -> Scorer:
    """Windowed Markov: what followed the latest films, soon after, in training.

    With W = `window` and H = `history_length`:

        T[i, j] = sum over training sequences, targets at position p with item j, and 1 <= d <= W with item i at p - d, of 1 / d
        score(j) = sum over k = 1 .. min(H, length of the history) of (1 / k) T[i_k, j] / sum_j' T[i_k, j'],

    where i_k is the k-th latest film of the history. Films with equal scores, those above all that never followed (score 0), are ordered by
    popularity, and then as all ties are. An empty history gives popularity. Memory: one number for each pair of films that was seen.
    """
    table = _Transitions.counted(sequences, len(counts), window)
    ties = _MARKOV_TIE * counts.astype(np.float64) / max(1.0, float(counts.max(initial=0)))

    def score(example_ids: Sequence[str], histories: Sequence[NDArray[np.int64]]) -> Scores:
        scores = np.tile(ties, (len(example_ids), 1))
        for row, history in zip(scores, histories, strict=True):
            for place, item in enumerate(history[::-1][:history_length], start=1):
                followers, shares = table.row(int(item))
                row[followers] += shares / place
        return scores

    return score


@dataclass(frozen=True)
class _Transitions:
    """Rows of shares that add up to one, without their zeros: row i is entries starts[i]:starts[i + 1]."""

    starts: NDArray[np.int64]
    followers: NDArray[np.int64]
    shares: NDArray[np.float64]

    def row(self, item: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        part = slice(self.starts[item], self.starts[item + 1])
        return self.followers[part], self.shares[part]

    @staticmethod
    def counted(sequences: Sequences, items: int, window: int) -> _Transitions:
        places = np.arange(len(sequences.items))
        lengths = np.diff(sequences.starts)
        begins = np.repeat(sequences.starts[:-1], lengths)
        is_target = places - begins >= np.repeat(sequences.first_target, lengths)
        codes, sums = np.empty(0, np.int64), np.empty(0)
        for distance in range(1, window + 1):
            later = places[is_target & (places - distance >= begins)]
            pairs = sequences.items[later - distance] * items + sequences.items[later]
            codes, sums = _added(codes, sums, *_summed(pairs, np.full(len(pairs), 1.0 / distance)))
        before = codes // items
        totals = np.bincount(before, weights=sums, minlength=items)
        starts = np.concatenate([[0], np.cumsum(np.bincount(before, minlength=items))])
        return _Transitions(starts, codes % items, sums / totals[before])


def _summed(codes: NDArray[np.int64], weights: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    different, where = np.unique(codes, return_inverse=True)
    return different, np.bincount(where, weights=weights, minlength=len(different)).astype(np.float64)


def _added(
    codes: NDArray[np.int64], sums: NDArray[np.float64], more: NDArray[np.int64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    return _summed(np.concatenate([codes, more]), np.concatenate([sums, weights]))


BASELINES = ("random", "popularity", "copy_last", "markov")


def build(name: str, counts: NDArray[np.integer], sequences: Callable[[], Sequences], seed: int) -> Scorer:
    """The baseline called `name`; `sequences` reads the training sequences, if they are needed. Raises KeyError for another name."""
    makers: dict[str, Callable[[], Scorer]] = {
        "random": lambda: random(len(counts), seed),
        "popularity": lambda: popularity(counts),
        "copy_last": lambda: copy_last(counts),
        "markov": lambda: markov(sequences(), counts),
    }
    return makers[name]()


def sequences_of(parts: Iterable[tuple[Sequence[int], int]]) -> Sequences:
    """Sequences from (items, first_target) pairs: for small data and for tests."""
    pairs = [(np.asarray(items, dtype=np.int64), first) for items, first in parts]
    starts = np.concatenate([[0], np.cumsum([len(items) for items, _ in pairs])]).astype(np.int64)
    joined = np.concatenate([items for items, _ in pairs]) if pairs else np.empty(0, np.int64)
    return Sequences(joined, starts, np.array([first for _, first in pairs], dtype=np.int64))

"""Keys that are spelt nearly like a query: which to compare, out of hundreds of thousands.

Belongs here: two indexes over the letters of keys, and what they find. How alike two keys are, and which film is meant, is decided in lookup.

One typing error (a letter left out, added, replaced, or two swapped) is found for certain, by what is left when a letter is omitted
(the idea of SymSpell, Garbe 2012). More errors are found by rare trigrams that both share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipelines.mentions.tokens import INVERSE, Hashes, Int, Letters, counted, running_hashes

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_TRIGRAM_BITS = 18
_TRIGRAMS = 1 << _TRIGRAM_BITS
# Omitting a letter of a shorter key leaves too little, of a longer one is no gain.
_SHORTEST, _LONGEST = 3, 60
# A query's rarest trigrams are followed up until so many keys have been met, and at least the first few.
_POSTINGS = 12_000
_FIRST_TRIGRAMS = 3
# Keys that share less than this part of the followed trigrams are not worth a comparison.
_LEAST_SHARED = 1 / 3
# So many of those that share most are compared letter by letter.
_COMPARED = 40


@dataclass(frozen=True)
class Omissions:
    """What is left of keys when one letter, or none, is omitted: `hashes`, sorted, and the number of the key for each."""

    hashes: Hashes
    keys: NDArray[np.int32]


@dataclass(frozen=True)
class Trigrams:
    """Which keys hold which three letters in a row.

    `matrix`: 1 where trigram (row) stands in key (column), sparse. `sizes` [columns]: distinct trigrams of each; `keys` [columns]: its number.
    """

    matrix: csr_array
    sizes: NDArray[np.int32]
    keys: Int


def _held(letters: Letters, at: Int, is_held: NDArray[np.bool_]) -> tuple[Int, Letters, Int]:
    """The keys that `is_held` marks: their numbers, and `letters` and `at` of them alone."""
    keys = np.flatnonzero(is_held)
    sizes = at[keys + 1] - at[keys]
    return keys, letters[np.repeat(at[keys], sizes) + counted(sizes)], np.concatenate([[0], np.cumsum(sizes)])


def _omitted(letters: Letters, at: Int) -> tuple[Int, Hashes]:
    """Hashes of keys with one letter or none omitted, and the number of the key of each.

    `letters` and `at` [keys + 1]: key k is letters[at[k] : at[k + 1]].
    """
    prefix, inverse = running_hashes(letters)
    sizes = np.diff(at)
    fit = np.flatnonzero((sizes >= _SHORTEST) & (sizes <= _LONGEST))
    owner = np.repeat(fit, sizes[fit])
    left_out = np.repeat(at[fit], sizes[fit]) + counted(sizes[fit])
    # Of two equal letters either can go.
    doubled = (left_out > at[owner]) & (letters[left_out] == letters[left_out - 1])
    owner, left_out = owner[~doubled], left_out[~doubled]
    first, last = at[owner], at[owner + 1]
    before, behind = prefix[left_out] - prefix[first], prefix[last] - prefix[left_out + 1]
    every = np.arange(len(sizes))
    whole = (prefix[at[1:]] - prefix[at[:-1]]) * inverse[at[:-1]]
    return np.concatenate([every, owner]), np.concatenate(
        [whole, (before + behind * np.uint64(INVERSE)) * inverse[first]]
    )


def omissions(letters: Letters, at: Int, is_held: NDArray[np.bool_]) -> Omissions:
    """Index the keys that `is_held` [keys] marks."""
    keys, letters, at = _held(letters, at, is_held)
    owner, hashes = _omitted(letters, at)
    order = np.argsort(hashes)
    return Omissions(hashes[order], keys[owner[order]].astype(np.int32))


def one_error_away(letters: Letters, at: Int, index: Omissions) -> tuple[Int, Int]:
    """Pairs of a query and a key that differ by one typing error, or not at all, sorted: numbers of the query and of the key.

    Some pairs may differ by two errors; none by more.
    """
    query, hashes = _omitted(letters, at)
    low, high = (np.searchsorted(index.hashes, hashes, side=side) for side in ("left", "right"))
    met = high - low
    pairs = np.stack([np.repeat(query, met), index.keys[np.repeat(low, met) + counted(met)].astype(np.int64)])
    query, key = np.unique(pairs, axis=1)
    return query, key


def _trigrams_of(letters: Letters, at: Int) -> tuple[Int, Int]:
    """The trigrams of keys, those over their ends included: number of the key, number of the trigram (0.._TRIGRAMS-1)."""
    sizes = np.diff(at)
    # Each key stands between two blanks before it and one behind it.
    key = np.repeat(np.arange(len(sizes)), sizes)
    padded = np.full(len(letters) + 3 * len(sizes), ord(" "), dtype=np.uint64)
    padded[np.arange(len(letters)) + 3 * key + 2] = letters
    counts = sizes + 1
    owner = np.repeat(np.arange(len(sizes)), counts)
    first = np.repeat(at[:-1] + 3 * np.arange(len(sizes)), counts) + counted(counts)
    mixed = padded[first] * np.uint64(0x9E3779B97F4A7C15)
    mixed += padded[first + 1] * np.uint64(0xC2B2AE3D27D4EB4F) + padded[first + 2] * np.uint64(0x165667B19E3779F9)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    return owner, (mixed >> np.uint64(64 - _TRIGRAM_BITS)).astype(np.int64)


def trigrams(letters: Letters, at: Int, is_held: NDArray[np.bool_]) -> Trigrams:
    """Index the keys that `is_held` [keys] marks."""
    from scipy.sparse import csr_array

    keys, letters, at = _held(letters, at, is_held)
    owner, number = (x.astype(np.int32) for x in _trigrams_of(letters, at))
    matrix = csr_array((np.ones(len(owner), dtype=np.int16), (number, owner)), shape=(_TRIGRAMS, len(keys)))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return Trigrams(matrix, np.bincount(matrix.indices, minlength=len(keys)).astype(np.int32), keys)


def sharing_trigrams(letters: Letters, at: Int, index: Trigrams) -> tuple[Int, Int]:
    """Pairs of a query and a key that share rare trigrams, at most _COMPARED for a query: numbers of the query and of the key."""
    from scipy.sparse import csr_array

    queries = len(at) - 1
    query, trigram = np.unique(np.stack(_trigrams_of(letters, at)), axis=1)
    sizes = np.bincount(query, minlength=queries)
    # The rarest trigrams of each query first.
    held = (index.matrix.indptr[trigram + 1] - index.matrix.indptr[trigram]).astype(np.int64)
    order = np.lexsort((trigram, held, query))
    query, trigram, held = query[order], trigram[order], held[order]
    first = np.searchsorted(query, query)
    met = np.cumsum(held) - held
    taken = (met - met[first] < _POSTINGS) | (np.arange(len(query)) - first < _FIRST_TRIGRAMS)
    # A trigram that no key has says nothing of which keys are alike.
    taken &= held > 0
    query, trigram = query[taken], trigram[taken]
    used = np.bincount(query, minlength=queries)

    # The product of two sparse matrices counts what each pair shares.
    asked = csr_array((np.ones(len(query), dtype=np.int16), (query, trigram)), shape=(queries, _TRIGRAMS))
    shared = asked @ index.matrix
    least = np.ceil(used * _LEAST_SHARED).astype(np.int16)
    some = np.flatnonzero(shared.data >= np.repeat(least, np.diff(shared.indptr)))
    query = np.searchsorted(shared.indptr, some, side="right") - 1
    key, count = shared.indices[some].astype(np.int64), shared.data[some]
    longer = np.abs(index.sizes[key] - sizes[query]) / np.maximum(index.sizes[key], sizes[query])
    order = np.lexsort((key, longer / 2 - count / used[query], query))
    query, key = query[order], key[order]
    top = np.arange(len(query)) - np.searchsorted(query, query) < _COMPARED
    return query[top], index.keys[key[top]]

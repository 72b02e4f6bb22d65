"""Indexes of keys that are spelt nearly alike."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.mentions.near import omissions, one_error_away, sharing_trigrams, trigrams

KEYS = st.lists(st.text("abcé", min_size=1, max_size=7), min_size=1, max_size=12, unique=True)


def laid_out(keys: list[str]) -> tuple[np.ndarray, np.ndarray]:
    letters = np.array([ord(c) for key in keys for c in key], dtype=np.uint32)
    return letters, np.concatenate([[0], np.cumsum([len(key) for key in keys])]).astype(np.int64)


def everything(keys: list[str]) -> np.ndarray:
    return np.ones(len(keys), dtype=bool)


def one_error(a: str, b: str) -> bool:
    """Equal, or one letter left out, added, replaced, or two neighbours swapped."""
    if len(a) > len(b):
        a, b = b, a
    if len(b) - len(a) == 1:
        return any(b[:k] + b[k + 1 :] == a for k in range(len(b)))
    if len(a) != len(b):
        return False
    wrong = [k for k in range(len(a)) if a[k] != b[k]]
    if len(wrong) == 2:
        i, j = wrong
        return j == i + 1 and a[i] == b[j] and a[j] == b[i]
    return len(wrong) < 2


@given(KEYS, KEYS)
@settings(max_examples=60, deadline=None)
def test_one_error_is_always_found(keys: list[str], queries: list[str]) -> None:
    index = omissions(*laid_out(keys), everything(keys))
    pairs = set(zip(*(x.tolist() for x in one_error_away(*laid_out(queries), index)), strict=True))
    for q, query in enumerate(queries):
        for k, key in enumerate(keys):
            if min(len(query), len(key)) >= 3 and one_error(query, key):
                assert (q, k) in pairs
            if abs(len(query) - len(key)) > 1:
                assert (q, k) not in pairs


def test_keys_that_are_not_held_are_not_found() -> None:
    keys = ["lantern", "lanterns"]
    held = np.array([False, True])
    letters, at = laid_out(keys)
    assert one_error_away(letters, at, omissions(letters, at, held))[1].tolist() == [1, 1]
    assert sharing_trigrams(letters, at, trigrams(letters, at, held))[1].tolist() == [1, 1]


def test_those_that_share_most_trigrams_come_first() -> None:
    keys = ["copperlantern", "copperkettle", "skylark", "lanternsofcopper"]
    letters, at = laid_out(keys)
    query, key = sharing_trigrams(*laid_out(["coperlantren", "xyz"]), trigrams(letters, at, everything(keys)))
    assert set(query.tolist()) == {0}
    assert key[0] == 0
    assert 2 not in key

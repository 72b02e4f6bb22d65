"""How alike personas are: the largest ROUGE-L of each to any other one (ECPO, figure 4, after Jin et al. 2024).

Does not belong here: the plot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.simulation.domains import words_of
from warehouse.tables.simulation import TRAITS

# Code points that stand for words; those of surrogates cannot stand in a text.
_FIRST, _SURROGATES = 0x100, range(0xD800, 0xE000)
# Texts whose pairs with all others are held at a time: those of some thousand personas at once would take as many megabytes.
_BLOCK = 512


def text_of(traits: Mapping[str, str]) -> str:
    """A persona as one text: its traits in AILO's order."""
    return " ".join(traits[name] for name in TRAITS if traits.get(name))


def rouge_l(first: str, second: str) -> float:
    """ROUGE-L as F1 over words (Lin 2004): with L the longest common subsequence, 2 P R / (P + R) for P = L / |first|, R = L / |second|.

    That is 2 L / (|first| + |second|). Words are runs of letters in lower case; two texts without a word are not alike: 0.
    """
    from rapidfuzz.distance import LCSseq

    left, right = words_of(first), words_of(second)
    if not left or not right:
        return 0.0
    return 2 * LCSseq.similarity(left, right) / (len(left) + len(right))


def largest_rouge_l(texts: Sequence[str]) -> list[float | None]:
    """For each text the largest `rouge_l` to any other one; None where there is no other.

    All pairs, which is quick: each word becomes one character, so that sequences of words are compared as strings.
    """
    from rapidfuzz.distance import LCSseq
    from rapidfuzz.process import cdist

    if len(texts) < 2:
        return [None] * len(texts)
    codes: dict[str, str] = {}
    coded = ["".join(codes.setdefault(word, _code(len(codes))) for word in words_of(text)) for text in texts]
    lengths = np.array([len(each) for each in coded], dtype=np.float64)
    found: list[float | None] = []
    for start in range(0, len(coded), _BLOCK):
        common = cdist(coded[start : start + _BLOCK], coded, scorer=LCSseq.similarity, dtype=np.int32)
        both = lengths[start : start + len(common), None] + lengths[None, :]
        alike = np.divide(2.0 * common, both, out=np.zeros(both.shape), where=both > 0)
        alike[np.arange(len(common)), np.arange(start, start + len(common))] = -1
        found += alike.max(axis=1).tolist()
    return found


def _code(number: int) -> str:
    """A character of its own for the word of that number."""
    point = _FIRST + number
    return chr(point if point < _SURROGATES.start else point + len(_SURROGATES))

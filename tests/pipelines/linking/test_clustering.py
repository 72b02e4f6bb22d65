"""From pairs to films: one entry a source, clear winners only."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.linking.clustering import ACCEPT_BITS, MARGIN_BITS, cluster


def films(records: list[str], pairs: list[tuple[int, int, float]]) -> set[frozenset[int]]:
    """Cluster records given by their source names; returns the films as sets of rows."""
    names = sorted(set(records))
    source = np.array([names.index(name) for name in records], dtype=np.int64)
    a = np.array([min(p[:2]) for p in pairs], dtype=np.int64)
    b = np.array([max(p[:2]) for p in pairs], dtype=np.int64)
    label = cluster(a, b, np.array([p[2] for p in pairs], dtype=np.float32), source)
    return {frozenset(np.flatnonzero(label == each).tolist()) for each in np.unique(label)}


def test_pairs_join_transitively():
    assert films(["x", "y", "z"], [(0, 1, 5), (1, 2, 5)]) == {frozenset({0, 1, 2})}


def test_a_weak_pair_is_not_followed():
    assert films(["x", "y"], [(0, 1, ACCEPT_BITS - 0.1)]) == {frozenset({0}), frozenset({1})}


def test_two_equal_rivals_leave_the_record_alone():
    assert films(["x", "y", "y"], [(0, 1, 8), (0, 2, 8)]) == {frozenset({0}), frozenset({1}), frozenset({2})}


def test_a_clear_winner_beats_its_rival():
    assert films(["x", "y", "y"], [(0, 1, 8 + MARGIN_BITS), (0, 2, 8)]) == {frozenset({0, 1}), frozenset({2})}


def test_entries_that_a_source_lists_twice_are_no_rivals():
    assert films(["x", "y", "y"], [(0, 1, 8), (0, 2, 8), (1, 2, 3)]) == {frozenset({0, 1, 2})}


def test_a_chain_cannot_bring_two_entries_of_one_source_together():
    # 0 and 3 are two films of source x; the chain 0-1-2-3 would join them. Its weakest link gives way.
    assert films(["x", "y", "z", "x"], [(0, 1, 9), (1, 2, 4), (2, 3, 8)]) == {
        frozenset({0, 1}),
        frozenset({2, 3}),
    }


@given(st.data())
def test_the_order_of_pairs_does_not_matter_and_no_film_holds_two_entries_of_a_source(data):
    size = data.draw(st.integers(2, 12))
    records = data.draw(st.lists(st.sampled_from("xyz"), min_size=size, max_size=size))
    ends = st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)).filter(lambda p: p[0] < p[1])
    edges = data.draw(st.lists(ends, unique=True, max_size=30))
    # Distinct scores: ties are broken by row order, which is a stable order of record ids in production.
    bits = data.draw(st.permutations([float(3 * i) for i in range(len(edges))]))
    pairs = [(*edge, score) for edge, score in zip(edges, bits, strict=True)]
    found = films(records, pairs)
    assert found == films(records, data.draw(st.permutations(pairs)))
    assert sorted(row for film in found for row in film) == list(range(size))
    listed_twice = {edge for edge in edges if records[edge[0]] == records[edge[1]]}
    for film in found:
        for name in "xyz":
            entries = [row for row in film if records[row] == name]
            if len(entries) > 1:
                assert any(set(edge) & set(entries) for edge in listed_twice)

"""Agreement counted from the sizes of groups is the evaluation's, which is counted from pairs."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.agreement import agreement
from pipelines.evaluation.entity_resolution import _metrics, _pairs

GROUPINGS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=30)


@given(GROUPINGS)
def test_pairs_are_counted_as_by_looking_at_each(rows: list[tuple[int, int]]) -> None:
    pairs = list(combinations(rows, 2))
    true = sum(a[0] == b[0] for a, b in pairs)
    linked = sum(a[1] == b[1] for a, b in pairs)
    right = sum(a == b for a, b in pairs)
    found = agreement(np.array([film for film, _ in rows]), np.array([label for _, label in rows]), replicates=0)
    assert (found["true_pairs"], found["linked_pairs"], found["wrong_pairs"]) == (true, linked, linked - right)
    assert found["records"] == len(rows)
    assert found["films"] == len({film for film, _ in rows})
    assert found["recall"] == (pytest.approx({"value": right / true}, abs=1e-4) if true else None)
    assert found["precision"] == (pytest.approx({"value": right / linked}, abs=1e-4) if linked else None)


def test_figures_and_intervals_are_those_of_the_evaluation() -> None:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 150, 500)
    truth = np.unique(truth, return_inverse=True)[1]
    label = np.where(rng.random(500) < 0.8, truth, rng.integers(0, 150, 500))
    nothing = pl.DataFrame({"a": [], "b": []}, schema={"a": pl.Int64, "b": pl.Int64})
    pairs = _pairs(pl.Series(["one"] * 500), truth, label, nothing)
    metrics = _metrics(pairs, int(truth.max()) + 1, seed=42, prefix="", slices=False)
    found = agreement(truth, label)
    for metric in ("precision", "recall", "f1"):
        expected = metrics.filter(metric=metric).select("value", "ci_low", "ci_high").row(0, named=True)
        assert found[metric] == pytest.approx(expected, abs=6e-5), metric
    assert found["wrong_pairs"] == metrics.filter(metric="wrong_pairs")["value"].item()


def test_names_of_groups_do_not_matter() -> None:
    truth, label = np.array([7, 7, -1, 3, 3, 3]), np.array([2, 2, 2, 9, 9, 1])
    assert agreement(truth, label) == agreement(truth + 10, 100 - label)

"""The logit over films and `no film`, and its weights."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.mentions.model import read_weights, shares, weights

TEXT = """
version = "1"
[models.items]
threshold = 0.5
bias = -1.0
[models.items.weights]
year_same = 2.0
rated = 0.5
"""


def test_scores_add_up_by_hand():
    model = read_weights(TEXT).models["items"]
    evidence = pl.DataFrame({"year_same": [1.0, 0.0], "rated": [2.0, 1.0], "unweighed": [9.0, 9.0]})
    assert model.scores(model.part(evidence)).tolist() == [2.0, -0.5]


def test_shares_of_two_equal_films_and_none():
    p, none = shares(np.array([0.0, 0.0, 3.0]), np.array([0, 0, 1]), 3)
    assert p == pytest.approx([1 / 3, 1 / 3, np.exp(3) / (1 + np.exp(3))])
    assert none == pytest.approx([1 / 3, 1 / (1 + np.exp(3)), 1.0])  # the third name has no candidate


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(-40, 40)), max_size=20))
def test_shares_of_a_group_add_up_to_one(rows):
    group = np.array([g for g, _ in rows], dtype=np.int64)
    p, none = shares(np.array([s for _, s in rows], dtype=float), group, 5)
    assert (p >= 0).all() and np.bincount(group, weights=p, minlength=5) + none == pytest.approx(np.ones(5))


@pytest.mark.parametrize("text", ["version = '1'\nmodels = 3", "version = '1'", "[models.items]\nbias = 1"])
def test_weights_that_are_not_weights_are_refused(text):
    with pytest.raises(ValueError, match="weights"):
        read_weights(text)


def test_the_weights_in_use_name_the_three_models():
    assert set(weights().models) == {"items", "texts", "hints"}
    assert all(0 < threshold < 1 for threshold in weights().thresholds.values())

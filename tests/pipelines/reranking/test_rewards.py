"""NDCG of a list against values computed by hand."""

from __future__ import annotations

import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.reranking.rewards import DRAWS, label_rank, named_draws, ndcg

LOG3 = math.log2(3)


@pytest.mark.parametrize(
    ("ranked", "labels", "k", "value"),
    [
        (["a", "b", "c"], ["a"], 3, 1.0),
        (["a", "b", "c"], ["b"], 3, 1 / LOG3),
        (["a", "b", "c"], ["c"], 3, 0.5),
        (["a", "b", "c"], ["c"], 2, 0.0),  # cut
        (["b", "a", "c"], ["a", "c"], 3, (1 / LOG3 + 0.5) / (1 + 1 / LOG3)),
        (["c", "a"], ["a", "c"], 2, 1.0),  # the order among labels is no matter
        (["a"], ["a", "c"], 3, 1 / (1 + 1 / LOG3)),  # a label that is not ranked
        (["a"], ["a", "b", "c"], 1, 1.0),  # no more than k can be first
        (["a"], ["a", "a"], 3, 1.0),
        ([], ["a"], 3, 0.0),
        (["a"], [], 3, 0.0),
    ],
)
def test_ndcg_is_what_the_formula_gives(ranked: list[str], labels: list[str], k: int, value: float) -> None:
    assert ndcg(ranked, labels, k) == pytest.approx(value, abs=1e-15)


def test_a_cut_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        ndcg(["a"], ["a"], 0)


def test_the_best_label_counts_for_the_rank() -> None:
    assert label_rank(["a", "b", "c"], ["c", "b"]) == 2
    assert label_rank(["a"], ["c"]) is None


@given(st.permutations("abcdefgh"), st.sets(st.sampled_from("abcdefghxyz")), st.integers(1, 10))
def test_rewards_lie_between_0_and_1_and_grow_when_a_label_moves_up(order: list[str], labels: set[str], k: int) -> None:
    value = ndcg(order, labels, k)
    assert 0 <= value <= 1
    for at in range(1, len(order)):
        if order[at] in labels and order[at - 1] not in labels:
            better = [*order[: at - 1], order[at], order[at - 1], *order[at + 1 :]]
            assert ndcg(better, labels, k) >= value


def test_numbers_become_films() -> None:
    draws = pl.DataFrame(
        {"example_id": ["d:1"], "labels": [[2]], "round": [0], "draw": [1], "candidates": [[2, 0]], "log_prob": [-3.0]}
    )
    items = pl.DataFrame({"item": [0, 1, 2], "movie_id": ["x", "y", "z"]})
    named = named_draws(draws, items)
    assert named.schema == DRAWS
    assert named.select("labels", "candidates").row(0) == (["z"], ["z", "x"])
    with pytest.raises(ValueError, match="column 'candidates' holds the item 2"):
        named_draws(draws.with_columns(labels=pl.lit([0])), items.filter(pl.col("item") < 2))

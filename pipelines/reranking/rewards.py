"""What a candidate set is worth: the NDCG of the labels in the list that the model made of it.

RAR (section 3.3): sets whose ranking by the language model is better are reinforced. Belongs here: the reward, and draws with films in place of
numbers. Does not belong here: drawing sets (models/sampling.py), asking (assets/build/reranking.py).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import polars as pl

REWARD_VERSION = "1"

# A drawn set as rewards are computed for it; see models/draw.py for the same with numbers in place of films.
DRAWS = pl.Schema(
    {
        "example_id": pl.String(),  # dialogue_id#turn
        "labels": pl.List(pl.String()),
        "round": pl.Int32(),
        "draw": pl.Int32(),
        "candidates": pl.List(pl.String()),  # in the order in which they were drawn
        "log_prob": pl.Float64(),
    }
)


def ndcg(ranked: Sequence[str], labels: Collection[str], k: int) -> float:
    """NDCG@k of a list: sum over labels at rank r <= k of 1 / log2(r + 1), over the same sum for all labels first.

    `ranked`: films in order, each once; those that are missing from it were not ranked. 0 where there is no label. Raises ValueError for k < 1.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    wanted = set(labels)
    gain = sum(1 / math.log2(place + 1) for place, film in enumerate(ranked[:k], start=1) if film in wanted)
    ideal = sum(1 / math.log2(place + 1) for place in range(1, min(len(wanted), k) + 1))
    return gain / ideal if ideal else 0.0


def label_rank(ranked: Sequence[str], labels: Collection[str]) -> int | None:
    """Best place of a label in a list, from 1; None where none is in it."""
    wanted = set(labels)
    return next((place for place, film in enumerate(ranked, start=1) if film in wanted), None)


def named_draws(draws: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """Draws (DRAWS) whose `labels` and `candidates` are film ids, from draws in which they are item numbers.

    `items`: item [int], movie_id [str]. Raises ValueError for a number that is no item.
    """
    numbered = dict(items.select("item", "movie_id").iter_rows())

    def named(column: str) -> pl.Series:
        try:
            films = [[numbered[item] for item in row] for row in draws[column].to_list()]
        except KeyError as error:
            raise ValueError(
                f"draws: column {column!r} holds the item {error.args[0]}, which is not among the items"
            ) from None
        return pl.Series(column, films, dtype=pl.List(pl.String))

    return draws.with_columns(named("labels"), named("candidates")).select(
        pl.col(name).cast(dtype) for name, dtype in DRAWS.items()
    )

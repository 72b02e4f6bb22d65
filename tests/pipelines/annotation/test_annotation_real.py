"""Rules on the real conversations: how much they decide, and how right they are on the hand-labelled turns.

Mentions are the datasets' own hints here, so that the figures do not move with the linker.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from pipelines.annotation import strategy, vto
from pipelines.dialogues.read import read_dataset
from pipelines.evaluation.annotation import against_gold, coverage, read_gold, strategies
from warehouse.tables.annotation import ANNO_STRATEGY, ANNO_TURNS, ANNO_VALIDATION, ANNO_VTO

GOLD = Path(__file__).parents[3] / "pipelines" / "evaluation" / "gold" / "vto.tsv"

pytestmark = [pytest.mark.real_data, pytest.mark.slow]

Read = tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]


@pytest.fixture(scope="module")
def read(real_data: Path) -> Read:
    """Turns, mentions and labels of ReDial and INSPIRED."""
    parts = [read_dataset(name, real_data, lambda text: None) for name in ("redial", "inspired")]
    hints = pl.concat([part.hints for part in parts]).drop_nulls(["start", "end"])
    mentions = hints.select("dialogue_id", "turn", "dataset", "start", "end", pl.col("item_id").alias("movie_id"))
    return pl.concat([part.turns for part in parts]), mentions, pl.concat([part.labels for part in parts])


def value(rows: pl.DataFrame, metric: str, name: str, dataset: str) -> float:
    found = rows.filter((pl.col("metric") == metric) & (pl.col("slice") == name) & (pl.col("dataset") == dataset))
    return found["value"].item()


def test_rules_decide_a_good_part_and_are_mostly_right(read: Read) -> None:
    turns, mentions, _ = read
    made = vto.annotate(turns, mentions)
    settled = ANNO_TURNS.check(vto.settle(made.decisions, made.rows))
    ANNO_VTO.check(made.rows)
    assert settled.height == turns.height
    shares = coverage(settled, made.rows, ANNO_VALIDATION.empty())
    assert value(shares, "heuristic_share", "all", "redial") > 0.55
    assert value(shares, "heuristic_share", "all", "inspired") > 0.4
    figures = against_gold(read_gold(GOLD.read_text("utf-8")), settled, made.rows)
    assert value(figures, "precision", "rules:dev", "all") > 0.9
    assert value(figures, "precision", "rules:test", "all") > 0.8


def test_strategies_are_far_above_the_most_frequent_one(read: Read) -> None:
    turns, mentions, labels = read
    rows = ANNO_STRATEGY.check(
        strategy.settle(pl.concat([strategy.annotate(turns, mentions), strategy.dataset_rows(labels)]))
    )
    figures = strategies(rows)
    row = figures.filter(
        (pl.col("metric") == "accuracy_of_all") & (pl.col("slice") == "rules:test") & (pl.col("dataset") == "inspired")
    ).row(0, named=True)
    assert row["ci_low"] > 2 * row["baseline"]

"""Pictures of the conversations' tables for the UI (see pictures.py)."""

from __future__ import annotations

from typing import Any

import polars as pl

from assets.build.tables import Built
from assets.pictures import BLUE, GREY, RED, bars, drawn, new_rows, stacked
from warehouse.store import Warehouse
from warehouse.tables.annotation import ANNO_TURNS
from warehouse.tables.dialogues import CORE_TURNS
from warehouse.tables.llm import LLM_CALLS
from warehouse.tables.mentions import CORE_MENTIONS, EVAL_MENTION_LINKING
from warehouse.tables.preferences import PREF_PAIRS


def turns(warehouse: Warehouse, built: Built) -> dict[str, Any]:
    """Turns by dataset and split."""
    rows = new_rows(warehouse, built, CORE_TURNS.name)
    if rows is None:
        return {}
    counts = rows.group_by("dataset", "split").len().collect()
    return {"turns by dataset": stacked(counts, "dataset", "split", "Turns by dataset and split")}


def mentions(warehouse: Warehouse, built: Built) -> dict[str, Any]:
    """Mentions by how they were found, and what became of them."""
    rows = new_rows(warehouse, built, CORE_MENTIONS.name)
    if rows is None:
        return {}
    fate = (
        pl.when("is_quarantined").then(pl.lit("quarantined")).when(pl.col("movie_id").is_null()).then(pl.lit("no film"))
    )
    counts = rows.group_by("method", fate=fate.otherwise(pl.lit("linked"))).len().collect()
    return {"mentions by method": stacked(counts, "method", "fate", "Mentions by method")}


def annotation(warehouse: Warehouse, built: Built) -> dict[str, Any]:
    """Who decided the turns, and how often each operation stands."""
    rows = new_rows(warehouse, built, ANNO_TURNS.name)
    if rows is None:
        return {}
    stand_in = pl.when("is_stand_in").then(pl.lit("stand-in")).otherwise(pl.col("decided_by").fill_null("open"))
    counts = rows.group_by("dataset", by=stand_in).len().collect()
    shown = {"turns by who decided": stacked(counts, "dataset", "by", "Turns by who decided on their operations")}
    held = (
        rows.select(operation=pl.col("operations").explode())
        .drop_nulls()
        .group_by("operation")
        .len()
        .sort("len", descending=True)
        .collect()
    )
    if held.height:
        shown["operations"] = drawn(
            lambda axes: bars(axes, held["operation"].to_list(), held["len"].to_list(), "Turns by operation"),
            1 + 0.22 * held.height,
        )
    return shown


def pairs(warehouse: Warehouse, built: Built) -> dict[str, Any]:
    """Pairs by construction and split."""
    rows = new_rows(warehouse, built, PREF_PAIRS.name)
    if rows is None:
        return {}
    counts = rows.group_by("construction", "split").len().collect()
    return {
        "pairs by construction": stacked(counts, "construction", "split", "Preference pairs by construction and split")
    }


def calls(warehouse: Warehouse, built: Built) -> dict[str, Any]:
    """Calls by prompt and outcome."""
    rows = new_rows(warehouse, built, LLM_CALLS.name)
    if rows is None:
        return {}
    counts = rows.group_by("prompt", "outcome").len().collect()
    return {"calls by prompt": stacked(counts, "prompt", "outcome", "Calls by prompt and outcome")}


def mention_linking(warehouse: Warehouse, built: Built) -> dict[str, Any]:
    """Precision and recall by dataset, truth and method, after the lint, with intervals."""
    rows = new_rows(warehouse, built, EVAL_MENTION_LINKING.name)
    if rows is None:
        return {}
    label = pl.concat_str("dataset", "truth", "method", separator=" · ")
    figures = (
        rows.filter(
            (pl.col("stage") == "after_lint") & pl.col("metric").is_in(["precision", "recall", "accuracy_at_1"])
        )
        .with_columns(label=label)
        .sort("label")
        .collect()
    )
    labels = figures["label"].unique(maintain_order=True).to_list()
    if not labels:
        return {}

    def draw(axes: Any) -> None:
        for (metric, color), shift in zip(
            (("precision", BLUE), ("recall", RED), ("accuracy_at_1", GREY)), (0.2, 0, -0.2), strict=True
        ):
            some = figures.filter(pl.col("metric") == metric)
            heights = [labels[::-1].index(name) + shift for name in some["label"]]
            for height, row in zip(heights, some.iter_rows(named=True), strict=True):
                if row["ci_low"] is not None:
                    axes.plot([row["ci_low"], row["ci_high"]], [height] * 2, color=color, linewidth=2)
            axes.plot(some["value"].to_list(), heights, "o", color=color, markersize=4, label=metric)
        axes.set_yticks(range(len(labels)), labels=labels[::-1], fontsize=8)
        axes.set_title("Mention linking after the lint, 95 % intervals", loc="left", fontsize=10)
        axes.legend(frameon=False, fontsize=8)

    return {"mention linking": drawn(draw, 1 + 0.35 * len(labels))}

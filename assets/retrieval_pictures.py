"""Pictures of the retrieval tables for the UI (see pictures.py)."""

from __future__ import annotations

from typing import Any

import dagster as dg
import polars as pl

from assets.build.tables import Built
from assets.pictures import BLUE, GREY, MARKS, drawn
from warehouse.store import Warehouse
from warehouse.tables.ranking_evaluation import EVAL_RANKING, REPORT_RETRIEVAL

_SHOWN = 14


def learning(warehouse: Warehouse, built: Built) -> dict[str, Any]:
    """Learning curves of the runs of a table: what was watched on validation, by step."""
    (commit,) = built.commits
    curves = {}
    for row in warehouse.read(commit.table, version=commit.version).iter_rows(named=True):
        logged = pl.read_ndjson(warehouse.root / row["path"] / "metrics.jsonl", ignore_errors=True)
        watched = logged.filter(pl.col("name") == f"validation/{row['validation_metric']}").sort("step")
        if watched.height:
            label = f"{row['stage']}, seed {row['seed']}: {row['validation_metric']}"
            curves[label] = (watched["step"].to_list(), watched["value"].to_list())
    if not curves:
        return {}

    def draw(axes: Any) -> None:
        for number, (label, (steps, values)) in enumerate(curves.items()):
            axes.plot(steps, values, color=MARKS[number % len(MARKS)], label=label, marker="o", markersize=3)
        axes.set_title("Validation by step", loc="left", fontsize=10)
        axes.set_xlabel("step", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.legend(frameon=False, fontsize=8)

    return {"learning curves": drawn(draw, 3)}


def figures(warehouse: Warehouse, built: Built) -> dict[str, Any]:
    """Recall at 10 of all systems on each dataset, with intervals, under the protocol that most systems share."""
    commit = next(commit for commit in built.commits if commit.table == EVAL_RANKING.name)
    if not commit.rows:
        return {}
    rows = (
        warehouse.scan(EVAL_RANKING.name, commit.version)
        .filter(
            (pl.col("metric") == "recall")
            & (pl.col("k") == 10)
            & (pl.col("slice") == "all")
            & (pl.col("pool") == "full")
        )
        .collect()
    )
    shown = {}
    for (dataset, protocol), part in rows.group_by("dataset", "protocol", maintain_order=True):
        best = (
            part.sort("value", descending=True)
            .unique("system", keep="first", maintain_order=True)
            .head(_SHOWN)
            .reverse()
        )
        shown[f"recall@10, {dataset}, {protocol}"] = _intervals(best, f"Recall@10, {dataset}, {protocol}")
    return shown


def _intervals(rows: pl.DataFrame, title: str) -> dg.MarkdownMetadataValue:
    def draw(axes: Any) -> None:
        for at, row in enumerate(rows.iter_rows(named=True)):
            color = GREY if row["is_baseline"] else BLUE
            axes.plot([row["low"], row["high"]], [at, at], color=color, linewidth=2)
            axes.plot([row["value"]], [at], "o", color=color, markersize=5)
        axes.set_yticks(range(rows.height), rows["system"].to_list(), fontsize=8)
        axes.set_title(f"{title} (95 % intervals; baselines grey)", loc="left", fontsize=10)
        axes.tick_params(labelsize=8)

    return drawn(draw, 1 + 0.25 * rows.height)


def report(warehouse: Warehouse, built: Built) -> dict[str, Any]:
    """Where the report lies."""
    (commit,) = built.commits
    rows = warehouse.read(REPORT_RETRIEVAL.name, version=commit.version)
    return {row["name"]: dg.MetadataValue.path(str(warehouse.root / row["path"])) for row in rows.iter_rows(named=True)}

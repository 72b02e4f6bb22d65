"""Pictures of the tables of simulated conversations for the UI (see pictures.py)."""

from __future__ import annotations

from typing import Any

import dagster as dg
import polars as pl

from assets.build.tables import Built
from assets.pictures import BLUE, GREY, MARKS, drawn, new_rows, stacked
from warehouse.store import Warehouse
from warehouse.tables.simulation import (
    PERSONA_ORIGINS,
    PREF_ECPO_PAIRS,
    SIM_EPISODES,
    SIM_PERSONAS,
    SIM_TURNS,
)
from warehouse.tables.simulation_evaluation import REPORT_SIMULATION

_BINS = [step / 20 for step in range(21)]


def personas(warehouse: Warehouse, built: Built) -> dict[str, Any]:
    """How alike personas are to their nearest neighbour, by where they come from (ECPO, figure 4)."""
    rows = new_rows(warehouse, built, SIM_PERSONAS.name)
    if rows is None:
        return {}
    known = rows.select("origin", "max_rouge_l").drop_nulls().collect()
    values = {origin: known.filter(pl.col("origin") == origin)["max_rouge_l"].to_list() for origin in PERSONA_ORIGINS}
    values = {origin: own for origin, own in values.items() if own}
    if not values:
        return {}

    def draw(axes: Any) -> None:
        for (origin, own), color in zip(values.items(), MARKS, strict=False):
            weights = [1 / len(own)] * len(own)
            label = f"{origin} (n = {len(own):,})"
            axes.hist(own, bins=_BINS, weights=weights, color=color, alpha=0.5, label=label)
        axes.set_title("Largest ROUGE-L to another persona: the lower, the more diverse", loc="left", fontsize=10)
        axes.set_ylabel("share", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.legend(frameon=False, fontsize=8)

    return {"diversity of personas": drawn(draw)}


def episodes(warehouse: Warehouse, built: Built) -> dict[str, Any]:
    """How episodes ended, by domain, simulator and agent."""
    rows = new_rows(warehouse, built, SIM_EPISODES.name)
    if rows is None:
        return {}
    end = (
        pl.when((pl.col("outcome") == "completed") & pl.col("is_success"))
        .then(pl.lit("found"))
        .otherwise(pl.col("outcome").replace("completed", "not found"))
    )
    arm = pl.concat_str("domain", "simulator", "agent", separator=" · ")
    counts = rows.group_by(arm=arm, end=end).len().collect()
    return {"how episodes ended": stacked(counts, "arm", "end", "Episodes by how they ended")}


def turns(warehouse: Warehouse, built: Built) -> dict[str, Any]:
    """Mean satisfaction by turn, by agent."""
    rows = new_rows(warehouse, built, SIM_TURNS.name)
    if rows is None:
        return {}
    scored = rows.filter((pl.col("role") == "assistant") & pl.col("satisfaction").is_not_null())
    number = ((pl.col("turn") + 1) // 2).alias("number")
    means = scored.group_by("agent", number).agg(pl.col("satisfaction").mean()).sort("agent", "number").collect()
    if means.is_empty():
        return {}

    def draw(axes: Any) -> None:
        for ((agent,), own), color in zip(means.group_by("agent", maintain_order=True), MARKS, strict=False):
            axes.plot(
                own["number"].to_list(),
                own["satisfaction"].to_list(),
                color=color,
                label=agent,
                marker="o",
                markersize=3,
            )
        axes.set_xticks(means["number"].unique().sort().to_list())
        axes.set_ylim(0, 5.1)
        axes.set_title("Satisfaction by turn of the agent, mean of scored turns", loc="left", fontsize=10)
        axes.tick_params(labelsize=8)
        axes.legend(frameon=False, fontsize=8)

    return {"satisfaction by turn": drawn(draw, 3)}


def pairs(warehouse: Warehouse, built: Built) -> dict[str, Any]:
    """Satisfaction before and after rewriting."""
    rows = new_rows(warehouse, built, PREF_ECPO_PAIRS.name)
    if rows is None:
        return {}
    kept = rows.filter(pl.col("status") == "kept").drop_nulls(["score_before", "score_after"])
    scores = kept.select("score_before", "score_after", "is_improved").collect()
    if scores.is_empty():
        return {}

    def draw(axes: Any) -> None:
        edges = [score - 0.5 for score in range(7)]
        both = [scores["score_before"].to_list(), scores["score_after"].to_list()]
        axes.hist(both, bins=edges, color=[GREY, BLUE], label=["reply", "rewrite"])
        share = f"{int(scores['is_improved'].sum()):,} of {scores.height:,} score higher"
        axes.set_title(f"Satisfaction before and after rewriting: {share}", loc="left", fontsize=10)
        axes.set_xticks(range(6))
        axes.tick_params(labelsize=8)
        axes.legend(frameon=False, fontsize=8)

    return {"scores before and after": drawn(draw)}


def report(warehouse: Warehouse, built: Built) -> dict[str, Any]:
    """Where the report lies."""
    (commit,) = built.commits
    rows = warehouse.read(REPORT_SIMULATION.name, version=commit.version)
    return {row["name"]: dg.MetadataValue.path(str(warehouse.root / row["path"])) for row in rows.iter_rows(named=True)}

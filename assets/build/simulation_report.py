"""The report on simulated users: its frames from the warehouse, its page kept as a file.

Does not belong here: what the page shows (pipelines/reporting/).
"""

from __future__ import annotations

import polars as pl

from assets.build.reports import keep
from assets.build.tables import Built, Tell, published_or_empty
from pipelines.reporting import transcripts
from pipelines.reporting.simulation import REPORT_VERSION, examples, page
from warehouse.store import NoSuchTable, Warehouse
from warehouse.tables.simulation import (
    PREF_ECPO_PAIRS,
    PREF_TRAJECTORIES,
    PREF_TREE_PAIRS,
    SIM_CALLS,
    SIM_EPISODES,
    SIM_ITEMS,
    SIM_JUDGEMENTS,
    SIM_PERSONAS,
    SIM_TASKS,
    SIM_TURNS,
)
from warehouse.tables.simulation_evaluation import EVAL_SIMULATION, EVAL_SIMULATOR_FIDELITY, REPORT_SIMULATION

__all__ = ["REPORT_VERSION", "SHOWN", "build_simulation_report", "item_titles"]

# What the page shows.
SHOWN = (
    EVAL_SIMULATION, EVAL_SIMULATOR_FIDELITY, SIM_PERSONAS, SIM_TASKS, SIM_EPISODES, SIM_TURNS, SIM_CALLS, SIM_JUDGEMENTS, PREF_ECPO_PAIRS,
    PREF_TRAJECTORIES, PREF_TREE_PAIRS,
)  # fmt: skip
# Columns that it does not show and that are large: left where they are.
_LEFT = {
    SIM_TURNS.name: {"state"},
    SIM_PERSONAS.name: {"support"},
    PREF_ECPO_PAIRS.name: {"context"},
    PREF_TRAJECTORIES.name: {"prompt", "completion", "response"},
    PREF_TREE_PAIRS.name: {"context", "replies"},
    SIM_CALLS.name: set(SIM_CALLS.schema) - {"method", "owner_id"},
}


def build_simulation_report(warehouse: Warehouse, tell: Tell) -> Built:
    """Write the page from what is published: report_simulation, and a file under `files/`."""
    frames = {
        table.name: published_or_empty(
            warehouse, table, [name for name in table.schema if name not in _LEFT.get(table.name, ())]
        )
        for table in SHOWN
    }
    chosen = list(examples(frames[SIM_EPISODES.name], frames[PREF_ECPO_PAIRS.name]).values())
    titles = item_titles(warehouse, frames[SIM_TURNS.name].filter(pl.col("episode_id").is_in(chosen)))
    tell("drawing")
    return keep(warehouse, REPORT_SIMULATION, "simulation", page(frames, titles), (*SHOWN, SIM_ITEMS), tell)


def item_titles(warehouse: Warehouse, turns: pl.DataFrame) -> transcripts.Titles:
    """Titles of the items that these turns retrieved; without those that are no longer known."""
    try:
        items = warehouse.scan(SIM_ITEMS.name)
    except NoSuchTable:
        return {}
    wanted = transcripts.retrieved(turns)
    return transcripts.titles(
        items.select("domain", "item_id", "title").join(wanted.lazy(), on=["domain", "item_id"], how="semi").collect()
    )

"""Figures of simulated conversations: eval_simulation and eval_simulator_fidelity."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl

from assets.build.tables import Built, Tell, published_or_empty
from pipelines.evaluation.simulation import by_products, fidelity, measures, units, verdicts
from pipelines.simulation.naming import holds_title
from pipelines.simulation.parts import Item, Search
from warehouse.store import Warehouse
from warehouse.tables.dialogues import CORE_TURN_LABELS, CORE_TURNS
from warehouse.tables.llm import LLM_CALLS
from warehouse.tables.mentions import CORE_FILM_MENTIONS
from warehouse.tables.simulation import (
    PREF_ECPO_PAIRS,
    PREF_TREE_PAIRS,
    SIM_CALLS,
    SIM_EPISODES,
    SIM_ITEMS,
    SIM_JUDGEMENTS,
    SIM_PERSONAS,
    SIM_TASKS,
    SIM_TURNS,
)
from warehouse.tables.simulation_evaluation import EVAL_SIMULATION, EVAL_SIMULATOR_FIDELITY

# Raise it when the same rows would give other figures.
MEASURES_VERSION = "1"

_TURN_COLUMNS = [name for name in SIM_TURNS.schema if name not in ("state", "reasoning")]


def build_simulation_evaluation(
    warehouse: Warehouse, tell: Tell, search: Callable[[Sequence[Search]], list[list[Item]]] | None = None
) -> Built:
    """Measure what is published: eval_simulation.

    `search`: the agents' search (`open_search`), for the baseline that retrieves once; without it there is no row for that baseline.
    """
    episodes = published_or_empty(warehouse, SIM_EPISODES)
    turns = published_or_empty(warehouse, SIM_TURNS, _TURN_COLUMNS)
    tell(f"simulation: measuring {episodes.height:,} episodes")
    counts = published_or_empty(warehouse, SIM_ITEMS, ["domain"]).group_by("domain").len()
    pairs = published_or_empty(warehouse, PREF_ECPO_PAIRS)
    trees = published_or_empty(warehouse, PREF_TREE_PAIRS, ["domain", "chosen", "trajectories"])
    ledger = published_or_empty(
        warehouse, LLM_CALLS, ["request_hash", "model", "prompt_tokens", "completion_tokens", "cost_usd"]
    )
    rows = [
        *measures.measured(episodes, turns, holds_title),
        *measures.endings(episodes),
        *measures.cooperation(episodes, turns, _items_of(warehouse, episodes)),
        *measures.baselines(episodes, dict(counts.iter_rows()), _found_at_once(episodes, turns, search)),
        *verdicts.judged(published_or_empty(warehouse, SIM_JUDGEMENTS), episodes),
        *by_products.pairs(pairs, episodes),
        *by_products.costs(published_or_empty(warehouse, SIM_CALLS), ledger, episodes, pairs, trees),
        *by_products.personas(published_or_empty(warehouse, SIM_PERSONAS)),
        *by_products.tasks(published_or_empty(warehouse, SIM_TASKS)),
    ]
    frame = units.frame(rows)
    made = {"episodes": episodes.height, "figures": frame.height, "measures": frame["measure"].n_unique()}
    return Built((warehouse.write(EVAL_SIMULATION, frame),), made)


def _items_of(warehouse: Warehouse, episodes: pl.DataFrame) -> pl.DataFrame:
    """The items that were to be found."""
    targets = episodes.select("domain", item_id="target_item").unique()
    return published_or_empty(warehouse, SIM_ITEMS).join(targets, on=["domain", "item_id"], how="semi")


def build_fidelity(warehouse: Warehouse, tell: Tell) -> Built:
    """Compare simulated users with the seekers of ReDial and INSPIRED: eval_simulator_fidelity."""
    columns = ["dialogue_id", "turn", "dataset", "domain", "role", "plain_text"]
    people = fidelity.human_talks(
        published_or_empty(warehouse, CORE_TURNS, columns),
        published_or_empty(warehouse, CORE_TURN_LABELS),
        published_or_empty(warehouse, CORE_FILM_MENTIONS, ["dialogue_id", "turn", "movie_id"]),
    )
    simulated = fidelity.simulated_talks(
        published_or_empty(warehouse, SIM_EPISODES),
        published_or_empty(warehouse, SIM_TURNS, ["episode_id", "turn", "role", "text", "policy"]),
    )
    tell(f"fidelity: {len(simulated):,} simulated dialogues beside {len(people):,} of people")
    keys = fidelity.title_keys(published_or_empty(warehouse, SIM_ITEMS, ["domain", "title"]))
    frame = fidelity.fidelity([*people, *simulated], keys)
    made = {"dialogues of people": len(people), "simulated dialogues": len(simulated), "figures": frame.height}
    return Built((warehouse.write(EVAL_SIMULATOR_FIDELITY, frame),), made)


def _found_at_once(
    episodes: pl.DataFrame, turns: pl.DataFrame, search: Callable[[Sequence[Search]], list[list[Item]]] | None
) -> dict[tuple[str, str], bool] | None:
    """By task and simulator, whether searching for the user's first turn finds the target."""
    if search is None:
        return None
    first = measures.first_turns(episodes, turns)
    wanted = [Search(domain, text, measures.TOP) for domain, text in first.select("domain", "text").iter_rows()]
    found = search(wanted) if wanted else []
    rows = first.select("task_id", "simulator", "target_item").iter_rows()
    return {
        (task, simulator): target in {item.item_id for item in items[: measures.TOP]}
        for (task, simulator, target), items in zip(rows, found, strict=True)
    }

"""Simulated conversations that were played, as what is made of them takes them up: the newest rows, which the same step may just have written."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from assets.build.tables import latest_or_empty, published_or_empty
from pipelines.simulation.parts import Episode, Item, Search
from pipelines.simulation.recorded import recorded, recorded_tasks
from warehouse.store import Warehouse
from warehouse.tables.simulation import SIM_CALLS, SIM_EPISODES, SIM_ITEMS, SIM_PERSONAS, SIM_TASKS, SIM_TURNS

# Domain and agent: what one partition of the assets holds.
Partition = tuple[str, str]
# Looks up what agents search for.
Searcher = Callable[[Sequence[Search]], Sequence[Sequence[Item]]]
Row = Mapping[str, Any]


def is_of(partitions: Iterable[Partition]) -> pl.Expr:
    """Whether a row is of one of these partitions."""
    keys = [f"{domain} {agent}" for domain, agent in partitions]
    return pl.concat_str("domain", "agent", separator=" ").is_in(keys)


def train_episodes(warehouse: Warehouse) -> pl.DataFrame:
    """Rows of sim_episodes from which pairs may be made: of the train split, played to an end that counts."""
    is_usable = (pl.col("split") == "train") & pl.col("outcome").is_in(["completed", "left"])
    return latest_or_empty(warehouse, SIM_EPISODES).filter(is_usable)


def played(warehouse: Warehouse, episodes: pl.DataFrame) -> Iterator[tuple[str, Episode]]:
    """Each of `episodes` (sim_episodes) as it was played, with its id, in the order of ids."""
    turns = latest_or_empty(warehouse, SIM_TURNS).join(episodes, on="episode_id", how="semi")
    tasks = published_or_empty(warehouse, SIM_TASKS).join(episodes, on="task_id", how="semi")
    personas = published_or_empty(warehouse, SIM_PERSONAS).join(tasks, on="persona_id", how="semi")
    wanted = pl.concat(
        [
            tasks.select("domain", item_id="target_item"),
            turns.select("domain", item_id=pl.col("retrieved")).explode("item_id").drop_nulls(),
        ]
    ).unique()
    listed = published_or_empty(warehouse, SIM_ITEMS, ["domain", "item_id", "title", "text"])
    items = {
        (domain, item_id): Item(item_id, title, text)
        for domain, item_id, title, text in listed.join(wanted, on=["domain", "item_id"], how="semi").iter_rows()
    }
    return recorded(episodes, turns, recorded_tasks(tasks, personas, items), items)


def with_calls(
    warehouse: Warehouse, method: str, owners: pl.Series, fresh: Collection[str], asked: Sequence[Row]
) -> pl.DataFrame:
    """sim_calls with the questions of one method's `owners`: stored ones, but for `fresh` owners, whose questions are `asked`. Other methods' stay as they are."""
    stored = latest_or_empty(warehouse, SIM_CALLS)
    is_own, owner = pl.col("method") == method, pl.col("owner_id")
    stays = owner.is_in(owners.implode()) & ~owner.is_in(list(fresh))
    new = SIM_CALLS.frame(asked)
    return pl.concat([stored.filter(~is_own | stays), new])

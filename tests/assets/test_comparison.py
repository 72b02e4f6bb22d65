"""Data to compare with: trajectories and sampled pairs of a whole warehouse, sampled once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets.build.comparison import build_comparison
from assets.build.ecpo import build_ecpo
from assets.build.scales import Trees
from pipelines.gateways.llm.gateway import LlmGateway
from pipelines.simulation.parts import Item, Search
from tests.assets.simulated_warehouse import AGENT_NAMES, DOMAINS, found, gateway, opened, publish, simulated
from warehouse.store import Warehouse

EVERYTHING = [(domain, agent) for domain in DOMAINS for agent in AGENT_NAMES]
TREES = Trees(turns=2, branches=3)


def tell(text: str) -> None:
    """Nobody listens."""


def search(searches: Sequence[Search]) -> list[list[Item]]:
    return [found(each) for each in searches]


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return opened(tmp_path / "wh")


def compared(warehouse: Warehouse, model: LlmGateway | None, partitions: Any = EVERYTHING, trees: Trees = TREES) -> Any:
    built = build_comparison(warehouse, model, search, partitions, trees, tell)
    warehouse.publish({commit.table: commit.version for commit in built.commits})
    return built


def test_trajectories_and_trees_are_of_train_episodes_and_their_questions_are_kept(warehouse: Warehouse) -> None:
    with gateway(warehouse) as model:
        built = compared(warehouse, model)
    train = simulated()["sim_episodes"].filter(split="train")
    successes = warehouse.read("pref_trajectories")
    own = train.filter("is_success")
    assert set(successes["episode_id"]) == set(own["episode_id"]) and successes.height == own["agent_turns"].sum()
    pairs = warehouse.read("pref_tree_pairs")
    assert pairs.group_by("domain", "agent").len()["len"].to_list() == [TREES.turns] * len(EVERYTHING)
    assert set(pairs["episode_id"]) <= set(train["episode_id"]) and pairs["episode_id"].is_unique().all()
    assert set(pairs["trajectories"]) == {TREES.branches} and set(pairs["replies"].list.len()) == {TREES.branches}
    assert built.counts["trajectories played for them"] == TREES.branches * pairs.height
    assert 0 < built.counts["sampled turns without a pair"] < pairs.height
    told = pairs.filter(pl.col("chosen").is_not_null())
    assert all(chosen in replies and rejected in replies and chosen != rejected for chosen, rejected, replies in told.select("chosen", "rejected", "replies").iter_rows())  # fmt: skip
    calls = warehouse.read("sim_calls").filter(method="tree")
    assert set(calls["owner_id"]) == set(pairs["pair_id"]) and set(calls["purpose"]) == {"branch"}
    assert (calls.group_by("owner_id").len()["len"] >= TREES.branches).all()


def test_the_same_again_changes_nothing_and_asks_nobody(warehouse: Warehouse) -> None:
    with gateway(warehouse) as model:
        build_ecpo(warehouse, model, EVERYTHING, tell)
        compared(warehouse, model)
        again = compared(warehouse, model)
        assert not any(commit.changed for commit in again.commits)
        assert again.counts["sampled before"] == TREES.turns * len(EVERYTHING)
        # Each step leaves the questions of the others alone.
        assert not any(commit.changed for commit in build_ecpo(warehouse, model, EVERYTHING, tell).commits)
    assert not any(commit.changed for commit in compared(warehouse, None).commits)
    assert set(warehouse.read("sim_calls")["method"]) == {"episode", "ecpo", "tree"}


def test_partitions_one_by_one_make_the_same_as_all_of_them(warehouse: Warehouse, tmp_path: Path) -> None:
    with gateway(warehouse) as model:
        for partition in reversed(EVERYTHING):
            compared(warehouse, model, [partition])
    whole = opened(tmp_path / "whole")
    with gateway(whole) as model:
        compared(whole, model)
    for name, order in (("pref_tree_pairs", ["pair_id"]), ("pref_trajectories", ["episode_id", "turn"]), ("sim_calls", ["method", "owner_id", "number"])):  # fmt: skip
        assert warehouse.read(name).sort(order).equals(whole.read(name).sort(order))


def test_what_is_not_drawn_any_more_goes_and_what_stays_is_not_sampled_again(warehouse: Warehouse) -> None:
    with gateway(warehouse) as model:
        compared(warehouse, model)
        before = warehouse.read("pref_tree_pairs")
        fewer = compared(warehouse, model, trees=Trees(1, TREES.branches))
        assert fewer.counts["sampled before"] == fewer.counts["sampled turns"] == len(EVERYTHING)
        after = warehouse.read("pref_tree_pairs")
        assert after.sort("pair_id").equals(before.join(after, on="pair_id", how="semi").sort("pair_id"))
        assert set(warehouse.read("sim_calls").filter(method="tree")["owner_id"]) == set(after["pair_id"])
        assert compared(warehouse, model, trees=Trees(0, 3)).counts["sampled turns"] == 0


def test_rows_go_with_their_episodes(warehouse: Warehouse) -> None:
    with gateway(warehouse) as model:
        compared(warehouse, model)
        gone = warehouse.read("pref_tree_pairs").filter(domain="book")["episode_id"][0]
        publish(
            warehouse,
            {name: simulated()[name].filter(pl.col("episode_id") != gone) for name in ("sim_episodes", "sim_turns")},
        )
        compared(warehouse, model, [("film", "actcrs")])
    for name in ("pref_tree_pairs", "pref_trajectories"):
        assert (
            gone not in warehouse.read(name)["episode_id"].to_list()
            and "book" in warehouse.read(name)["domain"].to_list()
        )


def test_what_could_not_be_played_is_sampled_by_the_next_run(warehouse: Warehouse) -> None:
    said: list[str] = []
    with gateway(warehouse, mode="replay") as model:
        built = build_comparison(warehouse, model, search, EVERYTHING, TREES, said.append)
    assert built.counts["sampled turns"] == 0 and built.counts["not played"] == TREES.branches * TREES.turns * len(
        EVERYTHING
    )
    assert any("could not be played" in each for each in said)
    with gateway(warehouse) as model:
        assert compared(warehouse, model).counts["sampled turns"] == TREES.turns * len(EVERYTHING)

"""Rewriting what did not satisfy: rows of a whole warehouse, made once, kept while their turns are as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets.build.ecpo import build_ecpo
from assets.build.preferences import build_pairs
from pipelines.gateways.llm.gateway import LlmGateway
from tests.assets.simulated_warehouse import AGENT_NAMES, DOMAINS, gateway, opened, publish, simulated
from warehouse.quality.run import cross_checks, over
from warehouse.store import Warehouse
from warehouse.tables.simulation import PREF_ECPO_PAIRS, SIM_CALLS

EVERYTHING = [(domain, agent) for domain in DOMAINS for agent in AGENT_NAMES]


def tell(text: str) -> None:
    """Nobody listens."""


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return opened(tmp_path / "wh")


def ecpo(
    warehouse: Warehouse, model: LlmGateway | None, domains: Any = DOMAINS, agents: Any = AGENT_NAMES, **rest: Any
) -> Any:
    built = build_ecpo(warehouse, model, [(domain, agent) for domain in domains for agent in agents], tell, **rest)
    warehouse.publish({commit.table: commit.version for commit in built.commits})
    return built


def due(threshold: int = 4) -> pl.DataFrame:
    """The turns that are to be rewritten."""
    usable = simulated()["sim_episodes"].filter(
        pl.col("outcome").is_in(["completed", "left"]), pl.col("split") == "train"
    )
    return (
        simulated()["sim_turns"]
        .filter(pl.col("role") == "assistant", pl.col("satisfaction") <= threshold)
        .join(usable, on="episode_id", how="semi")
        .select("episode_id", "turn")
        .sort("episode_id", "turn")
    )


def test_books_balance_and_references_hold(warehouse: Warehouse) -> None:
    with gateway(warehouse) as model:
        built = ecpo(warehouse, model)
    pairs = warehouse.read("pref_ecpo_pairs")
    assert pairs.select("episode_id", "turn").sort("episode_id", "turn").equals(due())
    assert built.counts["turns scored 4 or less"] == built.counts["rows"] == pairs.height > 20
    statuses = {name: number for name, number in built.counts.items() if name.startswith("status ")}
    assert sum(statuses.values()) == pairs.height and statuses["status kept"] > pairs.height / 2
    assert (
        set(pairs["split"]) == {"train"}
        and set(pairs["domain"]) == set(DOMAINS)
        and set(pairs["agent"]) == set(AGENT_NAMES)
    )
    assert pairs["is_stand_in"].all()
    calls = warehouse.read("sim_calls")
    assert set(calls.filter(method="ecpo")["owner_id"]) == set(pairs["pair_id"])
    assert (
        calls.filter(method="episode")
        .sort("owner_id", "number")
        .equals(simulated()["sim_calls"].sort("owner_id", "number"))
    )
    with over({**simulated(), "pref_ecpo_pairs": pairs, "sim_calls": calls}) as query:
        for check in cross_checks([PREF_ECPO_PAIRS, SIM_CALLS]):
            if check.table in ("pref_ecpo_pairs", "sim_calls") and set(check.needs) <= {
                *simulated(),
                "pref_ecpo_pairs",
            }:
                assert query(check.sql).is_empty(), check.name


def test_the_same_again_asks_nobody_and_changes_nothing(warehouse: Warehouse) -> None:
    with gateway(warehouse) as model:
        first = ecpo(warehouse, model)
        second = ecpo(warehouse, model)
    assert second.counts["rewritten before"] == first.counts["rows"]
    assert not any(commit.changed for commit in second.commits)
    assert not any(name.startswith("language model") for name in second.counts)


def test_turns_that_are_others_today_are_asked_about_and_no_other(warehouse: Warehouse) -> None:
    with gateway(warehouse) as model:
        ecpo(warehouse, model)
        before = warehouse.read("pref_ecpo_pairs")
        changed = before.row(0, named=True)
        is_it = (pl.col("episode_id") == changed["episode_id"]) & (pl.col("turn") == changed["turn"])
        turns = simulated()["sim_turns"].with_columns(
            text=pl.when(is_it).then(pl.lit("Something else was said.")).otherwise("text"),
            action=pl.when(is_it).then(pl.lit("respond")).otherwise("action"),
        )
        publish(warehouse, {"sim_turns": turns})
        # Without a model the row of that turn is about another reply: it goes; and later ones of the episode have another context.
        alone = ecpo(warehouse, None)
        episode = before.filter(episode_id=changed["episode_id"])
        assert alone.counts["rows"] == before.height - episode.filter(pl.col("turn") >= changed["turn"]).height
        again = ecpo(warehouse, model)
    assert again.counts["rows"] == before.height
    after = warehouse.read("pref_ecpo_pairs")
    same = before.filter(pl.col("episode_id") != changed["episode_id"]).sort("pair_id")
    assert after.join(same, on="pair_id", how="semi").sort("pair_id").equals(same)
    assert after.filter(pair_id=changed["pair_id"])["original"].item() == "Something else was said."


def test_parts_of_the_work_make_the_same_as_all_of_it(warehouse: Warehouse, tmp_path: Path) -> None:
    with gateway(warehouse) as model:
        for agent in reversed(AGENT_NAMES):
            for domain in DOMAINS:
                ecpo(warehouse, model, (domain,), (agent,))
    whole = Warehouse(tmp_path / "whole")
    publish(whole, {name: frame.sample(fraction=1, shuffle=True, seed=3) for name, frame in simulated().items()})
    with gateway(whole) as model:
        ecpo(whole, model)
    for name, order in (("pref_ecpo_pairs", ["pair_id"]), ("sim_calls", ["method", "owner_id", "number"])):
        assert warehouse.read(name).sort(order).equals(whole.read(name).sort(order))


def test_without_a_model_what_is_there_stays(warehouse: Warehouse) -> None:
    assert ecpo(warehouse, None).counts["rows"] == 0
    with gateway(warehouse) as model:
        ecpo(warehouse, model, ("film",))
    before = warehouse.read("pref_ecpo_pairs")
    built = ecpo(warehouse, None)
    assert not any(commit.changed for commit in built.commits) and built.counts["rows"] == before.height > 0


def test_rows_go_with_their_episodes(warehouse: Warehouse) -> None:
    with gateway(warehouse) as model:
        ecpo(warehouse, model)
        gone = warehouse.read("pref_ecpo_pairs").filter(domain="book")["episode_id"][0]
        publish(
            warehouse,
            {name: simulated()[name].filter(pl.col("episode_id") != gone) for name in ("sim_turns", "sim_episodes")},
        )
        ecpo(warehouse, model, ("film",))
    pairs = warehouse.read("pref_ecpo_pairs")
    assert gone not in pairs["episode_id"].to_list() and "book" in pairs["domain"].to_list()
    assert set(warehouse.read("sim_calls").filter(method="ecpo")["owner_id"]) == set(pairs["pair_id"])


def test_what_could_not_be_asked_is_asked_by_the_next_run(warehouse: Warehouse) -> None:
    with gateway(warehouse, mode="replay") as model:
        said: list[str] = []
        built = build_ecpo(warehouse, model, EVERYTHING, said.append)
        assert built.counts["not asked"] == built.counts["turns scored 4 or less"] and built.counts["rows"] == 0
        assert any("could not be asked about" in each for each in said)
    with gateway(warehouse) as model:
        built = ecpo(warehouse, model)
        assert built.counts["not asked"] == 0 and built.counts["rows"] == built.counts["turns scored 4 or less"]
    # And under replay the same rows come out of the cache alone.
    before = warehouse.read("pref_ecpo_pairs").sort("pair_id")
    publish(warehouse, {"pref_ecpo_pairs": before.clear()})
    with gateway(warehouse, mode="replay") as model:
        ecpo(warehouse, model)
    assert warehouse.read("pref_ecpo_pairs").sort("pair_id").equals(before)


def test_a_lower_threshold_rewrites_less(warehouse: Warehouse) -> None:
    with gateway(warehouse) as model:
        built = ecpo(warehouse, model, threshold=2)
        assert built.counts["rows"] == due(2).height < due().height
        assert warehouse.read("pref_ecpo_pairs")["score_before"].max() <= 2  # type: ignore[operator]


def test_pairs_that_improved_are_in_the_store_whatever_is_asked_for(warehouse: Warehouse) -> None:
    with gateway(warehouse) as model:
        ecpo(warehouse, model)
    rewrites = warehouse.read("pref_ecpo_pairs")
    better = rewrites.filter(pl.col("is_improved"))
    for datasets in (("redial",), ()):
        built = build_pairs(warehouse, datasets, None, False, tell)
        warehouse.publish({commit.table: commit.version for commit in built.commits})
        pairs = warehouse.read("pref_pairs")
        assert set(pairs["pair_id"]) == set(better["pair_id"]) and pairs.height == better.height > 0
        assert built.counts["pairs of simulated conversations"] == better.height
    assert pairs["chosen_movie_ids"].list.len().sum() > 0
    users = dict(rewrites.select("pair_id", "user_id").iter_rows())
    assert all(row["conversation_id"] == f"simulation-{users[row['pair_id']]}" for row in pairs.iter_rows(named=True))
    # A rewrite that is gone takes its pair with it.
    publish(warehouse, {"pref_ecpo_pairs": rewrites.filter(pl.col("pair_id") != better["pair_id"][0])})
    built = build_pairs(warehouse, (), None, False, tell)
    assert built.counts["pairs"] == better.height - 1

"""Pairs and their costs, personas, tasks: counted by hand."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.evaluation.simulation.by_products import costs, pairs, personas, tasks
from pipelines.evaluation.simulation.units import frame
from tests.filled import filled
from tests.judged_frames import Row, episode, episodes_of, key, personas_of, tasks_of
from warehouse.tables.llm import LLM_CALLS
from warehouse.tables.simulation import PREF_ECPO_PAIRS, PREF_TREE_PAIRS, SIM_CALLS
from warehouse.tables.simulation_evaluation import EVAL_SIMULATION


def of(made: list[dict[str, Any]], **place: str) -> dict[str, tuple[float | None, int, int]]:
    assert EVAL_SIMULATION.violations(frame(made)) == []
    where = {"domain": "book", "split": "all", **place}
    own = [row for row in made if all(row[name] == value for name, value in where.items())]
    assert len({row["measure"] for row in own}) == len(own)
    return {row["measure"]: (row["value"], row["n"], row["invalid"]) for row in own}


def pair(number: int, before: float, after: float | None, status: str = "kept", **rest: Any) -> Row:
    improved = None if after is None else after > before
    return {
        "pair_id": key(number), "episode_id": key(number), "turn": 1, "domain": "book", "agent": "actcrs", "simulator": "ailo", "split": "train",
        "user_id": f"yelp-{number}", "score_before": before, "score_after": after, "is_improved": improved, "status": status, **rest,
    }  # fmt: skip


PAIRS = [pair(1, 1, 4), pair(2, 3, 3), pair(3, 3, None, "same"), pair(4, 4, 5), pair(5, 2, None, "too_far")]
EPISODES = [episode(n, n, split="train") for n in range(1, 7)]


def test_pairs_by_lambda() -> None:
    got = of(pairs(filled(PREF_ECPO_PAIRS, PAIRS), episodes_of(*EPISODES)), agent="actcrs")
    numbers = {name: short for name, short in got.items() if name.startswith("pairs_at")}
    assert {name: got[name][0] for name in got if name.startswith("turns_at")} == {
        "turns_at_1": 1, "turns_at_2": 2, "turns_at_3": 4, "turns_at_4": 5
    }  # fmt: skip
    assert {name: short[1:] for name, short in numbers.items()} == {f"pairs_at_{n}": (5, 0) for n in (1, 2, 3, 4)}
    assert [short[0] for _, short in sorted(numbers.items())] == [1, 1, 2, 3]
    assert got["improved_at_1"] == (1, 1, 0)
    assert got["improved_at_2"] == (1, 1, 1)
    assert got["improved_at_3"] == (0.5, 2, 2)
    assert got["improved_at_4"] == (pytest.approx(2 / 3), 3, 2)
    assert pairs(filled(PREF_ECPO_PAIRS, []), episodes_of()) == []


def call(method: str, number: int, request: str) -> Row:
    return {"method": method, "owner_id": key(number), "number": 0, "domain": "book", "purpose": "policy", "request_hash": request}  # fmt: skip


def paid(request: str, tokens: int, usd: float, **rest: Any) -> Row:
    return {"call_id": f"{request}{tokens}", "request_hash": request, "prompt_tokens": tokens, "completion_tokens": 10, "cost_usd": usd, "model": "gpt", **rest}  # fmt: skip


def test_costs_by_hand() -> None:
    calls = filled(
        SIM_CALLS,
        [
            call("episode", 1, "a"),
            call("ecpo", 1, "b"),
            call("ecpo", 2, "c"),
            call("tree", 1, "d"),
            call("tree", 2, "a"),
        ],
    )
    # One question took two tries; "a" was asked for an episode and for a branch, and paid once.
    ledger = filled(
        LLM_CALLS, [paid("a", 90, 0.4), paid("b", 40, 0.1), paid("b", 41, 0.1), paid("c", 20, 0.2), paid("d", 190, 1.0)]
    )
    trees = filled(
        PREF_TREE_PAIRS,
        [{"pair_id": key(1), "domain": "book", "chosen": "x", "trajectories": 5}, {"pair_id": key(2), "domain": "book", "trajectories": 5}],
    )  # fmt: skip
    episodes = episodes_of(*EPISODES, episode(9, 9, split="test"), episode(10, 10, split="train", outcome="leaked"))
    got = of(costs(calls, ledger, episodes, filled(PREF_ECPO_PAIRS, PAIRS), trees))
    assert got["episode_questions"] == (1, 1, 0)
    assert got["episode_usd"][0] == pytest.approx(0.2)
    assert got["ecpo_pairs"][0] == 3 and got["tree_pairs"][0] == 1
    assert got["ecpo_trajectories"][0] == 6 and got["tree_trajectories"][0] == 10
    assert got["ecpo_questions_per_pair"][0] == pytest.approx(2 / 3)
    assert got["ecpo_tokens_per_pair"][0] == pytest.approx((50 + 51 + 30) / 3)
    assert got["ecpo_usd_per_pair"][0] == pytest.approx(0.4 / 3)
    assert got["tree_questions_per_pair"][0] == 2
    assert got["tree_tokens_per_pair"][0] == pytest.approx(200 + 50)
    assert got["tree_usd_per_pair"][0] == pytest.approx(1.2)
    together = of(costs(calls, ledger, episodes, filled(PREF_ECPO_PAIRS, PAIRS), trees), domain="all")
    assert together == got
    # Nothing is lost: what all methods cost is what the ledger says.
    assert sum(got[f"{method}_usd"][0] or 0 for method in ("episode", "ecpo", "tree")) == pytest.approx(1.8)


def test_costs_without_pairs_have_no_price_a_pair() -> None:
    got = of(costs(filled(SIM_CALLS, [call("ecpo", 1, "b")]), filled(LLM_CALLS, []), episodes_of(), filled(PREF_ECPO_PAIRS, []), filled(PREF_TREE_PAIRS, [])))  # fmt: skip
    assert got["ecpo_questions"] == (1, 1, 0)
    assert got["ecpo_usd_per_pair"] == (None, 0, 0)
    assert costs(filled(SIM_CALLS, []), filled(LLM_CALLS, []), episodes_of(), filled(PREF_ECPO_PAIRS, []), filled(PREF_TREE_PAIRS, [])) == []  # fmt: skip


def test_personas_by_origin() -> None:
    import polars as pl

    inferred = personas_of(1, 2, 3, origin="inferred").with_columns(max_rouge_l=pl.Series([0.1, 0.2, 0.6]))
    lonely = personas_of(4, origin="random")
    got = of(personas(pl.concat([inferred, lonely])), split="all")
    assert got["persona_rouge_l_inferred"] == (pytest.approx(0.3), 3, 0)
    assert got["persona_rouge_l_median_inferred"] == (0.2, 3, 0)
    assert got["persona_rouge_l_random"] == (None, 0, 1)
    assert got["persona_rouge_l_median_random"] == (None, 0, 0)


def test_tasks_by_split() -> None:
    made = tasks_of(
        *(
            {"task_id": key(n), "domain": "book", "user_id": user, "target_item": f"item-{item}", "split": split, "is_user_in_both": both}
            for n, (user, item, split, both) in enumerate(
                [("yelp-1", 1, "train", True), ("yelp-1", 2, "train", True), ("yelp-2", 1, "test", False), ("yelp-3", 1, "test", True)]
            )
        )
    )  # fmt: skip
    got, test = tasks(made), of(tasks(made), split="test")
    every = of(got)
    assert {name: short[0] for name, short in every.items()} == {"tasks": 4, "users": 3, "targets": 2, "users_in_both_released": 2, "users_in_both": 0}  # fmt: skip
    assert {name: short[0] for name, short in test.items()} == {"tasks": 2, "users": 2, "targets": 1, "users_in_both_released": 1, "users_in_both": 0}  # fmt: skip
    assert tasks(tasks_of()) == []

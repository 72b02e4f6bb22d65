"""Checks of the language model's stage: sound tables pass, empty ones too, and each kind of damage fails the check that is meant for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from warehouse.quality.run import audit, audit_across, cross_checks, over
from warehouse.quality.suites import reranking
from warehouse.tables.reranking import EVAL_HALLUCINATION, LLM_RANKINGS, RL_REWARDS

Tables = dict[str, pl.DataFrame]
POLICY = "0123456789abcdef"


def _line(rank: int, kind: str, movie_id: str | None = None, **changes: Any) -> dict[str, Any]:
    return {"rank": rank, "text": "x", "kind": kind, "movie_id": movie_id, "similarity": 1.0, "is_dissimilar": False, "reason": "-", **changes}  # fmt: skip


def _ranking(turn: int, **changes: Any) -> dict[str, Any]:
    return {
        "system": "lrurec", "retriever_id": POLICY, "seed": 42, "dialogue_id": "redial-1", "turn": turn, "dataset": "redial", "split": "test",
        "candidates": ["a", "b", "c"], "labels": ["b"], "ranked": ["b", "a"],
        "lines": [_line(1, "candidate", "b"), _line(2, "candidate", "a"), _line(3, "repeated", "b"), _line(4, "not_in_corpus")],
        "outcome": "answered", "problem": None, "model": "m", "is_stand_in": False, "prompt_version": "rerank@1", "is_thinking": False,
        "request_hash": "h", **changes,
    }  # fmt: skip


def _reward(draw: int, **changes: Any) -> dict[str, Any]:
    return {
        "policy_id": POLICY, "dialogue_id": "redial-2", "turn": 1, "dataset": "redial", "split": "train", "round": 0, "draw": draw,
        "candidates": ["a", "b"], "log_prob": -1.0, "has_label": True, "label_rank": 1, "reward": 1.0, "outcome": "answered",
        "model": "m", "is_stand_in": False, "prompt_version": "rerank@1", "request_hash": "h", **changes,
    }  # fmt: skip


UNLABELLED = {"has_label": False, "label_rank": None, "reward": 0.0, "outcome": "no_label", "request_hash": None}


@pytest.fixture(scope="module")
def tables() -> Tables:
    figure = {
        "dataset": "redial", "system": "lrurec", "model": "m", "is_stand_in": False, "prompt_version": "rerank@1", "is_thinking": False,
        "measure": "any_hallucination", "lines": 2, "n": 8, "share": 0.25, "low": 0.1, "high": 0.4, "clusters": 1,
    }  # fmt: skip
    stored = {
        table.name: table.check(pl.DataFrame(rows, schema=table.schema))
        for table, rows in (
            (LLM_RANKINGS, [_ranking(1), _ranking(3)]),
            (RL_REWARDS, [_reward(0), _reward(1, **UNLABELLED)]),
            (EVAL_HALLUCINATION, [figure]),
        )
    }
    turns = {"dialogue_id": ["redial-1", "redial-1", "redial-2"], "turn": [1, 3, 1], "split": ["test", "test", "train"], "labels": [["b"]] * 3}  # fmt: skip
    lists = {"system": "lrurec", "seed": 42, "example_id": ["redial-1:1", "redial-1:3"], "top": [["a", "gone", "b", "c"], ["a", "b", "c"]]}  # fmt: skip
    return {
        **stored,
        "core_rec_turns": pl.DataFrame(turns),
        "ml_rankings": pl.DataFrame(lists),
        "core_movies": pl.DataFrame({"movie_id": ["a", "b", "c"]}),
        "llm_calls": pl.DataFrame({"request_hash": ["h"]}),
    }


def wrong(tables: Tables, sound: Tables | None = None) -> set[str]:
    """Names of the checks that fail. A table as it stands in `sound` has passed its suite already."""
    suites = [
        suite for suite in reranking.SUITES if not sound or tables[suite.table.name] is not sound[suite.table.name]
    ]
    found = [each for suite in suites for each in audit(suite, tables[suite.table.name])]
    own = {suite.table.name for suite in reranking.SUITES}
    checks = [check for check in cross_checks([]) if check.table in own]
    with over(tables) as ask:
        across = audit_across(checks, ask, tables)
    assert {each.status for each in across} <= {"passed", "failed"}
    return {each.check for each in [*found, *across] if each.status == "failed"}


def changed(name: str, **values: Any) -> Callable[[Tables], Tables]:
    """Put values into the first row."""

    def change(tables: Tables) -> Tables:
        frame = tables[name]
        first = {**frame.row(0, named=True), **values}
        return {**tables, name: pl.concat([pl.DataFrame([first], schema=frame.schema), frame[1:]])}

    return change


def test_sound_tables_pass(tables: Tables) -> None:
    assert wrong(tables) == set()


def test_empty_tables_are_sound_too(tables: Tables) -> None:
    assert wrong({name: frame.clear() for name, frame in tables.items()}) == set()


@pytest.mark.parametrize(
    ("damage", "check"),
    [
        (changed("llm_rankings", ranked=["b", "z"]), "ranked_are_candidates"),
        (changed("llm_rankings", ranked=["b", "b"]), "ranked_are_candidates"),
        (changed("llm_rankings", candidates=["a", "b", "a"]), "candidates_differ"),
        (changed("llm_rankings", lines=[_line(1, "guess")]), "lines_have_known_kinds"),
        (changed("llm_rankings", lines=[_line(1, "candidate", "b", reason="")]), "lines_have_known_kinds"),
        (changed("llm_rankings", lines=[_line(1, "candidate")]), "lines_have_known_kinds"),
        (changed("llm_rankings", ranked=["a", "b"]), "ranked_follow_lines"),
        (changed("llm_rankings", outcome="empty"), "outcome_is_told"),
        (changed("llm_rankings", ranked=[], lines=[], outcome="empty"), "outcome_is_told"),
        (changed("llm_rankings", ranked=[], lines=[], outcome="empty", problem="-"), "few_without_list"),
        (changed("llm_rankings", is_stand_in=True), "stand_in_is_marked"),
        (changed("llm_rankings", model="marquee-stand-in"), "stand_in_is_marked"),
        (changed("llm_rankings", candidates=["b", "a", "c"]), "candidates_are_the_retrievers"),
        (changed("llm_rankings", labels=["c"]), "labels_are_those_of_the_turn"),
        (changed("llm_rankings", lines=[_line(1, "not_a_candidate", "z")]), "films_of_lines_exist"),
        (changed("llm_rankings", request_hash="other"), "answers_are_in_the_ledger"),
        (changed("rl_rewards", reward=1.5), "reward_range"),
        (changed("rl_rewards", reward=0.0), "reward_goes_with_rank"),
        (changed("rl_rewards", label_rank=None), "reward_goes_with_rank"),
        (changed("rl_rewards", label_rank=3), "reward_goes_with_rank"),
        (changed("rl_rewards", has_label=False), "no_reward_without_label"),
        (changed("rl_rewards", outcome="no_label"), "no_reward_without_label"),
        (changed("rl_rewards", **{**UNLABELLED, "reward": 0.5}), "no_reward_without_label"),
        (changed("rl_rewards", candidates=["a", "a"]), "candidates_differ"),
        (changed("rl_rewards", outcome="empty"), "few_without_list"),
        (changed("rl_rewards", dialogue_id="redial-1"), "rewards_are_of_training_turns"),
        (changed("rl_rewards", **UNLABELLED), "some_hold_labels"),
        (changed("eval_hallucination", low=0.3), "interval_is_ordered"),
        (changed("eval_hallucination", low=None), "interval_is_ordered"),
        (changed("eval_hallucination", share=0.3), "lines_within_all"),
        (changed("eval_hallucination", is_stand_in=True), "stand_in_is_marked"),
        (changed("eval_hallucination", n=9, lines=2, share=2 / 9), "measured_are_the_rankings"),
    ],
)
def test_damage_is_found(tables: Tables, damage: Callable[[Tables], Tables], check: str) -> None:
    assert check in wrong(damage(tables), tables)


@pytest.mark.parametrize(
    ("row", "check"),
    [
        (_reward(0, round=1), "resampled_only_without_label"),
        (_reward(2, model="other"), "rewards_of_a_policy_from_one_model"),
    ],
)
def test_sets_that_should_not_be_there_are_found(tables: Tables, row: dict[str, Any], check: str) -> None:
    more = pl.concat([tables["rl_rewards"], pl.DataFrame([row], schema=RL_REWARDS.schema)])
    assert check in wrong({**tables, "rl_rewards": more}, tables)

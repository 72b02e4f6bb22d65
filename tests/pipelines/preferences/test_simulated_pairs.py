"""Rewrites that score higher become pairs of the store, and stand beside those of dialogues."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.annotation.validation import pair_items
from pipelines.evaluation.preferences import evaluate_pairs
from pipelines.preferences.assemble import assemble
from pipelines.preferences.degraded import degraded
from pipelines.preferences.simulated import PLACED, simulated_pairs
from tests.pipelines.preferences.made_up import movies, talk
from warehouse.quality.run import audit, cross_checks, over
from warehouse.tables.preferences import PREF_PAIRS, TABLES
from warehouse.tables.simulation import PREF_ECPO_PAIRS, SIM_ITEMS

FILM = "mv0000000000000001"
ITEMS = pl.DataFrame(
    [
        {"domain": "film", "item_id": FILM, "title": "Salt Road"},
        {"domain": "book", "item_id": "b1", "title": "Salt Road"},
    ],
    schema={name: SIM_ITEMS.schema[name] for name in ("domain", "item_id", "title")},
)
TALK = talk(
    *([("s", f"Hello {n}"), ("r", f"How about @{n} today, my friend?")] for n in range(6)),
    splits=["train", "test"] * 3,
)


def rewritten(number: int, **changes: Any) -> dict[str, Any]:
    """A row of pref_ecpo_pairs: accepted, and better."""
    return {
        "pair_id": f"{number:016x}", "episode_id": "0" * 16, "turn": 1, "domain": "film", "agent": "actcrs", "simulator": "ailo", "split": "train",
        "user_id": f"yelp-{number}", "context": [{"role": "user", "content": f"Something about salt, number {number}."}],
        "original": f"You could see Salt Road, number {number}.", "rewritten": f"You could see Salt Road, number {number}. Is it for tonight?",
        "reason": "Why.", "reasoning": None, "action_type": "recommend", "score_before": 2.0, "score_after": 4.0, "is_improved": True,
        "flexibility_gain": 1.0, "coherence_gain": 1.0, "guidance_gain": 0.0, "rewrite_distance": 0.2, "status": "kept", "retrieved": [FILM],
        "is_success": False, "judge_prompt_version": "confirmation@1", "model": "m", "is_stand_in": False, "prompt_version": "rewrite@3", "input_hash": number,
    } | changes  # fmt: skip


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    return PREF_ECPO_PAIRS.check(pl.DataFrame(rows, schema=PREF_ECPO_PAIRS.schema))


def test_a_pair_says_what_is_better_by_how_much_and_leads_back() -> None:
    (row,) = simulated_pairs(frame(rewritten(1)), ITEMS).to_dicts()
    assert row | {"margin": round(row["margin"], 6)} == {
        "pair_id": f"{1:016x}", "dataset": "simulation", "domain": "film", "dialogue_id": None, "turn": None,
        "context": [{"role": "user", "content": "Something about salt, number 1."}], "chosen": "You could see Salt Road, number 1. Is it for tonight?",
        "rejected": "You could see Salt Road, number 1.", "dimensions": ["satisfaction"], "construction": "ecpo_rewrite", "chosen_movie_ids": [FILM],
        "rejected_movie_ids": [FILM], "made_by": "rewrite", "version": "1/3", "model": "m", "is_stand_in": False, "margin": 0.4, "input_hash": 1,
        "split": "train", "conversation_id": "simulation-yelp-1",
    }  # fmt: skip


def test_a_gain_in_guidance_is_one_in_engagement() -> None:
    made = simulated_pairs(frame(rewritten(1, guidance_gain=0.5), rewritten(2, guidance_gain=-1.0)), ITEMS)
    assert made["dimensions"].to_list() == [["satisfaction", "engagement"], ["satisfaction"]]


@pytest.mark.parametrize(
    "change",
    [
        {"is_improved": False, "score_after": 2.0},
        {"is_improved": None, "score_after": None, "status": "not_scored"},
        {"status": "too_far", "is_improved": None, "score_after": None},
        {"rewritten": "YOU could  see Salt Road, number 1."},
    ],
)
def test_what_is_no_better_is_no_pair(change: dict[str, Any]) -> None:
    assert simulated_pairs(frame(rewritten(1, **change)), ITEMS).is_empty()
    assert simulated_pairs(PREF_ECPO_PAIRS.empty(), ITEMS).schema == PLACED


def test_films_are_named_for_films_alone() -> None:
    made = simulated_pairs(frame(rewritten(1, domain="book", retrieved=["b1"]), rewritten(2, rewritten="Is it for tonight?"), rewritten(3, retrieved=["gone"])), ITEMS)  # fmt: skip
    assert made.select("chosen_movie_ids", "rejected_movie_ids").rows() == [([], []), ([], [FILM]), ([], [])]


@given(st.permutations(range(8)))
def test_the_order_of_rows_does_not_matter(order: list[int]) -> None:
    rows = [rewritten(number) for number in range(8)]
    assert simulated_pairs(frame(*(rows[at] for at in order)), ITEMS).equals(simulated_pairs(frame(*rows), ITEMS))


@pytest.fixture(scope="module")
def pairs() -> pl.DataFrame:
    rewrites = frame(*(rewritten(number, domain=("film", "game", "business")[number % 3]) for number in range(6)))
    return assemble([degraded(*TALK.parts, movies()).rows], TALK.dialogues, simulated_pairs(rewrites, ITEMS))


def test_simulated_pairs_stand_beside_the_others_and_change_none(pairs: pl.DataFrame) -> None:
    assert PREF_PAIRS.violations(pairs) == []
    alone = assemble([degraded(*TALK.parts, movies()).rows], TALK.dialogues)
    assert pairs.filter(pl.col("dataset") != "simulation").equals(alone)
    assert pairs.filter(dataset="simulation").height == 6
    again = assemble(
        [pairs.filter(pl.col("dataset") != "simulation")], TALK.dialogues, pairs.filter(dataset="simulation")
    )
    assert again.equals(pairs)


def test_rewrites_that_say_the_same_count_once() -> None:
    same = rewritten(1), rewritten(2, **{name: rewritten(1)[name] for name in ("context", "original", "rewritten")})
    made = assemble([], TALK.dialogues, simulated_pairs(frame(*same), ITEMS))
    assert made["duplicate_of"].to_list() == [None, f"{1:016x}"]


def test_checks_hold_and_references_of_nothing_are_none(pairs: pl.DataFrame) -> None:
    assert [
        each.check for each in audit("pref_pairs", pairs) if each.status != "passed" and each.severity == "ERROR"
    ] == []
    frames = {"pref_pairs": pairs, "core_dialogues": TALK.dialogues, "core_turns": TALK.turns, "core_movies": movies(), "eval_preferences": evaluate_pairs(pairs)}  # fmt: skip
    ran = 0
    with over(frames) as query:
        for check in cross_checks([PREF_PAIRS]):
            if "pref" in check.table and set(check.needs) <= set(frames):
                assert query(check.sql).is_empty(), check.name
                ran += 1
    assert ran >= 7


def test_views_take_them_but_for_grpo_and_people_are_not_asked(pairs: pl.DataFrame) -> None:
    shown = {}
    with over({"pref_pairs": pairs}) as query:
        for view in TABLES:
            if view.sql:
                shown[view.name] = view.check(query(view.sql))
    for name in ("pref_dpo", "pref_reward", "pref_kto"):
        assert "simulation" in shown[name]["dataset"].to_list()
    assert "simulation" not in shown["pref_grpo"]["dataset"].to_list() and shown["pref_grpo"].height == 6
    assert shown["pref_reward"].filter(dataset="simulation")["margin"].to_list() == pytest.approx([0.4] * 6)
    drawn = pair_items(pairs)
    assert set(drawn["dataset"]) == {"redial"} and drawn["dialogue_id"].null_count() == 0


def test_figures_have_them_as_a_dataset_of_their_own(pairs: pl.DataFrame) -> None:
    figures = evaluate_pairs(pairs).filter(dataset="simulation", construction="ecpo_rewrite", split="train")
    assert dict(figures.select("metric", "value").iter_rows())["conversations"] == 6

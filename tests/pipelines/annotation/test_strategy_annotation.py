"""Strategies: labels of datasets, rules, a model's answers, and which of them holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from pipelines.annotation import strategy, vto
from pipelines.gateways.llm.runs import LlmAnswer, LlmRun
from warehouse.tables.annotation import ANNO_STRATEGY

LINES = (
    "s: hi",
    "r: What kind of films do you like?",
    "s: puzzles",
    "r: unlit towers at dusk it is",
    "r: You should see [Salt Road]",
)


def labels(*stated: tuple[int, str, str]) -> pl.DataFrame:
    rows = [
        {"dialogue_id": "redial-1", "turn": turn, "dataset": "redial", "scheme": scheme, "position": 0, "label": label}
        for turn, scheme, label in stated
    ]
    types = {
        "dialogue_id": pl.String,
        "turn": pl.Int32,
        "dataset": pl.String,
        "scheme": pl.String,
        "position": pl.Int32,
    }
    return pl.DataFrame(rows, schema=types | {"label": pl.String})


def test_labels_of_inspired_are_mapped_and_kept_as_stated() -> None:
    rows = strategy.dataset_rows(
        labels(
            (1, "inspired_strategy", "preference_confirmation"),
            (1, "inspired_second_strategy", "Offer Help"),
            (3, "inspired_strategy", "no_strategy"),
            (3, "iard_intent", "Recommend"),
            (4, "inspired_strategy", "unheard_of"),
        )
    )
    ANNO_STRATEGY.check(rows)
    assert rows.select("turn", "strategy", "stated_label", "position").rows() == [
        (1, "transparency", "preference_confirmation", 0),
        (1, "offer_help", "Offer Help", 1),
        (3, "no_strategy", "no_strategy", 0),
    ]


def test_a_second_label_that_maps_to_the_first_is_no_second_row() -> None:
    rows = strategy.dataset_rows(
        labels((1, "inspired_strategy", "transparency"), (1, "inspired_second_strategy", "preference_confirmation"))
    )
    assert rows["stated_label"].to_list() == ["transparency"]


def test_rules_speak_for_recommenders_only(talk: Callable[..., Any]) -> None:
    rows = ANNO_STRATEGY.check(strategy.annotate(*talk(*LINES)))
    assert rows.filter(pl.col("position") == 0).select("turn", "strategy").rows() == [
        (1, "opinion_inquiry"),
        (4, "encouragement"),
    ]


def test_only_what_nobody_labelled_is_asked(talk: Callable[..., Any]) -> None:
    turns, mentions = talk(*LINES)
    known = strategy.annotate(turns, mentions)
    assert [each.key for each in strategy.requests(turns, mentions, known)] == ["redial-1#3"]
    stated = pl.concat([known, strategy.dataset_rows(labels((3, "inspired_strategy", "no_strategy")))])
    assert strategy.requests(turns, mentions, stated) == []


def test_people_win_over_datasets_over_models_over_rules(talk: Callable[..., Any]) -> None:
    known = pl.concat(
        [
            strategy.annotate(*talk(*LINES)),
            strategy.dataset_rows(labels((1, "inspired_strategy", "experience_inquiry"))),
        ]
    )
    value = {"strategy": "credibility", "confidence": 0.4}
    run = LlmRun(answers={"redial-1#3": LlmAnswer(value, "some-model", False, "answered", "hash", False, 0.0)})
    human = strategy.rows_from(run).with_columns(
        pl.lit(4, dtype=pl.Int32).alias("turn"),
        pl.lit("human").alias("source"),
        pl.lit("ann").alias("made_by"),
        model=None,
    )
    rows = strategy.settle(pl.concat([known, strategy.rows_from(run), ANNO_STRATEGY.conform(human)]))
    ANNO_STRATEGY.check(rows)
    assert rows.filter("is_chosen").select("turn", "strategy", "source").rows() == [
        (1, "experience_inquiry", "dataset"),
        (3, "credibility", "llm"),
        (4, "credibility", "human"),
    ]


def test_an_increment_equals_the_whole(talk: Callable[..., Any]) -> None:
    old = talk({"redial-1": LINES, "redial-2": ["s: hi", "r: Great!"]})
    rows, turns = strategy.annotate(*old), vto.annotate(*old)
    before = strategy.Before(rows, vto.settle(turns.decisions, turns.rows), strategy.STRATEGY_VERSION)
    new = talk({"redial-1": LINES[:4], "redial-2": ["s: hello", "r: Great!"], "redial-3": ["r: Hello there"]})
    assert strategy.annotate(*new, before).equals(strategy.annotate(*new))
    stale = strategy.Before(rows.with_columns(pl.lit("credibility").alias("strategy")), before.turns, "old-1")
    assert strategy.annotate(*old, stale).equals(rows)


def test_what_a_model_said_stays_while_the_turn_is_as_it_was_and_open(talk: Callable[..., Any]) -> None:
    frames = talk(*LINES)
    known, made = strategy.annotate(*frames), vto.annotate(*frames)
    settled = vto.settle(made.decisions, made.rows)
    value = {"strategy": "credibility", "confidence": 0.4}
    rows = strategy.rows_from(
        LlmRun(answers={"redial-1#3": LlmAnswer(value, "some-model", False, "answered", "hash", False, 0.0)})
    )
    assert strategy.still_valid(rows, settled, made.decisions, known).equals(rows)
    stated = pl.concat([known, strategy.dataset_rows(labels((3, "inspired_strategy", "no_strategy")))])
    assert strategy.still_valid(rows, settled, made.decisions, stated).is_empty()

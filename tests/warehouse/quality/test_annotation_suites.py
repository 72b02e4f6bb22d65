"""Checks of annotations: sound ones pass, empty ones too, and each kind of damage fails the check that is meant for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from warehouse.quality.run import audit, audit_across, cross_checks, over
from warehouse.quality.suites import annotation
from warehouse.tables.annotation import ANNO_STRATEGY, ANNO_TURNS, ANNO_VALIDATION, ANNO_VTO
from warehouse.tables.dialogues import CORE_TURNS

Tables = dict[str, pl.DataFrame]
ROLES = ("seeker", "recommender", "seeker")


def _place(turn: int) -> dict[str, Any]:
    return {"dialogue_id": "redial-1", "turn": turn, "dataset": "redial"}


def _said(turn: int, operation: str, source: str) -> dict[str, Any]:
    model = "some-model" if source == "llm" else None
    return {
        **_place(turn), "operation": operation, "position": 0, "source": source, "confidence": 0.9, "made_by": "r", "version": "1",
        "model": model, "is_stand_in": False,
    }  # fmt: skip


def _holds(turn: int, by: str | None, operations: list[str], rules: float | None) -> dict[str, Any]:
    sure = 0.9 if by else 0.0
    return {
        **_place(turn), "decided_by": by, "operations": operations, "confidence": sure, "is_stand_in": False, "rule_confidence": rules,
        "input_hash": turn,
    }  # fmt: skip


@pytest.fixture(scope="module")
def tables() -> Tables:
    turns = [
        {**_place(at), "domain": "film", "split": "train", "role": role, "text": "t", "plain_text": "t", "images": [], "captions": [], "content_hash": at}
        for at, role in enumerate(ROLES)
    ]  # fmt: skip
    strategy = {
        **_place(1), "strategy": "offer_help", "stated_label": None, "position": 0, "source": "heuristic", "is_chosen": True, "confidence": 0.9,
        "made_by": "r", "version": "1", "model": None, "is_stand_in": False,
    }  # fmt: skip
    return {
        table.name: table.check(pl.DataFrame(rows, schema=dict(table.schema)))
        for table, rows in (
            (CORE_TURNS, [dict.fromkeys(CORE_TURNS.schema) | row for row in turns]),
            (ANNO_VTO, [_said(0, "no_operation", "heuristic"), _said(1, "select_best", "llm"), _said(1, "rank_options", "heuristic"), _said(2, "rank_options", "heuristic")]),
            (ANNO_TURNS, [_holds(0, "heuristic", [], 0.9), _holds(1, "llm", ["select_best"], None), _holds(2, None, [], None)]),
            (ANNO_STRATEGY, [strategy]),
            (ANNO_VALIDATION, []),
        )
    }  # fmt: skip


def wrong(tables: Tables, sound: Tables | None = None) -> set[str]:
    """Names of the checks that fail. A figure of an empty column cannot be had: that check is errored, which is no failure.

    A table as it stands in `sound` has passed its suite already.
    """
    found = [
        each
        for suite in annotation.SUITES
        if suite.table.name in tables and not (sound and tables[suite.table.name] is sound[suite.table.name])
        for each in audit(suite.table.name, tables[suite.table.name])
    ]
    checks = [check for check in cross_checks([]) if check.table.startswith("anno_")]
    query = over(tables)
    with query as ask:
        found += audit_across(checks, ask, tables)
    return {each.check for each in found if each.status == "failed"}


def changed(name: str, **values: Any) -> Callable[[Tables], Tables]:
    def change(tables: Tables) -> Tables:
        first = pl.int_range(pl.len()) == 0
        frame = tables[name].with_columns(
            pl.when(first)
            .then(pl.lit(value, dtype=tables[name].schema[column]))
            .otherwise(pl.col(column))
            .alias(column)
            for column, value in values.items()
        )
        return {**tables, name: frame}

    return change


def with_row(name: str, row: dict[str, Any]) -> Callable[[Tables], Tables]:
    return lambda tables: {
        **tables,
        name: pl.concat([tables[name], pl.DataFrame([row], schema=dict(tables[name].schema))]),
    }


def test_sound_annotations_pass(tables: Tables) -> None:
    assert wrong(tables) == set()


def test_no_annotations_are_sound_too(tables: Tables) -> None:
    assert wrong({name: frame.clear() for name, frame in tables.items()}) == set()


@pytest.mark.parametrize(
    ("damage", "check"),
    [
        (changed("anno_vto", source="llm"), "model_is_named"),
        (changed("anno_turns", decided_by=None), "open_turns_say_nothing"),
        (changed("anno_turns", rule_confidence=None), "rules_are_heard"),
        (changed("anno_turns", operations=["rank_options"]), "verdicts_have_evidence"),
        (changed("anno_strategy", stated_label="offer_help"), "dataset_states_label"),
        (changed("anno_strategy", turn=0), "strategies_are_recommenders"),
        (with_row("anno_vto", _said(0, "select_best", "heuristic")), "nothing_and_something"),
        (with_row("anno_vto", _said(1, "select_best", "human")), "people_win"),
        (changed("anno_turns", turn=7), "every_turn_has_a_verdict"),
    ],
)
def test_damage_is_found(tables: Tables, damage: Callable[[Tables], Tables], check: str) -> None:
    assert check in wrong(damage(tables), tables)

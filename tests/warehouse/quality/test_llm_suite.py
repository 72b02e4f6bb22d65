"""The ledger's suite and checks: a sound ledger passes, and each kind of damage fails the check that is meant for it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest

from warehouse.quality.run import audit, audit_across, cross_checks, over
from warehouse.tables.llm import LLM_CALLS

TABLE = LLM_CALLS.name


@pytest.fixture
def ledger() -> pl.DataFrame:
    """Twenty calls: answered, one of them at the second try."""
    answered = {
        "attempt": 1,
        "prompt": "words",
        "prompt_version": "1",
        "model": "m-1",
        "is_stand_in": False,
        "prompt_tokens": 100,
        "completion_tokens": 10,
        "cost_usd": 0.001,
        "latency_s": 0.5,
        "outcome": "answered",
        "http_status": 200,
        "error": None,
    }
    rows = [
        {
            **answered,
            "call_id": f"call {n}",
            "request_hash": f"hash {n}",
            "started_at": datetime(2026, 1, 1) + timedelta(seconds=n),
        }
        for n in range(20)
    ]
    rows[0] |= {"request_hash": "hash 1", "outcome": "failed", "http_status": 429, "error": "too many", "cost_usd": 0.0}
    rows[1] |= {"attempt": 2}
    rows[2] |= {"model": "marquee-stand-in", "is_stand_in": True, "cost_usd": 0.0}
    return LLM_CALLS.check(pl.DataFrame(rows, schema=LLM_CALLS.schema))


def found_wrong(frame: pl.DataFrame) -> set[str]:
    """Checks that fail. A figure of an empty column cannot be had, so its check is errored, which is no failure."""
    across = [check for check in cross_checks(()) if check.table == TABLE]
    assert across
    with over({TABLE: frame}) as query:
        outcomes = [*audit(TABLE, frame), *audit_across(across, query, [TABLE])]
    return {outcome.check for outcome in outcomes if outcome.status == "failed"}


def test_a_sound_ledger_passes(ledger: pl.DataFrame) -> None:
    assert found_wrong(ledger) == set()


def test_an_empty_ledger_passes(ledger: pl.DataFrame) -> None:
    assert found_wrong(ledger.clear()) == set()


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"error": "broken"}, "a_call_has_the_outcome_it_can_have"),
        ({"http_status": 500}, "a_call_has_the_outcome_it_can_have"),
        ({"is_stand_in": True}, "the_stand_in_is_marked"),
        ({"request_hash": "the same"}, "nothing_is_paid_twice"),
        ({"cost_usd": 5.0}, "cost_of_one_call"),
        ({"attempt": 40}, "tries"),
        ({"latency_s": 100.0}, "latency"),
        ({"outcome": "invalid", "error": "off schema"}, "keeps_to_the_schema"),
        ({"outcome": "failed", "error": "gone"}, "mostly_answered"),
    ],
)
def test_damage_is_found(ledger: pl.DataFrame, changes: dict[str, Any], check: str) -> None:
    damaged = ledger.with_columns(
        pl.lit(value, dtype=ledger.schema[column]).alias(column) for column, value in changes.items()
    )
    assert check in found_wrong(damaged)


def test_two_versions_of_one_text_are_found(ledger: pl.DataFrame) -> None:
    twice = ledger.with_columns(
        request_hash=pl.when(pl.int_range(pl.len()) < 2).then(pl.lit("hash 1")).otherwise("request_hash"),
        prompt_version=pl.when(pl.int_range(pl.len()) == 1).then(pl.lit("2")).otherwise("prompt_version"),
    )
    assert "one_text_a_version" in found_wrong(twice)

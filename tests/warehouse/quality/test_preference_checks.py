"""Checks of preference pairs: sound ones pass, each kind of damage fails the check that is meant for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from pipelines.evaluation.preferences import evaluate_pairs
from pipelines.preferences.assemble import assemble
from pipelines.preferences.degraded import degraded
from tests.pipelines.preferences.made_up import movies, talk
from warehouse.quality.run import audit, cross_checks, over

TALK = talk(
    *([("s", f"Hello {n}"), ("r", f"How about @{n} today, my friend?")] for n in range(40)),
    splits=["train", "test"] * 20,
)
Damage = Callable[[pl.DataFrame], pl.DataFrame]


@pytest.fixture(scope="module")
def pairs() -> pl.DataFrame:
    return assemble([degraded(*TALK.parts, movies()).rows], TALK.dialogues)


def first(column: str, value: Any) -> Damage:
    """Damage: `value`, an expression or a literal, in the first row."""
    put = value if isinstance(value, pl.Expr) else pl.lit(value)
    return lambda frame: frame.with_columns(
        pl.when(pl.int_range(pl.len()) == 0)
        .then(put.cast(frame.schema[column]))
        .otherwise(pl.col(column))
        .alias(column)
    )


def wrong(table: str, frame: pl.DataFrame) -> set[tuple[str, str]]:
    return {(each.check, each.severity) for each in audit(table, frame) if each.status != "passed"}


def broken(pairs: pl.DataFrame, **others: pl.DataFrame) -> set[str]:
    """Checks across tables that return rows."""
    frames = {"pref_pairs": pairs, "core_dialogues": TALK.dialogues, "core_movies": movies()} | others
    with over(frames) as query:
        return {
            each.name
            for each in cross_checks([])
            if set(each.needs) <= set(frames) and "pref" in each.table and query(each.sql).height
        }


def test_sound_pairs_pass(pairs: pl.DataFrame) -> None:
    assert wrong("pref_pairs", pairs) == set()
    evaluated = evaluate_pairs(pairs)
    assert wrong("eval_preferences", evaluated) == set()
    assert broken(pairs, eval_preferences=evaluated) == set()


def test_no_pairs_block_nothing(pairs: pl.DataFrame) -> None:
    for table, frame in (("pref_pairs", pairs.clear()), ("eval_preferences", evaluate_pairs(pairs).clear())):
        assert not [each.check for each in audit(table, frame) if each.is_blocking]
    assert broken(pairs.clear()) == set()


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (first("rejected", pl.col("chosen").str.to_uppercase()), {("answers_differ", "ERROR")}),
        (first("chosen", " \n"), {("answers_have_text", "ERROR")}),
        (first("dimensions", pl.lit(["beauty"], dtype=pl.List(pl.String))), {("dimensions_known", "ERROR")}),
        (first("dimensions", pl.lit([], dtype=pl.List(pl.String))), {("dimensions_known", "ERROR")}),
        (
            first("context", pl.lit([], dtype=pl.List(pl.Struct({"role": pl.String, "content": pl.String})))),
            {("context_has_user", "ERROR"), ("context_ends_with_user", "WARN")},
        ),
        (first("construction", "llm_quality"), {("model_is_named", "ERROR")}),
        (first("duplicate_of", pl.col("pair_id")), {("duplicate_of_another", "ERROR")}),
        (
            lambda frame: frame.with_columns(chosen=pl.concat_str("chosen", pl.lit("!" * 90))),
            {("length_tells_little", "WARN")},
        ),
        (lambda frame: frame.with_columns(duplicate_of=pl.lit("0" * 16)), {("few_duplicates", "WARN")}),
    ],
)
def test_damage_fails_the_check_that_is_meant_for_it(
    pairs: pl.DataFrame, damage: Damage, expected: set[tuple[str, str]]
) -> None:
    assert wrong("pref_pairs", damage(pairs)) == expected


def test_a_conversation_in_two_splits_is_found(pairs: pl.DataFrame) -> None:
    test_first = pairs.filter(split="test")
    found = broken(first("split", "train")(test_first))
    assert found == {"conversation_in_one_split", "no_context_from_a_held_out_split"}


def test_equal_pairs_in_two_splits_are_found(pairs: pl.DataFrame) -> None:
    one = pairs.filter(split="test").head(1)
    copy = one.with_columns(
        pair_id=pl.lit("0" * 16),
        split=pl.lit("train"),
        conversation_id=pl.lit("other"),
        dialogue_id=pl.lit("redial-0"),
        chosen=pl.concat_str(pl.col("chosen").str.to_uppercase(), pl.lit("!")),
    )
    assert broken(pl.concat([pairs, copy])) == {"no_duplicates_across_splits"}
    assert broken(pl.concat([pairs, copy.with_columns(duplicate_of=one["pair_id"])])) == set()


def test_duplicates_must_lead_to_a_pair_that_is_used(pairs: pl.DataFrame) -> None:
    assert broken(first("duplicate_of", "f" * 16)(pairs)) == {"duplicates_lead_to_used_pairs"}


def test_films_that_left_the_corpus_and_stale_figures_are_told(pairs: pl.DataFrame) -> None:
    assert broken(pairs, core_movies=movies(5)) == {"films_of_pairs_exist"}
    assert broken(pairs, eval_preferences=evaluate_pairs(pairs.head(9))) == {"pairs_are_counted"}

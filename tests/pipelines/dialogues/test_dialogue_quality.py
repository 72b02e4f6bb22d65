"""The suites and cross checks of conversations: sound tables and empty ones pass, each kind of damage fails its check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import polars as pl
import pytest

from pipelines.dialogues.read import read_dataset
from warehouse.quality.run import audit, audit_across, cross_checks, over
from warehouse.quality.suites.dialogues import SUITES
from warehouse.tables.dialogues import DATASETS, TABLES

NAMES = {
    "dialogues": "core_dialogues",
    "turns": "core_turns",
    "labels": "core_turn_labels",
    "hints": "core_mention_hints",
    "feedback": "core_feedback",
    "items": "core_dialogue_items",
    "rejects": "raw_dialogue_rejects",
    "files": "meta_dialogue_files",
}
CHECKS = [each for each in cross_checks(TABLES) if each.table in NAMES.values()]
Frames = dict[str, pl.DataFrame]


@pytest.fixture
def tables(datasets: Path) -> Frames:
    found = [read_dataset(dataset, datasets, lambda text: None) for dataset in DATASETS]
    assert {field.name for field in fields(found[0])} == set(NAMES)
    return {name: pl.concat([getattr(each, field) for each in found]) for field, name in NAMES.items()}


def wrong_across(tables: Frames) -> set[tuple[str, str]]:
    with over(tables) as query:
        outcomes = audit_across(CHECKS, query, tables)
    assert not [each.error for each in outcomes if each.status == "errored"]
    return {(each.check, each.severity) for each in outcomes if each.status == "failed"}


# What is so in the small datasets: iEvaLM's valid file, and the same two workers in all dialogues.
KNOWN = {
    ("dialogue_stated_in_one_split", "WARN"),
    ("person_in_one_split", "WARN"),
}


def test_sound_tables_hold_together(tables: Frames) -> None:
    assert wrong_across(tables) == KNOWN
    assert wrong_across({table.name: table.empty() for table in TABLES}) == set()


DAMAGES: list[tuple[str, pl.Expr, set[tuple[str, str]]]] = [
    ("core_dialogues", pl.col("turns") + 1, {("turns_are_all_there", "ERROR")}),
    ("core_turns", pl.lit("test").alias("split"), {("turns_are_all_there", "ERROR")}),
    ("core_turns", pl.lit("seeker").alias("role"), {("both_sides_speak", "WARN")}),
    ("core_turns", pl.lit("...").alias("plain_text"), {("turns_say_something", "WARN")}),
    ("core_turns", pl.lit("same").alias("plain_text"), {("same_words_in_one_split", "WARN")}),
    ("core_mention_hints", pl.col("end") + 5000, {("hints_lie_in_their_text", "ERROR")}),
    ("core_mention_hints", pl.col("start") + 1, {("hints_lie_in_their_text", "ERROR")}),
    ("core_mention_hints", pl.lit("unlisted").alias("item_name"), {("named_items_are_listed", "ERROR")}),
    ("core_mention_hints", pl.lit(None, pl.String).alias("item_name"), {("placeholders_have_names", "WARN")}),
    ("meta_dialogue_files", pl.col("rows_rejected") + 1, {("dialogue_rejects_are_all_there", "ERROR")}),
    ("meta_dialogue_files", pl.lit(0).alias("rows_kept"), {("dialogue_files_are_in_the_books", "ERROR")}),
    ("raw_dialogue_rejects", pl.lit("unreadable").alias("reason"), {("few_dialogue_records_lost", "WARN")}),
]


@pytest.mark.parametrize(("name", "change", "expected"), DAMAGES)
def test_damage_fails_the_check_that_is_meant_for_it(
    tables: Frames, name: str, change: pl.Expr, expected: set[tuple[str, str]]
) -> None:
    tables[name] = tables[name].with_columns(change)
    found = wrong_across(tables)
    assert expected <= found
    assert not {each for each in found - expected - KNOWN if each[1] == "ERROR"}


def test_a_conversation_in_two_splits_is_an_error(tables: Frames) -> None:
    moved = pl.when(pl.col("dialogue_id") == "iard-7").then(pl.lit("train")).otherwise("split").alias("split")
    tables["core_dialogues"] = tables["core_dialogues"].with_columns(moved)
    tables["core_turns"] = tables["core_turns"].with_columns(moved)
    assert wrong_across(tables) - KNOWN == {("conversation_in_one_split", "ERROR")}


@pytest.mark.slow
@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.table.name)
def test_sound_and_empty_tables_pass_their_suite(tables: Frames, suite: object) -> None:
    name = suite.table.name  # type: ignore[attr-defined]
    for frame in (tables[name], tables[name].clear()):
        outcomes = audit(suite, frame)  # type: ignore[arg-type]
        assert [(each.check, each.observed, each.error) for each in outcomes if each.status != "passed"] == []


def _at_first(column: str, value: pl.Expr) -> Callable[[pl.DataFrame], pl.DataFrame]:
    first = pl.int_range(pl.len()) == 0
    return lambda frame: frame.with_columns(pl.when(first).then(value).otherwise(column).alias(column))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "damage", "check"),
    [
        ("core_dialogues", _at_first("source_id", pl.lit("x")), "id_is_made_of_its_parts"),
        ("core_dialogues", _at_first("extra", pl.lit("{")), "extra_is_json"),
        ("core_dialogues", _at_first("splits_stated", pl.lit(["dev"])), "splits_stated_are_splits"),
        ("core_turns", _at_first("plain_text", pl.lit("a\nb")), "plain_text_is_plain"),
        ("core_turns", _at_first("captions", pl.lit(["one", "two"])), "a_caption_an_image"),
        ("core_turn_labels", _at_first("scheme", pl.lit("muse_action")), "scheme_is_the_datasets"),
        ("core_mention_hints", _at_first("end", pl.lit(None, pl.Int32)), "span_is_whole"),
        ("core_feedback", _at_first("value", pl.lit(0.3)), "redial_answers_are_read"),
        ("meta_dialogue_files", _at_first("rows_kept", pl.lit(99)), "books_balance"),
    ],
)
def test_a_damaged_table_fails_its_suite(
    tables: Frames, name: str, damage: Callable[[pl.DataFrame], pl.DataFrame], check: str
) -> None:
    suite = next(each for each in SUITES if each.table.name == name)
    frame = damage(tables[name])
    failed = [each.check for each in audit(suite, frame) if each.status == "failed"]
    assert failed == [check]

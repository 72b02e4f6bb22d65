"""Suites as data: complete against the contracts, and sound in themselves."""

from __future__ import annotations

import re

import polars as pl
import pytest

from warehouse.contracts import Column, Table
from warehouse.quality.suite import Expectation, Suite, contract_suite, select_sql
from warehouse.quality.suites.every import SUITES
from warehouse.tables import annotation, corpus, dialogues, llm, mentions, preferences, titles

ALL = [pytest.param(suite, id=name) for name, suite in SUITES.items()]


def test_the_core_tables_have_a_suite() -> None:
    assert {
        "core_title_records",
        "core_movies",
        "core_movie_links",
        "core_movie_conflicts",
        "eval_entity_resolution",
    } <= set(SUITES)


def test_every_table_of_conversations_but_the_rejects_has_a_suite() -> None:
    areas = (dialogues, mentions, llm, annotation, preferences)
    stored = {table.name for area in areas for table in area.TABLES if table.sql is None}
    assert stored - set(SUITES) == {"raw_dialogue_rejects"}


@pytest.mark.parametrize("suite", ALL)
def test_names_are_unique_and_fit_an_asset_check(suite: Suite) -> None:
    names = [each.name for each in suite.expectations]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch("[a-z][a-z0-9_]*", name) for name in names)
    assert all(each.meaning.strip() for each in suite.expectations)


@pytest.mark.parametrize("suite", ALL)
def test_every_column_is_the_tables_or_derived_from_it(suite: Suite) -> None:
    known = set(suite.table.schema)
    derived = {each.name for each in suite.derived}
    assert not known & derived
    used = {column for each in suite.expectations for column in each.columns}
    assert used <= known | derived
    assert derived <= used, "nothing is derived for nobody"
    assert {name for each in suite.derived for name in each.needs} <= known


@pytest.mark.parametrize("suite", ALL)
def test_every_rule_of_the_contract_is_in_the_suite(suite: Suite) -> None:
    names = {each.name for each in suite.expectations if each.severity == "ERROR"}
    for column in suite.table.columns:
        assert (f"{column.name}_not_null" in names) == (not column.nullable)
        assert (f"{column.name}_allowed" in names) == (column.allowed is not None)
        assert (f"{column.name}_pattern" in names) == (column.pattern is not None)
        bounded = column.minimum is not None or column.maximum is not None
        assert (f"{column.name}_range" in names) == bounded
    assert ("key_unique" in names) == bool(suite.table.key)
    assert "columns_present" in names


@pytest.mark.parametrize("suite", ALL)
def test_parameters_are_used_and_declared(suite: Suite) -> None:
    used = {
        value["$PARAMETER"]
        for each in suite.expectations
        for value in each.kwargs.values()
        if isinstance(value, dict) and "$PARAMETER" in value
    }
    assert used == {each.name for each in suite.parameters}


def test_any_contract_gives_a_suite() -> None:
    for table in (*titles.TABLES, *corpus.TABLES, *dialogues.TABLES, *annotation.TABLES):
        suite = contract_suite(table)
        assert len(suite.expectations) > len([c for c in table.columns if not c.nullable])


TABLE = Table(
    "t",
    "A table.",
    (
        Column("id", pl.Int64, "Key.", nullable=False),
        Column("words", pl.List(pl.String), "Words.", nullable=False),
        Column("text", pl.String, "A long text.", nullable=False),
        Column("unused", pl.String, "Nothing is asked of it."),
        Column("size", pl.Int64, "Size.", minimum=0),
    ),
    key=("id",),
)


def test_only_what_is_needed_is_loaded() -> None:
    sql = select_sql(contract_suite(TABLE), TABLE.schema)
    assert '"unused"' not in sql
    assert 'CASE WHEN "text" IS NOT NULL' in sql
    assert '"size"' in sql


def test_lists_are_loaded_as_lengths() -> None:
    longer = Expectation(
        "words_some",
        "expect_column_values_to_be_between",
        {"column": "words", "min_value": 1},
        "WARN",
        "Some.",
    )
    assert 'len("words") AS "words"' in select_sql(contract_suite(TABLE, longer), TABLE.schema)


def test_absent_columns_are_left_out() -> None:
    assert "size" not in select_sql(contract_suite(TABLE), {"id": pl.Int64(), "words": pl.List(pl.String)})

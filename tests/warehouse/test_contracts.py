"""The contract vocabulary: what a frame must satisfy, and what a contract itself must."""

import importlib
import pkgutil

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import warehouse.tables
from warehouse.contracts import Column, ContractViolation, ForeignKey, Table

FILMS = Table(
    name="core_films",
    meaning="Films.",
    key=("film_id",),
    columns=(
        Column("film_id", pl.String, "Id.", nullable=False, pattern=r"f\d+"),
        Column("year", pl.Int32, "Year.", unit="year", minimum=1870, maximum=2035),
        Column("kind", pl.String, "Kind.", allowed=("movie", "short")),
        Column("genres", pl.List(pl.String), "Genres."),
    ),
)


def film(**values: object) -> pl.DataFrame:
    row = {"film_id": "f1", "year": 1999, "kind": "movie", "genres": ["Drama"], **values}
    return pl.DataFrame([row], schema_overrides={"genres": pl.List(pl.String)})


def test_check_returns_the_contracts_columns_order_and_types():
    frame = film().select("genres", "kind", "year", "film_id")
    assert FILMS.check(frame).schema == FILMS.schema
    assert FILMS.check(frame).row(0) == ("f1", 1999, "movie", ["Drama"])


def test_missing_nullable_columns_become_null():
    checked = FILMS.check(pl.DataFrame({"film_id": ["f1", "f2"]}))
    assert checked.height == 2
    assert checked["genres"].to_list() == [None, None]


def test_a_frame_without_any_of_the_columns_has_no_rows():
    loose = Table("core_loose", "", (Column("a", pl.Int64, ""),))
    assert loose.conform(pl.DataFrame()).shape == (0, 1)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (film(extra=1), "columns not in the contract: extra"),
        (film().drop("film_id"), "required columns missing: film_id"),
        (film(film_id=None), "film_id may not be null: 1 rows"),
        (film(film_id="f1\n"), r"film_id must match f\d+"),
        (film(film_id="xf1"), "first 'xf1'"),
        (film(year=1869), "year must be at least 1870: 1 rows do not, first '1869'"),
        (film(year=2036), "year must be at most 2035"),
        (film(kind="opera"), "kind must be one of movie, short: 1 rows do not, first 'opera'"),
        (film(year="soon"), "core_films: conversion"),
        (film(year=2**40), "core_films: conversion"),
        (film(year=1999.5), "fractions in columns of whole numbers: year"),
        (pl.concat([film(), film()]), r"key (film_id) must be unique: 1 rows repeat one, first ('f1',)"),
    ],
)
def test_every_broken_rule_is_told_with_table_column_and_offender(frame, words):
    with pytest.raises(ContractViolation) as told:
        FILMS.check(frame)
    assert words in str(told.value)
    assert str(told.value).startswith("core_films: ")


def test_all_broken_rules_are_told_at_once():
    with pytest.raises(ContractViolation, match=r"year must .*; kind must"):
        FILMS.check(film(year=1, kind="opera"))


def test_whole_floats_fit_integers():
    assert FILMS.check(film(year=1999.0))["year"].to_list() == [1999]


def test_limits_are_inclusive_and_nulls_pass():
    frame = pl.concat([film(film_id="f1", year=1870), film(film_id="f2", year=2035), film(film_id="f3", year=None)])
    assert FILMS.violations(FILMS.conform(frame)) == []


@given(st.lists(st.integers(1000, 3000), unique=True, max_size=20))
def test_violations_count_exactly_the_rows_outside_the_limits(years):
    frame = FILMS.conform(
        pl.DataFrame({"film_id": [f"f{y}" for y in years], "year": years}, schema_overrides={"film_id": pl.String})
    )
    under, over = sum(y < 1870 for y in years), sum(y > 2035 for y in years)
    told = FILMS.violations(frame)
    assert any(f"at least 1870: {under:,} rows" in line for line in told) == bool(under)
    assert any(f"at most 2035: {over:,} rows" in line for line in told) == bool(over)


def test_column_looks_up_by_name():
    assert FILMS.column("year").unit == "year"
    with pytest.raises(KeyError, match="core_films has no column 'colour'"):
        FILMS.column("colour")


def test_a_table_with_sql_is_a_view():
    assert FILMS.kind == "table"
    assert Table("core_v", "", FILMS.columns, sql="SELECT 1").kind == "view"


@pytest.mark.parametrize(
    "dtype",
    [
        pl.UInt32,
        pl.List(pl.UInt8),
        pl.Categorical(),
        pl.Enum(["a"]),
        pl.Array(pl.Float32, 3),
        pl.Datetime("ns"),
        pl.Datetime("us", "Europe/Paris"),
        pl.Datetime,
        pl.Duration("us"),
        pl.Time,
        pl.Struct({"a": pl.UInt8}),
        pl.List,
    ],
)
def test_types_without_a_delta_counterpart_are_refused(dtype):
    with pytest.raises(ValueError, match="column x: Delta Lake has no counterpart"):
        Column("x", dtype, "")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"columns": (*FILMS.columns, Column("year", pl.Int64, ""))}, "columns stated twice: year"),
        ({"key": ("nothing",)}, "key or sort column not among the columns: nothing"),
        ({"sort_by": ("nothing",)}, "not among the columns: nothing"),
        ({"key": ("year",)}, "key column may be null: year"),
        ({"foreign_keys": (ForeignKey(("nothing",), "core_x", ("a",)),)}, "not among the columns: nothing"),
    ],
)
def test_contracts_that_contradict_themselves_are_refused(changes, words):
    stated = {"name": "core_films", "meaning": "", "columns": FILMS.columns, "key": ("film_id",), **changes}
    with pytest.raises(ValueError, match=words):
        Table(**stated)


def test_every_contract_of_the_warehouse_can_make_an_empty_frame_that_satisfies_it():
    modules = [
        importlib.import_module(f"warehouse.tables.{m.name}") for m in pkgutil.iter_modules(warehouse.tables.__path__)
    ]
    tables = [table for module in modules for table in module.TABLES]
    assert len({table.name for table in tables}) == len(tables) > 0
    for table in tables:
        assert table.check(table.empty()).schema == table.schema

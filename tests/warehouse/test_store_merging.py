"""Merging: the same rows as a merge of plain frames, whichever way the store goes about it."""

import dataclasses
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from warehouse import delta
from warehouse.contracts import Column, ContractViolation, Table
from warehouse.store import Warehouse

SIGHTINGS = Table(
    name="core_sightings",
    meaning="Sightings.",
    key=("place", "number"),
    columns=(
        Column("place", pl.String, "Place.", nullable=False),
        Column("number", pl.Int64, "Number.", nullable=False),
        Column("grade", pl.Float64, "Grade."),
        Column("words", pl.List(pl.String), "Words."),
    ),
)
KEY = list(SIGHTINGS.key)

# Few places and numbers, so that keys meet; texts that SQL, statistics and sorting could trip over.
PLACES = st.sampled_from(
    ["", "a", "A", "it's", '"', "\\", "é", "\U0001f3ac", "%", "a" * 70 + "1", "a" * 70 + "2", "\x00", "a\n"]
)
NUMBERS = st.sampled_from([-(2**63), -(2**53) - 1, -1, 0, 1, 2, 3, 4, 2**63 - 1])
KEYS = st.tuples(PLACES, NUMBERS)
VALUES = st.tuples(
    st.sampled_from([None, 0.0, 1.5, float("nan"), float("inf")]),
    st.none() | st.lists(st.none() | st.sampled_from(["", "x", "xy"]), max_size=2),
)
ROWS = st.dictionaries(KEYS, VALUES, max_size=8)


def frame(rows: dict) -> pl.DataFrame:
    return pl.DataFrame([(*key, *values) for key, values in rows.items()], schema=SIGHTINGS.schema, orient="row")


def in_order(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.sort(KEY)


@settings(max_examples=40, deadline=None)
@given(
    start=ROWS,
    steps=st.lists(st.tuples(ROWS, st.lists(KEYS, max_size=4)), min_size=1, max_size=3),
    whole_files=st.sampled_from([0, 0, 1]),
    sort_by=st.sampled_from([(), ("grade",), ("number", "place")]),
)
def test_a_merge_equals_the_merge_of_plain_frames(start, steps, whole_files, sort_by):
    table = dataclasses.replace(SIGHTINGS, sort_by=sort_by)
    expected = dict(start)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(delta, "WHOLE_FILES", whole_files)
        store = Warehouse(Path(folder))
        store.write(table, frame(start))
        for upserts, deletes in steps:
            deletes = [key for key in deletes if key not in upserts]
            before = dict(expected)
            gone = [key for key in set(deletes) if key in before]
            different = [k for k, v in upserts.items() if k not in before or repr(before[k]) != repr(v)]
            expected = {key: values for key, values in expected.items() if key not in deletes} | upserts
            commit = store.merge(
                table,
                frame(upserts),
                pl.DataFrame(deletes, schema={"place": pl.String, "number": pl.Int64}, orient="row"),
            )
            assert commit.rows == len(expected)
            assert commit.rows_upserted == len(different)
            assert commit.rows_deleted == len(gone)
            assert commit.changed == bool(different or gone)
            assert commit.version == store.latest(table.name)
            assert store.rows(table.name, commit.version) == len(expected)
            stored = store.read(table.name, version=commit.version)
            assert_frame_equal(in_order(stored), in_order(frame(expected)))


def numbered(numbers: range, grade: float = 1.0, place: str = "here") -> pl.DataFrame:
    return frame({(place, number): (grade, [str(number)]) for number in numbers})


@pytest.fixture
def large(tmp_path, monkeypatch) -> Warehouse:
    """A table of several files, each with its own range of keys."""
    monkeypatch.setattr(delta, "WHOLE_FILES", 0)
    store = Warehouse(tmp_path)
    store.write(SIGHTINGS, numbered(range(100)))
    for start in range(100, 500, 100):
        store.merge(SIGHTINGS, numbered(range(start, start + 100)))
    return store


def files(store: Warehouse) -> set[str]:
    return {path.name for path in delta.open_version(store.root / "tables" / SIGHTINGS.name).files}


def test_a_merge_rewrites_only_the_files_that_hold_its_keys(large):
    before = files(large)
    assert len(before) == 5
    large.merge(SIGHTINGS, numbered(range(210, 215), grade=2.0))
    assert len(files(large) & before) == 4
    grades = large.read(SIGHTINGS.name, version=large.latest(SIGHTINGS.name)).filter(grade=2.0)
    assert sorted(grades["number"]) == [210, 211, 212, 213, 214]


def test_inserts_rewrite_no_file(large):
    before = files(large)
    large.merge(SIGHTINGS, numbered(range(1000, 1005)))
    assert before < files(large)


def test_rows_equal_to_the_stored_ones_are_not_rewritten(large):
    before = large.latest(SIGHTINGS.name)
    assert not large.merge(SIGHTINGS, numbered(range(500))).changed
    commit = large.merge(SIGHTINGS, pl.concat([numbered(range(499)), numbered(range(499, 500), grade=9.0)]))
    assert (commit.version, commit.rows_upserted) == (before + 1, 1)


def test_many_small_files_are_joined_again(large, monkeypatch):
    monkeypatch.setattr(delta, "SPARE_FILES", 4)
    large.merge(SIGHTINGS, numbered(range(1000, 1001)))
    assert len(files(large)) == 1
    assert large.rows(SIGHTINGS.name, large.latest(SIGHTINGS.name)) == 501


def test_statistics_of_long_texts_hide_no_row(tmp_path, monkeypatch):
    """Delta keeps the first characters of a file's least and greatest text only."""
    monkeypatch.setattr(delta, "WHOLE_FILES", 0)
    store = Warehouse(tmp_path)
    places = ["x" * 500 + end for end in ("\U0010ffff", "é", "a", "")] + ["\U0010ffff" * 300]
    for number, place in enumerate(places):
        store.merge(SIGHTINGS, frame({(place, number): (1.0, None)}))
    for number, place in enumerate(places):
        commit = store.merge(SIGHTINGS, frame({(place, number): (2.0, None)}))
        assert (commit.rows, commit.rows_upserted) == (len(places), 1)
    stored = store.read(SIGHTINGS.name, version=store.latest(SIGHTINGS.name))
    assert stored["grade"].to_list() == [2.0] * len(places)
    store.merge(SIGHTINGS, SIGHTINGS.empty(), stored.select(KEY))
    assert store.rows(SIGHTINGS.name, store.latest(SIGHTINGS.name)) == 0


def test_a_missing_table_is_created_and_the_deletes_ignored(tmp_path):
    store = Warehouse(tmp_path)
    commit = store.merge(SIGHTINGS, numbered(range(3)), numbered(range(10, 12)))
    assert (commit.version, commit.rows, commit.rows_upserted, commit.rows_deleted) == (0, 3, 3, 0)


def test_deletes_alone_work_and_take_their_types_from_the_contract(large):
    keys = pl.DataFrame({"place": ["here"] * 3, "number": [1, 2, 99999]}, schema_overrides={"number": pl.Int32})
    commit = large.merge(SIGHTINGS, SIGHTINGS.empty(), pl.concat([keys, keys]))
    assert (commit.rows, commit.rows_deleted) == (498, 2)


@pytest.mark.parametrize(
    ("upserts", "deletes", "words"),
    [
        (pl.concat([numbered(range(1)), numbered(range(1))]), None, "must be unique"),
        (numbered(range(1)), numbered(range(1)), "key .'here', 0. is both upserted and deleted"),
        (numbered(range(1)).with_columns(number=None), None, "number may not be null"),
        (numbered(range(1)), pl.DataFrame({"place": ["x"], "number": [None]}), "a key with a null"),
        (
            numbered(range(1)),
            pl.DataFrame({"place": ["x"]}),
            "key column missing from the rows to delete: number",
        ),
        (numbered(range(1)), pl.DataFrame({"place": ["x"], "number": ["one"]}), "core_sightings: conversion"),
        (numbered(range(1)).with_columns(extra=1), None, "columns not in the contract: extra"),
    ],
)
def test_ambiguous_merges_are_refused(large, upserts, deletes, words):
    before = large.latest(SIGHTINGS.name)
    with pytest.raises(ContractViolation, match=words):
        large.merge(SIGHTINGS, upserts, deletes)
    assert large.latest(SIGHTINGS.name) == before


def test_a_table_without_a_key_cannot_be_merged_into(tmp_path):
    with pytest.raises(ContractViolation, match="has no key to merge on"):
        Warehouse(tmp_path).merge(dataclasses.replace(SIGHTINGS, key=()), numbered(range(1)))

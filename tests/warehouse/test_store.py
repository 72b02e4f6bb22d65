"""The store: write, replace, publish, read, history, rollback, vacuum."""

import dataclasses
import datetime as dt
import errno
import json
import os
import resource
import subprocess
import sys
import threading
import time
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from warehouse import delta
from warehouse.contracts import Column, ContractViolation, Table
from warehouse.store import NoSuchTable, StoreError, Warehouse

REPO = Path(__file__).parents[2]

NOTES = Table(
    name="core_notes",
    meaning="Notes.",
    key=("note_id",),
    columns=(
        Column("note_id", pl.Int64, "Id.", nullable=False),
        Column("source", pl.String, "Where from."),
        Column("words", pl.List(pl.String), "Words."),
    ),
)

EVERYTHING = Table(
    name="core_everything",
    meaning="One column of every type.",
    key=("id",),
    columns=(
        Column("id", pl.Int64, "", nullable=False),
        Column("boolean", pl.Boolean, ""),
        Column("int8", pl.Int8, ""),
        Column("int16", pl.Int16, ""),
        Column("int32", pl.Int32, ""),
        Column("float32", pl.Float32, ""),
        Column("float64", pl.Float64, ""),
        Column("string", pl.String, ""),
        Column("binary", pl.Binary, ""),
        Column("date", pl.Date, ""),
        Column("moment", pl.Datetime("us"), ""),
        Column("moment_utc", pl.Datetime("us", "UTC"), ""),
        Column("money", pl.Decimal(12, 2), ""),
        Column("strings", pl.List(pl.String), ""),
        Column("vector", pl.List(pl.Float32), ""),
        Column("nested", pl.List(pl.List(pl.Int64)), ""),
        Column("pair", pl.Struct({"a": pl.Int64, "b": pl.List(pl.String)}), ""),
        Column("Select from", pl.String, "A name that SQL would trip over."),
        Column("order\"'", pl.String, "Another one."),
    ),
)

OPTIONAL_TEXT = st.none() | st.text(max_size=5)
EVERYTHING_ROW = st.fixed_dictionaries(
    {
        "boolean": st.none() | st.booleans(),
        "int8": st.none() | st.integers(-(2**7), 2**7 - 1),
        "int16": st.none() | st.integers(-(2**15), 2**15 - 1),
        "int32": st.none() | st.integers(-(2**31), 2**31 - 1),
        "float32": st.none() | st.floats(width=32),
        "float64": st.none() | st.floats(),
        "string": OPTIONAL_TEXT,
        "binary": st.none() | st.binary(max_size=5),
        "date": st.none() | st.dates(dt.date(1600, 1, 1), dt.date(2300, 1, 1)),
        "moment": st.none() | st.datetimes(dt.datetime(1600, 1, 1), dt.datetime(2300, 1, 1)),
        "moment_utc": st.none()
        | st.datetimes(dt.datetime(1600, 1, 1), dt.datetime(2300, 1, 1), timezones=st.just(dt.UTC)),
        "money": st.none() | st.decimals(Decimal(-(10**9)), Decimal(10**9), places=2),
        "strings": st.none() | st.lists(OPTIONAL_TEXT, max_size=3),
        "vector": st.none() | st.lists(st.floats(width=32), max_size=3),
        "nested": st.none() | st.lists(st.none() | st.lists(st.none() | st.integers(-5, 5), max_size=2), max_size=2),
        "pair": st.none()
        | st.fixed_dictionaries(
            {"a": st.none() | st.integers(-5, 5), "b": st.none() | st.lists(OPTIONAL_TEXT, max_size=2)}
        ),
        "Select from": OPTIONAL_TEXT,
        "order\"'": OPTIONAL_TEXT,
    }
)


def notes(*rows: tuple[int, str | None, list[str] | None]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=NOTES.schema, orient="row")


def numbered(count: int, source: str = "a", first: int = 0) -> pl.DataFrame:
    return notes(*((first + n, source, [str(n)]) for n in range(count)))


def by_key(frame: pl.DataFrame, table: Table = NOTES) -> pl.DataFrame:
    return frame.sort(table.key or table.schema.names())


@pytest.fixture
def store(tmp_path) -> Warehouse:
    return Warehouse(tmp_path / "warehouse")


@pytest.fixture
def file_by_file(monkeypatch):
    """Make merge and replace change single files, as they do on large tables."""
    monkeypatch.setattr(delta, "WHOLE_FILES", 0)


# -- writing and reading -----------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(st.lists(EVERYTHING_ROW, max_size=5))
def test_every_type_comes_back_as_it_was_written(tmp_path_factory, rows):
    store = Warehouse(tmp_path_factory.mktemp("types"))
    frame = pl.DataFrame([{"id": n, **row} for n, row in enumerate(rows)], schema=EVERYTHING.schema)
    store.write(EVERYTHING, frame)
    store.publish([EVERYTHING.name])
    assert store.scan(EVERYTHING.name).collect_schema() == EVERYTHING.schema
    assert_frame_equal(by_key(store.read(EVERYTHING.name), EVERYTHING), frame)
    assert not store.write(EVERYTHING, frame).changed


def test_writing_the_same_rows_in_another_order_makes_no_version(store):
    frame = numbered(50)
    assert store.write(NOTES, frame).version == 0
    again = store.write(NOTES, frame.reverse())
    assert (again.version, again.changed, again.rows) == (0, False, 50)
    assert store.latest(NOTES.name) == 0


@pytest.mark.parametrize(
    "words",
    [(["ab"], ["a", "b"]), ([], None), ([None], []), ([""], []), (["a", "b"], ["b", "a"])],
)
def test_a_small_difference_makes_a_version(store, words):
    store.write(NOTES, notes((1, "a", words[0]), (2, "b", words[1])))
    assert store.write(NOTES, notes((1, "a", words[1]), (2, "b", words[0]))).changed


def test_repeated_rows_of_a_table_without_a_key_count(store):
    loose = dataclasses.replace(NOTES, name="raw_loose", key=())
    row = numbered(1)
    store.write(loose, pl.concat([row, row, numbered(1, "b")]))
    assert store.write(loose, pl.concat([row, numbered(1, "b"), numbered(1, "b")])).changed
    assert not store.write(loose, pl.concat([numbered(1, "b"), row, numbered(1, "b")])).changed


def test_rows_that_break_the_contract_are_not_written(store):
    with pytest.raises(ContractViolation, match="note_id may not be null"):
        store.write(NOTES, notes((None, "a", None)))
    assert store.names() == []


def test_a_view_cannot_be_written(store):
    view = dataclasses.replace(NOTES, sql="SELECT 1")
    for write in (store.write, store.merge):
        with pytest.raises(ContractViolation, match="is a view"):
            write(view, numbered(1))


def test_an_empty_table_keeps_its_types(store):
    store.write(NOTES, NOTES.empty())
    store.publish([NOTES.name])
    assert store.read(NOTES.name).schema == NOTES.schema
    assert store.rows(NOTES.name) == 0
    store.write(NOTES, numbered(3))
    store.write(NOTES, NOTES.empty())
    assert store.read(NOTES.name, version=2).height == 0


def test_rows_are_stored_in_the_contracts_order(store):
    table = dataclasses.replace(NOTES, sort_by=("source",))
    store.write(table, notes((1, "c", None), (2, "a", None), (3, "b", None)))
    assert store.read(NOTES.name, version=0)["source"].to_list() == ["a", "b", "c"]


def test_columns_can_be_chosen_and_unknown_ones_are_named(store):
    store.write(NOTES, numbered(3))
    assert store.read(NOTES.name, ["source"], version=0).columns == ["source"]
    with pytest.raises(StoreError, match="core_notes has no column 'colour'"):
        store.read(NOTES.name, ["colour"], version=0)


def test_missing_tables_and_versions_are_told_apart(store):
    with pytest.raises(NoSuchTable, match="no such table"):
        store.read("core_nothing")
    store.write(NOTES, numbered(1))
    with pytest.raises(NoSuchTable, match="version 0 is written but none is published"):
        store.scan(NOTES.name)
    with pytest.raises(NoSuchTable, match="has no version 7"):
        store.read(NOTES.name, version=7)
    assert store.latest("core_nothing") is None
    assert store.published(NOTES.name) is None
    for ask in (store.history, store.rows):
        with pytest.raises(NoSuchTable):
            ask("core_nothing")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        "../x",
        "a/b",
        "/etc",
        "A",
        "core notes",
        "core-notes",
        "1st",
        "_x",
        "é",
        "a\n",
        "a'b",
        'a"b',
        "a" * 200,
    ],
)
def test_hostile_table_names_are_refused(store, name):
    for use in (
        store.latest,
        store.scan,
        store.read,
        store.history,
        store.rows,
        lambda n: store.publish([n]),
    ):
        with pytest.raises((ValueError, NoSuchTable)):
            use(name)
    with pytest.raises(ValueError, match="is no table name"):
        store.write(dataclasses.replace(NOTES, name=name), numbered(1))
    assert not (store.root / "tables").exists()


def test_a_table_folder_that_is_a_link_is_refused(store, tmp_path):
    elsewhere = Warehouse(tmp_path / "elsewhere")
    elsewhere.write(NOTES, numbered(1))
    (store.root / "tables").mkdir(parents=True)
    (store.root / "tables" / NOTES.name).symlink_to(elsewhere.root / "tables" / NOTES.name)
    with pytest.raises(StoreError, match="is a link"):
        store.write(NOTES, numbered(2))
    with pytest.raises(StoreError, match="is a link"):
        store.read(NOTES.name, version=0)


@pytest.mark.parametrize("folder", ["it's", 'a "quoted" one', "späce and ünicode", "hash # and $ {x} & ;", "100%"])
def test_the_warehouse_may_stand_in_a_folder_of_any_usual_name(tmp_path, folder, file_by_file):
    store = Warehouse(tmp_path / folder)
    store.write(NOTES, numbered(5))
    store.merge(NOTES, numbered(1, "b"))
    store.replace(NOTES, numbered(2, "b", first=50), "source", "b")
    store.publish([NOTES.name])
    assert store.read(NOTES.name).height == 6
    assert sorted(os.listdir(tmp_path)) == [folder]


@pytest.mark.parametrize("folder", ["a[b]", "star*", "what?", "back\\slash", "pipe|", "a%20b", "line\nbreak", "a^b"])
def test_folders_that_the_delta_library_cannot_address_are_refused_with_the_character(tmp_path, folder):
    with pytest.raises(ValueError, match="cannot stand in a path with"):
        Warehouse(tmp_path / folder)
    assert os.listdir(tmp_path) == []


# -- replacing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["omdb", "it's", '"', "back\\slash", "'; DROP TABLE x; --", "%", "", "ü\n\t", "\x00"])
def test_replace_touches_the_rows_of_its_value_only(store, file_by_file, value):
    kept = notes((1, "kept", ["x"]), (2, None, None), (3, value + "!", []))
    store.write(NOTES, pl.concat([kept, notes((4, value, ["old"]), (5, value, ["old"]))]))
    commit = store.replace(NOTES, notes((5, value, ["new"]), (6, value, None)), "source", value)
    assert (commit.version, commit.rows, commit.rows_upserted, commit.rows_deleted) == (1, 5, 2, 2)
    expected = pl.concat([kept, notes((5, value, ["new"]), (6, value, None))])
    assert_frame_equal(by_key(store.read(NOTES.name, version=1)), by_key(expected))
    assert not store.replace(NOTES, notes((6, value, None), (5, value, ["new"])), "source", value).changed
    store.replace(NOTES, NOTES.empty(), "source", value)
    assert_frame_equal(by_key(store.read(NOTES.name, version=2)), kept)


@pytest.mark.parametrize("whole_files", [0, 1])
def test_replace_works_without_a_key(store, monkeypatch, whole_files):
    monkeypatch.setattr(delta, "WHOLE_FILES", whole_files)
    rejects = dataclasses.replace(NOTES, name="raw_rejects_like", key=())
    store.replace(rejects, numbered(3, "a"), "source", "a")
    store.replace(rejects, pl.concat([numbered(2, "b"), numbered(2, "b")]), "source", "b")
    store.replace(rejects, numbered(1, "a"), "source", "a")
    read = store.read(rejects.name, version=2)
    assert read["source"].value_counts().sort("source").rows() == [("a", 1), ("b", 4)]


def test_replace_refuses_rows_that_belong_elsewhere(store):
    store.write(NOTES, pl.concat([numbered(2, "a"), numbered(2, "b", first=10)]))
    with pytest.raises(ContractViolation, match="1 rows put for source = 'a' do not have it"):
        store.replace(NOTES, notes((1, "a", None), (2, None, None)), "source", "a")
    with pytest.raises(ContractViolation, match=r"key \(10,\) stands in rows with another source"):
        store.replace(NOTES, numbered(1, "a", first=10), "source", "a")
    with pytest.raises(ContractViolation, match="note_id is no text column"):
        store.replace(NOTES, numbered(1), "note_id", "1")
    with pytest.raises(KeyError, match="core_notes has no column 'colour'"):
        store.replace(NOTES, numbered(1), "colour", "red")
    assert store.latest(NOTES.name) == 0


# -- contracts that change ---------------------------------------------------------------------------------

WIDER = dataclasses.replace(NOTES, columns=(*NOTES.columns, Column("stars", pl.Int64, "Stars.", unit="stars")))
NARROWER = dataclasses.replace(NOTES, columns=NOTES.columns[:2])


@pytest.mark.parametrize("whole_files", [0, 1])
def test_a_column_that_joins_the_contract_is_null_in_old_rows(store, monkeypatch, whole_files):
    monkeypatch.setattr(delta, "WHOLE_FILES", whole_files)
    store.write(NOTES, numbered(3))
    store.publish([NOTES.name])
    new = numbered(1, first=1).with_columns(stars=pl.lit(5, pl.Int64))
    store.merge(WIDER, new)
    assert store.read(NOTES.name, version=1).sort("note_id")["stars"].to_list() == [None, 5, None]
    store.replace(WIDER, new.with_columns(source=pl.lit("b"), note_id=pl.lit(9, pl.Int64)), "source", "b")
    assert store.rows(NOTES.name, 2) == 4
    assert store.read(NOTES.name).columns == NOTES.schema.names()  # the published version is as it was


@pytest.mark.parametrize("use", ["write", "merge", "replace"])
def test_a_column_that_leaves_the_contract_goes_with_the_next_version(store, use):
    store.write(NOTES, numbered(3))
    row = numbered(1, first=1).drop("words")
    {
        "write": lambda: store.write(NARROWER, row),
        "merge": lambda: store.merge(NARROWER, row),
        "replace": lambda: store.replace(NARROWER, row, "source", "a"),
    }[use]()
    assert store.read(NOTES.name, version=1).columns == NARROWER.schema.names()
    assert store.rows(NOTES.name, 1) == (3 if use == "merge" else 1)


def test_rolling_back_over_a_change_of_columns_brings_the_old_ones_back(store):
    store.write(NOTES, numbered(3))
    store.write(WIDER, numbered(2).with_columns(stars=pl.lit(1, pl.Int64)))
    store.publish([NOTES.name], {NOTES.name: WIDER})
    store.rollback(NOTES.name, 0)
    assert_frame_equal(by_key(store.read(NOTES.name)), numbered(3))


# -- publishing, history, rollback, vacuum -----------------------------------------------------------------


def test_readers_stay_at_the_published_version_until_the_next_is_published(store):
    store.write(NOTES, numbered(3))
    store.publish([NOTES.name])
    before = store.scan(NOTES.name)
    store.write(NOTES, numbered(9))
    assert (store.latest(NOTES.name), store.published(NOTES.name)) == (1, 0)
    assert store.read(NOTES.name).height == store.rows(NOTES.name) == 3
    store.publish({NOTES.name: 1})
    assert store.read(NOTES.name).height == store.rows(NOTES.name) == 9
    assert before.collect().height == 3
    store.publish({NOTES.name: 0})
    assert store.read(NOTES.name).height == 3


def test_history_tells_versions_rows_operations_and_metadata(store):
    store.write(NOTES, numbered(3), {"run_id": "r-1", "code_version": "1"})
    store.merge(NOTES, numbered(2, "b", first=2), numbered(1))
    store.replace(NOTES, numbered(1, "c", first=7), "source", "c")
    store.publish({NOTES.name: 1})
    history = store.history(NOTES.name)
    assert history["version"].to_list() == [2, 1, 0]
    assert history["operation"].to_list() == ["replace", "merge", "write"]
    assert history["rows"].to_list() == [4, 3, 3]
    assert history["rows_deleted"].to_list() == [0, 1, 0]
    assert history["is_published"].to_list() == [False, True, False]
    assert json.loads(history["metadata"][2]) == {"run_id": "r-1", "code_version": "1"}
    assert history["timestamp"].is_sorted(descending=True)
    assert history.schema["timestamp"] == pl.Datetime("us")


def test_versions_made_by_other_engines_are_part_of_the_history(store):
    store.write(NOTES, numbered(3))
    write_deltalake(str(store.root / "tables" / NOTES.name), numbered(1, first=5), mode="append")
    history = store.history(NOTES.name)
    assert history["operation"].to_list() == ["WRITE", "write"]
    assert history["rows"].to_list() == [None, 3]
    assert store.rows(NOTES.name, 1) == 4


def test_rollback_makes_a_new_version_and_publishes_it(store):
    store.write(NOTES, numbered(3))
    store.write(NOTES, numbered(9))
    store.publish([NOTES.name])
    commit = store.rollback(NOTES.name, 0, {"why": "bad source"})
    assert (commit.version, commit.rows, commit.changed) == (2, 3, True)
    assert store.published(NOTES.name) == 2
    assert_frame_equal(by_key(store.read(NOTES.name)), numbered(3))
    assert store.history(NOTES.name)["operation"][0] == "rollback"
    with pytest.raises(NoSuchTable):
        store.rollback(NOTES.name, 8)


def test_vacuum_spares_the_published_version_the_last_ones_and_young_files(store):
    for count in range(1, 6):
        store.write(NOTES, numbered(count))
    store.publish({NOTES.name: 1})
    assert store.vacuum(keep_versions=1, keep_days=1) == []
    removed = store.vacuum(keep_versions=2, keep_days=0)
    assert len(removed) == 2  # versions 0 and 2
    assert [store.read(NOTES.name, version=v).height for v in (1, 3, 4)] == [2, 4, 5]
    assert store.latest(NOTES.name) == 4  # vacuuming makes no version
    with pytest.raises(NoSuchTable, match="have been removed"):
        store.rollback(NOTES.name, 0)
    with pytest.raises(StoreError, match="core_notes: cannot be read"):
        store.read(NOTES.name, version=2)


def test_vacuum_removes_what_killed_writers_left_once_it_is_old(store):
    store.write(NOTES, numbered(3))
    folder = store.root / "tables" / NOTES.name
    left = [
        folder / "part-00000-dead-c000.zstd.parquet",
        folder / "part-1.parquet#1",
        folder / "_delta_log" / "x.json.tmp",
    ]
    young = folder / "part-00000-young-c000.zstd.parquet"
    for path in (*left, young):
        path.write_bytes(b"half")
    long_ago = time.time() - 30 * 86400
    for path in left:
        os.utime(path, (long_ago, long_ago))
    assert sorted(store.vacuum()) == sorted(left)
    assert young.exists()
    assert store.read(NOTES.name, version=0).height == 3


# -- trouble -----------------------------------------------------------------------------------------------


def test_two_writers_of_one_table_lose_nothing(store, file_by_file):
    """Threads stand for processes here: each opens its own Delta table and neither takes the lock."""
    store.write(NOTES, NOTES.empty())
    failures = []

    def add(source: int) -> None:
        try:
            for n in range(6):
                Warehouse(store.root).merge(NOTES, numbered(1, f"s{source}", first=source * 100 + n))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=add, args=(source,)) for source in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(store.read(NOTES.name, version=12)["note_id"]) == [*range(6), *range(100, 106)]


def test_two_writers_creating_one_table_lose_nothing(store):
    barrier = threading.Barrier(4)
    failures = []

    def create(first: int) -> None:
        barrier.wait()
        try:
            Warehouse(store.root).merge(NOTES, numbered(1, first=first))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=create, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(store.read(NOTES.name, version=store.latest(NOTES.name))["note_id"]) == [0, 1, 2, 3]


def test_a_commit_that_overtakes_is_built_upon(store, monkeypatch, file_by_file):
    store.write(NOTES, numbered(2))
    genuine, overtaken = delta.merge, []

    def merge_late(base, *rest):
        if not overtaken:
            overtaken.append(True)
            other = Warehouse(store.root)
            other.replace(NOTES, numbered(1, "b", first=50), "source", "b")
        return genuine(base, *rest)

    monkeypatch.setattr(delta, "merge", merge_late)
    commit = store.merge(NOTES, notes((0, "changed", None)))
    assert (commit.version, commit.rows) == (2, 3)
    read = store.read(NOTES.name, version=2).sort("note_id")
    assert read["source"].to_list() == ["changed", "a", "b"]


def test_losing_every_race_is_told(store, monkeypatch, file_by_file):
    store.write(NOTES, numbered(2))
    genuine, count = delta.merge, iter(range(1000, 2000))

    def always_late(base, *rest):
        write_deltalake(DeltaTable(str(base.folder)), numbered(1, first=next(count)), mode="append")
        return genuine(base, *rest)

    monkeypatch.setattr(delta, "merge", always_late)
    monkeypatch.setattr("warehouse.store.ATTEMPTS", 3)
    with pytest.raises(StoreError, match="core_notes: other processes kept committing first, 3 attempts"):
        store.merge(NOTES, notes((0, "changed", None)))


WRITE_WITH_A_SMALL_FILE_LIMIT = """
import os, resource, sys
from pathlib import Path
import polars as pl
from warehouse.contracts import Column, Table
from warehouse.store import StoreError, Warehouse
columns = (Column("id", pl.Int64, "", nullable=False), Column("blob", pl.Binary, ""))
blobs = Table("core_blobs", "", columns, key=("id",))
frame = lambda n: pl.DataFrame({"id": range(n), "blob": [os.urandom(1000) for _ in range(n)]})
store = Warehouse(Path(sys.argv[1]))
store.write(blobs, frame(10))
store.publish(["core_blobs"])
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
for attempt in (lambda: store.write(blobs, frame(1000)), lambda: store.merge(blobs, frame(1000))):
    try:
        attempt()
    except StoreError as error:
        print(error)
print(store.latest("core_blobs"), store.read("core_blobs").height)
"""


def test_no_room_while_writing_leaves_the_old_version(store):
    child = subprocess.run(
        [sys.executable, "-c", WRITE_WITH_A_SMALL_FILE_LIMIT, str(store.root)],
        cwd=REPO,
        text=True,
        capture_output=True,
    )
    told = child.stdout.splitlines()
    assert sum("core_blobs: no room left to write, its versions so far stay as they are" in line for line in told) == 2
    assert told[-1] == "0 10"
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 200_000
    assert store.read("core_blobs").height == 10


def test_no_room_while_publishing_leaves_the_old_pins(store, monkeypatch):
    store.write(NOTES, numbered(3))
    store.publish([NOTES.name])
    before = (store.root / "published.json").read_bytes()
    store.write(NOTES, numbered(9))

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for step in (
        "warehouse.catalog._sync",
        "warehouse.catalog._build",
        "pathlib.Path.write_bytes",
        "os.replace",
    ):
        with monkeypatch.context() as patch:
            patch.setattr(step, full)
            with pytest.raises(RuntimeError, match=r"what was published before stays: .*No space left"):
                store.publish([NOTES.name])
        assert (store.root / "published.json").read_bytes() == before
        assert store.read(NOTES.name).height == 3
        assert not [name for name in os.listdir(store.root) if name.endswith(".tmp")]
    store.publish([NOTES.name])
    assert store.read(NOTES.name).height == 9

"""The catalogue: what is published, as views, and what happens when it lags, breaks or moves."""

import dataclasses
import json
import os
import shutil

import duckdb
import polars as pl
import pytest

from warehouse import catalog, sql
from warehouse.catalog import (
    CATALOG_FILE,
    PUBLISHED_FILE,
    CatalogError,
    Published,
    PublishedTable,
    read_published,
)
from warehouse.contracts import Column, Table
from warehouse.store import NoSuchTable, Warehouse

FILMS = Table(
    name="core_films",
    meaning="It's every film.",
    key=("film_id",),
    licence="CC0",
    columns=(
        Column("film_id", pl.Int64, "Id.", nullable=False),
        Column("title", pl.String, 'The "title".'),
        Column("runtime_min", pl.Int32, "Running time.", unit="minutes"),
        Column("genres", pl.List(pl.String), "Genres."),
    ),
)
LONG = Table(
    name="core_films_long",
    meaning="Long films.",
    columns=FILMS.columns,
    sql="SELECT * FROM core_films WHERE runtime_min > 120;  -- two hours",
)
LONGEST = Table(
    name="core_films_longest",
    meaning="Built on another view.",
    columns=FILMS.columns,
    sql="SELECT * FROM core_films_long ORDER BY runtime_min DESC LIMIT 1",
)
# The longest first, so that a view over a view does not depend on its place.
CONTRACTS = {table.name: table for table in (LONGEST, LONG, FILMS)}

PINS = b'{"format": 1, "tables": {%s}, "views": {}}'


def films(*minutes: int | None) -> pl.DataFrame:
    return pl.DataFrame(
        {"film_id": range(len(minutes)), "title": [f"t{n}" for n in minutes], "runtime_min": minutes},
        schema_overrides={"runtime_min": pl.Int32},
    )


@pytest.fixture
def store(tmp_path) -> Warehouse:
    store = Warehouse(tmp_path / 'it\'s "a" warehouse')
    store.write(FILMS, films(90, 130, 200))
    store.publish([FILMS.name], CONTRACTS)
    return store


def open_as_anybody_would(store: Warehouse) -> duckdb.DuckDBPyConnection:
    # A copy, because DuckDB shares one instance per path inside a process and tests replace the file.
    copy = store.root / "copy.duckdb"
    shutil.copy(store.root / CATALOG_FILE, copy)
    return duckdb.connect(str(copy), read_only=True)


def test_tables_and_views_can_be_read_with_plain_duckdb(store):
    with open_as_anybody_would(store) as connection:
        assert connection.sql("SELECT count(*) FROM core_films").fetchall() == [(3,)]
        assert connection.sql("SELECT title FROM core_films_long ORDER BY 1").fetchall() == [
            ("t130",),
            ("t200",),
        ]
        assert connection.sql("SELECT title FROM core_films_longest").fetchall() == [("t200",)]


def test_meanings_units_and_licence_are_comments(store):
    with open_as_anybody_would(store) as connection:
        views = dict(connection.sql("SELECT view_name, comment FROM duckdb_views() WHERE NOT internal").fetchall())
        columns = connection.sql(
            "SELECT column_name, comment FROM duckdb_columns() WHERE table_name = 'core_films' ORDER BY column_index"
        ).fetchall()
    assert views["core_films"] == "It's every film. Licence: CC0."
    assert views["core_films_long"] == "Long films."
    assert columns[1:3] == [("title", 'The "title".'), ("runtime_min", "Running time. Unit: minutes.")]


def test_an_empty_table_is_a_typed_empty_view(store):
    store.write(FILMS, FILMS.empty())
    store.publish([FILMS.name])
    assert sql.describe(store.root, FILMS.name)["type"].to_list() == [
        "BIGINT",
        "VARCHAR",
        "INTEGER",
        "VARCHAR[]",
    ]
    assert sql.query(store.root, "SELECT * FROM core_films").schema == FILMS.schema


def test_a_view_appears_with_its_table(tmp_path):
    store = Warehouse(tmp_path)
    other = dataclasses.replace(FILMS, name="core_other")
    store.write(other, films(90))
    store.publish([other.name], {**CONTRACTS, other.name: other})
    assert sql.tables(store.root)["name"].to_list() == ["core_other"]
    store.write(FILMS, films(130))
    store.publish([FILMS.name])  # the views are remembered without their contracts
    assert sql.tables(store.root)["name"].to_list() == [
        "core_films",
        "core_films_long",
        "core_films_longest",
        "core_other",
    ]


def test_columns_that_joined_the_contract_are_null_in_versions_without_them(store):
    wider = dataclasses.replace(FILMS, columns=(*FILMS.columns, Column("tags", pl.List(pl.Int64), "Tags.")))
    tagged = Table("core_tagged", "", wider.columns, sql="SELECT * FROM core_films WHERE tags IS NOT NULL")
    contracts = {FILMS.name: wider, tagged.name: tagged}
    store.publish([], contracts)
    assert sql.query(store.root, "SELECT tags FROM core_films").to_series().to_list() == [None] * 3
    assert sql.query(store.root, "SELECT * FROM core_tagged").height == 0
    store.write(wider, films(90).with_columns(tags=pl.lit([7], dtype=pl.List(pl.Int64))))
    store.publish([FILMS.name])
    assert sql.query(store.root, "SELECT tags FROM core_tagged").item().to_list() == [7]
    store.publish({FILMS.name: 0})  # back to a version without the column, without naming the contract again
    assert sql.query(store.root, "SELECT * FROM core_tagged").height == 0
    assert sql.describe(store.root, FILMS.name)["meaning"][-1] == "Tags."


def test_contracts_replace_the_views_of_earlier_ones(store):
    store.publish([], {FILMS.name: FILMS, LONG.name: LONG})
    assert sql.tables(store.root)["name"].to_list() == ["core_films", "core_films_long"]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT nothing FROM core_films",
        "SELEC 1",
        "SELECT * FROM no_such_function()",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'::VARCHAR",
        "SELECT * FROM read_parquet('/nowhere/*.parquet')",
        "SELECT 1; DROP VIEW core_films",
        "DROP VIEW core_films",
        "COPY core_films TO '/dev/null'",
        "",
    ],
)
def test_a_view_that_does_not_hold_is_told_and_nothing_is_published(store, statement):
    # An empty statement would make it a table, so it gets past Table.kind as a blank.
    broken = dataclasses.replace(LONG, name="core_broken", sql=statement or " ")
    store.write(FILMS, films(1, 2))
    with pytest.raises(CatalogError, match="view core_broken: "):
        store.publish([FILMS.name], {**CONTRACTS, broken.name: broken})
    assert store.published(FILMS.name) == 0
    assert sql.query(store.root, "SELECT count(*) FROM core_films").item() == 3
    assert sorted(os.listdir(store.root)) == [".publish.lock", CATALOG_FILE, PUBLISHED_FILE, "tables"]


def test_a_name_cannot_be_table_and_view(store):
    with pytest.raises(CatalogError, match="core_films is a table and cannot be a view"):
        store.publish([], {FILMS.name: dataclasses.replace(LONG, name=FILMS.name)})


def test_publishing_several_tables_is_all_or_nothing(store):
    store.write(FILMS, films(1))
    with pytest.raises(NoSuchTable):
        store.publish([FILMS.name, "core_missing"])
    with pytest.raises(NoSuchTable):
        store.publish({FILMS.name: 99})
    assert store.published(FILMS.name) == 0


def test_publishing_what_is_published_changes_no_file(store):
    before = {name: (store.root / name).stat().st_ino for name in (PUBLISHED_FILE, CATALOG_FILE)}
    store.publish([FILMS.name], CONTRACTS)
    assert before == {name: (store.root / name).stat().st_ino for name in before}


def test_a_version_whose_files_are_gone_cannot_be_published(store):
    store.write(FILMS, films(1))
    store.publish([FILMS.name])
    store.vacuum(keep_versions=1, keep_days=0)
    with pytest.raises(CatalogError, match=r"core_films version 0: .* is missing"):
        store.publish({FILMS.name: 0})
    assert store.published(FILMS.name) == 1


def test_a_catalogue_that_lags_is_rebuilt_by_the_next_query(store, monkeypatch):
    """As if the writer had been killed between the two renames."""
    store.write(FILMS, films(1, 2))
    genuine = os.replace

    def killed_at_the_catalogue(source, target):
        if str(target).endswith(CATALOG_FILE):
            raise OSError("killed")
        genuine(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed_at_the_catalogue)
        with pytest.raises(CatalogError, match="published, but the catalogue lags"):
            store.publish([FILMS.name])
    assert store.published(FILMS.name) == 1
    assert not catalog.is_current(store.root)
    assert sql.query(store.root, "SELECT count(*) FROM core_films").item() == 2
    assert catalog.is_current(store.root)


@pytest.mark.parametrize("damage", [None, b"", b"not a database"])
def test_a_missing_or_damaged_catalogue_is_rebuilt(store, damage):
    path = store.root / CATALOG_FILE
    path.unlink()
    if damage is not None:
        path.write_bytes(damage)
    assert sql.query(store.root, "SELECT count(*) FROM core_films").item() == 3


def test_a_catalogue_changed_step_by_step_is_the_one_built_anew(store):
    def seen() -> list[list[tuple]]:
        with open_as_anybody_would(store) as connection:
            return [
                connection.sql(
                    "SELECT * EXCLUDE (database_oid, schema_oid, view_oid) FROM duckdb_views() WHERE NOT internal ORDER BY ALL"
                ).fetchall(),
                connection.sql(
                    "SELECT table_name, column_name, data_type, comment FROM duckdb_columns() ORDER BY ALL"
                ).fetchall(),
            ]

    people = Table("core_people", "People.", (Column("person_id", pl.Int64, "Id.", nullable=False),))
    store.write(people, pl.DataFrame({"person_id": [1]}))
    store.publish([people.name], CONTRACTS | {people.name: people})
    store.write(FILMS, films(90, 130, 210))
    store.publish([FILMS.name], CONTRACTS)
    catalog.publish(store.root, lambda now: dataclasses.replace(now, tables={FILMS.name: now.tables[FILMS.name]}))
    store.publish([people.name], {people.name: dataclasses.replace(people, meaning="Everybody.")})
    found = seen()
    (store.root / CATALOG_FILE).unlink()
    catalog.repair(store.root)
    assert found == seen()
    assert {row[0] for row in found[1]} >= {"core_films", "core_people"}


def test_a_catalogue_damaged_within_is_made_whole_by_the_next_publication(store):
    file = store.root / CATALOG_FILE
    whole = file.read_bytes()
    # Behind the headers, which alone are read to see what it was built from.
    file.write_bytes(whole[:12_288] + bytes(len(whole) - 12_288))
    store.write(FILMS, films(90, 130))
    store.publish([FILMS.name], CONTRACTS)
    with open_as_anybody_would(store) as connection:
        assert connection.sql("SELECT count(*) FROM core_films").fetchall() == [(2,)]


def test_a_moved_warehouse_is_noticed(store, tmp_path):
    moved = tmp_path / "moved"
    store.root.rename(moved)
    assert sql.query(moved, "SELECT count(*) FROM core_films").item() == 3


def test_left_overs_of_a_killed_publisher_are_removed_by_the_next(store):
    left = [".published.json.123.tmp", ".catalog.duckdb.123.tmp", ".catalog.duckdb.123.tmp.wal"]
    for name in left:
        (store.root / name).write_text("half")
    store.write(FILMS, films(1))
    store.publish([FILMS.name])
    assert sorted(os.listdir(store.root)) == [".publish.lock", CATALOG_FILE, PUBLISHED_FILE, "tables"]


def test_what_is_published_survives_its_file(store):
    published = read_published(store.root)
    assert json.loads(published.to_json())["tables"]["core_films"]["version"] == 0
    assert read_published(store.root) == published
    assert published.tables["core_films"].rows == 3


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"format": 2, "tables": {}, "views": {}}',
        b'{"format": 1, "tables": {"core_films": {"version": 0}}, "views": {}}',
        PINS % b'"../x": {"version": 0, "rows": 0, "files": [], "columns": {}}',
        PINS % b'"x": {"version": 0, "rows": 0, "files": ["../../etc/passwd"], "columns": {}}',
        b"\xff\xfe",
    ],
)
def test_a_damaged_list_of_pins_is_told_by_its_path(store, content):
    (store.root / PUBLISHED_FILE).write_bytes(content)
    with pytest.raises(CatalogError, match=PUBLISHED_FILE):
        store.read(FILMS.name)
    with pytest.raises(sql.QueryError, match=PUBLISHED_FILE):
        sql.query(store.root, "SELECT 1")


def test_two_changes_see_each_other(tmp_path):
    entry = PublishedTable(version=0, rows=0, files=(), columns={"a": "BIGINT"})
    for name in ("core_a", "core_b"):
        catalog.publish(tmp_path, lambda p, name=name: Published({**p.tables, name: entry}, p.views))
    assert sorted(read_published(tmp_path).tables) == ["core_a", "core_b"]

"""Queries: what they may read, and everything they may not do."""

import os
import shutil
import threading
from pathlib import Path

import polars as pl
import pytest

from warehouse import sql
from warehouse.catalog import CATALOG_FILE
from warehouse.contracts import Column, Table
from warehouse.sql import QueryError
from warehouse.store import Warehouse

FILMS = Table(
    name="core_films",
    meaning="Films.",
    key=("film_id",),
    columns=(
        Column("film_id", pl.Int64, "Id.", nullable=False),
        Column("title", pl.String, "Title."),
        Column("genres", pl.List(pl.String), "Genres."),
    ),
)
VIEW = Table("core_first", "The first film.", FILMS.columns, sql="SELECT * FROM core_films WHERE film_id = 0")
ROWS = pl.DataFrame({"film_id": [0, 1], "title": ["a", "b"], "genres": [["Drama"], None]})


def filled(folder: Path) -> Warehouse:
    """A warehouse in `folder`, and beside it files that no query may read."""
    (folder / "secret.csv").write_text("word\nhunter2\n")
    pl.DataFrame({"word": ["hunter2"]}).write_parquet(folder / "secret.parquet")
    store = Warehouse(folder / "warehouse")
    store.write(FILMS, ROWS)
    store.publish([FILMS.name], {FILMS.name: FILMS, VIEW.name: VIEW})
    return store


@pytest.fixture
def store(tmp_path) -> Warehouse:
    return filled(tmp_path)


@pytest.fixture(scope="module")
def untouched(tmp_path_factory) -> Warehouse:
    """One warehouse for all the queries that must leave it as it is."""
    return filled(tmp_path_factory.mktemp("untouched"))


def everything_under(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(folder.rglob("*"))}


@pytest.mark.parametrize(
    ("statement", "rows"),
    [
        ("SELECT film_id FROM core_films ORDER BY 1", [(0,), (1,)]),
        ("FROM core_first SELECT title", [("a",)]),
        ("WITH x AS (SELECT 1 AS n) SELECT n FROM x", [(1,)]),
        ("VALUES (1), (2)", [(1,), (2,)]),
        ("SELECT unnest(genres) FROM core_films", [("Drama",)]),
        ("SELECT count(*) FROM catalog.main.core_films -- a comment", [(2,)]),
        ("SELECT 1;", [(1,)]),
    ],
)
def test_selects_of_every_form_run(untouched, statement, rows):
    assert sql.query(untouched.root, statement).rows() == rows


def test_describe_show_and_summarize_run(store):
    assert sql.query(store.root, "DESCRIBE core_films")["column_name"].to_list() == FILMS.schema.names()
    assert sorted(sql.query(store.root, "SHOW TABLES")["name"]) == ["core_films", "core_first"]
    assert sql.query(store.root, "SUMMARIZE core_films").height == 3


def test_parameters_are_values_not_text(store):
    assert sql.query(store.root, "SELECT title FROM core_films WHERE title = ?", ["b"]).rows() == [("b",)]
    assert sql.query(store.root, "SELECT title FROM core_films WHERE title = $t", {"t": "b"}).rows() == [("b",)]
    assert sql.query(store.root, "SELECT ? AS x", ["'; DROP VIEW core_films; --"]).rows() == [
        ("'; DROP VIEW core_films; --",)
    ]


def test_types_survive(store):
    assert sql.query(store.root, "SELECT * FROM core_films ORDER BY film_id").equals(ROWS)


READING_FILES = [
    "SELECT * FROM read_csv('{secret}')",
    "SELECT * FROM read_csv_auto('{secret}')",
    "SELECT * FROM '{secret}'",
    'SELECT * FROM "{secret}"',
    "SELECT * FROM read_parquet('{folder}/secret.parquet')",
    "SELECT * FROM '{folder}/secret.parquet'",
    "SELECT * FROM '{folder}/*.parquet'",
    "SELECT * FROM read_text('{secret}')",
    "SELECT * FROM read_blob('{secret}')",
    "SELECT * FROM read_json('{secret}')",
    "SELECT * FROM read_ndjson_objects('{secret}')",
    "SELECT * FROM sniff_csv('{secret}')",
    "SELECT * FROM parquet_metadata('{folder}/secret.parquet')",
    "SELECT * FROM parquet_schema('{folder}/secret.parquet')",
    "SELECT * FROM parquet_kv_metadata('{folder}/secret.parquet')",
    "SELECT * FROM glob('{folder}/*')",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_text('/proc/self/environ')",
    "SELECT * FROM read_text('{root}/published.json')",
    "SELECT * FROM read_text('{root}/tables/../../secret.csv')",
    "SELECT * FROM read_text('{data_file}/../../../../secret.csv')",
    "SELECT * FROM read_text('file://{secret}')",
    "SELECT * FROM read_csv('http://localhost/x.csv')",
    "SELECT * FROM read_parquet('s3://bucket/x.parquet')",
    "SELECT * FROM query('SELECT * FROM read_text(''{secret}'')')",
    "SELECT * FROM query_table('{secret}')",
    "SELECT (SELECT content FROM read_text('{secret}'))",
    "WITH x AS MATERIALIZED (FROM read_text('{secret}')) FROM x",
    "DESCRIBE SELECT * FROM read_csv('{secret}')",
    "SUMMARIZE FROM '{secret}'",
    "SELECT getenv('HOME')",
]

DOING_THINGS = [
    "COPY core_films TO '{folder}/out.csv'",
    "COPY (SELECT 1) TO '{folder}/out.parquet' (FORMAT parquet)",
    "COPY (SELECT 1) TO '/dev/null'",
    "COPY core_films FROM '{secret}'",
    "EXPORT DATABASE '{folder}/export'",
    "IMPORT DATABASE '{folder}'",
    "ATTACH '{folder}/other.duckdb'",
    "ATTACH '{root}/catalog.duckdb' AS again",
    "ATTACH ':memory:' AS other",
    "DETACH catalog",
    "USE memory",
    "INSTALL httpfs",
    "LOAD httpfs",
    "LOAD '{folder}/x.duckdb_extension'",
    "FORCE INSTALL httpfs FROM 'http://localhost'",
    "UPDATE EXTENSIONS",
    "PRAGMA database_list",
    "PRAGMA enable_profiling",
    "SET enable_external_access = true",
    "SET allowed_paths = ['/etc/passwd']",
    "SET lock_configuration = false",
    "SET memory_limit = '1GB'",
    "SET VARIABLE x = 1",
    "RESET allowed_paths",
    "CREATE TABLE t (a INTEGER)",
    "CREATE TEMP TABLE t AS SELECT 1",
    "CREATE VIEW v AS SELECT 1",
    "CREATE TEMP VIEW v AS FROM read_text('{secret}')",
    "CREATE OR REPLACE VIEW core_films AS SELECT 1",
    "CREATE MACRO f(x) AS x",
    "CREATE TEMP MACRO f(x) AS TABLE FROM read_text(x)",
    "CREATE SECRET s (TYPE http, BEARER_TOKEN 'x')",
    "CREATE SCHEMA s",
    "CREATE SEQUENCE s",
    "CREATE TYPE t AS ENUM ('a')",
    "DROP VIEW core_films",
    "ALTER VIEW core_films RENAME TO x",
    "COMMENT ON VIEW core_films IS 'x'",
    "INSERT INTO core_films VALUES (3, 'c', NULL)",
    "UPDATE core_films SET title = 'x'",
    "DELETE FROM core_films",
    "MERGE INTO core_films USING core_first ON true WHEN MATCHED THEN DELETE",
    "WITH x AS (DELETE FROM core_films RETURNING *) FROM x",
    "TRUNCATE core_films",
    "BEGIN",
    "CHECKPOINT",
    "VACUUM",
    "ANALYZE",
    "CALL pragma_version()",
    "CALL enable_logging(storage = 'file', storage_path = '{folder}/log')",
    "SELECT * FROM enable_logging(storage = 'file', storage_path = '{folder}/log')",
    "SELECT * FROM force_checkpoint('catalog')",
    "SELECT nextval('s')",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "EXPLAIN ANALYZE COPY core_films TO '{folder}/out.csv'",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP VIEW core_films",
    "SELECT 1 /* */; /* */ COPY core_films TO '{folder}/out.csv'",
    "",
    ";",
    "-- nothing",
    "nonsense",
    "SELECT",
    "SELECT * FROM core_missing",
]


@pytest.mark.parametrize("statement", READING_FILES + DOING_THINGS)
def test_nothing_but_reading_tables_is_possible(untouched, statement):
    folder = untouched.root.parent
    data_file = next((untouched.root / "tables").glob("*/*.parquet"))
    words = statement.format(secret=folder / "secret.csv", folder=folder, root=untouched.root, data_file=data_file)
    before = everything_under(folder)
    with pytest.raises(QueryError) as told:
        sql.query(untouched.root, words)
    assert "hunter2" not in str(told.value)
    assert str(told.value)
    assert everything_under(folder) == before
    assert sql.query(untouched.root, "SELECT count(*) FROM core_films").item() == 2


def test_the_error_says_what_is_allowed(store):
    with pytest.raises(QueryError, match="only SELECT is allowed, this is COPY"):
        sql.query(store.root, "COPY core_films TO '/dev/null'")
    with pytest.raises(QueryError, match="expected one SELECT statement, found 2"):
        sql.query(store.root, "SELECT 1; SELECT 2")
    with pytest.raises(QueryError, match="queries read the warehouse's tables only"):
        sql.query(store.root, "FROM read_text('/etc/passwd')")


def test_no_secrets_and_no_python_variables_are_visible(store):
    films = pl.DataFrame({"word": ["hunter2"]})
    with pytest.raises(QueryError, match="films"):
        sql.query(store.root, "SELECT * FROM films")
    assert films.height == 1
    assert sql.query(store.root, "FROM duckdb_secrets()").height == 0


def test_the_sandbox_holds_for_what_a_query_can_see_of_its_settings(store):
    settings = dict(
        sql.query(
            store.root,
            "SELECT name, value FROM duckdb_settings() WHERE name IN "
            "('enable_external_access', 'lock_configuration', 'autoload_known_extensions', 'temp_directory')",
        ).rows()
    )
    assert settings == {
        "enable_external_access": "false",
        "lock_configuration": "true",
        "autoload_known_extensions": "false",
        "temp_directory": "",
    }


def test_a_link_in_place_of_a_data_file_is_not_followed(store, tmp_path):
    data_file = next((store.root / "tables").glob("*/*.parquet"))
    data_file.unlink()
    data_file.symlink_to(tmp_path / "secret.parquet")
    for statement in ("SELECT * FROM core_films", f"SELECT * FROM read_parquet('{data_file}')"):
        with pytest.raises(QueryError) as told:
            sql.query(store.root, statement)
        assert "hunter2" not in str(told.value)


def test_a_link_in_place_of_a_table_folder_is_not_followed(store, tmp_path):
    folder = store.root / "tables" / FILMS.name
    shutil.move(folder, tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(QueryError, match="queries read the warehouse's tables only"):
        sql.query(store.root, "SELECT * FROM core_films")


def test_a_warehouse_may_be_reached_through_a_link(store, tmp_path):
    (tmp_path / "link").symlink_to(store.root)
    assert sql.query(tmp_path / "link", "SELECT count(*) FROM core_films").item() == 2


def test_a_link_to_a_file_inside_the_warehouse_folder_gives_no_access(store, tmp_path):
    link = store.root / "tables" / FILMS.name / "more.parquet"
    link.symlink_to(tmp_path / "secret.csv")
    with pytest.raises(QueryError):
        sql.query(store.root, f"SELECT * FROM read_csv('{link}')")


def test_nothing_published_is_told_and_nothing_created(tmp_path):
    missing = tmp_path / "missing"
    for ask in (
        sql.tables,
        lambda root: sql.query(root, "SELECT 1"),
        lambda root: sql.describe(root, "core_films"),
    ):
        with pytest.raises(QueryError, match="nothing is published there"):
            ask(missing)
    assert not missing.exists()


def test_tables_lists_kind_version_rows_and_meaning(store):
    assert sql.tables(store.root).rows() == [
        ("core_films", "table", 0, 2, "Films."),
        ("core_first", "view", None, 1, "The first film."),
    ]


def test_describe_lists_columns_types_and_meanings(store):
    expected = [
        ("film_id", "BIGINT", "Id."),
        ("title", "VARCHAR", "Title."),
        ("genres", "VARCHAR[]", "Genres."),
    ]
    assert sql.describe(store.root, "core_films").rows() == expected
    assert sql.describe(store.root, "core_first").rows() == expected
    with pytest.raises(QueryError, match=r"nothing published is called \"x' OR 1"):
        sql.describe(store.root, "x' OR 1=1 --")


def test_a_new_publication_is_seen_while_an_older_query_is_open(store):
    with sql._connected(store.root) as older:
        assert older.sql("SELECT count(*) FROM core_films").fetchall() == [(2,)]
        store.write(FILMS, ROWS.head(1))
        store.publish([FILMS.name])
        assert sql.query(store.root, "SELECT count(*) FROM core_films").item() == 1
        assert older.sql("SELECT count(*) FROM core_films").fetchall() == [(2,)]


def test_a_warehouse_that_cannot_be_written_can_be_read(store, monkeypatch):
    """Its catalogue lags, and the lock for repairing it cannot be taken."""
    store.write(FILMS, ROWS.head(1))
    old = (store.root / CATALOG_FILE).read_bytes()
    store.publish([FILMS.name])
    (store.root / CATALOG_FILE).write_bytes(old)

    def read_only(*_):
        raise PermissionError("read-only")

    monkeypatch.setattr("warehouse.catalog.short_lock", read_only)
    assert sql.query(store.root, "SELECT count(*) FROM core_films").item() == 2


def test_threads_query_at_once(store):
    counts, barrier = [], threading.Barrier(6)

    def ask() -> None:
        barrier.wait()
        counts.append(sql.query(store.root, "SELECT count(*) FROM core_films").item())

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [2] * 6
    assert sorted(os.listdir(store.root)) == [".publish.lock", CATALOG_FILE, "published.json", "tables"]


def test_an_answer_of_a_type_that_cannot_be_shown_is_an_error_in_words(untouched: Warehouse) -> None:
    with pytest.raises(QueryError, match="cast it to VARCHAR"):
        sql.query(untouched.root, "SELECT TIMESTAMP '2026-01-02' - TIMESTAMP '2026-01-01' AS between")

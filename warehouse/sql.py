"""Read-only SQL over what is published.

Belongs here: running one SELECT in a sandbox, listing and describing tables.
Does not belong here: building the catalogue (`warehouse/catalog.py`).

The sandbox: a fresh in-memory DuckDB with the catalogue attached read-only, access to no file but the data
files that the catalogue lists, no extensions, no Python variables as tables, a locked configuration, and
SELECT as the only kind of statement.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl

from warehouse.catalog import (
    CATALOG_FILE,
    LOCKED_DOWN,
    NOTES_SCHEMA,
    TABLES_FOLDER,
    CatalogError,
    is_current,
    literal,
    read_published,
    repair,
    sandbox,
    single_select,
)

if TYPE_CHECKING:
    import pyarrow as pa


class QueryError(ValueError):
    """The query is not allowed, does not hold, or there is nothing to ask; the message says which."""


def query(root: Path, sql: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None) -> pl.DataFrame:
    """Run one SELECT over the published tables of the warehouse `root` and return its rows.

    `parameters` fill `?`, `$1` or `$name` in `sql`. Raises QueryError for anything but a SELECT, for a query
    that reaches for a file outside the warehouse, for one that fails, and where nothing is published.
    """
    with _connected(Path(root)) as connection, _told():
        statement = single_select(connection, sql)
        return connection.sql(statement.query, params=parameters).pl()


def batches(
    root: Path, sql: str, parameters: Sequence[Any] | None = None, rows: int = 50_000
) -> Iterator[pa.RecordBatch]:
    """As `query`, but in Arrow batches of up to `rows` rows, so that a large answer is never in memory as a whole.

    The first batch has no rows: it states the columns. Raises as `query` does.
    """
    import pyarrow as pa

    with _connected(Path(root)) as connection, _told():
        statement = single_select(connection, sql)
        reader = connection.sql(statement.query, params=parameters).to_arrow_reader(rows)
        yield pa.RecordBatch.from_pylist([], schema=reader.schema)
        yield from reader


def tables(root: Path) -> pl.DataFrame:
    """The published tables and views: name, kind (table or view), version, rows, meaning.

    A view has no version. Views over tables that are not published yet are left out. Raises QueryError where
    nothing is published.
    """
    root = Path(root)
    with _connected(root) as connection, _told():
        listed = connection.sql(
            "SELECT view_name AS name, comment AS meaning FROM duckdb_views() "
            "WHERE database_name = 'catalog' AND schema_name = 'main' AND NOT internal ORDER BY name"
        ).pl()
        counts = {
            name: connection.sql(f'SELECT count(*) FROM catalog.main."{name}"').fetchall()[0][0]
            for name in listed["name"]
        }
    pinned = read_published(root).tables
    return listed.select(
        "name",
        kind=pl.when(pl.col("name").is_in(list(pinned))).then(pl.lit("table")).otherwise(pl.lit("view")),
        version=pl.col("name").replace_strict(
            {name: entry.version for name, entry in pinned.items()}, default=None, return_dtype=pl.Int64
        ),
        rows=pl.col("name").replace_strict(counts, default=None, return_dtype=pl.Int64),
        meaning=pl.col("meaning").fill_null(""),
    )


def describe(root: Path, name: str) -> pl.DataFrame:
    """The columns of the published table or view `name`: column, type (DuckDB's), meaning.

    Raises QueryError when there is none of that name.
    """
    columns = query(
        root,
        'SELECT column_name AS "column", data_type AS "type", coalesce(comment, \'\') AS meaning '
        "FROM duckdb_columns() "
        "WHERE database_name = 'catalog' AND schema_name = 'main' AND table_name = ? ORDER BY column_index",
        [name],
    )
    if columns.is_empty():
        raise QueryError(f"{root}: nothing published is called {name!r}")
    return columns


@contextmanager
def _connected(root: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    root = root.expanduser().resolve()
    try:
        if not is_current(root):
            # A folder that cannot be written still has its last catalogue, which names whole versions.
            with suppress(OSError):
                repair(root)
    except CatalogError as error:
        raise QueryError(str(error)) from error
    catalogue = root / CATALOG_FILE
    if not catalogue.is_file():
        raise QueryError(f"{root}: nothing is published there")
    # Attached to a database in memory, because DuckDB shares one instance per path inside a process: opened
    # by its path, a catalogue that was renamed into place would go unseen while an older connection lives.
    connection = duckdb.connect(":memory:", config=dict(LOCKED_DOWN))
    try:
        with _told():
            connection.execute(f"ATTACH {literal(str(catalogue))} AS catalog (READ_ONLY)")
            listed = connection.execute(f"SELECT file FROM catalog.{NOTES_SCHEMA}.files").fetchall()
            connection.execute("USE catalog")
            sandbox(connection, [file for (text,) in listed if _is_inside(file := Path(text), root)])
        yield connection
    finally:
        connection.close()


def _is_inside(file: Path, root: Path) -> bool:
    """Whether `file` is a data file of the warehouse that no link leads away from."""
    return file.is_relative_to(root / TABLES_FOLDER) and file.resolve() == file and file.is_file()


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except duckdb.PermissionException as error:
        raise QueryError(f"queries read the warehouse's tables only: {error}") from error
    except (duckdb.Error, ValueError) as error:
        raise QueryError(str(error)) from error
    except pl.exceptions.PolarsError as error:  # an interval, say
        raise QueryError(
            f"a column of the answer is of a type that cannot be shown, cast it to VARCHAR: {error}"
        ) from error

"""What readers see: `published.json` pins a version of every table, `catalog.duckdb` holds views over them.

Belongs here: reading, changing and repairing these two files.
Does not belong here: writing table versions (`warehouse/store.py`) and running queries (`warehouse/sql.py`).

`published.json` is the truth and is renamed into place first; the catalogue is a pure function of it and says
which one it was built from, so a catalogue that lags (its writer was killed between the two renames) is
noticed and rebuilt.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from warehouse.contracts import Table
from warehouse.locking import short_lock

PUBLISHED_FILE = "published.json"
CATALOG_FILE = "catalog.duckdb"
PUBLISH_LOCK_FILE = ".publish.lock"
TABLES_FOLDER = "tables"
FORMAT = 1

# Schema of the catalogue's notes about itself; views of the warehouse stand in `main`.
NOTES_SCHEMA = "_catalog"

NAME = re.compile(r"[a-z][a-z0-9_]{0,119}")
_FILE = re.compile(r"[\w.=+-]+\.parquet", re.ASCII)
_TEMPORARY = re.compile(r"\.(?:published\.json|catalog\.duckdb)\.\d+\.tmp(?:\.wal)?")

# What a connection may not do before anything else is said: no code, no secrets, no Python variables as
# tables, no spill files.
LOCKED_DOWN: dict[str, str | bool | int | float | list[str]] = {
    "allow_community_extensions": False,
    "allow_extension_repositories": "forbidden",
    "allow_persistent_secrets": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,
    "temp_directory": "",
}


class UnusableName(ValueError):
    """The name of a table or the path of a warehouse has something in it that cannot be used."""


class CatalogError(RuntimeError):
    """The published state cannot be read or changed; the message names the file or table. What was published
    stays.
    """


@dataclass(frozen=True)
class PublishedTable:
    """A pinned version of one table.

    `files` are relative to the table's folder. `columns` maps the version's columns to DuckDB types; `absent`
    does the same for columns that the contract has and this version has not (views show them as null).
    """

    version: int
    rows: int
    files: tuple[str, ...]
    columns: Mapping[str, str]
    absent: Mapping[str, str] = field(default_factory=dict)
    meaning: str = ""
    comments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PublishedView:
    """A view that a contract defines with `sql`."""

    sql: str
    meaning: str = ""
    comments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Published:
    """Everything that is published: content of `published.json`."""

    tables: Mapping[str, PublishedTable] = field(default_factory=dict)
    views: Mapping[str, PublishedView] = field(default_factory=dict)

    def to_json(self) -> bytes:
        stated = {"format": FORMAT, **asdict(self)}
        return (json.dumps(stated, ensure_ascii=False, indent=1, sort_keys=False) + "\n").encode()


def table_folder(root: Path, name: str) -> Path:
    """Folder of the table `name`; raises UnusableName for a name that is not lower-case letters, digits and
    underscores.
    """
    if not NAME.fullmatch(name):
        raise UnusableName(f"{name!r} is no table name: lower-case letters, digits and underscores, a letter first")
    return root / TABLES_FOLDER / name


def read_published(root: Path) -> Published:
    """Read `published.json`; nothing is published where it is missing. Raises CatalogError when it is
    damaged.
    """
    content = _published_bytes(root)
    if content is None:
        return Published()
    path = root / PUBLISHED_FILE
    try:
        stated = json.loads(content)
        if stated["format"] != FORMAT:
            raise CatalogError(f"{path}: written by another version of Marquee (format {stated['format']!r})")
        published = Published(
            tables={name: _table_from(name, entry) for name, entry in stated["tables"].items()},
            views={name: PublishedView(**entry) for name, entry in stated["views"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CatalogError(f"{path} is damaged: {error}") from error
    for name in (*published.tables, *published.views):
        if not NAME.fullmatch(name):
            raise CatalogError(f"{path} is damaged: {name!r} is no table name")
    return published


def _published_bytes(root: Path) -> bytes | None:
    path = root / PUBLISHED_FILE
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CatalogError(f"{path}: {error.strerror}") from error


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _table_from(name: str, entry: Mapping[str, Any]) -> PublishedTable:
    table = PublishedTable(**{**entry, "files": tuple(entry["files"])})
    strange = [file for file in table.files if not _FILE.fullmatch(file)]
    if strange:
        raise ValueError(f"{name}: {strange[0]!r} is no data file")
    return table


def described(entry: PublishedTable, contract: Table | None) -> PublishedTable:
    """Return `entry` with the meanings and absent columns that `contract` states (unchanged where it is
    None).
    """
    if contract is None:
        return entry
    types = duckdb_types(contract.schema)
    return replace(
        entry,
        absent={name: kind for name, kind in types.items() if name not in entry.columns},
        meaning=_table_comment(contract),
        comments=_column_comments(contract),
    )


def contract_views(contracts: Mapping[str, Table]) -> dict[str, PublishedView]:
    """The views among `contracts`."""
    return {
        name: PublishedView(contract.sql, _table_comment(contract), _column_comments(contract))
        for name, contract in contracts.items()
        if contract.sql
    }


def _table_comment(contract: Table) -> str:
    return contract.meaning + (f" Licence: {contract.licence}." if contract.licence else "")


def _column_comments(contract: Table) -> dict[str, str]:
    return {c.name: c.meaning + (f" Unit: {c.unit}." if c.unit else "") for c in contract.columns}


def carried_over(known: PublishedTable, entry: PublishedTable) -> PublishedTable:
    """Return `entry` with what the contract behind `known` said, for a version published without its
    contract.
    """
    types = {**known.columns, **known.absent}
    return replace(
        entry,
        absent={name: types[name] for name in known.comments if name in types and name not in entry.columns},
        meaning=known.meaning,
        comments=known.comments,
    )


def duckdb_types(schema: pl.Schema) -> dict[str, str]:
    """Map each column of `schema` to the DuckDB type that stands for it."""
    return dict(_duckdb_types(tuple(schema.items())))


# Asked for every contract at every publication; each answer costs a DuckDB instance.
@lru_cache(maxsize=512)
def _duckdb_types(columns: tuple[tuple[str, pl.DataType], ...]) -> tuple[tuple[str, str], ...]:
    with duckdb.connect(":memory:") as connection:
        relation = connection.from_arrow(pl.DataFrame(schema=dict(columns)).to_arrow())
        return tuple((name, str(kind)) for name, kind in zip(relation.columns, relation.types, strict=True))


def publish(root: Path, change: Callable[[Published], Published]) -> Published:
    """Replace what is published by `change` of it, in one step for readers, and return it.

    `change` runs under the publication lock, so that two publishers cannot lose each other's tables. Raises
    CatalogError, with the previous state in place, when a view does not hold, a file is missing or the disk
    is full.
    """
    with _publishing(root):
        before = read_published(root)
        after = change(before)
        new_files = _new_files(root, before, after)
        if after == before and built_from(root) == _source(root, after):
            return after
        with _told(root, "could not publish, what was published before stays"):
            # The pins must not survive a power cut that the data did not.
            for path in new_files:
                _sync(path)
            pins = _temporary(root, PUBLISHED_FILE)
            pins.write_bytes(after.to_json())
            _sync(pins)
            catalogue = _build(root, after, before if built_from(root) == _source(root, before) else None)
            os.replace(pins, root / PUBLISHED_FILE)
        with _told(root, "published, but the catalogue lags until the next query or publication repairs it"):
            os.replace(catalogue, root / CATALOG_FILE)
            _sync(root)
    return after


def repair(root: Path) -> None:
    """Rebuild the catalogue if it is missing or lags behind `published.json` (or the folder was moved)."""
    if not (root / PUBLISHED_FILE).exists():
        return
    with _publishing(root):
        published = read_published(root)
        if built_from(root) != _source(root, published):
            with _told(root, "the catalogue could not be rebuilt"):
                os.replace(_build(root, published), root / CATALOG_FILE)
                _sync(root)


def is_current(root: Path) -> bool:
    """Whether the catalogue was built from what is published now. Raises CatalogError when that cannot be
    read.
    """
    content = _published_bytes(root)
    return content is not None and built_from(root) == (_digest(content), str(root))


def built_from(root: Path) -> tuple[str, str] | None:
    """Digest and folder that the catalogue was built from; None when there is none or it cannot be read."""
    path = root / CATALOG_FILE
    if not path.is_file():
        return None
    try:
        with duckdb.connect(":memory:", config=dict(LOCKED_DOWN)) as connection:
            connection.execute(f"ATTACH {literal(str(path))} AS catalog (READ_ONLY)")
            row = connection.execute(f"SELECT digest, root FROM catalog.{NOTES_SCHEMA}.built_from").fetchone()
    except duckdb.Error:
        return None
    return (row[0], row[1]) if row else None


def sandbox(connection: duckdb.DuckDBPyConnection, files: list[Path]) -> None:
    """Bar `connection` from every file but `files`, and from changing that. Attach databases before."""
    connection.execute(f"SET allowed_paths = [{', '.join(literal(str(file)) for file in files)}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def identifier(name: str) -> str:
    """Quote `name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote `text` as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def single_select(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement:
    """Return the one SELECT that `sql` holds. Raises ValueError for anything else, duckdb.Error when it does
    not parse.
    """
    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        raise ValueError(f"expected one SELECT statement, found {len(statements)} statements")
    try:
        kind = statements[0].type
    except ValueError:  # a statement type that the Python package has no name for
        kind = None
    if kind is not duckdb.StatementType.SELECT:
        raise ValueError(f"only SELECT is allowed, this is {kind.name if kind else 'another statement'}")
    return statements[0]


def _source(root: Path, published: Published) -> tuple[str, str]:
    return _digest(published.to_json()), str(root)


def _build(root: Path, published: Published, known: Published | None = None) -> Path:
    """Build the catalogue of `published` beside the present one and return its path, synced to disk.

    `known` is what the present one was built from, None to begin with an empty one: then the views of tables that are the same are taken
    over, comments included, which cost more than everything else.
    """
    path = _temporary(root, CATALOG_FILE)
    if known is not None:
        shutil.copyfile(root / CATALOG_FILE, path)
        try:
            return _written(root, published, known, path)
        except duckdb.Error:  # the present one is damaged, or `published` is wrong, which shows again
            path.unlink()
    return _written(root, published, Published(), path)


def _written(root: Path, published: Published, known: Published, path: Path) -> Path:
    """Make the catalogue of `known` at `path` (nothing is there where that is nothing) that of `published`."""
    files = {
        name: [table_folder(root, name) / file for file in entry.files] for name, entry in published.tables.items()
    }
    all_files = [file for some in files.values() for file in some]
    changed = {name: entry for name, entry in published.tables.items() if known.tables.get(name) != entry}
    digest, folder = _source(root, published)
    with duckdb.connect(":memory:", config=dict(LOCKED_DOWN)) as connection:
        connection.execute(f"ATTACH {literal(str(path))} AS catalog")
        connection.execute("USE catalog")
        # The SQL of contracts is bound here, so it is bound in the same sandbox that it will run in.
        sandbox(connection, all_files)
        connection.execute("BEGIN")
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {NOTES_SCHEMA}")
        connection.execute(
            f"CREATE OR REPLACE VIEW {NOTES_SCHEMA}.built_from AS SELECT {literal(digest)} AS digest, {literal(folder)} AS root"
        )
        listed = ", ".join(literal(str(file)) for file in all_files)
        connection.execute(
            f"CREATE OR REPLACE VIEW {NOTES_SCHEMA}.files AS SELECT unnest([{listed}]::VARCHAR[]) AS file"
        )
        # What contracts define may look at anything, and is made again.
        for name in (*known.views, *(known.tables.keys() - published.tables.keys())):
            connection.execute(f"DROP VIEW IF EXISTS {identifier(name)}")
        for name, entry in changed.items():
            connection.execute(f"CREATE OR REPLACE VIEW {identifier(name)} AS {_select(entry, files[name])}")
        connection.execute("COMMIT")
        standing = _create_views(connection, published.views)
        connection.execute("BEGIN")
        for name, entry in changed.items():
            _comment(connection, name, entry.meaning, entry.comments, {*entry.columns, *entry.absent})
        for name, columns in standing.items():
            view = published.views[name]
            _comment(connection, name, view.meaning, view.comments, columns)
        connection.execute("COMMIT")
        connection.execute("CHECKPOINT catalog")
    _sync(path)
    return path


def _select(entry: PublishedTable, files: list[Path]) -> str:
    absent = [f"NULL::{kind} AS {identifier(name)}" for name, kind in entry.absent.items()]
    if not files:
        typed = [f"NULL::{kind} AS {identifier(name)}" for name, kind in entry.columns.items()]
        return f"SELECT {', '.join(typed + absent)} WHERE false"
    columns = ", ".join([identifier(name) for name in entry.columns] + absent)
    listed = ", ".join(literal(str(file)) for file in files)
    return f"SELECT {columns} FROM read_parquet([{listed}], hive_partitioning = false)"


def _create_views(connection: duckdb.DuckDBPyConnection, views: Mapping[str, PublishedView]) -> dict[str, set[str]]:
    """Create the views whose tables are published, in an order that satisfies them; return their columns.

    A view over a table that is not published yet is left out: it appears with its table.
    """
    waiting = dict(views)
    standing: dict[str, set[str]] = {}
    progress = True
    while waiting and progress:
        progress = False
        for name, view in list(waiting.items()):
            try:
                # The query text of the parsed statement, so that a comment or semicolon at its end does no
                # harm.
                body = single_select(connection, view.sql).query.strip().rstrip(";")
                connection.execute(f"CREATE VIEW {identifier(name)} AS {body}\n")
                standing[name] = set(connection.table(identifier(name)).columns)
            except duckdb.CatalogException as error:
                if "Table with name" not in str(error):
                    raise CatalogError(f"view {name}: {error}") from error
                continue
            except (duckdb.Error, ValueError) as error:
                raise CatalogError(f"view {name}: {error}") from error
            del waiting[name]
            progress = True
    return standing


def _comment(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    meaning: str,
    comments: Mapping[str, str],
    columns: set[str],
) -> None:
    statements = [f"COMMENT ON VIEW {identifier(name)} IS {literal(meaning)}"] if meaning else []
    statements += [
        f"COMMENT ON COLUMN {identifier(name)}.{identifier(column)} IS {literal(text)}"
        for column, text in comments.items()
        if column in columns
    ]
    if statements:
        connection.execute(";\n".join(statements))


def _new_files(root: Path, before: Published, after: Published) -> list[Path]:
    """Files that `after` pins and `before` did not, commit logs included. Raises CatalogError when one is
    missing.
    """
    new: list[Path] = []
    for name, entry in after.tables.items():
        folder = table_folder(root, name)
        missing = [file for file in entry.files if not (folder / file).is_file()]
        if missing:
            raise CatalogError(f"{name} version {entry.version}: {folder / missing[0]} is missing (vacuumed?)")
        known = before.tables.get(name)
        if known is None or known.version != entry.version:
            held = set(known.files) if known else set()
            new += [folder / file for file in entry.files if file not in held]
            log = folder / "_delta_log"
            new += [path for path in (log / f"{entry.version:020}.json", log, folder) if path.exists()]
    return new


def _temporary(root: Path, name: str) -> Path:
    return root / f".{name}.{os.getpid()}.tmp"


def _remove_temporary(root: Path) -> None:
    # Only under the publication lock: whoever wrote these is dead.
    for path in root.iterdir():
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


@contextmanager
def _publishing(root: Path) -> Iterator[None]:
    """Hold the publication lock, and leave no temporary file behind, a killed writer's included."""
    with short_lock(root / PUBLISH_LOCK_FILE):
        _remove_temporary(root)
        try:
            yield
        finally:
            _remove_temporary(root)


@contextmanager
def _told(root: Path, words: str) -> Iterator[None]:
    """Turn what the system or DuckDB says into a CatalogError that starts with `words`."""
    try:
        yield
    except (OSError, duckdb.Error) as error:
        raise CatalogError(f"{root}: {words}: {error}") from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

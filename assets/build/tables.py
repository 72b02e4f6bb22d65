"""What every build step shares: what it made, and reading what earlier steps stored."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from warehouse.contracts import Table
from warehouse.store import Commit, NoSuchTable, Warehouse

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Built:
    """Commits of one build, and what it counted."""

    commits: tuple[Commit, ...]
    counts: Mapping[str, float]


def latest_or_empty(warehouse: Warehouse, table: Table, columns: Iterable[str] | None = None) -> pl.DataFrame:
    """Rows of the newest version of `table`, published or not; none when it was never written."""
    version = warehouse.latest(table.name)
    wanted = list(columns or table.schema)
    if version is None:
        return table.empty().select(wanted)
    return warehouse.read(table.name, wanted, version=version)


def published_or_empty(
    warehouse: Warehouse, table: Table, columns: Iterable[str] | None = None, version: int | None = None
) -> pl.DataFrame:
    """Rows of the published (or the given) version of `table`; none when nothing was published yet."""
    wanted = list(columns or table.schema)
    try:
        return warehouse.read(table.name, wanted, version=version)
    except NoSuchTable:
        return table.empty().select(wanted)


def published_metadata(warehouse: Warehouse, name: str) -> dict[str, Any] | None:
    """What was noted with the published version of a table; None when nothing is published."""
    return _metadata(warehouse, name, warehouse.published(name))


def latest_metadata(warehouse: Warehouse, name: str) -> dict[str, Any] | None:
    """What was noted with the newest version of a table, published or not; None when it was never written."""
    return _metadata(warehouse, name, warehouse.latest(name))


def _metadata(warehouse: Warehouse, name: str, version: int | None) -> dict[str, Any] | None:
    if version is None:
        return None
    return json.loads(warehouse.history(name).filter(pl.col("version") == version)["metadata"].item() or "{}")


def as_one(commits: Sequence[Commit]) -> Commit:
    """Commits of one table, one after the other, as publishing takes them: the last version, and what all of them changed."""
    return replace(
        commits[-1],
        rows_upserted=sum(commit.rows_upserted for commit in commits),
        rows_deleted=sum(commit.rows_deleted for commit in commits),
        changed=any(commit.changed for commit in commits),
    )


def unchanged(warehouse: Warehouse, table: Table, version: int) -> Commit:
    """A version of `table` that is there, as a commit that changed nothing."""
    return Commit(table.name, version, warehouse.rows(table.name, version), 0, 0, changed=False)


def kept(warehouse: Warehouse, table: Table) -> Commit:
    """The published version of `table`, as a commit that changed nothing."""
    version = warehouse.published(table.name)
    assert version is not None
    return unchanged(warehouse, table, version)

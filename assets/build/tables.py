"""What every build step shares: what it made, and reading what earlier steps stored."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
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
    version = warehouse.published(name)
    if version is None:
        return None
    return json.loads(warehouse.history(name).filter(pl.col("version") == version)["metadata"].item())


def kept(warehouse: Warehouse, table: Table) -> Commit:
    """The published version of `table`, as a commit that changed nothing."""
    version = warehouse.published(table.name)
    assert version is not None
    return Commit(table.name, version, warehouse.rows(table.name), 0, 0, changed=False)

"""Rows for tests: what a test does not state gets what the contract allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from warehouse.contracts import Table


def filled(table: Table, rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows of a table; columns that are not stated are null where they may be."""
    usual: dict[Any, Any] = {pl.String: "x", pl.Boolean: False, pl.Float64: 0.0, pl.Float32: 0.0}

    def value(name: str, dtype: Any) -> Any:
        column = next(each for each in table.columns if each.name == name)
        if column.nullable:
            return None
        if column.allowed:
            return column.allowed[0]
        return [] if isinstance(dtype, pl.List) else usual.get(dtype, int(column.minimum or 0))

    full = [{name: row.get(name, value(name, dtype)) for name, dtype in table.schema.items()} for row in rows]
    return table.frame(full)

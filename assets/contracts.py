"""All contracts of a warehouse: the fixed ones and one raw table for each source."""

from __future__ import annotations

from collections.abc import Iterable

from warehouse.contracts import Table
from warehouse.tables import corpus, enrichment, titles


def all_contracts(sources: Iterable[str]) -> dict[str, Table]:
    """Contracts by table name, for a warehouse with these sources."""
    fixed = [*titles.TABLES, *corpus.TABLES, *enrichment.TABLES]
    raw = [titles.raw_titles(name, f"Film records as the source {name} states them.") for name in sources]
    return {table.name: table for table in [*raw, *fixed]}

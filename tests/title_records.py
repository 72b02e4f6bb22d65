"""Small title records for tests: state what matters, the rest is filled in."""

from __future__ import annotations

import polars as pl

from pipelines.linking.keys import with_keys
from warehouse.tables.titles import CORE_TITLE_RECORDS


def title_records(*rows: dict) -> pl.DataFrame:
    """Rows of core_title_records; `source` and `title` are required, `source_id` defaults to the row's number."""
    filled = []
    for number, row in enumerate(rows):
        lists = {c.name: [] for c in CORE_TITLE_RECORDS.columns if c.dtype == pl.List(pl.String)}
        source_id = str(row.get("source_id", number))
        base = {
            "record_id": 1000 + number,
            "row_hash": hash(repr(row)) & 0xFFFF,
            "is_film": True,
            "title_key": "",
        }
        filled.append({**lists, **base, **row, "source_id": source_id})
    frame = pl.DataFrame(
        filled,
        schema_overrides=dict(CORE_TITLE_RECORDS.schema.items()),
        infer_schema_length=None,
    )
    missing = [pl.lit(None, dtype=d).alias(c) for c, d in CORE_TITLE_RECORDS.schema.items() if c not in frame.columns]
    frame = frame.with_columns(missing).drop("title_key", "alias_keys", "part_keys", "director_keys", "cast_keys")
    return with_keys(frame).select(CORE_TITLE_RECORDS.schema.names())

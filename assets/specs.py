"""Asset specs made from table contracts, and what a materialization says about itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg
import polars as pl

from warehouse.contracts import Table
from warehouse.store import Commit, Warehouse

OWNERS = ["team:corpus"]
_PREVIEW_ROWS = 5
_PREVIEW_CHARACTERS = 80


def table_schema(table: Table) -> dg.TableSchema:
    """The contract's columns as dagster shows them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=str(column.dtype),
                description=f"{column.meaning}{f' [{column.unit}]' if column.unit else ''}",
                constraints=dg.TableColumnConstraints(
                    nullable=column.nullable,
                    unique=table.key == (column.name,),
                    other=[f"one of {', '.join(column.allowed)}"] if column.allowed else [],
                ),
            )
            for column in table.columns
        ]
    )


def table_spec(
    table: Table,
    deps: Iterable[str | dg.AssetDep],
    code_version: str,
    condition: dg.AutomationCondition | None = None,
    freshness: dg.FreshnessPolicy | None = None,
    kinds: Iterable[str] = ("polars", "deltalake"),
    group: str | None = None,
    partitions_def: dg.PartitionsDefinition | None = None,
) -> dg.AssetSpec:
    """Spec of the asset that makes `table`; asset and table share one name."""
    metadata: dict[str, Any] = {
        "dagster/column_schema": table_schema(table),
        "dagster/table_name": table.name,
    }
    if table.licence:
        metadata["licence"] = table.licence
    return dg.AssetSpec(
        table.name,
        deps=list(deps),
        description=table.meaning,
        metadata=metadata,
        skippable=True,
        group_name=group or table.group,
        code_version=code_version,
        automation_condition=condition,
        owners=OWNERS,
        kinds=set(kinds),
        freshness_policy=freshness,
        partitions_def=partitions_def,
    )


def materialized(
    warehouse: Warehouse, table: Table, commit: Commit, seconds: float, extra: Mapping[str, Any] | None = None
) -> dg.MaterializeResult:
    """Describe a published version: rows, what changed, schema, a preview of five rows, seconds."""
    return dg.MaterializeResult(
        asset_key=table.name,
        data_version=dg.DataVersion(f"{table.name}@{commit.version}"),
        metadata={
            "dagster/row_count": commit.rows,
            "version": commit.version,
            "rows written": commit.rows_upserted if commit.changed else 0,
            "rows deleted": commit.rows_deleted if commit.changed else 0,
            "seconds": seconds,
            "dagster/column_schema": table_schema(table),
            "preview": dg.MetadataValue.md(preview(warehouse.scan(table.name, commit.version))),
            **(extra or {}),
        },
    )


def preview(rows: pl.LazyFrame) -> str:
    """The first five rows as a Markdown table; long values are cut and pipes escaped."""
    frame = rows.head(_PREVIEW_ROWS).collect()

    def cell(value: Any) -> str:
        if isinstance(value, (list, pl.Series)):
            text = ", ".join(map(str, value))
        elif isinstance(value, float):
            text = f"{value:.6g}"
        else:
            text = "" if value is None else str(value)
        text = " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
        return text if len(text) <= _PREVIEW_CHARACTERS else text[:_PREVIEW_CHARACTERS] + "…"

    lines = ["| " + " | ".join(frame.columns) + " |", "|" + "---|" * frame.width]
    lines += ["| " + " | ".join(cell(value) for value in row) + " |" for row in frame.iter_rows()]
    return "\n".join(lines)

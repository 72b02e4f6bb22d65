"""Reports: pages kept as files of the warehouse, with a row that says where and made of what.

Does not belong here: what a page shows (pipelines/reporting/).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import polars as pl

from assets.build.files import put
from assets.build.tables import Built, Tell
from pipelines.reporting.blocks import Page
from warehouse.contracts import Table
from warehouse.store import Warehouse


def keep(warehouse: Warehouse, report: Table, name: str, page: Page, made_from: Iterable[Table], tell: Tell) -> Built:
    """Store `page` as `<name>.html` under `files/`, and the row of `report` about it, with the published versions of the tables it was made from."""
    file, content = f"{name}.html", page.html.encode()
    stored = put(warehouse.root, report.name, {file: content})
    row: dict[str, Any] = {
        "name": name,
        "path": stored.path(file),
        "sha256": stored.sha256[file],
        "bytes": len(content),
        "figures": page.figures,
        "made_from": json.dumps({table.name: warehouse.published(table.name) for table in made_from}, sort_keys=True),
    }
    frame = pl.DataFrame([row], schema_overrides=report.schema)
    tell(f"report: {warehouse.root / row['path']}")
    return Built((warehouse.write(report, frame),), {"figures": page.figures})

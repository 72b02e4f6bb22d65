"""Files that no table names are removed, and no others."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest

from assets.build.files import put
from assets.build.vacuum import vacuum_files
from warehouse.store import Warehouse
from warehouse.tables.ranking_evaluation import REPORT_RETRIEVAL


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "w")


def report(warehouse: Warehouse, text: str) -> Path:
    """Publish a report; returns its folder, made to look old."""
    stored = put(warehouse.root, REPORT_RETRIEVAL.name, {"page.html": text.encode()})
    row = {
        "name": "retrieval", "path": stored.path("page.html"), "sha256": stored.sha256["page.html"], "bytes": len(text), "figures": 0,
        "made_from": "{}",
    }  # fmt: skip
    commit = warehouse.write(REPORT_RETRIEVAL, pl.DataFrame([row], schema_overrides=REPORT_RETRIEVAL.schema))
    warehouse.publish({commit.table: commit.version}, {REPORT_RETRIEVAL.name: REPORT_RETRIEVAL})
    folder = warehouse.root / stored.folder
    os.utime(folder, (0, 0))
    return folder


def test_what_a_readable_version_names_stays(warehouse: Warehouse) -> None:
    first, second = report(warehouse, "one"), report(warehouse, "two")
    assert vacuum_files(warehouse, keep_days=1) == []
    assert first.exists() and second.exists()


def test_what_nothing_names_goes_when_it_is_old(warehouse: Warehouse) -> None:
    kept = report(warehouse, "one")
    folder = warehouse.root / put(warehouse.root, REPORT_RETRIEVAL.name, {"page.html": b"never named"}).folder
    assert vacuum_files(warehouse, keep_days=1) == []
    os.utime(folder, (0, 0))
    assert vacuum_files(warehouse, keep_days=1) == [folder]
    assert kept.exists() and not folder.exists()


def test_a_warehouse_without_files_is_fine(warehouse: Warehouse) -> None:
    assert vacuum_files(warehouse, keep_days=0) == []

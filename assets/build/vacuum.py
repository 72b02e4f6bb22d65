"""Removing files of the warehouse that no table names any more: weights, indexes, rankings and reports of earlier runs.

Does not belong here: data files of tables (`Warehouse.vacuum`).
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from assets.build.files import FILES_FOLDER
from assets.build.tables import published_metadata
from warehouse.store import Warehouse
from warehouse.tables.ranking_evaluation import REPORT_RETRIEVAL
from warehouse.tables.retrieval import ML_ITEM_INDEX, ML_RANKINGS, RETRIEVERS, RL_RETRIEVERS

# Tables whose rows name their files.
_NAMING = (ML_ITEM_INDEX, REPORT_RETRIEVAL, *RETRIEVERS.values(), *RL_RETRIEVERS.values())


def vacuum_files(warehouse: Warehouse, keep_days: float) -> list[Path]:
    """Remove sets of files that no readable version of their table names and that are older than `keep_days`; returns what was removed.

    To be called after `Warehouse.vacuum`: versions whose data are gone name nothing. Rankings are named by the published version.
    """
    removed: list[Path] = []
    named = {table.name: _named(warehouse, table.name) for table in _NAMING if warehouse.latest(table.name) is not None}
    if warehouse.published(ML_RANKINGS.name) is not None:
        named[ML_RANKINGS.name] = _noted(warehouse)
    for table, kept in named.items():
        for path in sorted((warehouse.root / FILES_FOLDER / table).glob("*")):
            # `1234.json` and `1234.json.log` are the configuration and the errors of the run in `1234`.
            is_kept = path.name.split(".")[0] in kept or path.name == "rank.json"
            if is_kept or path.stat().st_mtime > time.time() - keep_days * 86_400:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
            removed.append(path)
    return removed


def _named(warehouse: Warehouse, table: str) -> set[str]:
    """Names of the folders that the readable versions of a table name."""
    found: set[str] = set()
    for version in warehouse.history(table)["version"].to_list():
        if all(file.exists() for file in warehouse.files(table, version)):
            paths = warehouse.read(table, ["path"], version=version)["path"]
            found |= {Path(path).parts[2] for path in paths}
    return found


def _noted(warehouse: Warehouse) -> set[str]:
    """Names of the folders that the published rankings were read from."""
    notes = published_metadata(warehouse, ML_RANKINGS.name) or {}
    return {name for names in notes.get("made_from", {}).values() for name in names}

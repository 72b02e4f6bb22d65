"""Whether a refresh has anything to do, found out without dagster: files are compared with their fingerprints."""

from __future__ import annotations

import json
import os
from pathlib import Path

import polars as pl

from assets.build.tables import published_or_empty
from assets.settings import Settings
from pipelines.corpus.policy import POLICY_VERSION
from pipelines.linking.keys import KEYS_VERSION
from pipelines.linking.rules import RULES_VERSION
from pipelines.sources.blocks import all_blocks
from pipelines.sources.normalise import NORMALISE_VERSION
from pipelines.sources.read import source_files
from warehouse.catalog import read_published
from warehouse.store import Warehouse
from warehouse.tables.titles import META_SOURCE_FILES

_MARKER = "complete.json"


def _state(root: Path) -> dict:
    """Versions of every published table, and of the code that made them."""
    code = [NORMALISE_VERSION, KEYS_VERSION, RULES_VERSION, POLICY_VERSION]
    return {
        "tables": {name: entry.version for name, entry in read_published(root).tables.items()},
        "code": code,
    }


def mark_complete(root: Path) -> None:
    """Note that a run over all assets has ended well: what is published now belongs together."""
    temporary = root / f".{_MARKER}.{os.getpid()}.tmp"
    temporary.write_text(json.dumps(_state(root)), encoding="utf-8")
    os.replace(temporary, root / _MARKER)


def is_up_to_date(settings: Settings) -> bool:
    """Tell whether the last run was complete, nothing was published since, and no source file has changed.

    When in doubt the answer is no: a refresh of what is up to date does no harm. Raises BlockError for a wrong
    sources.toml.
    """
    root = settings.warehouse
    try:
        marked = json.loads((root / _MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    if marked != _state(root):
        return False
    known = published_or_empty(Warehouse(root), META_SOURCE_FILES)
    blocks = all_blocks(settings.sources)
    same = ["source", "file", "sha256", "block_hash"]
    now = pl.concat([known.head(0), *(source_files(block, settings.sources, known) for block in blocks.values())])
    return now.select(same).sort(same).equals(known.select(same).sort(same))

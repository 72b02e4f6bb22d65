"""Whether a refresh has anything to do, found out without dagster: files are compared with their fingerprints."""

from __future__ import annotations

import json
import os
from pathlib import Path

import polars as pl

from assets.build.sessions import session_files
from assets.build.tables import published_or_empty
from assets.settings import Settings, llm_settings
from pipelines.annotation.strategy import STRATEGY_VERSION
from pipelines.annotation.vto import VTO_VERSION
from pipelines.corpus.policy import POLICY_VERSION
from pipelines.dialogues.read import dataset_files
from pipelines.interactions.rec_turns import REC_TURNS_VERSION
from pipelines.linking.keys import KEYS_VERSION
from pipelines.linking.rules import RULES_VERSION
from pipelines.mentions.link import LINKER_VERSION
from pipelines.preferences.assemble import PAIRS_VERSION
from pipelines.retrieval.item_text import TEXT_VERSION
from pipelines.sources.blocks import all_blocks
from pipelines.sources.normalise import NORMALISE_VERSION
from pipelines.sources.read import source_files
from warehouse.catalog import read_published
from warehouse.store import Warehouse
from warehouse.tables.annotation import ANNO_TURNS
from warehouse.tables.dialogues import DATASETS, META_DIALOGUE_FILES
from warehouse.tables.interactions import META_SESSION_FILES
from warehouse.tables.titles import META_SOURCE_FILES

_MARKER = "complete.json"


def _state(root: Path) -> dict:
    """Versions of every published table, and of the code that made them."""
    code = [
        NORMALISE_VERSION, KEYS_VERSION, RULES_VERSION, POLICY_VERSION, LINKER_VERSION, VTO_VERSION, STRATEGY_VERSION, PAIRS_VERSION,
        REC_TURNS_VERSION, TEXT_VERSION,
    ]  # fmt: skip
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
    warehouse = Warehouse(root)
    if llm_settings() is not None and _has_open_turns(warehouse):
        return False
    known = published_or_empty(warehouse, META_SOURCE_FILES)
    blocks = all_blocks(settings.sources)
    same = ["source", "file", "sha256", "block_hash"]
    now = pl.concat([known.head(0), *(source_files(block, settings.sources, known) for block in blocks.values())])
    if not now.select(same).sort(same).equals(known.select(same).sort(same)):
        return False
    spoken = published_or_empty(warehouse, META_DIALOGUE_FILES)
    same = ["dataset", "file", "sha256", "reader_version"]
    now = pl.concat(
        [
            dataset_files(name, settings.sources, spoken.filter(pl.col("dataset") == name)).select(same)
            for name in DATASETS
        ]
    )
    if not now.sort(same).equals(spoken.select(same).sort(same)):
        return False
    rated = published_or_empty(warehouse, META_SESSION_FILES)
    same = ["file", "sha256", "reader_version"]
    return session_files(settings.sources, rated).select(same).sort(same).equals(rated.select(same).sort(same))


def _has_open_turns(warehouse: Warehouse) -> bool:
    """Whether there is something to ask a language model."""
    return published_or_empty(warehouse, ANNO_TURNS, ["decided_by"])["decided_by"].null_count() > 0

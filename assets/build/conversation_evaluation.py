"""Measuring what was made of conversations: mentions against their truths, annotations against people, pairs against themselves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from assets.build.mentions import FILM_COLUMNS, gazetteer_of
from assets.build.tables import Built, Tell, published_or_empty
from pipelines.evaluation import mentions as mention_evaluation
from pipelines.evaluation.preferences import evaluate_pairs
from pipelines.mentions.link import link_items
from pipelines.sources.blocks import SourceBlock
from warehouse.store import NoSuchTable, Warehouse
from warehouse.tables.corpus import CORE_MOVIE_LINKS, CORE_MOVIES
from warehouse.tables.dialogues import CORE_DIALOGUE_ITEMS, CORE_DIALOGUES, CORE_MENTION_HINTS
from warehouse.tables.mentions import CORE_MENTIONS, EVAL_MENTION_DISAGREEMENTS, EVAL_MENTION_LINKING
from warehouse.tables.preferences import EVAL_PREFERENCES, PREF_PAIRS
from warehouse.tables.titles import CORE_TITLE_RECORDS, raw_table_name


def build_pair_evaluation(warehouse: Warehouse, tell: Tell) -> Built:
    """Measure the preference pairs: eval_preferences."""
    pairs = published_or_empty(warehouse, PREF_PAIRS)
    tell(f"measuring {pairs.height:,} pairs")
    metrics = evaluate_pairs(pairs)
    return Built((warehouse.write(EVAL_PREFERENCES, metrics),), {"figures": metrics.height})

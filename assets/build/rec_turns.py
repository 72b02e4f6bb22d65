"""Making the examples of dialogues: only of datasets whose turns or mentions changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from assets.build.preferences import film_mentions
from assets.build.tables import Built, Tell, published_metadata, published_or_empty
from pipelines.interactions.rec_turns import REC_TURNS_VERSION, conversations, rec_turns
from warehouse.store import Warehouse
from warehouse.tables.dialogues import CORE_DIALOGUES, CORE_TURNS
from warehouse.tables.interactions import CORE_REC_TURNS
from warehouse.tables.mentions import CORE_MENTIONS

_INPUTS = (CORE_DIALOGUES, CORE_TURNS, CORE_MENTIONS)


def build_rec_turns(warehouse: Warehouse, datasets: Sequence[str], full: bool, tell: Tell) -> Built:
    """Make the examples of some `datasets`: core_rec_turns.

    They are made again where a table that they are made from has another version than noted with the examples. A conversation that stands in several
    datasets gives examples of the first of them only, whichever `datasets` are asked for.
    """
    stored = published_or_empty(warehouse, CORE_REC_TURNS)
    notes = (published_metadata(warehouse, CORE_REC_TURNS.name) or {}).get("made_from", {})
    state: dict[str, Any] = {table.name: warehouse.published(table.name) for table in _INPUTS}
    state["version"] = REC_TURNS_VERSION
    stale = [dataset for dataset in datasets if full or notes.get(dataset) != state]
    parts = [stored.filter(~pl.col("dataset").is_in(stale))]
    counts: dict[str, float] = {"datasets made": len(stale)}
    if stale:
        owned = conversations(
            published_or_empty(warehouse, CORE_DIALOGUES, ["dialogue_id", "dataset", "conversation_id", "split"])
        )
        turns = published_or_empty(warehouse, CORE_TURNS, ["dialogue_id", "turn", "dataset", "role"])
        mentions = film_mentions(warehouse)
        for dataset in stale:
            tell(f"examples of {dataset}")
            is_own = pl.col("dataset") == dataset
            made = rec_turns(turns.filter(is_own), mentions.filter(is_own), owned)
            parts.append(made.rows)
            for owner, number in made.elsewhere.items():
                counts[f"left out: {dataset} turns of conversations that stand in {owner}"] = number
    rows = pl.concat(parts)
    for (dataset, split), part in sorted(rows.partition_by("dataset", "split", as_dict=True).items()):
        counts[f"{dataset}, {split}: turns"] = part.height
        counts[f"{dataset}, {split}: labels"] = int(part["labels"].list.len().sum())
    noted = {"made_from": {**notes, **dict.fromkeys(stale, state)}}
    return Built((warehouse.write(CORE_REC_TURNS, rows, noted),), counts)

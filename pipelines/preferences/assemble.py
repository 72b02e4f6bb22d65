"""One table of all pairs: which split each belongs to, and which repeats another."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from pipelines.preferences.degraded import DEGRADED_VERSION
from pipelines.preferences.duplicates import SPLIT_ORDER, mark_duplicates
from pipelines.preferences.human import HUMAN_VERSION
from pipelines.preferences.quality import QUALITY_VERSION
from pipelines.preferences.questionnaire import QUESTIONNAIRE_VERSION
from pipelines.preferences.rows import ROWS
from pipelines.preferences.simulated import PLACED, SIMULATED_VERSION
from pipelines.preferences.wording import wording
from warehouse.tables.preferences import PREF_PAIRS

ASSEMBLE_VERSION = "1"

_VERSIONS = (
    DEGRADED_VERSION,
    QUALITY_VERSION,
    QUESTIONNAIRE_VERSION,
    HUMAN_VERSION,
    SIMULATED_VERSION,
    ASSEMBLE_VERSION,
    wording().version,
)
# Changes when any construction gives other pairs.
PAIRS_VERSION = ".".join(_VERSIONS)


def assemble(
    rows: Sequence[pl.DataFrame], dialogues: pl.DataFrame, simulated: pl.DataFrame | None = None
) -> pl.DataFrame:
    """All pairs as pref_pairs, by dialogue, turn, construction and id; simulated ones first, as they have no dialogue.

    rows: ROWS of any constructions, new ones or kept from earlier (then with more columns, which are made anew); a pair_id that comes
    twice counts once, the first time. dialogues: core_dialogues, all of it: dialogues of different datasets can be one conversation, and
    all pairs of a conversation go into the most held-out split that any of its dialogues is in. Pairs of dialogues that are not there
    any more are left out. simulated: pairs that have their split and conversation (`simulated_pairs`).
    """
    every = pl.concat([part.select(ROWS.names()).cast(ROWS) for part in rows] or [pl.DataFrame(schema=ROWS)])
    ranks = {name: at for at, name in enumerate(SPLIT_ORDER)}
    rank = pl.col("split").replace_strict(ranks, return_dtype=pl.Int8)
    splits = dialogues.select("dialogue_id", "conversation_id", rank=rank.min().over("conversation_id")).select(
        "dialogue_id",
        "conversation_id",
        split=pl.col("rank").replace_strict({at: name for name, at in ranks.items()}, return_dtype=pl.String),
    )
    of_dialogues = every.unique("pair_id", keep="first", maintain_order=True).join(splits, on="dialogue_id")
    parts = [of_dialogues, pl.DataFrame(schema=PLACED) if simulated is None else simulated]
    placed = pl.concat([part.select(pl.col(name).cast(dtype) for name, dtype in PLACED.items()) for part in parts])
    ordered = mark_duplicates(placed).sort("dialogue_id", "turn", "construction", "pair_id")
    return PREF_PAIRS.conform(ordered)

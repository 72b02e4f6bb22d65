"""Annotating turns: rules for all, the language model for what rules leave open, people's labels over both."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import polars as pl

from assets.build.tables import Built, Tell, published_metadata, published_or_empty
from pipelines.annotation import strategy, validation, vto
from warehouse.contracts import Table
from warehouse.store import Warehouse
from warehouse.tables.annotation import ANNO_STRATEGY, ANNO_TURNS, ANNO_VALIDATION, ANNO_VTO
from warehouse.tables.dialogues import CORE_TURN_LABELS, CORE_TURNS
from warehouse.tables.mentions import CORE_MENTIONS

if TYPE_CHECKING:
    from pipelines.gateways.llm.gateway import LlmGateway
    from pipelines.gateways.llm.requests import LlmRequest

_RULES = "rules"  # under this name the versions of the rules stand with what they made


def usable_mentions(warehouse: Warehouse) -> pl.DataFrame:
    """The mentions that are linked and not quarantined."""
    mentions = published_or_empty(warehouse, CORE_MENTIONS)
    return mentions.filter(pl.col("movie_id").is_not_null() & ~pl.col("is_quarantined"))


def build_annotations(
    warehouse: Warehouse, datasets: Sequence[str], gateway: LlmGateway | None, full: bool, tell: Tell
) -> Built:
    """Annotate the turns of some `datasets`: anno_vto, anno_turns, anno_strategy.

    Rules are applied to turns that are new or differ, or that a changed rule touches. The model is asked about turns that the rules leave
    open; without a `gateway`, what a model said earlier of turns that are as they were stays.
    """
    is_own = pl.col("dataset").is_in(list(datasets))
    turns = published_or_empty(warehouse, CORE_TURNS).filter(is_own)
    labels = published_or_empty(warehouse, CORE_TURN_LABELS).filter(is_own)
    mentions = usable_mentions(warehouse).filter(is_own)
    people = published_or_empty(warehouse, ANNO_VALIDATION).filter(is_own)
    stored = {table: published_or_empty(warehouse, table) for table in (ANNO_VTO, ANNO_TURNS, ANNO_STRATEGY)}
    own = {table: rows.filter(is_own) for table, rows in stored.items()}
    notes = (published_metadata(warehouse, ANNO_VTO.name) or {}).get(_RULES)
    counts: dict[str, float] = {}

    tell(f"operations: rules over {turns.height:,} turns")
    before = None if full or notes is None else vto.Before(own[ANNO_VTO], own[ANNO_TURNS], notes["vto"])
    ruled = vto.annotate(turns, mentions, before)
    decided = int(ruled.decisions["is_decided"].sum())
    counts |= {
        "turns": turns.height,
        "turns that rules were applied to": ruled.reread,
        "turns decided by rules": decided,
    }
    said = _asked(
        vto, "operations", vto.requests(turns, mentions, ruled.decisions) if gateway else [], gateway, counts, tell
    )
    if said is None:
        said = vto.still_valid(own[ANNO_VTO], own[ANNO_TURNS], ruled.decisions)
    operations = _in_dialogues(pl.concat([ruled.rows, said, validation.human_vto_rows(people)]), turns)
    settled = vto.settle(ruled.decisions, operations)

    tell("strategies: rules over the recommenders' turns")
    earlier = None if full or notes is None else strategy.Before(own[ANNO_STRATEGY], own[ANNO_TURNS], notes["strategy"])
    known = pl.concat([strategy.dataset_rows(labels), strategy.annotate(turns, mentions, earlier)])
    said = _asked(
        strategy, "strategies", strategy.requests(turns, mentions, known) if gateway else [], gateway, counts, tell
    )
    if said is None:
        said = strategy.still_valid(own[ANNO_STRATEGY], own[ANNO_TURNS], ruled.decisions, known)
    strategies = strategy.settle(_in_dialogues(pl.concat([known, said, validation.human_strategy_rows(people)]), turns))

    # The notes are about all rows: those of other datasets stand under the versions of then, unless they are the same.
    versions = {"vto": vto.versions(), "strategy": strategy.STRATEGY_VERSION}
    others = {table: rows.filter(~is_own) for table, rows in stored.items()}
    metadata = {_RULES: versions} if notes in (None, versions) or others[ANNO_TURNS].is_empty() else None
    return Built(
        (
            _stored(warehouse, ANNO_VTO, others, operations, metadata),
            _stored(warehouse, ANNO_TURNS, others, settled),
            _stored(warehouse, ANNO_STRATEGY, others, strategies),
        ),
        counts,
    )


def _asked(
    stage: ModuleType,
    name: str,
    requests: list[LlmRequest],
    gateway: LlmGateway | None,
    counts: dict[str, float],
    tell: Tell,
) -> pl.DataFrame | None:
    """Rows of what the model says, None when there is none to ask. What was answered before it stopped is kept."""
    if gateway is None:
        return None
    tell(f"{name}: asking the language model about {len(requests):,} turns")
    run = gateway.answer(requests, tell)
    if run.stopped:
        tell(f"{name}: not all were asked: {run.stopped}")
    counts.update({f"{name}: {label}": figure for label, figure in run.counts.items()})
    return stage.rows_from(run)


def _in_dialogues(rows: pl.DataFrame, turns: pl.DataFrame) -> pl.DataFrame:
    """Rows of turns that there are: people may have judged a dialogue that is gone by now."""
    return rows.join(turns.select("dialogue_id", "turn"), on=["dialogue_id", "turn"], how="semi")


def _stored(
    warehouse: Warehouse,
    table: Table,
    others: dict[Table, pl.DataFrame],
    rows: pl.DataFrame,
    metadata: dict[str, Any] | None = None,
):
    return warehouse.write(table, pl.concat([others[table], table.conform(rows)]), metadata)

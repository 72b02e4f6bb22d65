"""What the stages would ask the language model now: for forecasts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assets.build.annotation import usable_mentions
from assets.build.judging import judging_requests
from assets.build.personas import persona_requests
from assets.build.preferences import quality_requests
from assets.build.reranking import reranking_requests
from assets.build.scales import scales
from assets.build.tables import published_or_empty
from assets.settings import llm_thinking, scale_name
from pipelines.annotation import strategy, vto
from warehouse.store import Warehouse
from warehouse.tables.dialogues import CORE_TURN_LABELS, CORE_TURNS, DATASETS

if TYPE_CHECKING:
    from pipelines.gateways.llm.requests import LlmRequest


def pending(warehouse: Warehouse) -> dict[str, list[LlmRequest]]:
    """All questions of each stage, answered before or not, from what is published."""
    turns, mentions = published_or_empty(warehouse, CORE_TURNS), usable_mentions(warehouse)
    labels = published_or_empty(warehouse, CORE_TURN_LABELS)
    scale = scales()[scale_name()]
    known = strategy.dataset_rows(labels).vstack(strategy.annotate(turns, mentions))
    return {
        "operations": vto.requests(turns, mentions, vto.annotate(turns, mentions).decisions),
        "strategies": strategy.requests(turns, mentions, known),
        "pairs": quality_requests(warehouse, DATASETS),
        "candidates": reranking_requests(
            warehouse, scale.reranking.systems, limit=scale.reranking.turns or None, thinking=llm_thinking()
        ),
        "personas": persona_requests(warehouse, scale.simulation.users),
        "judgements": judging_requests(warehouse, scale.simulation.judged),
    }

"""All suites, by table."""

from __future__ import annotations

from warehouse.quality.suite import Suite
from warehouse.quality.suites import (
    annotation,
    corpus,
    dialogues,
    interactions,
    llm,
    mentions,
    preferences,
    ranking_evaluation,
    reranking,
    retrieval,
    simulation,
    training,
)

_AREAS = (
    corpus, dialogues, mentions, llm, annotation, preferences, interactions, retrieval, training, reranking, ranking_evaluation,
    simulation,
)  # fmt: skip

SUITES: dict[str, Suite] = {suite.table.name: suite for area in _AREAS for suite in area.SUITES}

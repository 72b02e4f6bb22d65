"""All contracts of a warehouse: the fixed ones and one raw table for each source."""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.sources.blocks import SourceBlock
from warehouse.contracts import Table
from warehouse.tables import (
    annotation,
    corpus,
    dialogues,
    enrichment,
    interactions,
    llm,
    mentions,
    preferences,
    ranking_evaluation,
    reranking,
    retrieval,
    simulation,
    simulation_evaluation,
    titles,
)

_AREAS = (
    titles, corpus, enrichment, dialogues, mentions, llm, annotation, preferences, interactions, retrieval, reranking, ranking_evaluation,
    simulation, simulation_evaluation,
)  # fmt: skip
FIXED = tuple(table for area in _AREAS for table in area.TABLES)


def raw_contract(block: SourceBlock) -> Table:
    """Contract of the raw table of one source."""
    return titles.raw_titles(block.name, f"Film records as {block.title or block.name} states them.", block.licence)


def all_contracts(blocks: Mapping[str, SourceBlock]) -> dict[str, Table]:
    """Contracts by table name, for a warehouse with the sources that `blocks` describe."""
    return {table.name: table for table in (*map(raw_contract, blocks.values()), *FIXED)}

"""The report on retrieval: its frames from the warehouse, its page kept as a file.

Does not belong here: what the page shows (pipelines/reporting/).
"""

from __future__ import annotations

from assets.build.reports import keep
from assets.build.tables import Built, Tell, published_or_empty
from assets.build.training import retriever_rows
from pipelines.reporting.retrieval import REPORT_VERSION, page
from warehouse.contracts import Table
from warehouse.store import Warehouse
from warehouse.tables.interactions import CORE_REC_TURNS, CORE_SESSIONS
from warehouse.tables.ranking_evaluation import EVAL_RANKING, EVAL_RANKING_TESTS, REPORT_RETRIEVAL
from warehouse.tables.reranking import EVAL_HALLUCINATION, LLM_RANKINGS, RL_REWARDS
from warehouse.tables.retrieval import ML_ITEM_EMBEDDINGS, ML_ITEM_INDEX, ML_TRAINING_LOG, RETRIEVERS, RL_RETRIEVERS

__all__ = ["REPORT_VERSION", "build_retrieval_report"]

# Whole tables that the page shows; of the others it shows counts.
_SHOWN = (EVAL_RANKING, EVAL_RANKING_TESTS, EVAL_HALLUCINATION, ML_TRAINING_LOG, ML_ITEM_INDEX, RL_REWARDS)
_COUNTED = (CORE_SESSIONS, CORE_REC_TURNS, ML_ITEM_EMBEDDINGS, LLM_RANKINGS)


def build_retrieval_report(warehouse: Warehouse, tell: Tell) -> Built:
    """Write the page from what is published: report_retrieval, and a file under `files/`."""
    frames = {table.name: published_or_empty(warehouse, table, _columns(table)) for table in _SHOWN}
    frames["retrievers"] = retriever_rows(warehouse)
    rows = {table.name: _rows(warehouse, table) for table in _COUNTED}
    tell("drawing")
    made_from = (*_SHOWN, *_COUNTED, *RETRIEVERS.values(), *RL_RETRIEVERS.values())
    return keep(warehouse, REPORT_RETRIEVAL, "retrieval", page(frames, rows), made_from, tell)


def _columns(table: Table) -> list[str]:
    # What the language model was asked in each case is not shown, and is most of the table.
    left_out = {"candidates", "request_hash"} if table is RL_REWARDS else set()
    return [name for name in table.schema.names() if name not in left_out]


def _rows(warehouse: Warehouse, table: Table) -> int:
    return warehouse.rows(table.name) if warehouse.published(table.name) is not None else 0

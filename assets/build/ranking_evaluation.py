"""Figures of all rankings under all protocols, with their passports, and tests between systems: eval_ranking, eval_ranking_tests.

Does not belong here: how a figure is computed (pipelines/evaluation/ranking), what is ranked (rankings.py).
"""

from __future__ import annotations

import polars as pl

from assets.build.tables import Built, Tell, kept, published_metadata, published_or_empty
from pipelines.evaluation.ranking.candidates import of_reranked
from pipelines.evaluation.ranking.evaluate import About, evaluate
from pipelines.evaluation.ranking.examples import SCHEMA, of_rankings
from pipelines.evaluation.ranking.protocols import PROTOCOLS_VERSION
from pipelines.reranking.requests import RERANKING_VERSION
from warehouse.store import Warehouse
from warehouse.tables.corpus import CORE_MOVIES
from warehouse.tables.dialogues import CORE_DIALOGUES
from warehouse.tables.interactions import CORE_REC_TURNS, CORE_SESSIONS
from warehouse.tables.ranking_evaluation import EVAL_RANKING, EVAL_RANKING_TESTS
from warehouse.tables.reranking import LLM_RANKINGS
from warehouse.tables.retrieval import ML_RANKINGS

__all__ = ["PROTOCOLS_VERSION", "build_ranking_evaluation"]

_INPUTS = (ML_RANKINGS, LLM_RANKINGS, CORE_REC_TURNS, CORE_MOVIES, CORE_SESSIONS, CORE_DIALOGUES)
_OUTPUTS = (EVAL_RANKING, EVAL_RANKING_TESTS)


def build_ranking_evaluation(warehouse: Warehouse, full: bool, tell: Tell) -> Built:
    """Compute all figures from the published rankings, unless they were computed from these versions: eval_ranking, eval_ranking_tests.

    Raises NotComparable where systems of a dataset were ranked on different examples.
    """
    state = {table.name: warehouse.published(table.name) for table in _INPUTS}
    noted = {"made_from": {**state, "version": PROTOCOLS_VERSION, "reranking": RERANKING_VERSION}}
    if not full and all((published_metadata(warehouse, table.name) or {}) == noted for table in _OUTPUTS):
        commits = tuple(kept(warehouse, table) for table in _OUTPUTS)
        return Built(commits, {"figures": commits[0].rows, "tests": commits[1].rows})
    parts = [pl.DataFrame(schema=SCHEMA)]
    if state[ML_RANKINGS.name] is not None:
        parts.append(of_rankings(warehouse.scan(ML_RANKINGS.name)))
    turns = published_or_empty(warehouse, CORE_REC_TURNS, ["dialogue_id", "turn", "conversation_id", "history"])
    reranked = published_or_empty(warehouse, LLM_RANKINGS)
    parts.append(of_reranked(reranked, turns, f"titles of candidates, version {RERANKING_VERSION}"))
    rankings = pl.concat(parts)
    tell(f"figures of {rankings['system'].n_unique()} systems, {rankings.height:,} ranked examples")
    found = evaluate(rankings, about(warehouse))
    commits = (
        warehouse.write(EVAL_RANKING, found.numbers, noted),
        warehouse.write(EVAL_RANKING_TESTS, found.tests, noted),
    )
    return Built(commits, {"figures": found.numbers.height, "tests": found.tests.height})


def about(warehouse: Warehouse) -> About:
    """Files of each dataset, the corpus's version and films' years, as published."""
    sessions = published_or_empty(warehouse, CORE_SESSIONS, ["release", "file"]).rename({"release": "dataset"})
    dialogues = published_or_empty(warehouse, CORE_DIALOGUES, ["dataset", "file"])
    pairs = pl.concat([sessions, dialogues]).unique().sort("dataset", "file")
    files = {
        dataset: own["file"].to_list() for (dataset,), own in pairs.partition_by(["dataset"], as_dict=True).items()
    }
    years = published_or_empty(warehouse, CORE_MOVIES, ["movie_id", "year"])
    return About(files, warehouse.published(CORE_MOVIES.name) or 0, years)

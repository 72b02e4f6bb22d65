"""What a language model named that was not among the candidates: shares of its lines by kind, with intervals clustered by dialogue.

Does not belong here: telling the kinds apart (pipelines/reranking/matching.py).

Source: RAR, section A.2, for the measure `paper_rule`.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from pipelines.evaluation.ranking.intervals import estimate, weights
from warehouse.tables.reranking import EVAL_HALLUCINATION, LINE_KINDS

# Raise it when the same lines would give other figures.
HALLUCINATION_VERSION = "1"

NOT_CANDIDATES = ("not_a_candidate", "not_in_corpus", "real_but_missing", "unparseable")
MEASURES = (*LINE_KINDS, "any_hallucination", "paper_rule")

_OF = ["dataset", "system", "model", "is_stand_in", "prompt_version", "is_thinking"]


def hallucination(rankings: pl.DataFrame, are_missing_known: bool) -> pl.DataFrame:
    """Rows of EVAL_HALLUCINATION from rows of LLM_RANKINGS; seeds of a system are taken together.

    `are_missing_known`: whether names of films that the corpus lacks were at hand when lines were told apart; if not, how many lines name one cannot
    be known, and the share is null. Answers without lines count nowhere: they are in the outcomes of llm_rankings.
    """
    rows: list[dict[str, object]] = []
    lines = rankings.select(*_OF, "dialogue_id", "lines").explode("lines").drop_nulls("lines").unnest("lines")
    for group in lines.partition_by(_OF, maintain_order=True):
        values = group.select(
            *(pl.col("kind").eq(kind).cast(pl.Float64).alias(kind) for kind in LINE_KINDS),
            pl.col("kind").is_in(NOT_CANDIDATES).cast(pl.Float64).alias("any_hallucination"),
            pl.col("is_dissimilar").cast(pl.Float64).alias("paper_rule"),
        )
        passport = group.select(_OF).row(0, named=True)
        for measure in MEASURES:
            is_counted = values[measure].is_not_null()
            own, dialogues = values[measure].filter(is_counted), group["dialogue_id"].filter(is_counted)
            row = {**passport, "measure": measure, "lines": int(own.sum()), "n": own.len()}
            row |= {"share": None, "low": None, "high": None, "clusters": dialogues.n_unique()}
            if own.len() and (are_missing_known or measure != "real_but_missing"):
                _, cluster = np.unique(dialogues.to_numpy(), return_inverse=True)
                found = estimate(own.to_numpy()[:, None], cluster, weights(dialogues.n_unique()))
                row |= {"share": float(found.value[0]), "low": float(found.low[0]), "high": float(found.high[0])}
            rows.append(row)
    return EVAL_HALLUCINATION.frame(rows)

"""Shares of lines by kind, counted by hand."""

from __future__ import annotations

import polars as pl
import pytest

from pipelines.evaluation.hallucination import MEASURES, hallucination
from warehouse.tables.reranking import LLM_RANKINGS


def answer(dialogue: int, *kinds: str, **changes: object) -> dict[str, object]:
    """A row of llm_rankings with a line of each kind; `candidate!` is a candidate that RAR's rule takes for none."""
    lines = [
        {
            "rank": place,
            "text": "x",
            "kind": kind.rstrip("!"),
            "movie_id": None,
            "similarity": None if kind == "unparseable" else 0.5,
            "is_dissimilar": None if kind == "unparseable" else kind.endswith("!") or kind.startswith("not"),
            "reason": "-",
        }
        for place, kind in enumerate(kinds, start=1)
    ]
    return {
        "system": "lrurec", "retriever_id": None, "seed": 42, "dialogue_id": f"redial-{dialogue}", "turn": 1, "dataset": "redial",
        "split": "test", "candidates": [], "labels": [], "ranked": [], "lines": lines, "outcome": "answered" if lines else "empty",
        "problem": None, "model": "m", "is_stand_in": False, "prompt_version": "rerank@1", "is_thinking": False,
        "request_hash": "0", **changes,
    }  # fmt: skip


def rows(*answers: dict[str, object], are_missing_known: bool = True) -> pl.DataFrame:
    frame = LLM_RANKINGS.conform(pl.DataFrame(list(answers), schema=LLM_RANKINGS.schema))
    return hallucination(frame, are_missing_known)


def test_shares_are_of_all_lines() -> None:
    found = rows(
        answer(1, "candidate", "candidate!", "repeated", "not_a_candidate"),
        answer(2, "candidate", "not_in_corpus", "unparseable", "real_but_missing"),
        answer(3),
    )
    share = dict(found.select("measure", "share").iter_rows())
    assert list(share) == list(MEASURES)
    assert share == pytest.approx(
        {
            "candidate": 3 / 8, "repeated": 1 / 8, "not_a_candidate": 1 / 8, "not_in_corpus": 1 / 8, "real_but_missing": 1 / 8,
            "unparseable": 1 / 8, "any_hallucination": 4 / 8, "paper_rule": 3 / 7,
        }
    )  # fmt: skip
    assert found.filter(pl.col("measure") == "paper_rule").select("lines", "n", "clusters").row(0) == (3, 7, 2)
    assert found.filter((pl.col("low") > pl.col("share")) | (pl.col("high") < pl.col("share"))).is_empty()


def test_what_cannot_be_known_is_null() -> None:
    found = rows(answer(1, "candidate"), are_missing_known=False)
    missing = found.filter(pl.col("measure") == "real_but_missing")
    assert missing.select("share", "low", "high", "lines").row(0) == (None, None, None, 0)
    assert found.filter(pl.col("measure") == "candidate")["share"].item() == 1


def test_no_hallucination_in_few_dialogues_is_no_proof_that_there_is_none() -> None:
    found = rows(*(answer(number, *["candidate"] * 25) for number in range(10)))
    none = found.filter(pl.col("measure") == "any_hallucination")
    assert none["share"].item() == 0
    assert none["high"].item() == pytest.approx(1 - 0.025 ** (1 / 10))


def test_intervals_count_dialogues_and_not_lines() -> None:
    mixed = [answer(number, *(["candidate"] * 12 + ["not_in_corpus"] * 12)) for number in range(20)]
    apart = [answer(number, *([("candidate", "not_in_corpus")[number % 2]] * 24)) for number in range(20)]
    wide, narrow = (rows(*each).filter(pl.col("measure") == "any_hallucination") for each in (apart, mixed))
    assert wide["share"].item() == narrow["share"].item() == 0.5
    assert wide["high"].item() - wide["low"].item() > 0.3
    assert narrow["high"].item() - narrow["low"].item() < 0.01


def test_systems_models_and_prompts_stay_apart_and_seeds_do_not() -> None:
    found = rows(
        answer(1, "candidate"),
        answer(1, "not_in_corpus", seed=123),
        answer(1, "candidate", model="other"),
        answer(1, "candidate", is_thinking=True),
        answer(1, "candidate", system="sasrec"),
    )
    assert found.height == 4 * len(MEASURES)
    first = found.filter((pl.col("model") == "m") & (pl.col("system") == "lrurec") & ~pl.col("is_thinking"))
    assert first.filter(pl.col("measure") == "candidate")["share"].item() == 0.5


def test_without_answers_there_are_no_figures() -> None:
    assert rows().is_empty()
    assert rows(answer(1)).is_empty()

"""The figures of the linker: against hand-counted pairs, with nothing to look at but titles, years and people."""

from __future__ import annotations

import polars as pl
import pytest

from pipelines.evaluation.entity_resolution import evaluate, hide_ids
from pipelines.linking.blocking import ID_COLUMNS
from tests.title_records import title_records
from warehouse.tables.corpus import EVAL_ENTITY_RESOLUTION, EVAL_UNCERTAIN_PAIRS


def record(source: str, title: str, year: int, imdb: int, **more) -> dict:
    return {"source": source, "title": title, "year": year, "imdb_id": f"tt{imdb:07}", "genres": ["Drama"], **more}


def figures(*rows: dict) -> dict[str, float]:
    metrics = evaluate(title_records(*rows), "test").metrics
    return dict(metrics.filter(pl.col("slice") == "all").select("metric", "value").iter_rows())


def test_pairs_are_counted_by_hand():
    found = figures(
        record("a", "The Long Voyage", 1990, 1),
        record("b", "The Long Voyage", 1990, 1),  # found
        record("c", "Die lange Reise", 1990, 1),  # shares nothing but its id: two pairs that blocking misses
        record("a", "Quiet Harbour", 2001, 2),
        record("b", "Quiet Harbour", 2001, 3),  # another film of that name and year: a wrong pair
    )
    assert found["true_pairs"] == 3
    assert found["linked_pairs"] == 2
    assert found["wrong_pairs"] == 1
    assert found["precision"] == 0.5
    assert found["recall"] == pytest.approx(1 / 3)
    assert found["f1"] == pytest.approx(0.4)
    assert found["blocking_misses"] == 2
    assert found["blocking_recall"] == pytest.approx(1 / 3)
    assert found["scoring_misses"] == 0
    # Equal title and year find the same two pairs here.
    assert found["baseline_precision"] == 0.5


def test_ids_are_hidden_from_the_linker():
    assert all(hide_ids(title_records(record("a", "X", 2000, 1)))[column].null_count() == 1 for column in ID_COLUMNS)
    found = figures(record("a", "Voyage", 1990, 1), record("b", "Reise", 1990, 1))
    assert (found["true_pairs"], found["linked_pairs"]) == (1, 0)


def test_a_record_without_the_truth_is_refused():
    with pytest.raises(ValueError, match="imdb_id"):
        evaluate(title_records({"source": "a", "title": "X"}), "test")


def test_figures_have_intervals_around_them_and_satisfy_their_contracts():
    rows = [record(source, f"Film number {n} of many", 1990 + n % 20, n) for n in range(1, 80) for source in "ab"]
    # Rivals in one source: those films are left alone, and recall is under one.
    rows += [record("b", f"Film number {n} of many", 1990 + n % 20, 1000 + n) for n in range(1, 20)]
    result = evaluate(title_records(*rows), "test")
    assert EVAL_ENTITY_RESOLUTION.violations(result.metrics) == []
    assert EVAL_UNCERTAIN_PAIRS.violations(result.uncertain) == []
    recall = result.metrics.filter((pl.col("slice") == "a x b") & (pl.col("metric") == "recall")).row(0, named=True)
    assert recall["ci_low"] < recall["value"] < recall["ci_high"]
    assert recall["pairs"] == 79
    again = evaluate(title_records(*rows), "test")
    assert again.metrics.equals(result.metrics)

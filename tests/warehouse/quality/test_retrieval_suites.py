"""Suites of embeddings and indexes: a sound table passes, and each damage is named."""

from __future__ import annotations

import polars as pl
import pytest

from warehouse.quality.run import _audit, over
from warehouse.quality.suite import Suite
from warehouse.quality.suites.retrieval import EMBEDDINGS, INDEX

VECTORS = pl.DataFrame(
    {
        "encoder": ["minilm"] * 10,
        "movie_id": [f"mv{k:016x}" for k in range(10)],
        "text_hash": range(10),
        "tokens": [9] * 10,
        "is_cut": [False] * 10,
        "vector": [[0.6, 0.8]] * 10,
    },
    schema=EMBEDDINGS.table.schema,
)
ROW = {
    "encoder": "minilm", "kind": "ivf", "items": 10, "dims": 2, "parameters": "{}", "path": "files/ml_item_index/1/vectors.faiss", "sha256": "a" * 64,
    "ids_path": "files/ml_item_index/1/movie_ids.txt", "ids_sha256": "b" * 64, "bytes": 9, "recall_25_share": 0.98, "recall_queries": 9,
    "latency_p50_ms": 1.0, "latency_p95_ms": 2.0, "exact_p50_ms": 3.0, "build_s": 1.0, "machine": "one", "content_hash": 1,
}  # fmt: skip


def failed(suite: Suite, frame: pl.DataFrame) -> set[str]:
    with over({suite.table.name: frame}) as query:
        return {each.check for each in _audit(suite, query, {}) if each.status != "passed"}


def with_vector(row: int, vector: list[float]) -> pl.DataFrame:
    vectors = VECTORS["vector"].to_list()
    vectors[row] = vector
    return VECTORS.with_columns(vector=pl.Series(vectors, dtype=pl.List(pl.Float32)))


@pytest.mark.slow
def test_embeddings() -> None:
    assert failed(EMBEDDINGS, VECTORS) == set()
    assert failed(EMBEDDINGS, with_vector(3, [0.6, 0.7])) == {"vector_has_length_one"}
    assert failed(EMBEDDINGS, with_vector(3, [float("nan"), 1.0])) == {"vector_has_length_one"}
    assert failed(EMBEDDINGS, with_vector(3, [1.0])) == {"dimensions_agree"}
    assert failed(EMBEDDINGS, VECTORS.with_columns(is_cut=True)) == {"few_are_cut"}
    assert failed(EMBEDDINGS, VECTORS.with_columns(text_hash=1)) == {"few_films_share_a_vector"}
    # A warehouse of catalogues alone embeds nothing, and nothing is wrong with it; shares of nothing cannot be measured.
    assert failed(EMBEDDINGS, VECTORS.clear()) == {"few_are_cut", "few_films_share_a_vector"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "checks"),
    [
        ({}, set()),
        ({"ids_path": "files/ml_item_index/2/movie_ids.txt"}, {"files_are_together"}),
        ({"kind": "flat"}, {"exact_where_flat"}),
        ({"recall_25_share": 0.5}, {"recall"}),
        ({"latency_p50_ms": 4.0}, {"faster_than_exact"}),
    ],
)
def test_index(change: dict, checks: set[str]) -> None:
    assert failed(INDEX, pl.DataFrame([{**ROW, **change}], schema=INDEX.table.schema)) == checks

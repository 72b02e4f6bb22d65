"""A small sound corpus about invented films: every suite and every check across tables holds on it."""

from __future__ import annotations

import json

import polars as pl
import pytest

from warehouse.tables.corpus import (
    CORE_MOVIE_CONFLICTS,
    CORE_MOVIE_LINKS,
    CORE_MOVIES,
    EVAL_ENTITY_RESOLUTION,
)
from warehouse.tables.titles import CORE_TITLE_RECORDS, META_ROW_ACCOUNTING, RAW_REJECTS

FILMS = 60


def _movie_id(film: int) -> str:
    return f"mv{film:016x}"


def _records() -> pl.DataFrame:
    """Every film in source `alpha`, every second one in `beta` too; one series that is no film."""
    rows = [
        {
            "record_id": film * 10 + number,
            "source": source,
            "source_id": f"{source}-{film}",
            "row_hash": film,
            "title": f"Film {film}",
            "aliases": [],
            "year": 1920 + film * 105 // FILMS,
            "kind": "movie",
            "is_film": True,
            "genres": ["Drama"],
            "directors": ["Dora Director"],
            "cast_members": ["Ann Actor", "Bob Actor"],
            "languages": ["en"],
            "countries": ["US"],
            "imdb_id": f"tt{film + 1:07d}",
            "title_key": f"film {film}",
            "alias_keys": [],
            "part_keys": [],
            "director_keys": ["director dora"],
            "cast_keys": ["actor ann", "actor bob"],
            "issues": [],
        }
        for film in range(FILMS)
        for number, source in enumerate(["alpha", "beta"][: 1 + film % 2])
    ]
    series = {**rows[0], "record_id": 9_999, "source_id": "s", "kind": "tv_series", "is_film": False}
    return CORE_TITLE_RECORDS.check(pl.DataFrame([*rows, series]))


def _links(records: pl.DataFrame) -> pl.DataFrame:
    films = records.filter("is_film")
    joined = pl.len().over("film") > 1
    return CORE_MOVIE_LINKS.check(
        films.select(
            "source",
            "source_id",
            "record_id",
            "row_hash",
            film=pl.col("record_id") // 10,
            movie_id=(pl.col("record_id") // 10).map_elements(_movie_id, return_dtype=pl.String),
        )
        .with_columns(
            method=pl.when(joined).then(pl.lit("title_year")).otherwise(pl.lit("single")),
            score_prob=pl.when(joined).then(0.97).otherwise(1.0),
            evidence=pl.when(joined).then(pl.lit('{"title": "same"}')),
        )
        .drop("film")
    )


def _movies() -> pl.DataFrame:
    rows = [
        {
            "movie_id": _movie_id(film),
            "title": f"Film {film}",
            "aliases": [],
            "year": 1920 + film * 105 // FILMS,
            "kind": "movie",
            "genres": ["Drama"],
            "directors": ["Dora Director"],
            "cast_members": ["Ann Actor", "Bob Actor"],
            "plot": None if film % 3 else "Somebody looks for something.",
            "languages": ["en"],
            "countries": ["US"],
            "imdb_id": f"tt{film + 1:07d}",
            "source_count": 1 + film % 2,
            "record_count": 1 + film % 2,
            "is_complete": film % 3 == 0,
            "content_hash": film,
        }
        for film in range(FILMS)
    ]
    return CORE_MOVIES.check(pl.DataFrame(rows))


def _conflicts() -> pl.DataFrame:
    row = {
        "movie_id": _movie_id(1),
        "field": "year",
        "values_by_source": json.dumps({"values": [{"text": "1922"}]}),
        "chosen": "1921",
        "reason": "most support",
    }
    return CORE_MOVIE_CONFLICTS.check(pl.DataFrame([row]))


def _entity_resolution() -> pl.DataFrame:
    precision, recall = 0.98, 0.95
    shares = {
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall),
        "blocking_recall": 0.99,
        "baseline_f1": 0.7,
    }
    common = {"slice": "all", "pairs": 1_000, "films": 400, "protocol": "ids hidden", "linker_version": "1"}
    rows = [
        {**common, "metric": metric, "value": value, "ci_low": value - 0.01, "ci_high": value + 0.01}
        for metric, value in shares.items()
    ]
    rows.append({**common, "metric": "true_pairs", "value": 1_000.0, "ci_low": None, "ci_high": None})
    return EVAL_ENTITY_RESOLUTION.check(pl.DataFrame(rows))


def _accounting() -> pl.DataFrame:
    rows = [
        {"source": "alpha", "file": "a.csv", "rows_in": 63, "rows_kept": 61, "rows_rejected": 2},
        {"source": "beta", "file": "b.csv", "rows_in": 30, "rows_kept": 30, "rows_rejected": 0},
    ]
    return META_ROW_ACCOUNTING.check(pl.DataFrame(rows))


def _rejects() -> pl.DataFrame:
    row = {"source": "alpha", "file": "a.csv", "line": 3, "reason": "too few cells", "raw": "x"}
    return RAW_REJECTS.check(pl.DataFrame([row, {**row, "line": 9}]))


@pytest.fixture
def corpus() -> dict[str, pl.DataFrame]:
    """The tables by name."""
    records = _records()
    return {
        "core_title_records": records,
        "core_movie_links": _links(records),
        "core_movies": _movies(),
        "core_movie_conflicts": _conflicts(),
        "eval_entity_resolution": _entity_resolution(),
        "meta_row_accounting": _accounting(),
        "raw_rejects": _rejects(),
    }

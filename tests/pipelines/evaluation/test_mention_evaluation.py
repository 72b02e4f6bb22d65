"""The figures of mention linking: against hand-counted cases."""

from __future__ import annotations

import polars as pl
import pytest

from pipelines.evaluation.mentions import (
    SPANS,
    contradicts_year,
    evaluate_items,
    evaluate_spans,
    films_without,
    item_truth,
    span_truth,
)
from tests.conversation_frames import films, movie_id
from tests.title_records import title_records
from warehouse.tables.corpus import CORE_MOVIES
from warehouse.tables.mentions import CORE_ITEM_LINKS, CORE_MENTIONS, EVAL_MENTION_DISAGREEMENTS, EVAL_MENTION_LINKING

FILMS = films(
    {"title": "Glass Orchard", "year": 2001}, {"title": "Glass Orchard", "year": 2015}, {"title": "Never Say Marigold", "year": 2003},
    {"title": "Harbour", "year": 1990},
)  # fmt: skip
ONE, TWO, THREE, FOUR = (movie_id(n) for n in range(1, 5))


def figures(evaluation, stage: str = "after_lint", method: str | None = None) -> dict[str, float]:
    assert EVAL_MENTION_LINKING.violations(evaluation.metrics) == []
    assert EVAL_MENTION_DISAGREEMENTS.violations(evaluation.disagreements) == []
    rows = evaluation.metrics.filter(pl.col("stage") == stage)
    if method:
        rows = rows.filter(pl.col("method") == method)
    return {
        metric: value for metric, value in rows.select("metric", "value").iter_rows() if metric != "mean_score_prob"
    }


def link(item: str, name: str, film: str | None, other: str | None = None, reason: str | None = None) -> dict:
    return {
        "dataset": "redial", "item_id": item, "item_name": name, "movie_id": film, "score_prob": 0.8, "match": "exact" if film else "none",
        "alternatives": [{"movie_id": other, "score_prob": 0.1}] if other else [], "is_quarantined": reason is not None,
        "quarantine_reason": reason, "linker_version": "t",
    }  # fmt: skip


def test_items_are_counted_by_hand():
    links = pl.DataFrame(
        [
            link("1", "Glass Orchard (2001)", ONE),  # right
            link("2", "Glass Orchard (2015)", ONE),  # wrong film
            link("3", "Never Say Marigold", None, other=THREE),  # missed, though the likeliest is right
            link("4", "Harbour (1990)", FOUR, reason="year_clash"),  # right, and wrongly set aside
            link("5", "Harbour (1950)", FOUR),  # no truth
        ],
        schema=CORE_ITEM_LINKS.schema,
    )
    stated = pl.DataFrame(
        {"item_id": ["1", "2", "3", "4", "9"], "imdb_id": [f"tt{n:07}" for n in (1, 2, 3, 4, 9)], "year": [None] * 5}
    )
    truth = item_truth(stated.with_columns(pl.col("year").cast(pl.Int32)), FILMS, "redial")
    assert truth.height == 4
    evaluation = evaluate_items(links, truth, FILMS, "id2info", "by hand")
    before, after = figures(evaluation, "before_lint"), figures(evaluation)
    assert before == pytest.approx({"precision": 2 / 3, "recall": 2 / 4, "f1": 4 / 7, "accuracy_at_1": 3 / 4})
    assert after == pytest.approx({"precision": 1 / 2, "recall": 1 / 4, "f1": 1 / 3, "accuracy_at_1": 3 / 4})
    assert evaluation.disagreements.select("surface", "kind").rows() == [
        ("Never Say Marigold", "missed"),
        ("Glass Orchard (2015)", "wrong_film"),
    ]


def test_truth_that_contradicts_the_stated_year_is_told_apart():
    items = pl.DataFrame(
        {
            "dataset": ["redial"] * 2,
            "item_id": ["1", "2"],
            "item_name": ["Glass Orchard  (2001)", "Glass Orchard (2015)"],
        }
    )
    stated = pl.DataFrame(
        {"item_id": ["1", "2"], "imdb_id": ["tt0000002", "tt0000002"], "year": [None, None]},
        schema_overrides={"year": pl.Int32},
    )
    truth = item_truth(stated, FILMS, "redial")
    doubtful = contradicts_year(truth, items)
    assert doubtful.to_list() == [True, False]
    links = pl.DataFrame(
        [link("1", "Glass Orchard  (2001)", ONE), link("2", "Glass Orchard (2015)", TWO)], schema=CORE_ITEM_LINKS.schema
    )
    evaluation = evaluate_items(links, truth, FILMS, "id2info", "by hand", doubtful)
    assert evaluation.disagreements["kind"].to_list() == ["truth_year_differs"]
    recall = evaluation.metrics.filter((pl.col("metric") == "recall") & (pl.col("stage") == "after_lint"))
    assert recall.select("truth", "value", "n").rows() == [("id2info", 0.5, 2), ("id2info_year_agrees", 1.0, 1)]
    assert "left out: 1 items" in recall["protocol"][1]


def mention(
    turn: int,
    start: int,
    end: int,
    film: str | None,
    prob: float = 0.9,
    method: str = "free_text",
    reason: str | None = None,
) -> dict:
    return {
        "dialogue_id": "inspired-a", "turn": turn, "dataset": "inspired", "start": start, "end": end, "surface": "x", "movie_id": film,
        "score_prob": prob, "method": method, "match": "exact", "alternatives": [], "is_quarantined": reason is not None,
        "quarantine_reason": reason, "linker_version": "t",
    }  # fmt: skip


def span(turn: int, start: int, end: int, film: str | None, is_open: bool = False) -> dict:
    return {
        "dataset": "inspired",
        "dialogue_id": "inspired-a",
        "turn": turn,
        "start": start,
        "end": end,
        "movie_id": film,
        "is_open": is_open,
    }


def test_spans_are_counted_by_hand():
    truth = pl.DataFrame(
        [
            span(0, 0, 5, ONE),
            span(1, 0, 5, TWO),
            span(2, 0, 5, THREE),
            span(3, 0, 5, None),
            span(4, 0, 5, FOUR, is_open=True),
            span(5, 0, 5, ONE),
        ],
        schema=SPANS,
    )
    found = pl.DataFrame(
        [
            mention(0, 0, 5, ONE),  # right
            mention(0, 0, 5, TWO, prob=0.5, method="hint"),  # the same place, less sure
            mention(1, 2, 9, ONE),  # wrong film
            mention(3, 0, 5, ONE),  # a series of films
            mention(4, 0, 5, TWO),  # not judged
            mention(5, 0, 5, ONE, reason="function_word"),  # right, and set aside
            mention(9, 0, 5, THREE),  # nothing is there
            mention(9, 7, 9, None),
        ],
        schema=CORE_MENTIONS.schema,
    )
    evaluation = evaluate_spans(
        found, truth, pl.Series(["inspired-a"]), FILMS, "gold", "by hand", methods=("all", "free_text", "hint")
    )
    assert figures(evaluation, method="all") == pytest.approx(
        {"precision": 1 / 4, "recall": 1 / 4, "f1": 1 / 4, "accuracy_at_1": 1 / 2}
    )
    assert figures(evaluation, "before_lint", "all")["precision"] == pytest.approx(2 / 5)
    assert figures(evaluation, method="hint")["precision"] == 0
    certainty = evaluation.metrics.filter((pl.col("metric") == "mean_score_prob") & (pl.col("method") == "hint"))
    assert certainty["value"].to_list() == pytest.approx([0.5, 0.5])
    kinds = evaluation.disagreements.group_by("kind").len().sort("kind").rows()
    assert kinds == [("missed", 2), ("spurious", 2), ("wrong_film", 1)]


def test_the_gold_files_rows_become_spans():
    stated = pl.DataFrame(
        {
            "dataset": ["inspired"] * 4, "dialogue_id": ["inspired-a"] * 4, "turn": [0, 1, 2, 3], "start": [0] * 4, "end": [5] * 4,
            "imdb_id": ["tt0000001", "tt0000077", "tt0000088", None], "in_corpus": ["1", "1", "0", None],
            "title_year_check": ["id", "no_id", "unresolved", None],
        }
    )  # fmt: skip
    truth = span_truth(stated, FILMS)
    assert truth["movie_id"].to_list() == [ONE, None, None, None]
    assert truth["is_open"].to_list() == [False, True, False, False]


def test_films_that_only_dialogue_catalogues_know_are_taken_out():
    records = title_records(
        {"source": "omdb", "title": "Glass Orchard", "year": 2001}, {"source": "redial", "title": "Glass Orchards", "year": 2001},
        {"source": "redial", "title": "Harbour", "year": 1990}, {"source": "omdb", "title": "Marigold", "year": 2003},
    )  # fmt: skip
    links = records.select("source", "source_id", "record_id", movie_id=pl.Series([ONE, ONE, TWO, THREE]))
    from pipelines.corpus.fuse import fuse

    movies = fuse(records, links, {}).movies
    left = films_without(movies, records, links, {})
    assert left["movie_id"].to_list() == [ONE, THREE]
    assert left["aliases"].to_list()[0] == [] and movies.filter(pl.col("movie_id") == ONE)["aliases"].to_list()[0] != []
    assert left.schema == CORE_MOVIES.schema


def test_of_two_rows_with_one_id_the_better_known_film_is_the_true_one():
    twice = films(
        {"title": "Ula", "year": 2015, "imdb_id": "tt0000007", "source_count": 2},
        {"title": "Copper 2000", "year": 2000, "imdb_id": "tt0000007", "source_count": 14},
    )
    stated = pl.DataFrame(
        {"item_id": ["1"], "imdb_id": ["tt0000007"], "year": [2000]}, schema_overrides={"year": pl.Int32}
    )
    assert item_truth(stated, twice, "redial")["movie_id"].to_list() == [movie_id(2)]

"""Figures of annotation against hand-computed cases, and on the gold set."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.annotation import strategy, vto
from pipelines.evaluation import annotation as evaluation
from warehouse.tables.annotation import (
    ANNO_STRATEGY,
    ANNO_TURNS,
    ANNO_VALIDATION,
    ANNO_VTO,
    EVAL_ANNOTATION,
    EVAL_ANNOTATION_DISAGREEMENTS,
    OPERATIONS,
)

GOLD = Path(__file__).parents[3] / "pipelines" / "evaluation" / "gold"


def turn(dialogue: str, number: int, by: str | None, operations: list[str], rules: float | None) -> dict[str, Any]:
    return {
        "dialogue_id": dialogue, "turn": number, "dataset": dialogue.split("-")[0], "decided_by": by, "operations": operations,
        "confidence": 0.9 if by else 0.0, "is_stand_in": by == "llm", "rule_confidence": rules, "input_hash": number,
    }  # fmt: skip


def row(dialogue: str, number: int, operation: str, source: str = "heuristic") -> dict[str, Any]:
    return {
        "dialogue_id": dialogue, "turn": number, "dataset": dialogue.split("-")[0], "operation": operation, "position": 0, "source": source,
        "confidence": 0.9, "made_by": "r1", "version": "1", "model": "marquee-stand-in" if source == "llm" else None, "is_stand_in": source == "llm",
    }  # fmt: skip


TURNS = ANNO_TURNS.check(
    pl.DataFrame(
        [
            turn("redial-1", 0, "heuristic", [], 0.9),
            turn("redial-1", 1, "heuristic", ["select_best", "track_history"], 0.9),
            turn("redial-2", 0, "llm", ["select_best"], None),
            turn("redial-2", 1, None, [], None),
            turn("iard-1", 0, "heuristic", ["query_knowledge"], 0.9),
        ],
        schema=dict(ANNO_TURNS.schema),
    )
)
ROWS = ANNO_VTO.check(
    pl.DataFrame(
        [
            row("redial-1", 0, "no_operation"),
            row("redial-1", 1, "select_best"),
            row("redial-1", 1, "track_history"),
            row("redial-2", 0, "select_best", "llm"),
            row("redial-2", 1, "rank_options"),
            row("iard-1", 0, "query_knowledge"),
        ],
        schema=dict(ANNO_VTO.schema),
    )
)


def judged(item: str, who: str, present: set[str], was: set[str], by: str = "heuristic") -> pl.DataFrame:
    dialogue, number = item.rsplit("#", 1)[0], int(item.rsplit("#", 1)[1])
    return ANNO_VALIDATION.conform(
        pl.DataFrame(
            {
                "kind": "vto", "item_id": item, "dataset": dialogue.split("-")[0], "dialogue_id": dialogue, "turn": number, "annotator": who,
                "label": list(OPERATIONS), "is_present": [name in present for name in OPERATIONS], "was_present": [name in was for name in OPERATIONS],
                "was_by": by, "made_by": ["r1 1" if name in was else None for name in OPERATIONS], "sample": "all", "imported_at": datetime(2026, 1, 1),
            }
        )
    )  # fmt: skip


def value(rows: pl.DataFrame, metric: str, name: str = "all", dataset: str = "all") -> float:
    found = rows.filter((pl.col("metric") == metric) & (pl.col("slice") == name) & (pl.col("dataset") == dataset))
    return found["value"].item()


def test_table_six() -> None:
    people = judged("redial-1#1", "ann", {"select_best"}, {"select_best", "track_history"})
    rows = EVAL_ANNOTATION.check(evaluation.coverage(TURNS, ROWS, people))
    assert value(rows, "turns", dataset="redial") == 4
    assert value(rows, "heuristic_share", dataset="redial") == 0.5
    assert value(rows, "llm_share", dataset="redial") == 0.25
    assert value(rows, "open_share", dataset="redial") == 0.25
    assert value(rows, "human_share", dataset="redial") == 0.25
    assert value(rows, "operations_per_turn", dataset="redial") == 1
    assert value(rows, "operations_per_turn_with_some") == pytest.approx(4 / 3)
    marked = rows.filter(pl.col("protocol").str.contains("stand-in"))["dataset"].unique().sort().to_list()
    assert marked == ["all", "redial"]


def test_kappa_by_hand() -> None:
    # 20 both yes, 5 and 10 one alone, 15 both no: observed .7, expected (25 * 30 + 25 * 20) / 2500 = .5
    assert evaluation.cohen_kappa(20, 25, 30, 50) == pytest.approx(0.4)
    assert evaluation.cohen_kappa(3, 3, 3, 3) != evaluation.cohen_kappa(3, 3, 3, 3)  # all alike: not a number


def test_agreement_of_people_and_rules() -> None:
    people = pl.concat(
        [
            judged("redial-1#1", "ann", {"select_best"}, {"select_best", "track_history"}),
            judged("redial-2#0", "ann", {"select_best"}, {"select_best"}, "llm"),
            judged("redial-2#1", "ann", {"query_knowledge"}, set(), "open"),
        ]
    )
    rows = EVAL_ANNOTATION.check(evaluation.agreement(people, "vto"))
    assert value(rows, "agreement") == pytest.approx(1 - 2 / (3 * 21))
    assert value(rows, "exact") == pytest.approx(1 / 3)
    assert value(rows, "overlap") == pytest.approx(2 / 4)
    assert value(rows, "agreement", "by:llm") == 1
    assert value(rows, "agreement", "track_history") == pytest.approx(2 / 3)
    assert value(rows, "kappa", "track_history") == 0
    assert rows.filter(pl.col("slice") == "rank_options").is_empty()


def test_agreement_of_people_with_each_other_is_before_adjudication() -> None:
    people = pl.concat(
        [
            judged("redial-1#1", "ann", {"select_best"}, set()),
            judged("redial-1#1", "bob", {"rank_options"}, set()),
            judged("redial-1#1", "adjudicated", {"rank_options"}, set()),
        ]
    )
    rows = evaluation.agreement(people, "vto")
    assert value(rows, "exact", "between annotators") == 0
    assert value(rows, "agreement", "between annotators") == pytest.approx(19 / 21)
    assert value(rows, "agreement") == pytest.approx(20 / 21)


def test_disputed_items_do_not_count() -> None:
    people = pl.concat(
        [judged("redial-1#1", who, {label}, set()) for who, label in (("ann", "select_best"), ("bob", "rank_options"))]
    )
    assert evaluation.agreement(people, "vto").filter(pl.col("slice") == "all").is_empty()


def test_disagreements_are_sorted_by_what_is_surely_wrong() -> None:
    often = [judged(f"redial-{at}#0", "ann", set(), {"select_best"}) for at in range(20)]
    once = judged("redial-99#0", "ann", {"track_history"}, {"rank_options"})
    rows = EVAL_ANNOTATION_DISAGREEMENTS.check(evaluation.disagreements(pl.concat([*often, once])))
    assert rows.row(0, named=True)["label"] == "select_best"
    assert rows["wrong_low"][0] == pytest.approx(20 / (20 + 1.96**2))
    assert len(rows["examples"][0]) == 5
    missed = rows.filter((pl.col("made_by") == "(none)") & (pl.col("label") == "track_history")).row(0, named=True)
    assert (missed["judged"], missed["wrong"], missed["examples"]) == (21, 1, ["redial-99#0"])


def gold(*lines: str) -> pl.DataFrame:
    header = "dataset\tdialogue_id\tturn\tpart\toperations\tstrategy\n"
    return evaluation.read_gold(header + "".join(f"{line}\n" for line in lines))


def test_rules_against_gold() -> None:
    truth = gold(
        "redial\tredial-1\t0\ttest\t\t",
        "redial\tredial-1\t1\ttest\tselect_best|query_knowledge\tno_strategy",
        "redial\tredial-2\t0\ttest\tselect_best\tno_strategy",
        "redial\tredial-2\t1\ttest\trank_options\t",
        "iard\tiard-1\t0\tdev\tquery_knowledge\t",
    )
    rows = EVAL_ANNOTATION.check(evaluation.against_gold(truth, TURNS, ROWS))
    assert value(rows, "coverage", "rules:test") == 0.5
    assert value(rows, "precision", "rules:test") == 0.5
    assert value(rows, "recall", "rules:test") == 0.5
    assert value(rows, "exact", "rules:test") == 0.5
    assert value(rows, "recall", "final:test") == 0.5
    assert value(rows, "precision", "rules:test:select_best") == 1
    assert value(rows, "f1", "rules:dev", "iard") == 1
    stand_in = rows.filter(pl.col("protocol").str.contains("stand-in"))["slice"].unique().to_list()
    assert stand_in == ["final:test"]


def test_intervals_hold_the_figure_and_come_from_dialogues() -> None:
    turns = pl.concat([TURNS.with_columns((pl.col("dialogue_id") + f"-{at}").alias("dialogue_id")) for at in range(30)])
    rows = evaluation.coverage(turns, ROWS.clear(), ANNO_VALIDATION.empty())
    share = rows.filter((pl.col("metric") == "heuristic_share") & (pl.col("dataset") == "redial")).row(0, named=True)
    assert share["ci_low"] < share["value"] < share["ci_high"]
    # 30 dialogues all right and 30 all wrong: wider than 120 turns on their own would be.
    assert share["ci_high"] - share["ci_low"] > 2 * 1.96 * (0.25 / 120) ** 0.5


def test_iard_is_an_outside_check() -> None:
    labels = pl.DataFrame(
        {
            "dialogue_id": ["iard-1"],
            "turn": pl.Series([0], dtype=pl.Int32),
            "scheme": ["iard_sub_intent"],
            "label": ["INQ"],
        }
    )
    rows = EVAL_ANNOTATION.check(evaluation.against_iard(labels, TURNS, ROWS))
    assert rows.select("slice", "value", "n", "baseline").rows() == [("iard:INQ", 1.0, 1, 1.0)]


def test_strategies_against_a_datasets_labels() -> None:
    def of(number: int, name: str, source: str) -> dict[str, Any]:
        stated = name if source == "dataset" else None
        return {
            "dialogue_id": "inspired-1", "turn": number, "dataset": "inspired", "strategy": name, "stated_label": stated, "position": 0,
            "source": source, "is_chosen": False, "confidence": 1.0, "made_by": source, "version": "1", "model": None, "is_stand_in": False,
        }  # fmt: skip

    said = [
        of(at, name, "dataset") for at, name in enumerate(["credibility", "credibility", "offer_help", "no_strategy"])
    ]
    said += [of(at, name, "heuristic") for at, name in enumerate(["credibility", "offer_help", "offer_help"])]
    rows = strategy.settle(pl.DataFrame(said, schema=dict(ANNO_STRATEGY.schema)))
    found = EVAL_ANNOTATION.check(evaluation.strategies(rows))
    part = next(iter(found.filter(pl.col("metric") == "accuracy")["slice"]))
    assert value(found, "accuracy", part, "inspired") == pytest.approx(2 / 3)
    assert value(found, "accuracy_of_all", part, "inspired") == 0.5
    assert value(found, "coverage", part, "inspired") == 0.75
    # credibility 2/3, offer_help 2/3, no_strategy 0
    assert value(found, "macro_f1", part, "inspired") == pytest.approx(4 / 9)
    assert found.filter((pl.col("metric") == "accuracy") & (pl.col("dataset") == "inspired"))["baseline"].item() == 0.5
    assert value(found, "dataset_share", dataset="inspired") == 1


def test_nothing_is_measured_of_nothing() -> None:
    assert evaluation.coverage(ANNO_TURNS.empty(), ANNO_VTO.empty(), ANNO_VALIDATION.empty()).is_empty()
    assert evaluation.agreement(ANNO_VALIDATION.empty(), "vto").is_empty()
    assert evaluation.disagreements(ANNO_VALIDATION.empty()).is_empty()
    assert evaluation.strategies(ANNO_STRATEGY.empty()).is_empty()


def test_the_gold_set_can_be_read() -> None:
    truth = evaluation.read_gold((GOLD / "vto.tsv").read_text("utf-8"))
    assert truth.height >= 200
    assert set(truth["operations"].explode(empty_as_null=False)) <= set(OPERATIONS)
    assert truth.select("dialogue_id", "turn").is_unique().all()
    with pytest.raises(ValueError, match="columns"):
        evaluation.read_gold("a\tb\n1\t2\n")


def own_dialogues() -> tuple[pl.DataFrame, pl.DataFrame]:
    """The invented conversations of the gold set, without linked mentions."""
    lines = [json.loads(line) for line in (GOLD / "vto_texts.jsonl").read_text("utf-8").splitlines()]
    turns = pl.DataFrame(lines).with_columns(
        pl.col("turn").cast(pl.Int32),
        pl.lit("own").alias("dataset"),
        pl.lit("film").alias("domain"),
        pl.col("text").alias("plain_text"),
    )
    places = {"dialogue_id": pl.String, "turn": pl.Int32, "start": pl.Int32, "end": pl.Int32, "movie_id": pl.String}
    return turns, pl.DataFrame(schema=places)


def test_rules_say_little_that_is_wrong_of_our_own_dialogues() -> None:
    truth = evaluation.read_gold((GOLD / "vto.tsv").read_text("utf-8"))
    turns, mentions = own_dialogues()
    context = vto.annotate(turns, mentions)
    said = (
        context.rows.filter(pl.col("operation") != "no_operation")
        .group_by("dialogue_id", "turn")
        .agg(pl.col("operation").unique().alias("said"))
    )
    both = truth.filter(pl.col("dataset") == "own").join(said, on=["dialogue_id", "turn"])
    right = both.select(pl.col("said").list.set_intersection("operations").list.len().sum()).item()
    assert right / both["said"].list.len().sum() > 0.75

"""Numbers and passports from small rankings that can be worked out by hand."""

from __future__ import annotations

from math import log2
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipelines.evaluation.ranking.candidates import of_reranked
from pipelines.evaluation.ranking.evaluate import About, Evaluation, evaluate
from pipelines.evaluation.ranking.examples import SCHEMA, NotComparable
from pipelines.evaluation.ranking.protocols import Figure, ProtocolError, parse, protocols
from pipelines.evaluation.ranking.slices import slices
from warehouse.tables.dialogues import DATASETS
from warehouse.tables.ranking_evaluation import EVAL_RANKING, EVAL_RANKING_TESTS
from warehouse.tables.reranking import LLM_RANKINGS

ABOUT = About(
    {"redial": ["redial/test.jsonl"], "ml-1m": ["ml-1m/ratings.dat"]},
    7,
    pl.DataFrame({"movie_id": ["a", "b", "c"], "year": [1994, 2003, None]}, schema_overrides={"year": pl.Int32}),
)


def row(example: str, labels: list[str], ranks: list[int | None], **more: Any) -> dict[str, Any]:
    """A row of one system; repeats are those named in `repeats`."""
    before = more.pop("repeats", ())
    repeats = [label in before for label in labels]
    masked = [None if is_repeat else rank for rank, is_repeat in zip(ranks, repeats, strict=True)]
    made = {
        "dataset": "redial",
        "setting": "dialogues",
        "split": "test",
        "data_hash": "h" * 64,
        "system": "popularity",
        "seed": 0,
        "matcher": "movie_id",
        "is_stand_in": False,
        "position": 1,
        "history_items": sum(repeats),
        "example_id": example,
        "cluster_id": example.split(":")[0],
        "pool_items": 20,
        "labels": labels,
        "are_repeats": repeats,
        "are_in_pool": [True] * len(labels),
        "are_tail": [False] * len(labels),
        "train_counts": [1] * len(labels),
        "ranks_all": ranks,
        "ranks_masked": masked,
        "ranks_uniform": masked,
        "ranks_popularity": masked,
    }
    return {**made, **more}


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=SCHEMA)


def number(found: Evaluation, **where: Any) -> dict[str, Any]:
    wanted = {"slice": "all", "system": "popularity", **where}
    return found.numbers.filter(*(pl.col(key) == value for key, value in wanted.items())).row(0, named=True)


TWO = frame(
    row("d1:1", ["a", "b"], [2, 1], repeats=["b"]),
    row("d1:3", ["c"], [None]),
    row("d2:1", ["a", "c"], [1, 12]),
)


def test_numbers_by_hand() -> None:
    found = evaluate(TWO, ABOUT)
    EVAL_RANKING.check(found.numbers)
    kept = number(found, protocol="full_repeats_kept", metric="recall", k=10)
    assert (kept["value"], kept["n"], kept["clusters"], kept["chance"]) == (
        pytest.approx(3 / 5),
        5,
        2,
        pytest.approx(0.5),
    )
    dropped = number(found, protocol="full_unmasked", metric="recall", k=1)
    assert (dropped["value"], dropped["n"]) == (1 / 4, 4)
    ndcg = number(found, protocol="full_masked", metric="ndcg", k=10)
    assert ndcg["value"] == pytest.approx((1 / log2(3) + 0 + 1 + 0) / 4)
    # The pool of d1:1 is one film smaller, its history being masked.
    masked = number(found, protocol="full_masked", metric="recall", k=1)
    assert masked["chance"] == pytest.approx((1 / 19 + 3 / 20) / 4)
    by_turn = number(found, protocol="per_turn", metric="ndcg", k=10)
    assert by_turn["n"] == 3
    assert by_turn["value"] == pytest.approx((1 / log2(3) + 0 + 1 / (1 + 1 / log2(3))) / 3)
    sampled = number(found, protocol="uniform_99", metric="recall", k=1)
    # Among itself and all films that are neither in history nor labels.
    assert sampled["chance"] == pytest.approx((1 / 19 + 1 / 20 + 2 / 19) / 4)
    assert (sampled["pool_items"], kept["pool_items"]) == (20, 20)


def test_passports_are_complete() -> None:
    one = number(evaluate(TWO, ABOUT), protocol="he_et_al", metric="recall", k=20)
    assert one["dataset_files"] == ["redial/test.jsonl"] and one["dataset_hash"] == "h" * 64
    assert (one["pool"], one["repeats"], one["seen"], one["unit"], one["gold"]) == (
        "full",
        "dropped",
        "masked",
        "label",
        "single",
    )
    assert (one["matcher"], one["corpus_version"], one["is_baseline"], one["seeds"]) == ("movie_id", 7, True, [0])
    assert one["interval"] and one["protocol_version"]


def test_protocols_keep_to_their_settings() -> None:
    rating = {"dataset": "ml-1m", "setting": "leave_one_out"}
    found = evaluate(frame(row("1:9", ["a"], [1], **rating), row("2:9", ["b"], [3], **rating)), ABOUT)
    assert set(found.numbers["protocol"]) == {"full_masked", "full_unmasked", "uniform_99", "popularity_99"}


def test_ids_name_numbers_and_stay_the_same() -> None:
    found = evaluate(TWO, ABOUT)
    assert found.numbers["number_id"].n_unique() == found.numbers.height
    again = evaluate(TWO.reverse(), ABOUT)
    assert again.numbers.equals(found.numbers) and again.tests.equals(found.tests)


SEEDS = [("markov", 0, 3), ("lrurec", 42, 1), ("lrurec", 123, 4), ("lrurec", 456, 40)]


def many(*systems: tuple[str, int, int], examples: int = 30) -> pl.DataFrame:
    """`examples` one-label turns in ten dialogues; a system ranks the label n times out of n + 1 at its place, else at 15."""
    return frame(
        *(
            row(
                f"d{number % 10}:{number:03}",
                ["a" if number % 2 else "b"],
                [place if number % (seed + 2) else 15],
                system=system,
                seed=seed,
                position=number,
                model_id=None if system == "markov" else f"{seed:016}",
            )
            for system, seed, place in systems
            for number in range(examples)
        )
    )


def test_means_over_seeds_stand_beside_each_seed() -> None:
    found = evaluate(many(*SEEDS), ABOUT)
    rows = found.numbers.filter(
        (pl.col("protocol") == "full_masked")
        & (pl.col("metric") == "recall")
        & (pl.col("k") == 5)
        & (pl.col("slice") == "all")
    )
    own = {
        tuple(seeds): (value, model)
        for seeds, value, model in rows.filter(system="lrurec").select("seeds", "value", "model_id").iter_rows()
    }
    assert set(own) == {(42,), (123,), (456,), (42, 123, 456)}
    assert own[42, 123, 456][0] == pytest.approx(np.mean([own[seed,][0] for seed in (42, 123, 456)]))
    assert own[42, 123, 456][1] is None and own[42,][1] == f"{42:016}"
    # Slices, and tests, are of the mean.
    assert {
        len(seeds)
        for seeds in found.numbers.filter((pl.col("slice") != "all") & (pl.col("system") == "lrurec"))["seeds"]
    } == {3}
    tests = found.tests.filter(protocol="full_masked", metric="recall")
    EVAL_RANKING_TESTS.check(found.tests)
    assert tests.height == 1 and tests["family"].item() == 1
    one = tests.row(0, named=True)
    assert (one["system"], one["other"]) == ("lrurec", "markov")
    values = {
        system: number(found, system=system, protocol="full_masked", metric="recall", k=10, seeds=seeds)["value"]
        for system, seeds in (("lrurec", [42, 123, 456]), ("markov", [0]))
    }
    assert one["difference"] == pytest.approx(values["lrurec"] - values["markov"])


def test_a_family_is_all_pairs_of_one_figure() -> None:
    found = evaluate(many(("markov", 0, 3), ("popularity", 0, 9), ("lrurec", 42, 1)), ABOUT)
    one = found.tests.filter(protocol="full_masked", metric="ndcg")
    assert one.height == 3 and set(one["family"]) == {3}
    assert (one["p_bonferroni"] == (one["p_value"] * 3).clip(0, 1)).all()


def test_systems_on_other_examples_are_not_compared() -> None:
    short = many(("lrurec", 42, 1), examples=29)
    with pytest.raises(NotComparable, match="lrurec"):
        evaluate(pl.concat([many(("alpha", 0, 3)), short]), ABOUT)
    # Of another version of the data, they stand by themselves.
    other = short.with_columns(data_hash=pl.lit("i" * 64))
    assert evaluate(pl.concat([many(("alpha", 0, 3)), other]), ABOUT).tests.is_empty()


def test_nothing_gives_nothing() -> None:
    found = evaluate(pl.DataFrame(schema=SCHEMA), ABOUT)
    assert found.numbers.is_empty() and found.tests.is_empty()
    only_repeats = evaluate(frame(row("d1:1", ["a"], [1], repeats=["a"])), ABOUT)
    assert set(only_repeats.numbers["repeats"]) == {"kept"}


def test_slices_by_hand() -> None:
    units = pl.DataFrame(
        {
            "position": [0, 4, 5, 19] * 10,
            "train_count": [0, 1, 2, 3] * 10,
            "is_tail": [True, True, False, False] * 10,
            "year": [1999, 2000, None, 2009] * 10,
        }
    )
    found = {(each.name, each.value): int(each.is_in.sum()) for each in slices(units, "label", "dialogues")}
    assert found == {
        ("unseen_in_training", "unseen"): 10,
        ("unseen_in_training", "seen"): 30,
        ("tail", "tail"): 20,
        ("tail", "head"): 20,
        ("decade", "1990s"): 10,
        ("decade", "2000s"): 20,
        ("decade", "unknown"): 10,
        ("turn", "00-04"): 20,
        ("turn", "05-09"): 10,
        ("turn", "15-19"): 10,
    }
    assert {each.name for each in slices(units, "turn", "dialogues")} == {"turn"}
    assert not list(slices(units.head(9), "label", "leave_one_out"))


# -- re-ranked candidates --------------------------------------------------------------------------------------


def reranked(system: str = "lrurec", turns: int = 2) -> pl.DataFrame:
    rows = [
        {
            "system": system,
            "retriever_id": "a" * 16,
            "seed": 42,
            "dialogue_id": f"redial-{turn}",
            "turn": 3,
            "dataset": DATASETS[0],
            "split": "test",
            "candidates": ["x", "a", "b"],
            "labels": ["b", "lost"],
            "ranked": ["b", "a"] if turn else [],
            "lines": [],
            "outcome": "answered" if turn else "no_answer",
            "model": "judge-1",
            "is_stand_in": False,
            "prompt_version": "rerank@1",
            "is_thinking": False,
            "request_hash": "r",
        }
        for turn in range(turns)
    ]
    return pl.DataFrame(rows, schema=LLM_RANKINGS.schema)


TURNS = pl.DataFrame(
    {
        "dialogue_id": ["redial-0", "redial-1"],
        "turn": [3, 3],
        "conversation_id": ["c0", "c1"],
        "history": [["b"], []],
    },
    schema_overrides={"turn": pl.Int32},
)


def test_the_model_stands_beside_the_retrievers_own_order() -> None:
    rows = of_reranked(reranked(), TURNS, "titles 1")
    found = evaluate(rows, ABOUT)
    EVAL_RANKING.check(found.numbers)
    where = {"protocol": "llm_candidates", "metric": "recall"}
    own, model = (number(found, system=name, k=1, **where) for name in ("lrurec", "lrurec+judge-1"))
    # Turn 0 has no answer, and `lost` is no candidate: both are misses.
    assert (own["value"], model["value"], model["n"], model["clusters"]) == (0, 1 / 4, 4, 2)
    assert number(found, system="lrurec", k=5, **where)["value"] == 1 / 2
    assert model["chance"] == own["chance"] == pytest.approx((1 / 3 + 0 + 1 / 3 + 0) / 4)
    assert (own["llm_model"], model["llm_model"], model["matcher"], own["pool_items"]) == (
        None,
        "judge-1",
        "titles 1",
        3,
    )
    assert found.tests.filter(protocol="llm_candidates", metric="recall").height == 1
    # Label b of turn 0 is in its history.
    assert number(found, system="lrurec", protocol="llm_candidates_new", metric="recall", k=5)[
        "value"
    ] == pytest.approx(1 / 3)


def test_systems_asked_about_other_turns_are_not_compared() -> None:
    rows = of_reranked(pl.concat([reranked(), reranked("rar_dpo", turns=1)]), TURNS, "titles 1")
    assert rows["data_hash"].n_unique() == 2
    # The one turn of rar_dpo is one dialogue, with which nothing can be tested.
    tests = evaluate(rows, ABOUT).tests
    assert set(tests["system"]) == {"lrurec"} and set(tests["other"]) == {"lrurec+judge-1"}
    assert of_reranked(reranked().clear(), TURNS, "titles 1").schema == SCHEMA


# -- protocols ---------------------------------------------------------------------------------------------------


def test_the_protocols_that_come_with_marquee() -> None:
    by_name = {each.name: each for each in protocols()}
    assert {
        *("full_masked", "full_repeats_kept", "full_unmasked", "uniform_99", "popularity_99", "per_turn", "he_et_al"),
    } <= set(by_name)
    assert by_name["full_masked"].places == "ranks_masked" and by_name["full_unmasked"].places == "ranks_all"
    assert Figure("recall", 20) in by_name["he_et_al"].figures
    # One set of rules has one name, but for cut-offs.
    rules = [(p.pool, p.repeats, p.seen, p.unit, p.settings, p.figures) for p in protocols()]
    assert len(set(rules)) == len(rules)


GOOD = """
cutoffs = [10]
metrics = ["recall"]
headline = [{ metric = "recall", k = 10 }]
[protocol.mine]
meaning = "m"
pool = "full"
repeats = "dropped"
seen = "masked"
unit = "label"
gold = "single"
settings = ["dialogues"]
"""


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('pool = "full"', 'pool = "half"', "pool is 'half'"),
        ('repeats = "dropped"', 'repeats = "kept"', "repeats cannot be found"),
        ('unit = "label"', 'unit = "turn"', "gold is ideal for turns"),
        ('seen = "masked"', 'sean = "masked"', "unknown key 'sean'"),
        ('seen = "masked"', "", "seen is missing"),
        ("cutoffs = [10]", "cutoffs = [0]", "cut-offs at least 1"),
        ('metrics = ["recall"]', 'metrics = ["beauty"]', "metrics must be of"),
        ("cutoffs = [10]", "cutoffs = [5]", "headline is not among its figures"),
        ('["dialogues"]', '["operas"]', "setting 'operas' is unknown"),
        ('pool = "full"', 'pool = "uniform_99"\ntests = 3', "tests is 3"),
        ("cutoffs = [10]", "cutoff = [10]\ncutoffs = [10]", "unknown key 'cutoff'"),
    ],
)
def test_protocols_that_contradict_themselves_are_refused(old: str, new: str, words: str) -> None:
    assert [each.name for each in parse(GOOD)] == ["mine"]
    with pytest.raises(ProtocolError, match=words):
        parse(GOOD.replace(old, new))

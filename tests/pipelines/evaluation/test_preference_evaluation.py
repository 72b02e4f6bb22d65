"""Figures of preference pairs, each against a case counted by hand."""

from __future__ import annotations

import polars as pl
import pytest

from pipelines.evaluation.preferences import COUNTS, MEANS, evaluate_pairs
from warehouse.tables.preferences import EVAL_PREFERENCES, PREF_PAIRS


def pairs(*rows: tuple[str, str, str, str, str, str | None]) -> pl.DataFrame:
    """Pairs of (id, conversation, split, better, worse, duplicate of); ids are padded to sixteen digits."""
    return PREF_PAIRS.check(
        pl.DataFrame(
            [
                {
                    "pair_id": pair_id.zfill(16),
                    "dataset": "redial",
                    "domain": "film",
                    "split": split,
                    "dialogue_id": f"redial-{conversation}",
                    "turn": 1,
                    "conversation_id": conversation,
                    "context": [{"role": "user", "content": "Hi"}],
                    "chosen": chosen,
                    "rejected": rejected,
                    "dimensions": ["relevance"],
                    "construction": "items_removed" if int(pair_id, 16) % 2 else "llm_quality",
                    "chosen_movie_ids": [],
                    "rejected_movie_ids": [],
                    "made_by": "test",
                    "version": "1",
                    "is_stand_in": int(pair_id, 16) % 2 == 0,
                    "duplicate_of": None if first is None else first.zfill(16),
                    "input_hash": 0,
                }
                for pair_id, conversation, split, chosen, rejected, first in rows
            ],
            schema_overrides={
                "chosen_movie_ids": pl.List(pl.String),
                "rejected_movie_ids": pl.List(pl.String),
                "duplicate_of": pl.String,
            },
        )
    )


EXAMPLE = pairs(
    ("1", "a", "train", "long better", "worse", None),
    ("2", "a", "train", "same", "size", None),
    ("3", "b", "train", "no", "longer", None),
    ("4", "b", "train", "x", "same size", "3"),
    ("5", "c", "test", "longest of all", "short", None),
    ("6", "d", "train", "longest of all!", "short", "5"),
)


def figures(dataset: str = "all", construction: str = "all", split: str = "all") -> dict[str, float]:
    found = evaluate_pairs(EXAMPLE).filter(dataset=dataset, construction=construction, split=split)
    return dict(found.select("metric", "value").iter_rows())


def test_the_figures_of_all_pairs() -> None:
    assert figures() == {
        "pairs": 6,
        "used": 4,
        "conversations": 4,
        "near_duplicates": 2,
        "near_duplicates_across_splits": 1,
        "stand_in": 3,
        "chosen_chars": (11 + 4 + 2 + 14) / 4,
        "rejected_chars": (5 + 4 + 6 + 5) / 4,
        "chosen_longer_share": 2 / 4,
        "length_only_accuracy": (1 + 0.5 + 0 + 1) / 4,
    }


def test_slices_have_figures_of_their_own() -> None:
    assert figures(split="test")["length_only_accuracy"] == 1
    assert figures(construction="items_removed", split="train")["chosen_longer_share"] == 0.5
    assert figures("redial") == figures()


def test_the_table_fits_its_contract_and_says_how_it_was_computed() -> None:
    found = evaluate_pairs(EXAMPLE)
    assert EVAL_PREFERENCES.violations(found) == []
    assert set(found["metric"]) == {*COUNTS, *MEANS}
    means = found.filter(pl.col("metric").is_in(list(MEANS)))
    assert means["protocol"].str.contains("bootstrap over").all()
    whole = means.filter(dataset="all", construction="all", split="all")
    assert whole["protocol"].str.contains("stand-in").all()
    assert set(whole["n"]) == {4}
    assert not found.filter(construction="items_removed")["protocol"].str.contains("take part").any()


def test_intervals_hold_the_figure_and_need_two_conversations() -> None:
    found = evaluate_pairs(EXAMPLE)
    many = found.filter(dataset="all", construction="all", split="all", metric="length_only_accuracy").row(
        0, named=True
    )
    assert 0 <= many["ci_low"] <= many["value"] <= many["ci_high"] <= 1
    one = found.filter(split="test", dataset="all", construction="all", metric="length_only_accuracy").row(
        0, named=True
    )
    assert one["ci_low"] is None and one["ci_high"] is None


def test_an_interval_is_as_wide_as_theory_says() -> None:
    rows = [(f"{n:x}", f"c{n}", "train", "aa" if n % 2 else "b", "b" if n % 2 else "aa", None) for n in range(1, 801)]
    found = evaluate_pairs(pairs(*rows)).filter(
        dataset="all", construction="all", split="all", metric="chosen_longer_share"
    )
    row = found.row(0, named=True)
    assert row["value"] == 0.5
    # A share of .5 over 800 independent pairs has a standard error of .0177.
    assert row["ci_high"] - row["ci_low"] == pytest.approx(2 * 1.96 * 0.0177, rel=0.2)


def test_the_order_of_the_pairs_does_not_matter() -> None:
    assert evaluate_pairs(EXAMPLE.sample(fraction=1, shuffle=True, seed=4)).equals(evaluate_pairs(EXAMPLE))


def test_no_pairs_have_no_figures() -> None:
    assert evaluate_pairs(EXAMPLE.clear()).is_empty()

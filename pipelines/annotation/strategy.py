"""Strategies of recommender turns (RSO, table I): the datasets' labels, rules, a model for what is left, and which of them holds.

The rules are in `rules/strategy.toml`, INSPIRED's labels in `rules/inspired_strategies.toml`. Rules never see labels.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import polars as pl

from pipelines.annotation.asking import prompt_version, questions, split_item_ids
from pipelines.annotation.context import read_context
from pipelines.annotation.matching import match
from pipelines.annotation.rulebook import Rulebook, rulebook
from pipelines.gateways.llm.prompts import load_prompt
from pipelines.gateways.llm.requests import LlmRequest
from pipelines.gateways.llm.runs import LlmRun
from warehouse.tables.annotation import ANNO_STRATEGY

PROMPT = "strategy"
STRATEGY_VERSION = f"{rulebook('strategy').digest}-{prompt_version(PROMPT)}"

# Whose word holds, most first.
PRECEDENCE = ("human", "dataset", "llm", "heuristic")

_TURN = ["dialogue_id", "turn"]
_POSITIONS = {"inspired_strategy": 0, "inspired_second_strategy": 1}


@dataclass(frozen=True)
class Before:
    """An earlier annotation: stored ANNO_STRATEGY rows, the ANNO_TURNS rows of that time, and `STRATEGY_VERSION` as it was."""

    rows: pl.DataFrame
    turns: pl.DataFrame
    version: str


@cache
def inspired_strategies() -> dict[str, str]:
    """Strategy by INSPIRED's label."""
    path = Path(__file__).parent / "rules" / "inspired_strategies.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))["strategies"]


def dataset_rows(labels: pl.DataFrame) -> pl.DataFrame:
    """ANNO_STRATEGY rows of the labels that datasets bring along (CORE_TURN_LABELS rows); unknown labels are left out."""
    name = pl.col("label").str.strip_chars().str.to_lowercase().str.replace_all(r"[ \-]+", "_")
    known = (
        labels.filter(pl.col("scheme").is_in(list(_POSITIONS)))
        .with_columns(
            name.replace_strict(inspired_strategies(), default=None, return_dtype=pl.String).alias("strategy"),
            pl.col("scheme").replace_strict(_POSITIONS, return_dtype=pl.Int32).alias("position"),
        )
        .filter(pl.col("strategy").is_not_null())
        .sort(*_TURN, "position")
        .unique([*_TURN, "strategy"], keep="first", maintain_order=True)
    )
    return ANNO_STRATEGY.conform(
        known.select(
            *_TURN,
            "dataset",
            "strategy",
            pl.col("label").alias("stated_label"),
            "position",
            pl.lit("dataset").alias("source"),
            pl.lit(False).alias("is_chosen"),
            pl.lit(1.0, dtype=pl.Float32).alias("confidence"),
            pl.lit("dataset").alias("made_by"),
            pl.lit("1").alias("version"),
            pl.lit(None, dtype=pl.String).alias("model"),
            pl.lit(False).alias("is_stand_in"),
        )
    )


def annotate(
    turns: pl.DataFrame, mentions: pl.DataFrame, before: Before | None = None, book: Rulebook | None = None
) -> pl.DataFrame:
    """ANNO_STRATEGY rows of the rules: the best at position 0, the runner-up at 1, for every recommender turn where one fires.

    Columns as for `vto.annotate`. With `before`, turns that are as they were keep their rows while rules are the same.
    """
    book = book or rulebook("strategy")
    context = read_context(turns, mentions)
    now = context.turns.select(*_TURN, "input_hash")
    kept = now.clear()
    kept_rows = ANNO_STRATEGY.empty()
    if before is not None and before.version.split("-")[0] == book.digest:
        kept = now.join(before.turns.select(*_TURN, "input_hash"), on=[*_TURN, "input_hash"], how="semi")
        kept_rows = before.rows.filter(pl.col("source") == "heuristic").join(kept, on=_TURN, how="semi")
        context = context.part(now.join(kept, on=_TURN, how="anti")["dialogue_id"].unique())
    places = context.turns.with_row_index("row").select("row", *_TURN, "dataset").join(kept, on=_TURN, how="anti")
    best = (
        match(book, context)
        .fired.join(places, on="row")
        .sort("row", "confidence", "rule", descending=[False, True, False])
        .unique(["row", "label"], keep="first", maintain_order=True)
        .with_columns((pl.int_range(pl.len()).over("row")).cast(pl.Int32).alias("position"))
        .filter(pl.col("position") < 2)
    )
    fresh = best.select(
        *_TURN,
        "dataset",
        pl.col("label").alias("strategy"),
        pl.lit(None, dtype=pl.String).alias("stated_label"),
        "position",
        pl.lit("heuristic").alias("source"),
        pl.lit(False).alias("is_chosen"),
        "confidence",
        pl.col("rule").alias("made_by"),
        "version",
        pl.lit(None, dtype=pl.String).alias("model"),
        pl.lit(False).alias("is_stand_in"),
    )
    return pl.concat([ANNO_STRATEGY.conform(kept_rows), ANNO_STRATEGY.conform(fresh)]).sort(*_TURN, "position")


def decided(rows: pl.DataFrame, book: Rulebook | None = None) -> pl.DataFrame:
    """dialogue_id, turn of the turns that need no model: labelled by a dataset, or by a rule that is sure enough."""
    least = (book or rulebook("strategy")).confidence_min
    # Confidences are stored as 32-bit numbers.
    sure = (pl.col("source") == "heuristic") & (pl.col("confidence") >= pl.lit(least, dtype=pl.Float32))
    return rows.filter((pl.col("source") == "dataset") | sure).select(_TURN).unique()


def requests(turns: pl.DataFrame, mentions: pl.DataFrame, rows: pl.DataFrame) -> list[LlmRequest]:
    """What to ask a model: recommender turns that neither a dataset nor a sure rule has labelled (rows: of both)."""
    recommended = turns.filter(pl.col("role") == "recommender").select(_TURN)
    return questions(
        turns, mentions, recommended.join(decided(rows), on=_TURN, how="anti").sort(_TURN), load_prompt(PROMPT)
    )


def rows_from(run: LlmRun) -> pl.DataFrame:
    """ANNO_STRATEGY rows of a model's answers."""
    dialogue, turn = split_item_ids(pl.col("key"))
    answers = pl.DataFrame(
        [
            (key, answer.value["strategy"], answer.value["confidence"], answer.model, answer.is_stand_in)
            for key, answer in run.answers.items()
        ],
        schema={
            "key": pl.String,
            "strategy": pl.String,
            "confidence": pl.Float32,
            "model": pl.String,
            "is_stand_in": pl.Boolean,
        },
        orient="row",
    )
    return ANNO_STRATEGY.conform(
        answers.select(
            dialogue.alias("dialogue_id"),
            turn.alias("turn"),
            dialogue.str.extract(r"^([a-z]+)-", 1).alias("dataset"),
            "strategy",
            pl.lit(0, dtype=pl.Int32).alias("position"),
            pl.lit("llm").alias("source"),
            pl.lit(False).alias("is_chosen"),
            pl.col("confidence").clip(0, 1),
            pl.lit(PROMPT).alias("made_by"),
            pl.lit(prompt_version(PROMPT)).alias("version"),
            "model",
            "is_stand_in",
        )
    )


def still_valid(
    rows: pl.DataFrame, stored_turns: pl.DataFrame, decisions: pl.DataFrame, settled: pl.DataFrame
) -> pl.DataFrame:
    """Stored rows of a model that may be kept where no model is asked.

    rows: stored ANNO_STRATEGY rows. stored_turns: ANNO_TURNS rows of then. decisions: of `vto.annotate` now. settled: rows of
    datasets and rules now. A row stays while its turn is as it was, is open still, and the prompt is the same.
    """
    same = decisions.join(stored_turns.select(*_TURN, "input_hash"), on=[*_TURN, "input_hash"], how="semi").select(
        _TURN
    )
    asked = rows.filter((pl.col("source") == "llm") & (pl.col("version") == prompt_version(PROMPT)))
    return asked.join(same, on=_TURN, how="semi").join(decided(settled), on=_TURN, how="anti")


def settle(rows: pl.DataFrame) -> pl.DataFrame:
    """Mark in ANNO_STRATEGY rows of all sources which hold: people over the dataset over a model over rules that are sure.

    Of rules only the main strategy can hold; of people and datasets every one they give.
    """
    rank = pl.col("source").replace_strict({name: at for at, name in enumerate(PRECEDENCE)}, return_dtype=pl.Int8)
    least = pl.lit(rulebook("strategy").confidence_min, dtype=pl.Float32)
    may = (pl.col("source") != "heuristic") | ((pl.col("position") == 0) & (pl.col("confidence") >= least))
    return ANNO_STRATEGY.conform(
        rows.with_columns(pl.when(may).then(rank).alias("rank"))
        .with_columns((pl.col("rank") == pl.col("rank").min().over(_TURN)).fill_null(False).alias("is_chosen"))
        .drop("rank")
    ).sort(*_TURN, "source", "position", "made_by")

"""Turns of recommenders that name films, as examples: the films before (history) and in the turn (labels).

Repeats are marked, not dropped. Does not belong here: which mentions can be used (core_film_mentions says).
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from pipelines.preferences.rows import stable_hashes
from warehouse.tables.dialogues import DATASETS
from warehouse.tables.interactions import CORE_REC_TURNS

# To be raised by whoever changes what is made of the same turns and mentions.
REC_TURNS_VERSION = "1"

_HELD_OUT = {"test": 0, "valid": 1, "train": 2}
_TURN = ["dialogue_id", "turn"]


@dataclass(frozen=True)
class RecTurns:
    """`rows`: CORE_REC_TURNS. `elsewhere`: turns left out because their conversation stands in a dataset before theirs, by that dataset."""

    rows: pl.DataFrame
    elsewhere: dict[str, int]


def conversations(dialogues: pl.DataFrame) -> pl.DataFrame:
    """For each dialogue (of all datasets: dialogue_id, dataset, conversation_id, split) who owns its conversation, and the conversation's split.

    Columns dialogue_id, conversation_id, owner (the first of DATASETS that holds the conversation), split: held out in one dialogue is held out in all.
    """
    rank = {dataset: position for position, dataset in enumerate(DATASETS)}
    words, names = {v: k for k, v in _HELD_OUT.items()}, dict(enumerate(DATASETS))
    together = dialogues.group_by("conversation_id").agg(
        owner=pl.col("dataset").replace_strict(rank, return_dtype=pl.Int32).min(),
        split=pl.col("split").replace_strict(_HELD_OUT, return_dtype=pl.Int32).min(),
    )
    return dialogues.select("dialogue_id", "conversation_id").join(
        together.with_columns(
            owner=pl.col("owner").replace_strict(names, return_dtype=pl.String),
            split=pl.col("split").replace_strict(words, return_dtype=pl.String),
        ),
        on="conversation_id",
        how="inner",
    )


def rec_turns(turns: pl.DataFrame, mentions: pl.DataFrame, owned: pl.DataFrame) -> RecTurns:
    """The examples of some datasets.

    `turns`: dialogue_id, turn, dataset, role of core_turns. `mentions`: core_film_mentions. `owned`: what `conversations` returned.
    """
    named = (
        mentions.select(*_TURN, "start", "movie_id")
        .sort([*_TURN, "start", "movie_id"])
        .unique([*_TURN, "movie_id"], keep="first", maintain_order=True)
    )
    speaking = turns.filter(pl.col("role") == "recommender").join(named.select(_TURN).unique(), on=_TURN, how="semi")
    speaking = speaking.select(*_TURN, "dataset").join(owned, on="dialogue_id", how="inner")
    is_elsewhere = pl.col("owner") != pl.col("dataset")
    elsewhere = dict(speaking.filter(is_elsewhere).group_by("owner").len().sort("owner").iter_rows())
    kept = speaking.filter(~is_elsewhere).drop("owner").sort(_TURN)

    before = named.unique(["dialogue_id", "movie_id"], keep="first", maintain_order=True)
    pairs = kept.select(_TURN).join(before, on="dialogue_id", how="inner", suffix="_before")
    history = (
        pairs.filter(pl.col("turn_before") < pl.col("turn"))
        .sort([*_TURN, "turn_before", "start", "movie_id"])
        .group_by(_TURN, maintain_order=True)
        .agg(history="movie_id")
    )
    first_turn = before.select("dialogue_id", "movie_id", first_turn="turn")
    labels = (
        named.join(kept.select(_TURN), on=_TURN, how="semi")
        .join(first_turn, on=["dialogue_id", "movie_id"], how="left")
        .sort([*_TURN, "start", "movie_id"])
        .group_by(_TURN, maintain_order=True)
        .agg(labels="movie_id", are_repeats=pl.col("first_turn") < pl.col("turn"))
    )
    last = (
        mentions.select(*_TURN, "start", "movie_id")
        .sort([*_TURN, "start", "movie_id"])
        .unique(_TURN, keep="last", maintain_order=True)
        .select("dialogue_id", "turn", last_mentioned="movie_id")
    )
    none = pl.lit([], dtype=pl.List(pl.String))
    made = (
        kept.join(labels, on=_TURN, how="left", maintain_order="left")
        .join(history, on=_TURN, how="left", maintain_order="left")
        .with_columns(pl.col("history").fill_null(none))
        .sort("turn")
        .join_asof(
            last.sort("turn"),
            on="turn",
            by="dialogue_id",
            strategy="backward",
            allow_exact_matches=False,
            check_sortedness=False,
        )
        .sort(_TURN)
    )
    return RecTurns(CORE_REC_TURNS.conform(_with_hash(made)), {str(owner): n for owner, n in elsewhere.items()})


def _with_hash(made: pl.DataFrame) -> pl.DataFrame:
    looked_at = made.select(
        pl.concat_str(
            pl.lit(REC_TURNS_VERSION),
            "conversation_id",
            "split",
            pl.col("history").list.join(" "),
            pl.col("last_mentioned").fill_null(""),
            pl.col("labels").list.join(" "),
            separator="\x1f",
        )
    ).to_series()
    return made.with_columns(input_hash=(stable_hashes(looked_at) // 2).cast(pl.Int64))

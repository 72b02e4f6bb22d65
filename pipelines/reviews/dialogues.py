"""Dialogues as reviews: what a seeker said in the turns that name a film, with what was answered about liking it.

Does not belong here: which mentions can be used (core_film_mentions says).
"""

from __future__ import annotations

import polars as pl

from pipelines.reviews.read import REVIEWS, FileRead
from pipelines.sources.records import REJECTS

# Datasets whose workers are those of another, so that a person is one user.
_FAMILY = {"iard": "redial"}
_LIKED_FROM, _DISLIKED_TO = 0.75, 0.25


def remarks(turns: pl.DataFrame, mentions: pl.DataFrame, feedback: pl.DataFrame, items: pl.DataFrame) -> FileRead:
    """Reviews of one dataset's dialogues: one a dialogue and film that its seeker named, or said to have liked or not.

    `turns`: dialogue_id, turn, dataset, role, speaker_id, plain_text of core_turns, of the dialogues that count. `mentions`: dialogue_id, turn, movie_id of
    core_film_mentions. `feedback`: dialogue_id, side, item_id, question, value of core_feedback. `items`: item_id, movie_id of core_item_links that can be
    used. A record is a pair of dialogue and film; without a known seeker it is a reject.
    """
    seekers = turns.filter(pl.col("role") == "seeker").sort("dialogue_id", "turn")
    people = seekers.group_by("dialogue_id", maintain_order=True).agg(
        speaker=pl.col("speaker_id").drop_nulls().first(),
        dataset=pl.col("dataset").first(),
        first_turn=pl.col("turn").min(),
    )
    said = (
        seekers.join(mentions.select("dialogue_id", "turn", "movie_id").unique(), on=["dialogue_id", "turn"], how="inner")
        .sort("dialogue_id", "turn", "movie_id")
        .group_by("dialogue_id", "movie_id", maintain_order=True)
        .agg(text=pl.col("plain_text").str.join(" "), turn=pl.col("turn").min())
    )  # fmt: skip
    liked = (
        feedback.filter((pl.col("side") == "seeker") & (pl.col("question") == "liked"))
        .join(items.drop_nulls().unique("item_id", keep="first", maintain_order=True), on="item_id", how="inner")
        .group_by("dialogue_id", "movie_id")
        .agg(liked=pl.col("value").max())
    )
    pairs = said.join(liked, on=["dialogue_id", "movie_id"], how="full", coalesce=True).join(
        people, on="dialogue_id", how="inner"
    )
    # A form that the seeker left open says nothing.
    verdict = pl.when(pl.col("liked") >= _LIKED_FROM).then(True).when(pl.col("liked") <= _DISLIKED_TO).then(False)
    pairs = pairs.filter((pl.col("text").str.strip_chars() != "").fill_null(False) | verdict.is_not_null())
    placed = pairs.with_columns(
        line=pl.coalesce("turn", "first_turn").cast(pl.Int64) + 1, text=pl.col("text").fill_null("")
    ).sort("dialogue_id", "line", "movie_id")
    is_known = pl.col("speaker").is_not_null() & (pl.col("speaker") != "")
    bad = placed.filter(~is_known).select(
        "line", reason=pl.lit("nobody knows who the seeker is"), raw=pl.concat_str("dialogue_id", "movie_id", separator=" ")
    )  # fmt: skip
    family = pl.col("dataset").replace_strict(_FAMILY, default=pl.col("dataset"), return_dtype=pl.String)
    reviews = placed.filter(is_known).select(
        pl.concat_str(family, pl.lit("-"), pl.col("speaker")).alias("user"),
        pl.col("movie_id").alias("item_id"),
        pl.lit(None, dtype=pl.String).alias("headline"),
        "text",
        pl.lit(None, dtype=pl.Float32).alias("rating"),
        verdict.alias("is_positive"),
        pl.lit(None, dtype=pl.Datetime("us")).alias("reviewed_at"),
        "line",
    )
    return FileRead(reviews=reviews.cast(REVIEWS), rejects=bad.cast(REJECTS), kept=reviews.height)

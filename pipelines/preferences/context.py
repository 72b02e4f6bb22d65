"""What was said before a turn, as the messages of a chat."""

from __future__ import annotations

import polars as pl

from warehouse.tables.preferences import MESSAGES

# What a context holds at most, the latest first: more does not fit the models that are trained on it.
TURNS_MAX = 100
CHARACTERS_MAX = 16_000

_POINT = ["dialogue_id", "turn"]
SCHEMA = pl.Schema(
    {"dialogue_id": pl.String(), "turn": pl.Int32(), "context": MESSAGES, "lead": pl.String(), "lead_from": pl.Int32()}
)


def contexts(turns: pl.DataFrame, points: pl.DataFrame) -> pl.DataFrame:
    """The context of each point, a row a point that has one: dialogue_id, turn, context, lead, lead_from.

    turns: dialogue_id, turn, role, plain_text of whole dialogues. points: dialogue_id, turn.

    Turns before the point in order, seeker as `user`, recommender as `assistant`, runs of one speaker joined by line breaks, empty texts
    left out; the latest messages that fit into CHARACTERS_MAX, of a longer one its end. The context ends with the seeker; what the
    recommender has said since is the `lead`, with which an answer at this point begins (empty where there is none), and `lead_from`
    the turn with which that begins. Chat templates want both: an end with the user, and turns that alternate. Points before which the
    seeker has said nothing have no context.
    """
    wanted = points.select(pl.col("dialogue_id"), pl.col("turn").cast(pl.Int32)).unique()
    texts = turns.select("dialogue_id", said_at=pl.col("turn").cast(pl.Int32), role="role", content="plain_text")
    before = (
        wanted.with_columns(
            said_at=pl.int_ranges((pl.col("turn") - TURNS_MAX).clip(lower_bound=0), pl.col("turn"), dtype=pl.Int32)
        )
        .explode("said_at", empty_as_null=False)
        .join(texts, on=["dialogue_id", "said_at"])
        .with_columns(pl.col("content").str.strip_chars())
        .filter(pl.col("content") != "")
        .sort(*_POINT, "said_at")
    )
    changes = (pl.col("role") != pl.col("role").shift(1).over(_POINT)).fill_null(False)
    runs = (
        before.with_columns(changes.cum_sum().over(_POINT).alias("run"))
        .group_by(*_POINT, "run", maintain_order=True)
        .agg(pl.col("role").first(), pl.col("content").str.join("\n"), lead_from=pl.col("said_at").first())
        .with_columns(
            is_lead=(pl.col("role") == "recommender") & (pl.col("run") == pl.col("run").max().over(_POINT)),
        )
    )
    leads = runs.filter("is_lead").select(*_POINT, "lead_from", lead="content")
    messages = (
        runs.filter(~pl.col("is_lead"))
        .with_columns(pl.col("content").str.tail(CHARACTERS_MAX))
        .with_columns(since=pl.col("content").str.len_chars().cum_sum(reverse=True).over(_POINT))
    )
    kept = messages.filter(pl.col("since") <= CHARACTERS_MAX).select(
        *_POINT,
        message=pl.struct(
            role=pl.when(pl.col("role") == "seeker").then(pl.lit("user")).otherwise(pl.lit("assistant")),
            content="content",
        ),
    )
    built = kept.group_by(_POINT, maintain_order=True).agg(context="message")
    joined = built.join(leads, on=_POINT, how="left").with_columns(pl.col("lead").fill_null(""))
    return joined.select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items()).sort(_POINT)

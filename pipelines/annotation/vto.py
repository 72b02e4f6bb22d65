"""Virtual Tool Operations of turns: what rules give and decide, what a model is asked, and what holds in the end.

The rules are in `rules/vto.toml`, the meaning of each operation in docs/vto-codebook.md. Stages after HARPO, appendix A.4: rules, a model
for what they leave open, people over both. Does not belong here: strategies (`strategy.py`), people's sheets (`validation.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from pipelines.annotation.asking import prompt_version, questions, split_item_ids
from pipelines.annotation.context import Context, read_context
from pipelines.annotation.matching import match
from pipelines.annotation.rulebook import Rulebook, rulebook
from pipelines.gateways.llm.prompts import load_prompt
from pipelines.gateways.llm.requests import LlmRequest
from pipelines.gateways.llm.runs import LlmRun
from warehouse.tables.annotation import ANNO_TURNS, ANNO_VTO, NO_OPERATION, OPERATIONS

PROMPT = "vto"
SMALL_TALK = "small_talk"
SMALL_TALK_CONFIDENCE = 0.9

VTO_VERSION = f"{rulebook('vto').digest}-{prompt_version(PROMPT)}"

_TURN = ["dialogue_id", "turn"]


@dataclass(frozen=True)
class Heuristics:
    """What rules say.

    rows: ANNO_VTO rows of every rule that fired, decided or not; `no_operation` where a turn was decided to be small talk.
    decisions: dialogue_id, turn, dataset, is_decided, confidence, input_hash; one row a turn. `reread`: turns that rules were applied to.
    """

    rows: pl.DataFrame
    decisions: pl.DataFrame
    reread: int


@dataclass(frozen=True)
class Before:
    """An earlier annotation of some of the turns.

    rows: stored ANNO_VTO rows. turns: stored ANNO_TURNS rows. versions: what `versions()` gave then.
    """

    rows: pl.DataFrame
    turns: pl.DataFrame
    versions: Mapping[str, str]


def versions(book: Rulebook | None = None) -> dict[str, str]:
    """Version of each rule, and under `small_talk` of what decides besides them: to be kept with what they made."""
    book = book or rulebook("vto")
    return {**book.versions, SMALL_TALK: book.version}


def annotate(
    turns: pl.DataFrame, mentions: pl.DataFrame, before: Before | None = None, book: Rulebook | None = None
) -> Heuristics:
    """Apply the rules to turns.

    turns: CORE_TURNS columns dialogue_id, turn, dataset, role, text, of whole dialogues. mentions: CORE_MENTIONS rows that are
    linked and usable. With `before`, turns are kept whose text, earlier turns and mentions are as they were and which no
    changed rule touches, then or now; the result is the same as without.
    """
    book = book or rulebook("vto")
    context = read_context(turns, mentions)
    if before is None or before.versions.get(SMALL_TALK) != book.version:
        return _annotated(book, context, None)
    return _annotated(book, context, before)


def _annotated(book: Rulebook, context: Context, before: Before | None) -> Heuristics:
    now = context.turns.select(*_TURN, "dataset", "input_hash").with_row_index("row")
    if before is None:
        stale = now.select("row")
        kept_rows, kept_turns = ANNO_VTO.empty(), ANNO_TURNS.empty()
    else:
        same = now.join(before.turns.select(*_TURN, "input_hash"), on=[*_TURN, "input_hash"], how="semi")
        changed = {name for name, version in versions(book).items() if before.versions.get(name) != version}
        gone = set(before.versions) - set(versions(book))
        touched = before.rows.filter(
            (pl.col("source") == "heuristic") & pl.col("made_by").is_in(sorted(changed | gone))
        ).select(_TURN)
        fired = match(book.only(changed), context).fired.select("row").unique()
        kept = same.join(touched, on=_TURN, how="anti").join(fired, on="row", how="anti")
        stale = now.join(kept, on="row", how="anti").select("row")
        kept_rows = before.rows.filter(pl.col("source") == "heuristic").join(kept, on=_TURN, how="semi")
        kept_turns = before.turns.join(kept, on=_TURN, how="semi")
    # All turns of a dialogue are matched, for flags look back; only the stale ones are taken over.
    dialogues = now.join(stale, on="row", how="semi")["dialogue_id"].unique()
    matches = match(book, context.part(dialogues))
    part = context.part(dialogues).turns.with_row_index("row").with_columns(matches.words_left)
    part = part.join(now.join(stale, on="row", how="semi").select(_TURN), on=_TURN, how="semi", maintain_order="left")
    fired = matches.fired.join(part.select("row", *_TURN, "dataset"), on="row")
    by_label = fired.group_by("row", "label").agg(pl.col("confidence").max())
    summary = by_label.group_by("row").agg(pl.col("confidence").min())
    decisions = part.join(summary, on="row", how="left", maintain_order="left").with_columns(
        pl.col("confidence").is_null().alias("is_silent"),
        pl.col("confidence").fill_null(SMALL_TALK_CONFIDENCE).cast(pl.Float32),
    )
    # Where no rule has fired, every word must be small talk.
    most = pl.when("is_silent").then(0).otherwise(book.words_left_max)
    decisions = decisions.with_columns(
        ((pl.col("confidence") >= book.confidence_min) & (pl.col("words_left") <= most)).alias("is_decided")
    )
    silent = decisions.filter("is_decided", "is_silent").select(
        *_TURN,
        "dataset",
        pl.lit(NO_OPERATION).alias("label"),
        pl.lit(SMALL_TALK).alias("rule"),
        pl.lit(book.version).alias("version"),
        "confidence",
    )
    spoken = fired.select(*_TURN, "dataset", "label", "rule", "version", "confidence")
    rows = _heuristic_rows(pl.concat([spoken, silent]))
    kept_decisions = kept_turns.select(
        *_TURN,
        "dataset",
        pl.col("rule_confidence").is_not_null().alias("is_decided"),
        pl.col("rule_confidence").fill_null(0.0).alias("confidence"),
        "input_hash",
    )
    fresh = decisions.select(
        *_TURN,
        "dataset",
        "is_decided",
        pl.when("is_decided").then("confidence").otherwise(0.0).cast(pl.Float32).alias("confidence"),
        "input_hash",
    )
    return Heuristics(
        pl.concat([ANNO_VTO.conform(kept_rows), rows]).sort(*_TURN, "position", "made_by"),
        pl.concat([kept_decisions.cast({"confidence": pl.Float32}), fresh]).sort(_TURN),
        fresh.height,
    )


def _heuristic_rows(spoken: pl.DataFrame) -> pl.DataFrame:
    """ANNO_VTO rows. The sequence is the taxonomy's: operations in the order in which they build on each other."""
    order = pl.DataFrame({"label": [*OPERATIONS, NO_OPERATION], "rank": range(len(OPERATIONS) + 1)})
    ranked = spoken.join(order, on="label", how="left", maintain_order="left")
    return ANNO_VTO.conform(
        ranked.select(
            *_TURN,
            "dataset",
            pl.col("label").alias("operation"),
            (pl.col("rank").rank("dense").over(_TURN) - 1).cast(pl.Int32).alias("position"),
            pl.lit("heuristic").alias("source"),
            "confidence",
            pl.col("rule").alias("made_by"),
            "version",
            pl.lit(None, dtype=pl.String).alias("model"),
            pl.lit(False).alias("is_stand_in"),
        )
    )


def requests(turns: pl.DataFrame, mentions: pl.DataFrame, decisions: pl.DataFrame) -> list[LlmRequest]:
    """What to ask a model: one request for each turn that the rules leave open; keys are `dialogue_id#turn`."""
    return questions(turns, mentions, decisions.filter(~pl.col("is_decided")).sort(_TURN), load_prompt(PROMPT))


def rows_from(run: LlmRun) -> pl.DataFrame:
    """ANNO_VTO rows of a model's answers: repeated operations once, in the order given; none is `no_operation`."""
    answers = pl.DataFrame(
        [
            (
                key,
                answer.value["operations"] or [NO_OPERATION],
                answer.value["confidence"],
                answer.model,
                answer.is_stand_in,
            )
            for key, answer in run.answers.items()
        ],
        schema={
            "key": pl.String,
            "operation": pl.List(pl.String),
            "confidence": pl.Float32,
            "model": pl.String,
            "is_stand_in": pl.Boolean,
        },
        orient="row",
    )
    dialogue, turn = split_item_ids(pl.col("key"))
    rows = answers.with_columns(pl.col("operation").list.unique(maintain_order=True)).select(
        dialogue.alias("dialogue_id"),
        turn.alias("turn"),
        "operation",
        pl.int_ranges(pl.col("operation").list.len(), dtype=pl.Int32).alias("position"),
        pl.col("confidence").clip(0, 1),
        "model",
        "is_stand_in",
    )
    return ANNO_VTO.conform(
        rows.explode("operation", "position", empty_as_null=False).with_columns(
            pl.col("dialogue_id").str.extract(r"^([a-z]+)-", 1).alias("dataset"),
            pl.lit("llm").alias("source"),
            pl.lit(PROMPT).alias("made_by"),
            pl.lit(prompt_version(PROMPT)).alias("version"),
        )
    )


def still_valid(rows: pl.DataFrame, stored_turns: pl.DataFrame, decisions: pl.DataFrame) -> pl.DataFrame:
    """Stored rows of a model that may be kept where no model is asked: the turn is open and as it was then."""
    unchanged = decisions.filter(~pl.col("is_decided")).join(
        stored_turns.select(*_TURN, "input_hash"), on=[*_TURN, "input_hash"], how="semi"
    )
    asked = (pl.col("source") == "llm") & (pl.col("version") == prompt_version(PROMPT))
    return rows.filter(asked).join(unchanged, on=_TURN, how="semi")


def settle(decisions: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """What holds for each turn: ANNO_TURNS rows.

    decisions: of `annotate`. rows: ANNO_VTO rows of all sources. People win; a model speaks where the rules abstain; a turn
    that nobody decided is open. Where several operations are from one source, their order is its order.
    """
    precedence = pl.col("source").replace_strict({"human": 0, "heuristic": 1, "llm": 2}, return_dtype=pl.Int8)
    known = rows.join(decisions.select(*_TURN, "is_decided"), on=_TURN)
    speaking = known.filter(
        (pl.col("source") == "human")
        | ((pl.col("source") == "heuristic") & pl.col("is_decided"))
        | ((pl.col("source") == "llm") & ~pl.col("is_decided"))
    ).with_columns(precedence.alias("precedence"))
    first = speaking.filter(pl.col("precedence") == pl.col("precedence").min().over(_TURN))
    by_operation = first.group_by(*_TURN, "source", "operation").agg(
        pl.col("position").min(), pl.col("confidence").max(), pl.col("is_stand_in").any()
    )
    rank = pl.col("operation").replace_strict(
        {name: at for at, name in enumerate((*OPERATIONS, NO_OPERATION))}, return_dtype=pl.Int32
    )
    held = (
        by_operation.sort(*_TURN, "position", rank)
        .group_by(*_TURN, "source", maintain_order=True)
        .agg(
            pl.col("operation").filter(pl.col("operation") != NO_OPERATION).alias("operations"),
            pl.col("confidence").min(),
            pl.col("is_stand_in").any(),
        )
    )
    settled = decisions.rename({"confidence": "sureness"}).join(held, on=_TURN, how="left", maintain_order="left")
    return ANNO_TURNS.conform(
        settled.select(
            *_TURN,
            "dataset",
            pl.col("source").alias("decided_by"),
            pl.col("operations").fill_null([]),
            pl.col("confidence").fill_null(0.0),
            pl.col("is_stand_in").fill_null(False),
            pl.when("is_decided").then("sureness").alias("rule_confidence"),
            "input_hash",
        )
    )

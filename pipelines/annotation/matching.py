"""Applying a rulebook to turns: which rule fires where, and whether anything of the turn is left unexplained.

Whole columns at a time: each rule is a few expressions over all clauses. Does not belong here: what is done with it
(`vto.py`, `strategy.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from pipelines.annotation.context import NAME, TITLE, Context
from pipelines.annotation.rulebook import Flag, Rule, Rulebook, check_patterns
from warehouse.tables.dialogues import ROLES

_QUESTION_WORD = r"^(?:and |so |oh |ok |okay |hmm+ |well |yes |no )?(?:who|what|when|where|why|which|how|is|are|was|were|do|does|did|can|could|will|would|should|has|have you|any)\b"


@dataclass(frozen=True)
class Matches:
    """What a rulebook finds in turns.

    fired: row (of context.turns), rule (name), label, confidence, version. words_left: one number for each turn, the words
    that neither a rule that fired nor small talk accounts for; an unexplained question mark counts as a word.
    """

    fired: pl.DataFrame
    words_left: pl.Series


def match(book: Rulebook, context: Context) -> Matches:
    """Apply all rules of `book`. Raises RuleError for a pattern that is no regular expression."""
    check_patterns(book)
    turns, clauses = context.turns, context.clauses
    text = clauses["clause"]
    row = clauses["row"]
    role = turns["role"].gather(row)
    is_question = text.str.contains(r"\?$|" + _QUESTION_WORD)
    flags = {flag.name: holds for flag, holds in zip(book.flags, _flags(book.flags, context), strict=True)}
    left = text
    has_fired = pl.Series([False], dtype=pl.Boolean).new_from_index(0, len(text))
    fired: list[pl.DataFrame] = []
    for rule in book.rules:
        fits = _fitting(rule, turns, flags)
        if rule.patterns:
            hit = fits.gather(row) & text.str.contains(_union(rule.patterns))
            if rule.unless:
                hit &= ~text.str.contains(_union(rule.unless))
            if rule.is_question is not None:
                hit &= is_question == rule.is_question
            rows = row.filter(hit).unique()
            if rows.is_empty():
                continue
            removed = left.filter(hit)
            for pattern in (*rule.patterns, *rule.covers):
                removed = removed.str.replace_all(_whole(pattern), " ")
            left = _put(left, hit, removed)
            has_fired |= hit
        else:
            rows = turns.select(pl.arg_where(fits)).to_series()
            if rule.covers:
                hit = fits.gather(row)
                left = _put(left, hit, left.filter(hit).str.replace_all(_whole(_union(rule.covers)), " "))
        fired.append(
            pl.DataFrame({"row": rows.cast(pl.UInt32)}).with_columns(
                pl.lit(rule.name).alias("rule"),
                pl.lit(rule.label).alias("label"),
                pl.lit(rule.confidence, dtype=pl.Float32).alias("confidence"),
                pl.lit(rule.version).alias("version"),
            )
        )
    return Matches(
        pl.concat(fired) if fired else _nothing(),
        _counted(_unexplained(book, role, left, has_fired), row, turns.height),
    )


def _fitting(rule: Rule, turns: pl.DataFrame, flags: dict[str, pl.Series]) -> pl.Series:
    """Whether each turn meets the rule's conditions, its patterns aside."""
    fits = turns.select(pl.lit(True) if rule.role == "any" else pl.col("role") == rule.role).to_series()
    fits = fits if len(fits) == turns.height else fits.new_from_index(0, turns.height)
    for name, least in rule.at_least.items():
        fits &= turns[name] >= least
    for name, most in rule.at_most.items():
        fits &= turns[name] <= most
    for name in rule.needs:
        fits &= flags[name]
    for name in rule.forbids:
        fits &= ~flags[name]
    if rule.needs_any:
        some = flags[rule.needs_any[0]]
        for name in rule.needs_any[1:]:
            some |= flags[name]
        fits &= some
    return fits


def _flags(flags: Iterable[Flag], context: Context) -> list[pl.Series]:
    """Each flag, for each turn."""
    turns, clauses = context.turns, context.clauses
    run = ["dialogue_id", "run"]
    found = []
    for flag in flags:
        own = pl.Series([False]).new_from_index(0, turns.height) if turns.height else pl.Series([], dtype=pl.Boolean)
        if flag.patterns:
            hit = clauses["clause"].str.contains(_union(flag.patterns))
            if flag.unless:
                hit &= ~clauses["clause"].str.contains(_union(flag.unless))
            own = pl.int_range(turns.height, dtype=pl.UInt32, eager=True).is_in(clauses["row"].filter(hit).implode())
        if flag.titles is not None:
            own |= turns["titles"] >= flag.titles
        frame = turns.select("dialogue_id", "run", "role", own.alias("own"))
        if flag.of == "previous":
            runs = frame.group_by(run, maintain_order=True).agg(pl.col("own").any())
            runs = runs.with_columns(pl.col("run") + 1)
            holds = frame.drop("own").join(runs, on=run, how="left", maintain_order="left")["own"].fill_null(False)
        else:
            over = run if flag.of == "same_run" else ["dialogue_id"]
            speaker = {"earlier_seeker": "seeker", "earlier_recommender": "recommender"}.get(flag.of)
            counted = pl.col("own") if speaker is None else pl.col("own") & (pl.col("role") == speaker)
            number = counted.cast(pl.Int32)
            holds = frame.select((number.cum_sum().over(over) - number) > 0).to_series()
        found.append(holds)
    return found


def _unexplained(book: Rulebook, role: pl.Series, left: pl.Series, has_fired: pl.Series) -> pl.Series:
    """What of each clause neither a rule that fired (`left`: without what rules matched) nor small talk accounts for."""
    plain, is_explained = left, has_fired
    # What only one of them says is longer: it goes before the short words that anybody says.
    for speaker in (*ROLES, "any"):
        if patterns := book.small_talk[speaker]:
            without = plain.str.replace_all(_whole(_union(patterns)), " ")
            is_spoken = role == speaker if speaker != "any" else role.is_not_null()
            is_explained |= is_spoken & (plain != without)
            plain = without.zip_with(is_spoken, plain)
    plain = _without(plain, (*book.words["always"], TITLE, NAME))
    plain = _without(plain, book.words["recommender"]).zip_with(role == "recommender", plain)
    plain = _without(plain, book.words["beside_rules"]).zip_with(has_fired, plain)
    return plain.str.replace_all(r"\?", " ").zip_with(is_explained, plain)


def _counted(unexplained: pl.Series, row: pl.Series, height: int) -> pl.Series:
    """Words of each turn that nothing accounts for; a question mark counts as one."""
    number = unexplained.str.count_matches(r"[\p{L}\p{N}'’]+|\?")
    sums = pl.DataFrame({"row": row, "left": number}).group_by("row").agg(pl.col("left").sum().cast(pl.Int32))
    every = pl.DataFrame({"row": pl.int_range(height, dtype=pl.UInt32, eager=True)})
    return every.join(sums, on="row", how="left", maintain_order="left")["left"].fill_null(0).alias("words_left")


def _without(texts: pl.Series, words: Iterable[str]) -> pl.Series:
    """Texts with whole words taken out."""
    return texts.str.replace_all(rf"\b(?:{'|'.join(words)})\b", " ")


def _union(patterns: Iterable[str]) -> str:
    return "|".join(f"(?:{each})" for each in patterns)


def _whole(pattern: str) -> str:
    """`pattern` where it matches whole words: what is taken out must not leave half a word."""
    return rf"(?:^|\b)(?:{pattern})(?:\b|$)"


def _put(column: pl.Series, where: pl.Series, values: pl.Series) -> pl.Series:
    """`column` with `values` in the places that `where` marks."""
    places = pl.select(pl.arg_where(where)).to_series()
    return (
        pl.DataFrame({"at": pl.int_range(len(column), dtype=pl.UInt32, eager=True), "old": column})
        .join(pl.DataFrame({"at": places.cast(pl.UInt32), "new": values}), on="at", how="left", maintain_order="left")
        .select(pl.coalesce("new", "old"))
        .to_series()
    )


def _nothing() -> pl.DataFrame:
    return pl.DataFrame(
        schema={"row": pl.UInt32, "rule": pl.String, "label": pl.String, "confidence": pl.Float32, "version": pl.String}
    )

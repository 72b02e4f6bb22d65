"""Titles, names and plots made from the grammars of words.toml.

Belongs here: filling patterns with drawn words, for whole columns at a time.
Does not belong here: which film gets which title (`world.py`) and how catalogues garble it (`noise.py`).
"""

from __future__ import annotations

import re

import numpy as np
import polars as pl

from pipelines.synth.draw import Stream, pick, positions
from pipelines.synth.words import Culture, Numbers, concepts, cultures, english_patterns, lists

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_INITIALS = [f"{letter}." for letter in "ABCDEFGHJKLMNPRSTW"]


def last_names(random: Stream, n: int, culture: Culture) -> pl.Series:
    """Draw `n` surnames of a culture."""
    start, end = pick(random, n, culture.last_start), pick(random, n, culture.last_end)
    # Three equal letters where the halves meet read as a slip.
    return pl.select(pl.concat_str(start, end).str.replace(r"(?i)(ll|ss|nn|tt)[lsnt]", "$1").alias("last"))["last"]


def full_names(random: Stream, n: int, culture: Culture) -> pl.Series:
    """Draw `n` names of people, a few with a middle initial."""
    first, last = pick(random, n, culture.first), last_names(random, n, culture)
    middle = pick(random, n, _INITIALS)
    has_middle = pl.Series(random.random(n) < (0.12 if culture.name == "en" else 0.0))
    return pl.select(
        pl.when(has_middle)
        .then(pl.concat_str(first, middle, last, separator=" "))
        .otherwise(pl.concat_str(first, last, separator=" "))
        .alias("name")
    )["name"]


def filled(pattern: str, n: int, words: dict[str, pl.Series]) -> pl.Series:
    """`pattern` with every `{name}` replaced by the column `words[name]` [n]."""
    parts: list[pl.Expr] = []
    for i, piece in enumerate(_PLACEHOLDER.split(pattern)):
        if i % 2:
            parts.append(pl.lit(words[piece]))
        elif piece:
            parts.append(pl.lit(piece))
    return pl.select(pl.repeat("", n).alias("_"), pl.concat_str(parts).alias("text"))["text"]


def english_titles(random: Stream, n: int) -> pl.Series:
    """Draw `n` English titles; they repeat now and then."""
    english = cultures()[0]
    kinds = positions(random, n, [weight for weight, _ in english_patterns()])
    parts, rows = [], []
    for kind, (_, pattern) in enumerate(english_patterns()):
        where = np.flatnonzero(kinds == kind)
        if not len(where):
            continue
        text = pattern
        words: dict[str, pl.Series] = {}
        # Every occurrence draws its own word: {noun} and {noun} must not be the same column.
        for turn, name in enumerate(_PLACEHOLDER.findall(pattern)):
            text = text.replace("{" + name + "}", "{" + f"word{turn}" + "}", 1)
            words[f"word{turn}"] = _draw_words(random, len(where), name, english)
        parts.append(filled(text, len(where), words))
        rows.append(where)
    order = np.argsort(np.concatenate(rows), kind="stable")
    titles = pl.concat(parts).gather(order)
    return pl.select(titles.str.replace(r"^A ([AEIOU])", "An $1").alias("title"))["title"]


def _draw_words(random: Stream, n: int, name: str, culture: Culture) -> pl.Series:
    if name == "first":
        return pick(random, n, culture.first)
    if name == "last":
        return last_names(random, n, culture)
    if name == "year":
        return pl.Series(random.integers(1850, 2090, n).astype(str))
    return pick(random, n, lists()[name])


def foreign_titles(random: Stream, n: int, culture: Culture) -> pl.DataFrame:
    """Draw `n` titles in a culture's language: `latin` letters, own `script` (null where that is Latin),
    `english`.
    """
    kinds = random.integers(0, len(culture.patterns), n)
    parts = []
    for kind, (latin, english) in enumerate(culture.patterns):
        where = np.flatnonzero(kinds == kind)
        m = len(where)
        if not m:
            continue
        chosen = _three_concepts(random, m)
        first, place = pick(random, m, culture.first), pick(random, m, lists()["place"])
        shared = {"first": first, "place": place}
        latin_column = f"{culture.name}_latin" if culture.script else culture.name
        parts.append(
            pl.DataFrame(
                {
                    "row": where,
                    "latin": filled(latin, m, shared | _spelled(chosen, latin_column, "")),
                    "script": filled(culture.script[kind], m, shared | _spelled(chosen, culture.name, ""))
                    if culture.script
                    else pl.Series([None] * m, dtype=pl.String),
                    "english": filled(english, m, shared | _spelled(chosen, "en", "The ")),
                }
            )
        )
    return pl.concat(parts).sort("row").drop("row")


def _three_concepts(random: Stream, n: int) -> Numbers:
    """Three different concepts a row [n, 3]."""
    k = concepts().height
    first = random.integers(0, k, n)
    second = (first + random.integers(1, k // 2, n)) % k
    third = (second + random.integers(1, k // 2, n)) % k
    return np.stack([first, second, third], axis=1)


def _spelled(chosen: Numbers, column: str, article: str) -> dict[str, pl.Series]:
    """The chosen concepts as `1`.. (with article), `n1`.. (its first letter lower) and `c1`.. (without
    article).
    """
    bare = concepts()[column]
    written = pl.select((pl.lit(article) + bare).alias("w"))["w"]
    lower = pl.select((written.str.head(1).str.to_lowercase() + written.str.slice(1)).alias("w"))["w"]
    spelled: dict[str, pl.Series] = {}
    for i in range(3):
        at = chosen[:, i]
        spelled |= {
            f"{i + 1}": written.gather(at),
            f"n{i + 1}": lower.gather(at),
            f"c{i + 1}": bare.gather(at),
        }
    return spelled


def plots(random: Stream, n: int) -> pl.Series:
    """Draw `n` plots of one or two sentences."""
    words = {name: pick(random, n, lists()[name]) for name in ("role", "deed", "setting", "turn")}
    words["role"] = pl.select((words["role"].str.head(1).str.to_uppercase() + words["role"].str.slice(1)).alias("w"))[
        "w"
    ]
    plain = filled("{role} {deed} {setting}.", n, words)
    turned = filled("{role} {deed} {setting}. {turn}", n, words)
    return pl.select(pl.when(pl.Series(random.random(n) < 0.4)).then(plain).otherwise(turned).alias("plot"))["plot"]

"""Word lists, name grammars and facts of real films, read from the data files beside this module.

Belongs here: loading and shaping `words.toml`, `concepts.tsv` and `films.tsv`.
Does not belong here: drawing from them.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy.typing as npt
import polars as pl

Numbers = npt.NDArray[Any]
HERE = Path(__file__).parent
LISTS = ("directors", "cast", "genres", "languages", "countries", "aliases")


@dataclass(frozen=True)
class Culture:
    """Where a film comes from: its share of all films, and how people and titles are named there.

    `patterns` pairs a title pattern in the language with its English counterpart; `script` holds the same
    patterns in the language's own script, where that is not Latin.
    """

    name: str
    share: float
    language: str
    countries: dict[str, float]
    first: list[str]
    last_start: list[str]
    last_end: list[str]
    patterns: list[tuple[str, str]]
    script: list[str]


def _split(text: str) -> list[str]:
    separator = "|" if "|" in text else None
    return [word.strip() for word in text.replace("\n", " ").split(separator)]


@cache
def _words() -> dict[str, Any]:
    return tomllib.loads((HERE / "words.toml").read_text(encoding="utf-8"))


@cache
def lists() -> dict[str, list[str]]:
    """Word lists by name."""
    return {name: _split(text) for name, text in _words()["lists"].items()}


@cache
def english_patterns() -> list[tuple[float, str]]:
    """Weight and pattern of every kind of English title."""
    return [(p["weight"], p["pattern"]) for p in _words()["english"]["patterns"]]


@cache
def cultures() -> list[Culture]:
    """Every culture, English first."""
    return [
        Culture(
            name=name,
            share=c["share"],
            language=c["language"],
            countries=c["countries"],
            first=_split(c["first"]),
            last_start=_split(c["last_start"]),
            last_end=_split(c["last_end"]),
            patterns=[(p[0], p[1]) for p in c.get("patterns", [])],
            script=[p[0] for p in c.get("script", [])],
        )
        for name, c in _words()["culture"].items()
    ]


@cache
def facts(name: str) -> dict[str, Any]:
    """One table of [facts]: genre weights, or what a catalogue calls a genre, language or country."""
    return _words()["facts"][name]


@cache
def concepts() -> pl.DataFrame:
    """Nouns with their translations: one column a language, plus `ja_latin` and `ru_latin`."""
    return pl.read_csv(HERE / "concepts.tsv", separator="\t", quote_char=None, comment_prefix="#", infer_schema=False)


@cache
def real_films() -> pl.DataFrame:
    """Facts of real films (and plots written for this project): one row a film, sorted by year and title."""
    frame = pl.read_csv(HERE / "films.tsv", separator="\t", quote_char=None, comment_prefix="#", infer_schema=False)
    empty = pl.lit([], dtype=pl.List(pl.String))
    return frame.with_columns(
        pl.col("year", "runtime_min").cast(pl.Int32),
        pl.col("tmdb_id", "movielens_id").cast(pl.Int64),
        *(
            pl.when(pl.col(name).fill_null("") == "").then(empty).otherwise(pl.col(name).str.split("|")).alias(name)
            for name in LISTS
        ),
    )

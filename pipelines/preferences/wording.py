"""Reading wording.toml: the rules that take films out of a text, and phrases."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import polars as pl

from pipelines.preferences.places import SLOT

# A list of slots, while the rules run.
LIST = "\x03"
NOUN = (
    "(?:(?:[a-z-]+ )?(?:movies?|films?|flicks?|comed(?:y|ies)|thrillers?|dramas?|documentar(?:y|ies)|cartoons?|musicals?|westerns?|"
    "classics?|sequels?|series))"
)
WORDS_MIN = 3
_PHRASE = re.compile("<(one|several|any)>")


@dataclass(frozen=True)
class Rule:
    """One rule: `find` is a pattern of Rust's `regex`, `put` what it leaves."""

    why: str
    find: str
    put: str


@dataclass(frozen=True)
class Wording:
    """Content of wording.toml."""

    version: str
    rules: tuple[Rule, ...]
    phrases: dict[str, tuple[str, ...]]
    neutral: tuple[str, ...]
    suggestions: tuple[str, ...]


@cache
def wording() -> Wording:
    """The wording as shipped. Raises ValueError for a suggestion without its title."""
    stated = tomllib.loads((files("pipelines.preferences") / "wording.toml").read_text("utf-8"))
    rules = tuple(Rule(each["why"], _pattern(each["find"]), _result(each["put"])) for each in stated["rule"])
    suggestions = tuple(stated["suggestions"])
    if any(each.count("{title}") != 1 for each in suggestions):
        raise ValueError("wording.toml: every suggestion holds {title} once")
    phrases = {name: tuple(stated[name]) for name in ("one", "several", "any")}
    return Wording(stated["version"], rules, phrases, tuple(stated["neutral"]), suggestions)


def _pattern(text: str) -> str:
    for name, meaning in {"<X>": f"[{SLOT}{LIST}]", "<F>": SLOT, "<L>": LIST, "<NOUN>": NOUN}.items():
        text = text.replace(name, meaning)
    return f"(?i){text}"


def _result(text: str) -> str:
    # `$1s` would be a group of that name.
    return re.sub(r"\$(\d)", r"${\1}", text).replace("<F>", SLOT).replace("<L>", LIST)


def chosen_of(phrases: tuple[str, ...], at: pl.Expr) -> pl.Expr:
    """One of `phrases` a row, by the number `at` [UInt64]."""
    picked = (at % len(phrases)).cast(pl.Int64)
    return picked.replace_strict(list(range(len(phrases))), list(phrases), return_dtype=pl.String)


def without_films(texts: pl.Series, at: pl.Series) -> pl.Series:
    """Each text without the films in its slots [n].

    `at` [n, UInt64] chooses among phrases. Where fewer than three words are left, a sentence that names no film stands instead. A text
    begins with a capital where it did.
    """
    stated = wording()
    text, number = pl.col("text"), pl.col("at")
    frame = pl.DataFrame({"text": texts, "at": at, "before": texts})
    for rule in stated.rules:
        name = next(iter(_PHRASE.findall(rule.put)), None)
        if name is None:
            changed = text.str.replace_all(rule.find, rule.put)
        else:
            changed = text
            phrases = stated.phrases[name]
            for place, phrase in enumerate(phrases):
                replaced = text.str.replace_all(rule.find, rule.put.replace(f"<{name}>", phrase))
                changed = pl.when(number % len(phrases) == place).then(replaced).otherwise(changed)
        # A rule looks twice: matches that share a word do not both count the first time.
        frame = frame.with_columns(text=changed).with_columns(text=changed)
    is_capital = pl.col("before").str.contains(rf"^[^\p{{L}}{SLOT}]*\p{{Lu}}|^[^\p{{L}}]*{SLOT}")
    capital = pl.concat_str(text.str.slice(0, 1).str.to_uppercase(), text.str.slice(1))
    frame = frame.with_columns(text=pl.when(is_capital).then(capital).otherwise(text))
    is_enough = text.str.count_matches(r"[\p{L}\p{N}]['’\p{L}\p{N}]*") >= WORDS_MIN
    return frame.select(pl.when(is_enough).then(text).otherwise(chosen_of(stated.neutral, number)))["text"].alias(
        "without"
    )

"""What the stand-in answers to the annotation prompts: a guess by the project's own rules, with less to be sure of.

It sees what a model would see, the request's data, and nothing else: titles and names are guessed from capitals, conditions on numbers
of known films are left out. It is no model, and its answers are marked as its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from pipelines.annotation.rulebook import Flag, Rule, Rulebook, rulebook
from warehouse.tables.annotation import OPERATIONS

CONFIDENCE_SHARE = 0.7
MOST_OPERATIONS = 6

# A longer turn that no rule speaks to is hardly small talk; what it is is a guess.
WORDS_OF_SMALL_TALK = 8
GUESS = 0.4

_TITLE_WITH_YEAR = re.compile(
    r"(?:\b[A-Z0-9][\w'’:&.-]*[ ,]+(?:(?:of|the|a|and|in|to|for|on) +)*)*[A-Z0-9][\w'’:&.!-]* *\(\d{4}\)"
)
_NAMES = re.compile(r"(?<=[a-z,] )[A-Z][a-z'’-]+(?: [A-Z][\w'’-]+)*|\b[A-Z][a-z'’-]+(?: [A-Z][a-z][\w'’-]*)+")
_CLAUSES = re.compile(r"(?<=\?)|[.!;:\n]+|,? (?:but|although|though|however) ")
_SPELLINGS = (("’", "'"), ("won't", "will not"), ("can't", "can not"), ("n't", " not"), ("'ve", " have"), ("'ll", " will"), ("i'm", "i am"),
              ("'re", " are"), ("'d ", " would "), ("it's", "it is"), ("that's", "that is"), ("what's", "what is"), ("who's", "who is"),
              ("films", "movie"), ("film", "movie"), ("movies", "movie"), ("favourite", "favorite"), ("sci-fi", "scifi"))  # fmt: skip
_LONGEST = 2_000


def annotate_vto(data: Mapping[str, Any], temperature: float) -> dict[str, Any]:
    """Operations for a turn: those of every rule whose patterns match."""
    found = {rule.label: rule.confidence for rule in sorted(_fired("vto", data), key=lambda rule: rule.confidence)}
    kept = sorted(found, key=lambda label: -found[label])[:MOST_OPERATIONS]
    if not kept and len(data["turn"]["text"].split()) > WORDS_OF_SMALL_TALK:
        is_question, is_seeker = "?" in data["turn"]["text"], data["turn"]["speaker"] == "seeker"
        kept = ["query_knowledge"] if is_question == is_seeker else ["model_user_state"]
        found = dict.fromkeys(kept, GUESS)
    sure = min((found[label] for label in kept), default=0.8)
    return {"operations": sorted(kept, key=OPERATIONS.index), "confidence": round(sure * CONFIDENCE_SHARE, 3)}


def annotate_strategy(data: Mapping[str, Any], temperature: float) -> dict[str, Any]:
    """The strategy of the surest rule that matches; no_strategy without one."""
    fired = sorted(_fired("strategy", data), key=lambda rule: -rule.confidence)
    label, sure = (fired[0].label, fired[0].confidence) if fired else ("no_strategy", 0.4)
    return {"strategy": label, "confidence": round(sure * CONFIDENCE_SHARE, 3)}


ANSWERERS: dict[str, Callable[[Mapping[str, Any], float], object]] = {
    "vto": annotate_vto,
    "strategy": annotate_strategy,
}


def _fired(book: str, data: Mapping[str, Any]) -> list[Rule]:
    """Rules of a book that match the request's turn."""
    turn = data["turn"]
    before = [(each["speaker"], _clauses(each["text"])) for each in data["earlier_turns"]]
    clauses = _clauses(turn["text"])
    titles = max(sum(clause.count("xtitlex") for clause in clauses), int(data["items_recognised_in_turn"]))
    flags = {flag.name for flag in rulebook(book).flags if _holds(flag, turn["speaker"], before)}
    return [
        rule
        for rule in rulebook(book).rules
        if rule.role in ("any", turn["speaker"]) and _fits(book, rule, clauses, titles, flags)
    ]


def _fits(book: str, rule: Rule, clauses: list[str], titles: int, flags: set[str]) -> bool:
    if not flags.issuperset(rule.needs) or flags.intersection(rule.forbids):
        return False
    if rule.needs_any and not flags.intersection(rule.needs_any):
        return False
    least = max((number for name, number in rule.at_least.items() if name.endswith("titles")), default=0)
    most = min((number for name, number in rule.at_most.items() if name.endswith("titles")), default=titles)
    if not least <= titles <= most:
        return False
    if not rule.patterns:
        return True
    wanted, unless = _compiled(book)[rule.name]
    return any(wanted.search(clause) and not (unless and unless.search(clause)) for clause in clauses)


def _holds(flag: Flag, speaker: str, before: list[tuple[str, list[str]]]) -> bool:
    """Whether a flag holds, of what the request tells of earlier turns."""
    if flag.of == "previous":
        others = [at for at, (who, _) in enumerate(before) if who != speaker]
        last = others[-1] + 1 if others else 0
        first = max((at + 1 for at, (who, _) in enumerate(before[:last]) if who == speaker), default=0)
        heard = before[first:last]
    elif flag.of == "same_run":
        since = max((at + 1 for at, (who, _) in enumerate(before) if who != speaker), default=0)
        heard = before[since:]
    else:
        heard = [each for each in before if each[0] == flag.of.removeprefix("earlier_")]
    clauses = [clause for _, said in heard for clause in said]
    if flag.titles is not None and any("xtitlex" in clause for clause in clauses):
        return True
    wanted, unless = _searches(flag.patterns), _searches(flag.unless)
    if wanted is None:
        return False
    return any(wanted.search(clause) and not (unless and unless.search(clause)) for clause in clauses)


def _clauses(text: str) -> list[str]:
    read = _NAMES.sub("xnamex", _TITLE_WITH_YEAR.sub("xtitlex", text[:_LONGEST])).lower()
    for written, spelling in _SPELLINGS:
        read = read.replace(written, spelling)
    return [
        clause for part in _CLAUSES.split(read) if (clause := " ".join(part.replace("?", " ?").split()).strip(" ,"))
    ]


@cache
def _searches(patterns: tuple[str, ...]) -> re.Pattern[str] | None:
    return re.compile("|".join(f"(?:{each})" for each in patterns)) if patterns else None


@cache
def _compiled(book: str) -> dict[str, tuple[re.Pattern[str], re.Pattern[str] | None]]:
    rules: Rulebook = rulebook(book)
    return {rule.name: (wanted, _searches(rule.unless)) for rule in rules.rules if (wanted := _searches(rule.patterns))}

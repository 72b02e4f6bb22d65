"""Rule files: reading them, checking them, and the digests that say which version of a rule gave a row.

A rule file is TOML (`rules/vto.toml`, `rules/strategy.toml`). Does not belong here: applying rules (`matching.py`), and the
rules themselves.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

from warehouse.tables.dialogues import ROLES

Role = Literal["seeker", "recommender", "any"]

# Raised when the code that applies rules changes what a rule gives.
MATCHING_VERSION = "1"

# Numbers of a turn that a rule may bound; see `context.py`.
COUNTS = ("titles", "names", "new_titles", "proposed_titles", "turn", "words")

_FLAG_SCOPES = ("previous", "earlier_seeker", "earlier_recommender", "same_run")
_RULE_KEYS = {
    "name", "label", "role", "patterns", "unless", "covers", "is_question", "at_least", "at_most", "needs", "needs_any",
    "forbids", "confidence", "why",
}  # fmt: skip
_FLAG_KEYS = {"name", "of", "patterns", "unless", "titles", "why"}
_WORDS = ("always", "recommender", "beside_rules")
_MACRO = re.compile(r"\{([a-z_]+)\}")


class RuleError(ValueError):
    """A rule file is wrong; the message names the file, the rule and the key."""


@dataclass(frozen=True)
class Flag:
    """Something about what was said before a turn.

    `of`: `previous`, the other speaker's last run of turns; `same_run`, this speaker's turns since; `earlier_seeker` and
    `earlier_recommender`, any earlier turn of that role. It holds where a clause there matches, or has that many titles.
    """

    name: str
    of: str
    patterns: tuple[str, ...]
    unless: tuple[str, ...]
    titles: int | None


@dataclass(frozen=True)
class Rule:
    """One rule: what must be true of a turn, and in one of its clauses, for it to give its label.

    `patterns` and `unless` are tried on each clause (lower case, titles and names masked, see `context.py`); `at_least` and
    `at_most` bound counts of the turn; `needs`, `needs_any` and `forbids` are flags. `covers` is what else of a clause that
    it fired in is thereby explained.
    """

    name: str
    label: str
    role: Role
    patterns: tuple[str, ...]
    unless: tuple[str, ...]
    covers: tuple[str, ...]
    is_question: bool | None
    at_least: Mapping[str, int]
    at_most: Mapping[str, int]
    needs: tuple[str, ...]
    needs_any: tuple[str, ...]
    forbids: tuple[str, ...]
    confidence: float
    version: str = ""


@dataclass(frozen=True)
class Rulebook:
    """All of one rule file. `version` covers what decides besides the rules: small talk, words,
    thresholds, and how turns are read (`rules/reading.toml`)."""

    name: str
    rules: tuple[Rule, ...]
    flags: tuple[Flag, ...]
    small_talk: Mapping[str, tuple[str, ...]]
    words: Mapping[str, tuple[str, ...]]
    confidence_min: float
    words_left_max: int
    version: str

    @cached_property
    def versions(self) -> dict[str, str]:
        """Version of each rule by its name."""
        return {rule.name: rule.version for rule in self.rules}

    @cached_property
    def digest(self) -> str:
        """One version for all of it."""
        return _digest([self.version, self.versions])

    def only(self, names: Iterable[str]) -> Rulebook:
        """The same book with some of its rules."""
        wanted = set(names)
        return replace(self, rules=tuple(rule for rule in self.rules if rule.name in wanted))


@cache
def reading() -> dict[str, Any]:
    """`rules/reading.toml`: not_names (words, by blanks) and spellings (pairs of pattern and replacement)."""
    return tomllib.loads((Path(__file__).parent / "rules" / "reading.toml").read_text(encoding="utf-8"))


@cache
def rulebook(name: str) -> Rulebook:
    """The project's own rule file `rules/<name>.toml`. Raises RuleError."""
    path = Path(__file__).parent / "rules" / f"{name}.toml"
    return parse_rulebook(path.read_text(encoding="utf-8"), name)


def parse_rulebook(content: str, name: str) -> Rulebook:
    """Read a rule file. Raises RuleError naming the rule and the key."""
    try:
        raw = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise RuleError(f"{name}: not TOML: {error}") from None
    unknown = set(raw) - {"macros", "flag", "rule", "small_talk", "words", "decision"}
    if unknown:
        raise RuleError(f"{name}: unknown tables: {', '.join(sorted(unknown))}")
    macros = _macros(name, raw.get("macros", {}))
    flags = tuple(_flag(name, each, macros) for each in raw.get("flag", ()))
    known = {flag.name: flag for flag in flags}
    rules = tuple(_rule(name, each, macros, known) for each in raw.get("rule", ()))
    for names in ([flag.name for flag in flags], [rule.name for rule in rules]):
        repeated = sorted({each for each in names if names.count(each) > 1})
        if repeated:
            raise RuleError(f"{name}: stated twice: {', '.join(repeated)}")
    decision = raw.get("decision", {})
    if set(decision) != {"confidence_min", "words_left_max"}:
        raise RuleError(f"{name}: [decision] states confidence_min and words_left_max")
    talk = raw.get("small_talk", {})
    if set(talk) - {"any", *ROLES}:
        raise RuleError(f"{name}: [small_talk] knows any, {', '.join(ROLES)}")
    small_talk = {role: _patterns(name, "small_talk", talk.get(role, ()), macros) for role in ("any", *ROLES)}
    if set(raw.get("words", {})) != set(_WORDS):
        raise RuleError(f"{name}: [words] states {', '.join(_WORDS)}")
    words = {key: tuple(raw["words"][key].split()) for key in _WORDS}
    state = [MATCHING_VERSION, reading(), small_talk, words, decision]
    least, most = float(decision["confidence_min"]), int(decision["words_left_max"])
    return Rulebook(name, rules, flags, small_talk, words, least, most, _digest(state))


def _macros(file: str, raw: Mapping[str, str]) -> dict[str, str]:
    """Macros by name; a macro may use those stated before it."""
    found: dict[str, str] = {}
    for key, text in raw.items():
        found[key] = f"(?:{_expanded(file, f'macro {key}', text, found)})"
    return found


def _expanded(file: str, where: str, text: str, macros: Mapping[str, str]) -> str:
    def filled(match: re.Match[str]) -> str:
        if match[1] not in macros:
            raise RuleError(f"{file}: {where}: unknown macro {match[0]}")
        return macros[match[1]]

    return _MACRO.sub(filled, text)


def _patterns(file: str, where: str, raw: Any, macros: Mapping[str, str]) -> tuple[str, ...]:
    if not isinstance(raw, list | tuple) or not all(isinstance(each, str) for each in raw):
        raise RuleError(f"{file}: {where}: patterns are a list of strings")
    return tuple(_expanded(file, where, each, macros) for each in raw)


def check_patterns(book: Rulebook) -> None:
    """Compile every pattern. Raises RuleError naming the rule.

    Not done when a file is read: it takes a tenth of a second, and most who load the rules only ask for their version.
    """
    stated = [(f"rule {rule.name!r}", (*rule.patterns, *rule.unless, *rule.covers)) for rule in book.rules]
    stated += [(f"flag {flag.name!r}", (*flag.patterns, *flag.unless)) for flag in book.flags]
    stated += [(f"small talk of {speaker}", patterns) for speaker, patterns in book.small_talk.items()]
    for where, patterns in stated:
        for pattern in patterns:
            if problem := _problem(pattern):
                raise RuleError(f"{book.name}: {where}: {pattern!r}: {problem}")


@cache
def _problem(pattern: str) -> str | None:
    """What is wrong with a regular expression, in words."""
    try:
        re.compile(pattern)
    except re.error as error:
        return str(error)
    return None


def _flag(file: str, raw: Mapping[str, Any], macros: Mapping[str, str]) -> Flag:
    where = f"flag {raw.get('name')!r}"
    unknown = set(raw) - _FLAG_KEYS
    if unknown or not raw.get("name") or not raw.get("why"):
        raise RuleError(f"{file}: {where}: needs name and why; unknown: {', '.join(sorted(unknown)) or 'none'}")
    if raw.get("of") not in _FLAG_SCOPES:
        raise RuleError(f"{file}: {where}: of is one of {', '.join(_FLAG_SCOPES)}")
    if not raw.get("patterns") and "titles" not in raw:
        raise RuleError(f"{file}: {where}: states patterns or titles")
    patterns, unless = (_patterns(file, where, raw.get(key, []), macros) for key in ("patterns", "unless"))
    return Flag(raw["name"], raw["of"], patterns, unless, raw.get("titles"))


def _rule(file: str, raw: Mapping[str, Any], macros: Mapping[str, str], flags: Mapping[str, Flag]) -> Rule:
    where = f"rule {raw.get('name')!r}"
    unknown = set(raw) - _RULE_KEYS
    if unknown:
        raise RuleError(f"{file}: {where}: unknown keys: {', '.join(sorted(unknown))}")
    missing = [key for key in ("name", "label", "role", "confidence", "why") if not raw.get(key)]
    if missing:
        raise RuleError(f"{file}: {where}: states no {', '.join(missing)}")
    if raw["role"] not in ("any", *ROLES):
        raise RuleError(f"{file}: {where}: role is any, {', '.join(ROLES)}")
    if not 0 < raw["confidence"] <= 1:
        raise RuleError(f"{file}: {where}: confidence is above 0 and at most 1")
    bounds = {key: raw.get(key, {}) for key in ("at_least", "at_most")}
    for key, table in bounds.items():
        wrong = sorted(set(table) - set(COUNTS))
        if wrong:
            raise RuleError(f"{file}: {where}: {key} knows {', '.join(COUNTS)}, not {', '.join(wrong)}")
    named = {key: tuple(raw.get(key, ())) for key in ("needs", "needs_any", "forbids")}
    strange = sorted({each for names in named.values() for each in names} - set(flags))
    if strange:
        raise RuleError(f"{file}: {where}: unknown flags: {', '.join(strange)}")
    patterns, unless, covers = (
        _patterns(file, where, raw.get(key, []), macros) for key in ("patterns", "unless", "covers")
    )
    if not patterns and not (bounds["at_least"] or named["needs"]):
        raise RuleError(f"{file}: {where}: states neither patterns nor a condition")
    used = [flags[each].__dict__ for names in named.values() for each in names]
    state: dict[str, Any] = {
        "name": raw["name"], "label": raw["label"], "role": raw["role"], "patterns": patterns, "unless": unless,
        "covers": covers, "is_question": raw.get("is_question"), "confidence": float(raw["confidence"]), **bounds, **named,
    }  # fmt: skip
    return Rule(**state, version=_digest([MATCHING_VERSION, state, used]))


def _digest(value: Any) -> str:
    """Twelve hexadecimal digits that change with the value."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]

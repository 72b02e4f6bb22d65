"""What can be said: acts with their templates, and the words that fill slots.

Belongs here: reading `acts_*.toml` and `slots.toml`, and drawing a template's wording.
Does not belong here: which act comes when (`course.py`), how a name is spelt (`spelling.py`).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, TypeVar

HERE = Path(__file__).parent
SEEKER, RECOMMENDER = "seeker", "recommender"
T = TypeVar("T")

# Slots that name a film; the others are filled with words.
FILM_SLOTS = frozenset({"film", "film2", "film3", "film4", "seed", "seed2", "seed3", "bad"})
# Slots that name a genre: the value they take and which of the genre's three forms.
GENRE_SLOTS = {
    **{form: ("genre", at) for at, form in enumerate(("genre", "genres", "a_genre"))},
    **{form: ("genre2", at) for at, form in enumerate(("genre2", "genres2", "a_genre2"))},
    **{form: ("bad_genre", at) for at, form in enumerate(("bad_genre", "bad_genres", "a_bad_genre"))},
    "a_film_genre": ("film_genre", 2),
}
PERSON_SLOTS = frozenset({"person", "actor", "director"})


class Slot(NamedTuple):
    """A place in a template to be filled."""

    name: str


class Choice(NamedTuple):
    """A place in a template with several wordings."""

    options: tuple[Template, ...]


Template = tuple["str | Slot | Choice", ...]


@dataclass(frozen=True)
class Act:
    """A kind of sentence: who says it, what it is labelled with, how it may be worded."""

    name: str
    role: str
    operations: tuple[str, ...]
    strategy: str | None
    intents: tuple[str, ...]
    templates: tuple[Template, ...]


def one(random: Random, values: Sequence[T]) -> T:
    """One of `values`, drawn uniformly."""
    return values[int(random.random() * len(values))]


_TOKEN = re.compile(r"\{(\w+)\}|([\[\]|])")


def parsed(line: str) -> Template:
    """The template that a line states. Raises ValueError when its brackets do not match."""
    stack: list[list[list[Any]]] = [[[]]]
    at = 0
    for found in _TOKEN.finditer(line):
        if found.start() > at:
            stack[-1][-1].append(line[at : found.start()])
        at = found.end()
        slot, mark = found.groups()
        if slot:
            stack[-1][-1].append(Slot(slot))
        elif mark == "[":
            stack.append([[]])
        elif mark == "|" and len(stack) > 1:
            stack[-1].append([])
        elif mark == "]" and len(stack) > 1:
            options = tuple(tuple(option) for option in stack.pop())
            stack[-1][-1].append(Choice(options))
        else:
            raise ValueError(f"brackets do not match: {line}")
    if len(stack) > 1:
        raise ValueError(f"brackets do not match: {line}")
    if at < len(line):
        stack[-1][-1].append(line[at:])
    return tuple(stack[0][0])


@cache
def acts(name: str) -> dict[str, Act]:
    """The acts of `acts_<name>.toml` by name."""
    tables = tomllib.loads((HERE / f"acts_{name}.toml").read_text(encoding="utf-8"))
    return {
        act: Act(
            act,
            table.get("role", name),
            tuple(table["operations"]),
            table.get("strategy"),
            tuple(table.get("intents", ())),
            tuple(parsed(line) for line in table["texts"].splitlines() if line.strip()),
        )
        for act, table in tables.items()
    }


@cache
def words(name: str) -> tuple[str, ...]:
    """The words for a slot."""
    return tuple(word.strip() for word in _slots()[name].split("|"))


@cache
def genre_words() -> dict[str, tuple[str, str, str]]:
    """Genre -> adjective, several films, one film with article."""
    return {genre: tuple(forms) for genre, forms in _slots()["genre"].items()}


@cache
def _slots() -> dict[str, Any]:
    return tomllib.loads((HERE / "slots.toml").read_text(encoding="utf-8"))


def wording(act: Act, random: Random) -> list[str | Slot]:
    """One way of wording the act: literal texts, slots between them."""
    parts: list[str | Slot] = []
    _worded(one(random, act.templates), random, parts)
    joined: list[str | Slot] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        else:
            joined.append(part)
    if isinstance(joined[0], str):
        joined[0] = joined[0].lstrip()
    if isinstance(joined[-1], str):
        joined[-1] = joined[-1].rstrip()
    return [_GAP.sub(" ", _CLOSE.sub("", part)) if isinstance(part, str) else part for part in joined if part != ""]


# What choices leave behind: "I 'm", a space before a comma, two spaces.
_CLOSE = re.compile(r" +(?='(?:s|m|d|ll|ve|re)\b|[,.?!](?:\s|$))")
_GAP = re.compile(r"  +")


def _worded(template: Template, random: Random, out: list[str | Slot]) -> None:
    for part in template:
        if isinstance(part, Choice):
            _worded(one(random, part.options), random, out)
        else:
            out.append(part)


def wordings(template: Template) -> int:
    """How many wordings the template has."""
    count = 1
    for part in template:
        if isinstance(part, Choice):
            count *= sum(wordings(option) for option in part.options)
    return count


def slots_of(template: Template) -> set[str]:
    """Names of all slots that any wording of the template has."""
    found: set[str] = set()
    for part in template:
        if isinstance(part, Slot):
            found.add(part.name)
        elif isinstance(part, Choice):
            for option in part.options:
                found |= slots_of(option)
    return found

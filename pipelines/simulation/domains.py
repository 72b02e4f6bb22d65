"""The domains of simulated conversations: the words that each has for its items, and the words that are its own.

Prompts and traits are neutral; what tells a film from a book comes from `domains.toml` and reaches a prompt as data. Does not belong here: the items.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from typing import Any

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_FILE = "domains.toml"


@dataclass(frozen=True)
class Domain:
    """A domain in words. `words`: wording in lower case that belongs to it alone; the rest as domains.toml explains."""

    name: str
    noun: str
    plural: str
    verb: str
    past: str
    creator: str
    catalogue: str
    attributes: tuple[str, ...]
    words: frozenset[str]

    def as_data(self) -> dict[str, Any]:
        """What a prompt is told of the domain: its words for items, without the list that only checks need."""
        told = ("noun", "plural", "verb", "past", "creator", "catalogue")
        return {**{name: getattr(self, name) for name in told}, "attributes": list(self.attributes)}


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, in order: runs of letters, joined by single apostrophes or hyphens."""
    return _WORD.findall(text.lower())


@cache
def domains() -> dict[str, Domain]:
    """All domains by name. Raises ValueError naming the domain and key that domains.toml lacks or has too much of."""
    stated = tomllib.loads(files("pipelines.simulation").joinpath(_FILE).read_text(encoding="utf-8"))
    keys = {field.name for field in fields(Domain)} - {"name"}
    found: dict[str, Domain] = {}
    for name, values in stated.items():
        if wrong := sorted(keys ^ values.keys()):
            raise ValueError(f"{_FILE}: domain {name!r}: key {wrong[0]!r} is missing or unknown")
        found[name] = Domain(
            name=name,
            attributes=tuple(values["attributes"]),
            words=frozenset(values["words"]),
            **{key: values[key] for key in keys - {"attributes", "words"}},
        )
    return found


def domain(name: str) -> Domain:
    """The domain of that name. Raises ValueError for one that there is not."""
    try:
        return domains()[name]
    except KeyError:
        raise ValueError(f"there is no domain {name!r}; there are: {', '.join(domains())}") from None


def foreign_words(own: str, said: str, allowed: Iterable[str] = ()) -> list[str]:
    """Words in `said` that belong to another domain than `own`, sorted, each once; those that stand in one of the texts `allowed` are no fault."""
    held = set(words_of(said))
    foreign = {word for each in domains().values() if each.name != own for word in each.words} - domain(own).words
    suspects = held & foreign
    if not suspects:
        return []
    for text in allowed:
        suspects -= set(words_of(text))
    return sorted(suspects)

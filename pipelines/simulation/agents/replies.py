"""Reading what a model gave as an agent's next step: what can be said to a user, and what cannot.

Does not belong here: asking again (`asking.py`).
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from pipelines.simulation.agents.asking import Misfit
from pipelines.simulation.parts import Action, Item
from warehouse.tables.simulation import ACTIONS

SEARCH = "search"
REPLY_CHARACTERS = 2_000

_MARKS = str.maketrans(
    {**dict.fromkeys("“”„‟«»″＂", '"'), **dict.fromkeys("‘’‚‛′`´", "'"), **dict.fromkeys("‐‑‒–—―−", "-")}
)


@dataclass(frozen=True)
class Step:
    """What a model decided on: one of ACTIONS with what is said, or a search with its query."""

    action: str
    text: str
    thought: str

    @property
    def spoken(self) -> Action:
        """The action of a step that is no search."""
        if self.action not in ACTIONS:
            raise ValueError(f"{self.action!r} is said to nobody")
        return cast(Action, self.action)


def step(
    value: Mapping[str, Any],
    items: Sequence[Item],
    thought: str = "reasoning",
    allowed: Sequence[str] = ACTIONS,
) -> Step:
    """A step out of an answer: its `action`, its `text`, and what it calls its thought.

    Raises Misfit for an action that is not allowed, an empty text or query, and a recommendation that names none of the items.
    """
    action, text = value["action"], value["text"].strip()[:REPLY_CHARACTERS]
    if action not in allowed:
        raise Misfit(f"`action` must be one of: {', '.join(allowed)}")
    if not any(character.isalnum() for character in text):
        raise Misfit("`text` is empty")
    if action == "recommend" and not quoted(text, items):
        raise Misfit(
            "`text` recommends nothing: name the full title of at least one item that was found, in double quotes"
        )
    return Step(action, text, value[thought])


def quoted(text: str, items: Iterable[Item]) -> list[Item]:
    """The items whose full title stands in double quotes in a text, whatever the case and the kind of quotes.

    A blank may stand inside of either quote, and a year in brackets or a punctuation mark before the closing one.
    """
    said = _plain(text)
    return [item for item in items if item.title.strip() and _title(item.title).search(said)]


@lru_cache(maxsize=4_096)
def _title(title: str) -> re.Pattern[str]:
    # A title with quotes of its own may be quoted with single ones inside.
    inner = re.escape(_plain(title)).replace('"', "[\"']")
    return re.compile(rf'" ?{inner}(?: \(\d{{4}}\))?[.,;:!?]? ?"')


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", html.unescape(text).translate(_MARKS)).casefold().split())

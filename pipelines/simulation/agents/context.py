"""What every agent tells the model: the domain's words, the conversation, items. All of it is data, and all of it is bounded.

Does not belong here: instructions, which are in the prompts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pipelines.simulation.domains import domain
from pipelines.simulation.parts import Item, Said

MOST_TURNS = 20
TURN_CHARACTERS = 1_000
ABOUT_CHARACTERS = 400


def told(name: str, said: Sequence[Said]) -> dict[str, Any]:
    """The domain in words and the last 20 turns, oldest first. Raises ValueError for a domain that there is not."""
    return {
        "domain": domain(name).as_data(),
        "conversation": [{"role": each.role, "text": each.text[:TURN_CHARACTERS]} for each in said[-MOST_TURNS:]],
    }


def shown(items: Iterable[Item]) -> list[dict[str, str]]:
    """Items as prompts show them: the full title, and what else is known, cut."""
    return [{"title": item.title, "about": item.text.partition("\n")[2].strip()[:ABOUT_CHARACTERS]} for item in items]


def one_line(text: str, characters: int) -> str:
    """A text without line breaks or runs of blanks, cut."""
    return " ".join(text.split())[:characters].rstrip()

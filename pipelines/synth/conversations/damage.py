"""Files of conversations, and what is wrong with them.

Belongs here: damage that any of the datasets may have. Does not belong here: which file has which.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from pipelines.synth.conversations.phrases import one

# Below this many dialogues a pack is small: its damage is, too.
SMALL = 1_000
_RAMBLING = (
    "and then we talked about it for hours",
    "which reminds me of the summer at the lake",
    "but that is another story",
    "so anyway where was I",
    "the popcorn was cold by then",
    "nobody knew what to say",
    "or so I was told",
)


@dataclass(frozen=True)
class File:
    """A file of a dataset: its name below the folder of conversations, its bytes, the dialogues in it, and how many of
    its records a reader must reject."""

    name: str
    content: bytes
    dialogues: int = 0
    broken: int = 0
    duplicates: int = 0


def cut_in_half(line: bytes) -> bytes:
    """The first half of a line."""
    return line[: len(line) // 2]


def long_text(random: Random, letters: int) -> str:
    """Somebody rambling for about so many letters."""
    found: list[str] = []
    length = 0
    while length < letters:
        found.append(one(random, _RAMBLING))
        length += len(found[-1]) + 2
    return ", ".join(found)

"""A dialogue as the readers of all layouts hand it over, and what is done to every text.

Belongs here: the shape between files and tables, the readable form of a text, finding a stated name in a text.
Does not belong here: file layouts, the decision on splits, tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import polars as pl

from pipelines.dialogues.records import Place
from pipelines.sources.text import percent_decoded

SEEKER, RECOMMENDER = "seeker", "recommender"

# Control characters that are no white space either: they go without leaving a blank.
_CONTROLS = {code: None for code in (*range(32), *range(127, 160)) if not chr(code).isspace()}
_YEAR_BEHIND = re.compile(r"\s*\([^()]*\)\s*$")


@dataclass(slots=True)
class Hint:
    """An item that the dataset says a turn mentions; see core_mention_hints."""

    kind: str
    item_id: str
    item_name: str | None = None
    start: int | None = None
    end: int | None = None


@dataclass(slots=True)
class Turn:
    """One turn. `labels`: (scheme, label), in order. `plain_text` is made from `text` where a reader leaves it None."""

    role: str
    text: str
    plain_text: str | None = None
    speaker_id: str | None = None
    time_offset_s: float | None = None
    images: list[str] = field(default_factory=list)
    labels: list[tuple[str, str]] = field(default_factory=list)
    hints: list[Hint] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Dialogue:
    """One dialogue. `places`: the records that it was read from, its first one first. `stated`: splits that files state.

    `known_by_words`: the dataset's files share no ids, so the same words are the same conversation.
    `feedback`: (side, item_id, question) -> (item_name, answer, value). `conversation_id`: only where it is not the dialogue's own.
    """

    source_id: str
    places: list[Place]
    turns: list[Turn]
    domain: str = "film"
    stated: tuple[str, ...] = ()
    is_split_official: bool = True
    known_by_words: bool = False
    conversation_id: str | None = None
    seeker_id: str | None = None
    recommender_id: str | None = None
    outcome: str | None = None
    persona: str | None = None
    scenario: str | None = None
    target_item: str | None = None
    feedback: dict[tuple[str, str, str], tuple[str | None, str, float | None]] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Item:
    """An item that a dataset knows; see core_dialogue_items."""

    item_id: str
    item_name: str
    domain: str = "film"
    mentions_stated: int | None = None


def plain(text: str, names: Iterable[tuple[int, int, str]] = ()) -> str:
    """The readable form of `text`: `names` (start, end, name; in order, not overlapping) put in, control characters out,
    runs of white space one blank.
    """
    pieces, at = [], 0
    for start, end, name in names:
        pieces += [text[at:start], name]
        at = end
    return " ".join("".join([*pieces, text[at:]]).translate(_CONTROLS).split())


@lru_cache(maxsize=65536)
def readable_name(name: str) -> str:
    """A stated name without URL escapes and doubled blanks."""
    return plain(percent_decoded(pl.Series([name], dtype=pl.String))[0])


def find_name(text: str, name: str, taken: Sequence[tuple[int, int]] = ()) -> tuple[int, int] | None:
    """(start, end) of the first place in `text` where `name` stands as whole words, whatever the case, clear of `taken`.

    A name that ends in brackets, `Title (Year)`, is also looked for without them. None where it does not stand.
    """
    haystack = _lower(text)
    for form in dict.fromkeys((name.strip(), _YEAR_BEHIND.sub("", name).strip())):
        needle = _lower(form)
        if not any(c.isalnum() for c in needle):
            continue
        start = haystack.find(needle)
        while start >= 0:
            end = start + len(needle)
            if _stands_alone(haystack, start, end) and all(end <= a or start >= b for a, b in taken):
                return start, end
            start = haystack.find(needle, start + 1)
    return None


def _stands_alone(text: str, start: int, end: int) -> bool:
    glued_before = start > 0 and text[start - 1].isalnum() and text[start].isalnum()
    glued_behind = end < len(text) and text[end].isalnum() and text[end - 1].isalnum()
    return not glued_before and not glued_behind


def _lower(text: str) -> str:
    """Lower case, as many characters as before, so that offsets hold."""
    lower = text.lower()
    return lower if len(lower) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def hint_names(turn: Turn, kind: str, items: Iterable[tuple[str, str | None]]) -> None:
    """Add a hint for each (item_id, item_name) to `turn`, with the place where the name stands in the text, if any."""
    taken: list[tuple[int, int]] = []
    for item_id, item_name in items:
        span = find_name(turn.text, item_name or item_id, taken)
        if span is not None:
            taken.append(span)
        start, end = span or (None, None)
        turn.hints.append(Hint(kind, item_id, item_name, start, end))

"""Dialogues to frames, each fit for its contract in warehouse/tables/dialogues.py.

Belongs here: columns, and the hashes of content. Does not belong here: what a layout means, which dialogues are kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from pipelines.dialogues.dialogue import Dialogue, Item, Turn, plain
from pipelines.dialogues.records import dumps
from warehouse.contracts import Table
from warehouse.tables.dialogues import (
    CORE_DIALOGUE_ITEMS,
    CORE_DIALOGUES,
    CORE_FEEDBACK,
    CORE_MENTION_HINTS,
    CORE_TURN_LABELS,
    CORE_TURNS,
)


@dataclass(frozen=True)
class Resolved:
    """A dialogue that is kept, with its ids and its splits."""

    dialogue: Dialogue
    dialogue_id: str
    conversation_id: str
    split: str
    splits_stated: tuple[str, ...]


def stable_hash(value: Any) -> int:
    """Signed 64-bit hash of a JSON value; the same in every run and every version of every library."""
    return int.from_bytes(hashlib.blake2b(dumps(value).encode(), digest_size=8).digest(), "big", signed=True)


def dialogue_frames(dataset: str, resolved: Iterable[Resolved]) -> dict[str, pl.DataFrame]:
    """Frames `dialogues`, `turns`, `labels`, `hints`, `feedback` of the dialogues of one dataset."""
    dialogues, turns, labels = _Rows(CORE_DIALOGUES), _Rows(CORE_TURNS), _Rows(CORE_TURN_LABELS)
    hints, feedback = _Rows(CORE_MENTION_HINTS), _Rows(CORE_FEEDBACK)
    for each in resolved:
        dialogue, dialogue_id = each.dialogue, each.dialogue_id
        turn_hashes = []
        for number, turn in enumerate(dialogue.turns):
            plain_text = plain(turn.text) if turn.plain_text is None else turn.plain_text
            stated_hints = _ordered_hints(turn)
            positions: dict[str, int] = {}
            for scheme, label in turn.labels:
                position = positions.get(scheme, 0)
                positions[scheme] = position + 1
                labels.add(dialogue_id, number, dataset, scheme, position, label)
            for position, hint in enumerate(stated_hints):
                hints.add(dialogue_id, number, dataset, position, *hint)
            extra = dumps(turn.extra) if turn.extra else None
            said = [turn.role, turn.speaker_id, turn.text, plain_text, turn.time_offset_s, turn.images]
            turn_hash = stable_hash([number, dialogue.domain, *said, turn.labels, stated_hints, extra])
            turn_hashes.append(turn_hash)
            turns.add(
                dialogue_id,
                number,
                dataset,
                dialogue.domain,
                each.split,
                turn.role,
                turn.speaker_id,
                turn.text,
                plain_text,
                turn.time_offset_s,
                turn.images,
                [],
                turn_hash,
                extra,
            )
        answers = []
        for (side, item_id, question), (item_name, answer, value) in sorted(dialogue.feedback.items()):
            feedback.add(dialogue_id, dataset, side, item_id, item_name, question, answer, value)
            answers.append([side, item_id, item_name, question, answer, value])
        own = [
            each.conversation_id,
            dialogue.domain,
            each.split,
            list(each.splits_stated),
            len(dialogue.turns),
            dialogue.seeker_id,
            dialogue.recommender_id,
            dialogue.outcome,
            dialogue.persona,
            dialogue.scenario,
            dialogue.target_item,
        ]
        extra = dumps(dialogue.extra) if dialogue.extra else None
        first = dialogue.places[0]
        content = stable_hash([own, turn_hashes, answers, extra])
        dialogues.add(dialogue_id, dataset, dialogue.source_id, *own, first.file, first.line, content, extra)
    return {
        "dialogues": dialogues.frame(),
        "turns": turns.frame(),
        "labels": labels.frame(),
        "hints": hints.frame(),
        "feedback": feedback.frame(),
    }


def item_frame(dataset: str, stated: Mapping[str, Item], dialogues: Sequence[Resolved]) -> pl.DataFrame:
    """Items of a dataset: those of its tables of names, then those that dialogues name.

    Of several names that dialogues state for one id the most frequent is taken, of equally frequent ones the first in the alphabet.
    """
    named: dict[str, dict[str, int]] = {}
    domains: dict[str, str] = {}
    for each in dialogues:
        pairs = [(hint.item_id, hint.item_name) for turn in each.dialogue.turns for hint in turn.hints]
        pairs += [(item_id, row[0]) for (_, item_id, _), row in each.dialogue.feedback.items()]
        for item_id, name in pairs:
            if item_id and name and item_id not in stated:
                counts = named.setdefault(item_id, {})
                counts[name] = counts.get(name, 0) + 1
                domains[item_id] = min(domains.get(item_id, each.dialogue.domain), each.dialogue.domain)
    items = _Rows(CORE_DIALOGUE_ITEMS)
    for item in stated.values():
        items.add(dataset, item.item_id, item.item_name, item.domain, item.mentions_stated)
    for item_id, counts in named.items():
        name = min(counts, key=lambda name: (-counts[name], name))
        items.add(dataset, item_id, name, domains[item_id], None)
    return items.frame()


def _ordered_hints(turn: Turn) -> list[tuple[str, int | None, int | None, str, str | None]]:
    """(kind, start, end, item_id, item_name) by place in the text; those without one last, as stated."""
    rows = [(hint.kind, hint.start, hint.end, hint.item_id, hint.item_name) for hint in turn.hints]
    return sorted(rows, key=lambda row: (row[1] is None, row[1] or 0))


class _Rows:
    """Rows of one table, sorted by its key when made a frame."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.rows: list[tuple[Any, ...]] = []

    def add(self, *values: Any) -> None:
        self.rows.append(values)

    def frame(self) -> pl.DataFrame:
        columns = list(zip(*self.rows, strict=True)) or [()] * len(self.table.columns)
        data = {
            column.name: pl.Series(column.name, values, dtype=column.dtype)
            for column, values in zip(self.table.columns, columns, strict=True)
        }
        return self.table.conform(pl.DataFrame(data)).sort(self.table.key)

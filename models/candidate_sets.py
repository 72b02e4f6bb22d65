"""Training turns and the candidate sets drawn for them, as files: draws.parquet (`draw.py`) and rewards.parquet (the same with rewards, for `rl.py`).

Belongs here: columns, reading and checking, writing. Does not belong here: how sets are drawn, who rewards them, what is learned from them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.data import PAD

ITEMS = pa.list_(pa.int32())
DRAWS = pa.schema(
    [
        ("example_id", pa.string()),
        ("history", ITEMS),
        ("labels", ITEMS),
        ("round", pa.int32()),
        ("draw", pa.int32()),
        ("candidates", ITEMS),
        ("log_prob", pa.float64()),
        ("has_label", pa.bool_()),
    ]
)
REWARDS = DRAWS.append(pa.field("reward", pa.float64()))
# Key of the files' metadata under which they say what they were made from, as JSON.
ABOUT = b"marquee"


class SetsError(ValueError):
    """A file of turns, draws or rewards that cannot be used. Names the file, and the row (from 1) that is to blame."""


@dataclass(frozen=True)
class Turn:
    """A recommender's turn: films before it (the latest last), films that it names."""

    example_id: str
    history: tuple[int, ...]
    labels: tuple[int, ...]


@dataclass(frozen=True)
class Group:
    """The sets of one turn: its last round. `candidates [G, k]` in draw order, `log_probs`, `rewards`, `has_label [G]`; `resamples`: rounds before, none of whose sets held a label."""

    turn: Turn
    candidates: NDArray[np.int64]
    log_probs: NDArray[np.float64]
    rewards: NDArray[np.float64]
    has_label: NDArray[np.bool_]
    resamples: int = 0


def read_turns(file: Path, items: int) -> list[Turn]:
    """The training turns in a sequences.parquet of dialogues, whose rows are one label each, named `<example_id>:<number>`.

    Raises SetsError for a file of another kind: one whose sequences have several targets, or rows of one turn that disagree on its history.
    """
    rows = _read(file, {"sequence_id": pa.string(), "items": ITEMS, "first_target": pa.int32()})
    found: dict[str, Turn] = {}
    for number, row in enumerate(rows, start=1):
        name, sequence, first = row["sequence_id"], tuple(row["items"]), row["first_target"]
        example_id, separator, _ = name.rpartition(":")
        if not separator or not sequence or first != len(sequence) - 1:
            _fail(
                file,
                number,
                f"sequence {name!r} is no turn with one label; candidate sets are drawn for turns of dialogues",
            )
        _check_items(file, number, "items", sequence, items)
        history, label = sequence[:-1], sequence[-1]
        before = found.get(example_id, Turn(example_id, history, ()))
        if before.history != history:
            _fail(file, number, f"sequence {name!r} has another history than the turn's other labels")
        found[example_id] = Turn(example_id, history, (*before.labels, label))
    return [found[example_id] for example_id in sorted(found)]


def some_turns(turns: Sequence[Turn], limit: int, seed: int) -> list[Turn]:
    """At most `limit` turns, those with the smallest hash of id and seed: a turn that is added or gone changes one of them at most. `limit` 0: all."""
    if not limit or len(turns) <= limit:
        return list(turns)
    chosen = sorted(turns, key=lambda turn: hashlib.sha256(f"{seed}:{turn.example_id}".encode()).digest())[:limit]
    return sorted(chosen, key=lambda turn: turn.example_id)


def write_rows(file: Path, rows: Iterable[Mapping[str, Any]], schema: pa.Schema, about: Mapping[str, Any]) -> int:
    """Write rows beside `file`, sync and rename; `about` goes into the file's metadata. Returns their number."""
    table = pa.Table.from_pylist(list(rows), schema=schema.with_metadata({ABOUT: json.dumps(about).encode()}))
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as stream:
            pq.write_table(table, stream, compression="zstd")
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(beside, file)
    finally:
        beside.unlink(missing_ok=True)
    return table.num_rows


def read_rewards(file: Path, turns: Iterable[Turn], items: int, sets: int = 0) -> list[Group]:
    """Frozen rewards as groups, one a turn in the order of ids; of each its last round, and of that the first `sets` sets (0: all).

    Raises SetsError naming file and row: for an empty file, a turn that is no training turn or has another history or other labels than there, a set with an item twice or unknown,
    sets of different sizes, rounds with different numbers of sets, a reward or likelihood that cannot be, and for a file without any reward above 0.
    """
    known = {turn.example_id: turn for turn in turns}
    rows = _read(file, dict(zip(REWARDS.names, REWARDS.types, strict=True)))
    for number, row in enumerate(rows, start=1):
        row["number"] = number
        _check_row(file, number, row, known, items)
    size, first = len(rows[0]["candidates"]), rows[0]["number"]
    for row in rows:
        if len(row["candidates"]) != size:
            _fail(file, row["number"], f"{len(row['candidates'])} candidates, but {size} in row {first}")
    rows.sort(key=lambda row: (row["example_id"], row["round"], row["draw"]))
    groups = []
    count = 0
    for example_id, of_turn in groupby(rows, key=lambda row: row["example_id"]):
        rounds = [list(each) for _, each in groupby(of_turn, key=lambda row: row["round"])]
        for at, each in enumerate(rounds):
            count = count or len(each)
            numbers = [row["draw"] for row in each]
            if each[0]["round"] != at or numbers != list(range(count)):
                what = f"turn {example_id!r}, round {each[0]['round']}: sets {numbers}"
                _fail(file, each[0]["number"], f"{what}; expected round {at} with sets 0 to {count - 1}, once each")
        last = rounds[-1][: sets or count]
        groups.append(
            Group(
                known[example_id],
                np.array([row["candidates"] for row in last], dtype=np.int64),
                np.array([row["log_prob"] for row in last]),
                np.array([row["reward"] for row in last]),
                np.array([row["has_label"] for row in last]),
                len(rounds) - 1,
            )
        )
    if sets > count:
        raise SetsError(f"{file}: {sets} sets a turn are asked for, but there are {count}")
    if not any(group.rewards.any() for group in groups):
        raise SetsError(f"{file}: the reward is 0 in all {len(rows)} rows: there is nothing to learn from")
    return groups


def history_tensors(turns: Sequence[Turn], max_history: int) -> tuple[Tensor, Tensor]:
    """The latest `max_history` items of histories: `items [B, L]` right-padded with -1, `lengths [B]`."""
    return _padded([turn.history[-max_history:] for turn in turns])


def label_tensor(turns: Sequence[Turn]) -> Tensor:
    """Labels `[B, P]`, right-padded with -1."""
    return _padded([turn.labels for turn in turns])[0]


def holds_label(candidates: Tensor, labels: Tensor) -> Tensor:
    """Whether a label is in each set: `candidates [B, G, k]`, `labels [B, P]` -> `[B, G]`."""
    return (candidates[..., None] == labels[:, None, None, :]).flatten(2).any(-1)


def _padded(lists: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([len(each) for each in lists], dtype=torch.int64)
    items = torch.full((len(lists), max([0, *lengths.tolist()])), PAD, dtype=torch.int64)
    for row, each in enumerate(lists):
        items[row, : len(each)] = torch.tensor(each, dtype=torch.int64)
    return items, lengths


def _check_row(file: Path, number: int, row: Mapping[str, Any], known: Mapping[str, Turn], items: int) -> None:
    turn = known.get(row["example_id"])
    if turn is None:
        _fail(file, number, f"{row['example_id']!r} is none of the {len(known)} training turns of the data")
    if tuple(row["history"]) != turn.history or set(row["labels"]) != set(turn.labels):
        _fail(file, number, f"turn {turn.example_id!r} has another history or other labels in the data")
    candidates = row["candidates"]
    _check_items(file, number, "candidates", candidates, items)
    if not candidates or len(set(candidates)) < len(candidates):
        _fail(file, number, "the set is empty" if not candidates else "an item is twice in the set")
    if row["has_label"] != bool(set(candidates) & set(turn.labels)):
        _fail(file, number, f"has_label is {row['has_label']}, which is not so")
    if not 0 <= row["reward"] <= 1:
        _fail(file, number, f"the reward is {row['reward']}, not between 0 and 1")
    if row["reward"] > 0 and not row["has_label"]:
        _fail(file, number, f"the reward is {row['reward']}, but the set holds no label")
    if not -np.inf < row["log_prob"] <= 0:
        _fail(file, number, f"log_prob is {row['log_prob']}, no logarithm of a likelihood")


def _check_items(file: Path, row: int, column: str, values: Sequence[int | None], items: int) -> None:
    for value in values:
        if value is None or not 0 <= value < items:
            _fail(file, row, f"{column} holds {value}, which is no item of 0 to {items - 1}")


def _read(file: Path, columns: Mapping[str, pa.DataType]) -> list[dict[str, Any]]:
    try:
        names = pq.read_schema(file).names
        for name in columns:
            if name not in names:
                raise SetsError(f"{file}: column {name!r} is missing")
        table = pq.read_table(file, columns=list(columns), partitioning=None)
        table = table.cast(pa.schema(list(columns.items())))
    except (OSError, pa.ArrowException) as error:
        raise SetsError(f"{file}: cannot be read: {error}") from error
    if not table.num_rows:
        raise SetsError(f"{file}: empty: it has no rows")
    for name in columns:
        if table[name].null_count:
            row = table[name].is_null().to_pylist().index(True) + 1
            _fail(file, row, f"{name} is null")
    return table.to_pylist()


def _fail(file: Path, row: int, why: str) -> NoReturn:
    raise SetsError(f"{file}: row {row}: {why}")

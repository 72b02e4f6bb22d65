"""Folders and turns that tests of reinforcement learning share: a small training folder of dialogues and a model for it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from models.candidate_sets import Turn
from models.retriever import Retriever, RetrieverConfig, build
from models.weights import save

ITEMS = 60
INTS = pa.list_(pa.int32())
SHAPE = RetrieverConfig(
    arch="gru4rec", items=ITEMS, width=8, blocks=1, dropout=0.1, max_history=4, initial_std=0.3, has_start=True
)


def turns_of(count: int = 12) -> list[Turn]:
    """Turns with histories of 0 to 5 films and one or two labels."""
    return [
        Turn(f"d{at:02}:{at % 3}", tuple((at + step) % ITEMS for step in range(at % 6)), ((at * 7) % ITEMS, ITEMS - 1)[: 1 + at % 2])
        for at in range(count)
    ]  # fmt: skip


def write_data(folder: Path, turns: list[Turn] | None = None) -> Path:
    """A training folder of dialogues with these training turns; the same turns validate."""
    turns = turns_of() if turns is None else turns
    folder.mkdir(parents=True)
    columns = {"item": range(ITEMS), "movie_id": [f"tt{item:04}" for item in range(ITEMS)], "count": [1] * ITEMS}
    schema = pa.schema([("item", pa.int32()), ("movie_id", pa.string()), ("count", pa.int64())])
    pq.write_table(pa.table({name: list(values) for name, values in columns.items()}, schema), folder / "items.parquet")
    sequences = [
        {
            "sequence_id": f"{turn.example_id}:{number}",
            "items": [*turn.history, label],
            "first_target": len(turn.history),
        }
        for turn in turns
        for number, label in enumerate(turn.labels)
    ]
    kinds = pa.schema([("sequence_id", pa.string()), ("items", INTS), ("first_target", pa.int32())])
    pq.write_table(pa.Table.from_pylist(sequences, kinds), folder / "sequences.parquet")
    examples = [{"history": turn.history, "labels": turn.labels} for turn in turns]
    pq.write_table(
        pa.Table.from_pylist(examples, pa.schema([("history", INTS), ("labels", INTS)])), folder / "validation.parquet"
    )
    manifest = {"dataset": "dialogues", "setting": "dialogues", "data_hash": "0" * 64}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def a_policy(shape: RetrieverConfig = SHAPE, seed: int = 3) -> Retriever:
    torch.manual_seed(seed)
    return build(shape).eval()


def write_model(folder: Path, data: Path, policy: Retriever | None = None) -> Path:
    """A finished model folder."""
    policy = policy or a_policy()
    folder.mkdir(parents=True)
    save(folder / "weights.safetensors", dict(policy.state_dict()))
    (folder / "items.parquet").write_bytes((data / "items.parquet").read_bytes())
    (folder / "config.json").write_text(json.dumps({"model": policy.config.as_dict()}))
    (folder / "summary.json").write_text("{}")
    return folder


def by_place(turn: Turn, candidates: np.ndarray) -> np.ndarray:
    """A reward that stands for a language model's: 1 / log2(1 + place of the first label in the set), 0 where it holds none. `[G, k]` -> `[G]`."""
    is_label = np.isin(candidates, turn.labels)
    return np.where(is_label.any(1), 1 / np.log2(2 + is_label.argmax(1)), 0.0)

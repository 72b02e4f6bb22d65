"""A training folder small enough to train on in a test: films in a ring, of which people watch the next one or the one after."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

INTS = pa.list_(pa.int32())


def toy_folder(
    path: Path, items: int = 30, people: int = 64, length: int = 12, seed: int = 0, prefix: str = "m", dims: int = 4
) -> Path:
    """Write the folder; the last film of each person is the label of validation."""
    random = np.random.default_rng(seed)
    path.mkdir(parents=True, exist_ok=True)
    lengths = random.integers(3, length + 1, people)
    watched = [((random.integers(items) + np.cumsum(random.integers(1, 3, n))) % items).tolist() for n in lengths]
    training, labels = [row[:-1] for row in watched], [row[-1:] for row in watched]
    counts = np.bincount([item for row in training for item in row[1:]], minlength=items)
    _write(
        path / "items.parquet",
        item=pa.array(range(items), pa.int32()),
        movie_id=pa.array([f"{prefix}{number}" for number in range(items)]),
        count=pa.array(counts, pa.int64()),
    )
    _write(
        path / "sequences.parquet",
        sequence_id=pa.array([str(number) for number in range(people)]),
        items=pa.array(training, INTS),
        first_target=pa.array([1] * people, pa.int32()),
    )
    for name in ("validation", "test"):
        _write(
            path / f"{name}.parquet",
            example_id=pa.array([str(number) for number in range(people)]),
            cluster_id=pa.array([str(number) for number in range(people)]),
            position=pa.array([len(row) for row in training], pa.int32()),
            history=pa.array(training, INTS),
            labels=pa.array(labels, INTS),
            are_repeats=pa.array([[row[-1] in row[:-1]] for row in watched], pa.list_(pa.bool_())),
        )
    np.save(path / "vectors.npy", random.standard_normal((items, dims)).astype(np.float32))
    total = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(path.glob("*.[pn]*")))).hexdigest()
    manifest = {"dataset": "toy", "setting": "leave_one_out", "encoder": "none", "data_hash": total, "items": items, "dims": dims, "licence": "made up"}  # fmt: skip
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path


def toy_config(path: Path, data: Path, out: Path, **changes: Any) -> Path:
    """Write a configuration; `training`, `model` and top-level keys of `changes` win."""
    table = {"arch": "lrurec", "preset": "tiny", "data": str(data), "out": str(out), "seed": 7, **changes}
    table["training"] = {"max_epochs": 3, "batch_size": 8, "device": "cpu", "precision": "fp32", "threads": 1, **changes.get("training", {})}  # fmt: skip
    path.write_text(json.dumps(table))
    return path


def _write(path: Path, **columns: pa.Array) -> None:
    pq.write_table(pa.table(columns), path)

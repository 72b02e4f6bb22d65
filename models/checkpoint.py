"""Model folders: what training leaves behind, what it needs to go on after a kill, and weights taken over from another folder.

Belongs here: which files and tensors there are, and when they may be trusted. Does not belong here: the file format (`weights.py`), the loop (`training.py`).

A model folder is finished when `summary.json` is there, which is written last. Until then `checkpoint/` holds the state of the loop, in one file, so that it appears whole or not at all; the one
before it is kept until the next, in case that is damaged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.data import read_movie_ids
from models.retriever import ITEM_PARAMETERS, Retriever, RetrieverConfig, build
from models.weights import WeightsError, digest, load, save, sha256, sync_folder

WEIGHTS = "weights.safetensors"
CONFIG = "config.json"
ITEMS = "items.parquet"
SUMMARY = "summary.json"
METRICS = "metrics.jsonl"
CARD = "MODEL_CARD.md"
CHECKPOINTS = "checkpoint"
LATEST, PREVIOUS = "latest.safetensors", "previous.safetensors"
# All that a model folder may hold; a folder with anything else is somebody else's.
KNOWN = frozenset({WEIGHTS, CONFIG, ITEMS, SUMMARY, METRICS, CARD, CHECKPOINTS, "tensorboard", ".lock"})


class CheckpointError(ValueError):
    """A folder that cannot be resumed, loaded or started from. Names the file."""


@dataclass
class Progress:
    """Where the loop is: everything beside tensors that it must know to go on exactly as if nothing had happened."""

    accumulation: int
    step: int = 0
    epoch: int = 0
    position: int = 0  # batches of this epoch that are done
    interactions: int = 0
    epoch_loss: float = 0.0  # sums over this epoch
    epoch_targets: int = 0
    last_epoch_loss: float | None = None
    window_loss: float = 0.0  # sums since the last line of the log
    window_targets: int = 0
    window_padding: int = 0
    window_cells: int = 0
    window_s: float = 0.0
    best_value: float | None = None
    best_step: int = 0
    stale: int = 0  # validations without a better value
    validated_step: int = -1
    train_s: float = 0.0
    metrics_bytes: int = 0
    warnings: list[str] = field(default_factory=list)


@dataclass
class Resumed:
    """A checkpoint that was read."""

    progress: Progress
    model: dict[str, Tensor]
    best: dict[str, Tensor]
    optimizer: dict[int, dict[str, Tensor]]


def identity_of(values: dict[str, Any]) -> str:
    """Hash of what decides which weights come out. Two runs of equal identity are the same run."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def save_checkpoint(
    out: Path,
    identity: str,
    progress: Progress,
    model: dict[str, Tensor],
    best: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write the state of the loop; the checkpoint before becomes the previous one."""
    tensors = {f"model.{name}": tensor for name, tensor in model.items()}
    tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": tensor for name, tensor in state.items()}
    folder = out / CHECKPOINTS
    folder.mkdir(exist_ok=True)
    metadata = {"identity": identity, "progress": json.dumps(asdict(progress)), "digest": digest(tensors)}
    beside = folder / "next.safetensors"
    save(beside, tensors, metadata)
    if (folder / LATEST).exists():
        (folder / LATEST).rename(folder / PREVIOUS)
    beside.rename(folder / LATEST)
    sync_folder(folder)


def read_checkpoint(out: Path, identity: str, warn: Callable[[str], None]) -> Resumed | None:
    """The latest checkpoint of `out`, or the previous one where the latest is damaged, which `warn` is told; None where there is none.

    Raises CheckpointError where all are damaged, and where they are of another configuration or other data.
    """
    folder = out / CHECKPOINTS
    damaged = []
    for name in (LATEST, PREVIOUS):
        file = folder / name
        if not file.exists():
            continue
        try:
            resumed = _parse(file, identity)
        except WeightsError as error:
            damaged.append(str(error))
            continue
        for text in damaged:
            warn(f"checkpoint damaged, going back to step {resumed.progress.step} of the one before: {text}")
        return resumed
    if damaged:
        raise CheckpointError(f"{damaged[0]}; no checkpoint before it is left; --resume never starts anew")
    return None


def _parse(file: Path, identity: str) -> Resumed:
    tensors, metadata = load(file)
    if metadata.get("digest") != digest(tensors):
        raise WeightsError(f"{file}: its tensors are not those that were written")
    if metadata.get("identity") != identity:
        raise CheckpointError(f"{file}: of another configuration or other data; --resume never starts anew")
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "optimizer": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    optimizer: dict[int, dict[str, Tensor]] = {}
    for name, tensor in parts["optimizer"].items():
        number, _, key = name.partition(".")
        optimizer.setdefault(int(number), {})[key] = tensor
    return Resumed(Progress(**json.loads(metadata["progress"])), parts["model"], parts["best"], optimizer)


def read_summary(folder: Path) -> dict[str, Any] | None:
    """Summary of a finished model folder; None where it is not finished. Raises CheckpointError where it cannot be read."""
    return _json(folder / SUMMARY) if (folder / SUMMARY).exists() else None


def read_config(folder: Path) -> dict[str, Any]:
    """Resolved configuration of a finished model folder. Raises CheckpointError where it is not finished or cannot be read."""
    if not (folder / SUMMARY).exists():
        raise CheckpointError(f"{folder}: holds no finished model: {SUMMARY} is missing")
    return _json(folder / CONFIG)


def load_model(folder: Path, vectors: np.ndarray | Tensor | None = None, device: str = "cpu") -> Retriever:
    """The retriever of a finished model folder, in evaluation mode.

    `vectors [N, D]`: text vectors of its items in their order (`vectors.npy` of the folder it was trained from), for models that read text. Raises CheckpointError where the folder is not
    finished or its files do not fit each other.
    """
    config = read_config(folder)
    model = build(RetrieverConfig.of(config["model"]), as_tensor(vectors))
    tensors, _ = load(folder / WEIGHTS)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"{folder / WEIGHTS}: does not fit {CONFIG}: {error}") from None
    return model.to(device).eval()


def device_of(name: str) -> str:
    """Where a model is loaded to: `auto` is the GPU where there is one."""
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def as_tensor(vectors: np.ndarray | Tensor | None) -> Tensor | None:
    """Vectors of a file, read into memory."""
    return torch.from_numpy(np.array(vectors)) if isinstance(vectors, np.ndarray) else vectors


@dataclass(frozen=True)
class Taken:
    """What was taken over from another model: films in both, films new here, films left behind; parameters that only one of the two has."""

    weights_sha256: str
    shared: int
    new: int
    left: int
    initialised: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        text = f"weights taken over: {self.shared} films shared, {self.new} new, {self.left} left behind"
        if self.initialised:
            text += f"; freshly initialised, as the other model lacks them: {', '.join(self.initialised)}"
        if self.unused:
            text += f"; not used here: {', '.join(self.unused)}"
        return text


def take_over(model: Retriever, movie_ids: list[str], source: Path) -> Taken:
    """Copy the weights of the finished model folder `source` into `model`, whose items may differ: rows of items are matched by movie_id, rows of new films stay as initialised.

    Raises CheckpointError where the folder is not finished, or a parameter has another shape.
    """
    read_config(source)
    tensors, _ = load(source / WEIGHTS)
    theirs = read_movie_ids(source / ITEMS)
    place = {movie_id: number for number, movie_id in enumerate(theirs)}
    pairs = [(number, place[movie_id]) for number, movie_id in enumerate(movie_ids) if movie_id in place]
    here, there = (
        torch.tensor(column, dtype=torch.int64) for column in (zip(*pairs, strict=True) if pairs else ((), ()))
    )
    own = model.state_dict()
    for name in own.keys() & tensors.keys():
        shape = own[name].shape[1:] if name in ITEM_PARAMETERS else own[name].shape
        stored = tensors[name].shape[1:] if name in ITEM_PARAMETERS else tensors[name].shape
        if shape != stored:
            raise CheckpointError(
                f"{source / WEIGHTS}: {name} is {list(tensors[name].shape)}, but {list(own[name].shape)} here: another architecture or size"
            )
        if name in ITEM_PARAMETERS:
            own[name][here] = tensors[name][there].to(own[name])
        else:
            own[name].copy_(tensors[name])
    return Taken(
        weights_sha256=sha256(source / WEIGHTS),
        shared=len(pairs),
        new=len(movie_ids) - len(pairs),
        left=len(theirs) - len(pairs),
        initialised=tuple(sorted(own.keys() - tensors.keys())),
        unused=tuple(sorted(tensors.keys() - own.keys())),
    )


def _json(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file}: cannot be read: {error}") from None
    if not isinstance(values, dict):
        raise CheckpointError(f"{file}: is not an object")
    return values

"""Configuration of a training run: a TOML or JSON file, laid over a preset, read strictly.

Belongs here: reading, checking, resolving. Does not belong here: what presets hold (`presets.toml`), what a retriever's keys mean (`architectures/base.py`).
"""

from __future__ import annotations

import difflib
import json
import math
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

T = TypeVar("T")

Loss = Literal["full", "sampled", "in_batch", "sampled_in_batch"]
TASKS = ("train", "rl")


class ConfigError(ValueError):
    """A configuration that cannot be followed. Names file and key."""


@dataclass(frozen=True)
class TrainingConfig:
    """How a retriever is trained.

    Limits: `max_epochs`, `max_steps`, `max_interactions` (targets); 0 = no limit, and one must be set. The cosine ends where the first of them is reached.
    """

    loss: Loss = "full"
    negatives: int = 100  # of the sampled losses, a row
    batch_size: int = 128  # sequences of one optimizer step, over all processes
    accumulation: int = 1  # parts that a batch is computed in, each on its own
    lr: float = 1e-3
    weight_decay: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.999
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_steps: int = 0
    final_lr_share: float = 0.0  # of lr, at the end of the cosine
    clip_norm: float = 5.0  # 0: none
    max_epochs: int = 100
    max_steps: int = 0
    max_interactions: int = 0
    patience: int = 10  # validations without a better one before training stops; 0: never stop early
    validate_every: int = 0  # steps; 0: after each epoch
    validation_metric: Literal["recall@10", "ndcg@10"] = "recall@10"
    validation_masked: bool = True  # films of the history taken out of the list
    validation_examples: int = 0  # at most so many, drawn by seed; 0: all
    long_sequences: Literal["latest", "windows"] = "latest"
    bucket_batches: int = 50  # batches that are sorted by length together; 1: no sorting
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # auto: bf16 on a GPU that has it, else fp32
    device: str = "auto"  # auto: cuda where there is one, else cpu
    threads: int = 0  # of the CPU; 0: torch's choice
    is_compiled: bool = False  # torch.compile
    log_every: int = 50  # steps
    checkpoint_every_s: float = 60.0  # 0: after each step

    def __post_init__(self) -> None:
        at_least_one = ("negatives", "batch_size", "accumulation", "bucket_batches", "log_every")
        for key in at_least_one:
            if getattr(self, key) < 1:
                raise ConfigError(f"{key} must be at least 1, not {getattr(self, key)}")
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, int | float) and not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{each.name} must be 0 or more, not {value}")
        for key in ("beta1", "beta2", "final_lr_share"):
            if getattr(self, key) > 1 or (key != "final_lr_share" and getattr(self, key) == 1):
                raise ConfigError(f"{key} must be less than 1, not {getattr(self, key)}")
        if self.lr <= 0:
            raise ConfigError("lr must be more than 0")
        if not (self.max_epochs or self.max_steps or self.max_interactions):
            raise ConfigError("one of max_epochs, max_steps, max_interactions must be set: training would never end")
        if self.accumulation > self.batch_size:
            raise ConfigError(f"accumulation {self.accumulation} is more than batch_size {self.batch_size}")


@dataclass(frozen=True)
class RunConfig:
    """A configuration file, resolved: a preset's keys with the file's own over them. `model` and `rl` are tables still: what they need is known when the data is read."""

    file: Path
    task: str
    arch: str
    preset: str
    data: Path
    out: Path
    init_from: Path | None = None
    seed: int = 42
    model: dict[str, Any] = field(default_factory=dict)
    training: TrainingConfig = TrainingConfig()
    rl: dict[str, Any] = field(default_factory=dict)


def read_run(file: Path) -> RunConfig:
    """The run that `file` asks for. Relative folders are relative to the folder of the file. Raises ConfigError, naming file and key."""
    from models.presets import preset as preset_tables

    table = read_file(file)
    keys = ("task", "arch", "preset", "data", "out", "init_from", "seed", "model", "training", "rl")
    for key in table:
        if key not in keys:
            raise ConfigError(f"{file}: {_unknown(key, keys)}")
    for key in ("arch", "data", "out"):
        if key not in table:
            raise ConfigError(f"{file}: key {key!r} is missing")
    task, seed, name = table.get("task", "train"), table.get("seed", 42), table.get("preset", "rar")
    for key in ("task", "arch", "preset", "data", "out", "init_from"):
        if not isinstance(table.get(key, ""), str):
            raise ConfigError(f"{file}: {key} must be a text, not {table[key]!r}")
    if task not in TASKS:
        raise ConfigError(f"{file}: task must be one of {', '.join(TASKS)}, not {task!r}")
    if type(seed) is not int or not 0 <= seed < 2**31:
        raise ConfigError(f"{file}: seed must be a whole number from 0 to 2147483647, not {seed!r}")
    sections = {}
    for section in ("model", "training", "rl"):
        sections[section] = table.get(section, {})
        if not isinstance(sections[section], dict):
            raise ConfigError(f"{file}: {section} must be a table")
    try:
        defaults = preset_tables(name, table["arch"])
    except ValueError as error:
        raise ConfigError(f"{file}: preset: {error}") from None
    folder = file.resolve().parent
    return RunConfig(
        file=file,
        task=task,
        arch=table["arch"],
        preset=name,
        data=folder / table["data"],
        out=folder / table["out"],
        init_from=folder / table["init_from"] if table.get("init_from") else None,
        seed=seed,
        model={**defaults.get("model", {}), **sections["model"]},
        training=section_of(TrainingConfig, {**defaults.get("training", {}), **sections["training"]}, file, "training"),
        rl={**defaults.get("rl", {}), **sections["rl"]},
    )


def read_file(file: Path) -> dict[str, Any]:
    """A TOML (.toml) or JSON (.json) file as a table. Raises ConfigError, naming the file."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from None
    try:
        if file.suffix == ".toml":
            table = tomllib.loads(text)
        elif file.suffix == ".json":
            table = json.loads(text)
        else:
            raise ConfigError(f"{file}: a configuration is a .toml or .json file")
    except (tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
        raise ConfigError(f"{file}: not readable: {error}") from None
    if not isinstance(table, dict):
        raise ConfigError(f"{file}: must be a table of keys and values")
    return table


def section_of(kind: type[T], table: Mapping[str, Any], file: Path | str, section: str) -> T:
    """`table` as a dataclass. Unknown keys, missing ones and values of another type raise ConfigError, naming file, section and key."""
    hints = typing.get_type_hints(kind)
    names = [each.name for each in fields(kind)]  # type: ignore[arg-type]
    values = {}
    for key, value in table.items():
        if key not in names:
            raise ConfigError(f"{file}: [{section}] {_unknown(key, names)}")
        values[key] = _typed(value, hints[key], f"{file}: [{section}] {key}")
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{file}: [{section}] {error}") from None


def as_table(config: Any) -> dict[str, Any]:
    """A dataclass as plain values, for a file."""
    return {key: str(value) if isinstance(value, Path) else value for key, value in asdict(config).items()}


def _unknown(key: str, known: typing.Iterable[str]) -> str:
    close = difflib.get_close_matches(key, list(known), n=1)
    return f"unknown key {key!r}" + (f"; did you mean {close[0]!r}?" if close else f"; keys are {', '.join(known)}")


def _typed(value: Any, hint: Any, where: str) -> Any:
    origin = typing.get_origin(hint)
    if origin is Literal:
        allowed = typing.get_args(hint)
        if value not in allowed:
            raise ConfigError(f"{where} must be one of {', '.join(map(repr, allowed))}, not {value!r}")
        return value
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        (hint,) = [each for each in typing.get_args(hint) if each is not type(None)]
    if hint is float and type(value) is int:
        return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if isinstance(hint, type) and type(value) is not hint:
        raise ConfigError(f"{where} must be of type {hint.__name__}, not {value!r}")
    return value

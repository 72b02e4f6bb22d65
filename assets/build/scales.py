"""How much is trained and asked: the scales of scales.toml, read and checked.

Does not belong here: how a model is made (models/presets.toml).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

_FILE = Path(__file__).with_name("scales.toml")


@dataclass(frozen=True)
class Stage:
    """One stage of training: `preset` of models/presets.toml, `seeds`, and keys of its `model` and `training` that differ."""

    preset: str
    seeds: tuple[int, ...]
    model: Mapping[str, Any]
    training: Mapping[str, Any]


@dataclass(frozen=True)
class Alignment:
    """Reinforcement learning: `turns` of training dialogues at most, `sets` drawn for each, `rounds` of drawing again where no set
    holds a label, and `settings` of models.rl that differ."""

    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    turns: int
    sets: int
    rounds: int
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Reranking:
    """Whose candidates the language model ranks, and for how many test turns of each dataset (0: all)."""

    systems: tuple[str, ...]
    turns: int


@dataclass(frozen=True)
class Trees:
    """Sampling for comparison: `turns` for each domain and agent (0: none), and how many replies are played to the end for each."""

    turns: int
    branches: int


@dataclass(frozen=True)
class Simulation:
    """Simulated conversations.

    `users`: personas inferred for each domain. `train`, `test`: episodes of AILO for each domain and agent, by split; `seeker`: episodes of RSO's seeker on test
    tasks. `turns`: of the agent, at most. `confirmations`: samples that a satisfaction is the mean of. `judged`: episodes for each domain and agent that the
    judge sees.
    """

    users: int
    train: int
    test: int
    seeker: int
    turns: int
    confirmations: int
    judged: int
    trees: Trees

    def but(self, tasks: int = 0, turns: int = 0) -> Simulation:
        """The same with `tasks` of each split and `turns`, where they are not 0."""
        return replace(self, train=tasks or self.train, test=tasks or self.test, turns=turns or self.turns)


@dataclass(frozen=True)
class Scale:
    """Everything about one scale."""

    name: str
    encoder: str
    embed: str | int
    releases: tuple[str, ...]
    dialogues: tuple[str, ...]
    sessions: Stage
    tuning: Stage
    rl: Alignment
    reranking: Reranking
    simulation: Simulation


_PARTS = {
    "sessions": Stage,
    "tuning": Stage,
    "rl": Alignment,
    "reranking": Reranking,
    "simulation": Simulation,
    "trees": Trees,
}


@cache
def scales() -> dict[str, Scale]:
    """All scales by name. Raises ValueError naming file and key for a key that is unknown or missing."""
    stated = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return {name: _made(Scale, {"name": name, **block}, name) for name, block in stated.items()}


def _made(kind: type, block: Mapping[str, Any], where: str) -> Any:
    wanted = {field.name for field in fields(kind)}
    if wrong := wanted ^ set(block):
        raise ValueError(f"{_FILE.name}: [{where}] lacks or does not know: {', '.join(sorted(wrong))}")
    return kind(
        **{
            key: _made(_PARTS[key], value, f"{where}.{key}")
            if key in _PARTS
            else tuple(value)
            if isinstance(value, list)
            else value
            for key, value in block.items()
        }
    )

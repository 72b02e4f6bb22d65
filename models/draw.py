"""`python -m models.draw --config FILE`: draws candidate sets for training turns from a model and writes draws.parquet.

A turn of whose sets none holds a label is drawn for again in the next round, up to `max_rounds` (RAR, section A.2: pairs of which neither set holds a label are resampled). Whether a set
holds a label is known without asking a language model, so only sets of the last round need to be asked about.
Does not belong here: rewards, and what is learned from them (`rl.py`); columns of the file (`candidate_sets.py`).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from models.candidate_sets import (
    DRAWS,
    Group,
    Turn,
    history_tensors,
    holds_label,
    label_tensor,
    read_turns,
    some_turns,
    write_rows,
)
from models.checkpoint import ITEMS, WEIGHTS, CheckpointError, device_of, load_model
from models.checkpoint import read_config as read_model_config
from models.config import ConfigError, read_file, section_of
from models.data import open_folder, read_movie_ids
from models.retriever import Retriever, RetrieverConfig
from models.sampling import sample_sets
from models.weights import sha256

SEQUENCES = "sequences.parquet"


@dataclass(frozen=True)
class DrawConfig:
    """What sets are drawn from (`model`, a folder), for which turns (`data`, a training folder of dialogues), and where to (`out`, a file).

    `k`: items of a set. `sets`: sets of a turn and round. `max_turns`: turns at most, 0 for all. `max_rounds`: rounds at most, the first one counted. `batch`: turns drawn for at a time.
    """

    model: Path
    data: Path
    out: Path
    seed: int = 42
    k: int = 25
    sets: int = 8
    max_turns: int = 2500
    max_rounds: int = 4
    batch: int = 64
    device: str = "auto"

    def __post_init__(self) -> None:
        for key, least in (("k", 1), ("sets", 1), ("max_rounds", 1), ("batch", 1), ("max_turns", 0), ("seed", 0)):
            if getattr(self, key) < least:
                raise ConfigError(f"{key} must be at least {least}, not {getattr(self, key)}")


def read_config(file: Path) -> DrawConfig:
    """The configuration in a TOML or JSON file; relative paths are relative to its folder. Raises ConfigError naming file and key."""
    table = read_file(file)
    for key in ("model", "data", "out"):
        if key not in table:
            raise ConfigError(f"{file}: key {key!r} is missing")
    config = section_of(DrawConfig, table, file, "draw")
    folder = file.resolve().parent
    return replace(config, model=folder / config.model, data=folder / config.data, out=folder / config.out)


@torch.no_grad()
def draw_round(
    policy: Retriever, turns: Sequence[Turn], sets: int, k: int, generator: torch.Generator, batch: int = 64
) -> Iterator[Group]:
    """One round: `sets` sets of k items for each turn, drawn by the policy without dropout. Rewards are 0.

    Raises ValueError as `sampling.gumbel_top_k`.
    """
    was_training = policy.training
    policy.eval()
    try:
        item_matrix, bias = policy.item_matrix(), policy.item_bias()
        for start in range(0, len(turns), batch):
            part = turns[start : start + batch]
            items, lengths = history_tensors(part, policy.config.max_history)
            states = policy.query(items.to(policy.device), lengths.to(policy.device)).float()
            drawn = sample_sets(states, item_matrix, bias, sets, k, generator)
            has_label = holds_label(drawn.items, label_tensor(part).to(policy.device))
            columns = (drawn.items, drawn.log_probs, torch.zeros_like(drawn.log_probs), has_label)
            for turn, *values in zip(part, *(each.cpu().numpy() for each in columns), strict=True):
                yield Group(turn, *values)
    finally:
        policy.train(was_training)


def draw_rounds(
    policy: Retriever,
    turns: Sequence[Turn],
    config: DrawConfig,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[tuple[int, Group]]:
    """All rounds: the number of the round and the sets of a turn, round by round. A turn's chance does not depend on how other turns' rounds went, but on seed, round and place."""
    left = list(turns)
    for number in range(config.max_rounds):
        generator = torch.Generator(policy.device).manual_seed(config.seed * 1_000_003 + number)
        missed = []
        for group in draw_round(policy, left, config.sets, config.k, generator, config.batch):
            yield number, group
            if not group.has_label.any():
                missed.append(group.turn)
        tell(f"round {number}: {len(left) - len(missed):,} of {len(left):,} turns have a set with a label")
        left = missed
        if not left:
            break


def rows_of(number: int, group: Group) -> Iterator[dict[str, Any]]:
    """The rows of draws.parquet of a turn's round."""
    for draw, (candidates, log_prob, has_label) in enumerate(
        zip(group.candidates, group.log_probs, group.has_label, strict=True)
    ):
        yield {
            "example_id": group.turn.example_id,
            "history": list(group.turn.history),
            "labels": list(group.turn.labels),
            "round": number,
            "draw": draw,
            "candidates": candidates.tolist(),
            # Rounding may leave a certain draw a hair above 0.
            "log_prob": min(float(log_prob), 0.0),
            "has_label": bool(has_label),
        }


def run(config: DrawConfig, say: Callable[[Mapping[str, Any]], None]) -> dict[str, Any]:
    """Draw as `config` says and write its file; returns counts. Raises ConfigError, CheckpointError, DataError, WeightsError, SetsError or ValueError, and then writes nothing."""
    data = open_folder(config.data, needs_vectors=False)
    if read_movie_ids(config.model / ITEMS) != data.movie_ids:
        raise CheckpointError(f"{config.model / ITEMS}: other items than those of {config.data}")
    policy = load_policy(config.model, config.data, device_of(config.device))
    every = read_turns(config.data / SEQUENCES, data.items)
    turns = some_turns(every, config.max_turns, config.seed)
    say({"event": "progress", "message": f"{len(turns):,} of {len(every):,} training turns"})
    rows: list[dict[str, Any]] = []
    resolved: set[str] = set()
    for number, group in draw_rounds(policy, turns, config, lambda text: say({"event": "progress", "message": text})):
        rows += rows_of(number, group)
        if group.has_label.any():
            resolved.add(group.turn.example_id)
    counts = {
        "turns": len(turns),
        "turns_with_label": len(resolved),
        "rounds": 1 + max((row["round"] for row in rows), default=-1),
        "sets": len(rows),
        "sets_with_label": sum(row["has_label"] for row in rows),
    }
    about = {
        "weights_sha256": sha256(config.model / WEIGHTS),
        "data_hash": data.data_hash,
        **{key: getattr(config, key) for key in ("seed", "k", "sets", "max_turns", "max_rounds", "batch")},
        **counts,
    }
    write_rows(config.out, sorted(rows, key=lambda row: (row["example_id"], row["round"], row["draw"])), DRAWS, about)
    say({"event": "done", "message": f"{counts['sets']:,} sets, {counts['sets_with_label']:,} with a label", **counts})
    return counts


def load_policy(model: Path, data: Path, device: str) -> Retriever:
    """The retriever of a model folder with the item vectors of a training folder, which must be of the same items."""
    has_text = load_config(model).has_text
    return load_model(model, open_folder(data, needs_vectors=has_text).vectors, device)


def load_config(model: Path) -> RetrieverConfig:
    """Configuration of the retriever of a finished model folder. Raises CheckpointError."""
    return RetrieverConfig.of(read_model_config(model)["model"])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m models.draw", description="Draw candidate sets for training turns."
    )
    parser.add_argument("--config", type=Path, required=True, help="TOML or JSON file; see DrawConfig")
    try:
        run(read_config(parser.parse_args(arguments).config), lambda event: print(json.dumps(event), flush=True))
    except (ValueError, OSError) as error:
        print(json.dumps({"event": "error", "message": str(error)}), flush=True)
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m models.train --config FILE [--resume auto|never]`: trains a retriever into a model folder. Needs torch, numpy and pyarrow.

Belongs here: the command, what may be written where, and finishing a model folder. Does not belong here: the loop (`training.py`), reinforcement learning (`rl.py`).

Exit status: 0 finished (also where it was finished already), 1 an error, 2 wrong arguments, 130 and 143 stopped by SIGINT and SIGTERM with a checkpoint.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from models import checkpoint
from models.checkpoint import CheckpointError, identity_of, read_checkpoint, read_summary, take_over
from models.config import ConfigError, RunConfig, as_table, read_run
from models.data import Folder, open_folder, read_examples, read_sequences
from models.distributed import World, join, leave
from models.model_card import model_card
from models.reporting import Reporter
from models.retriever import ARCHITECTURES, RetrieverConfig, build
from models.training import Interrupted, Outcome, Run, Setting, TrainingError
from models.weights import save, sha256, write_text

# Keys of [training] that change neither weights nor what they mean: how often it is said and saved, on how many threads.
IMMATERIAL = ("log_every", "checkpoint_every_s", "threads")


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m models.train", description="Train a retriever into a model folder."
    )
    parser.add_argument("--config", type=Path, required=True, help="TOML or JSON file")
    parser.add_argument(
        "--resume", choices=("auto", "never"), default="auto", help="auto: go on from a checkpoint; never: start anew"
    )
    options = parser.parse_args(arguments)
    try:
        config = read_run(options.config)
        if config.task == "rl":
            from models.rl import run_rl

            run_rl(config)
            return 0
        train(config, resume=options.resume == "auto")
    except Interrupted as stop:
        print(f"{stop}; go on with the same command", file=sys.stderr)
        return 128 + stop.number
    except (ValueError, TrainingError, OSError) as error:
        print(json.dumps({"event": "error", "message": str(error)}), flush=True)
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def train(config: RunConfig, resume: bool = True) -> Path:
    """Train as configured, unless `config.out` holds the finished result already. Returns the folder.

    Raises ConfigError, DataError, CheckpointError, WeightsError (what was given cannot be used), TrainingError, Interrupted.
    """
    if config.training.threads:
        torch.set_num_threads(config.training.threads)
    folder, model_config = resolve(config)
    setting = Setting.of(config.training)
    world = join(setting.device)
    if world.size > 1:
        setting = Setting.of(config.training, world.local_rank)
        if setting.device.type == "cuda":
            torch.cuda.set_device(setting.device)
    try:
        with locked(config.out, world):
            world.wait()
            reporter = Reporter(config.out, world.is_main)
            try:
                _train(config, folder, model_config, setting, world, reporter, resume)
            finally:
                reporter.close()
    finally:
        leave()
    return config.out


def resolve(config: RunConfig) -> tuple[Folder, RetrieverConfig]:
    """The training folder, and the retriever's configuration with what the data decides (items, dimensions) filled in. Raises ConfigError, DataError."""
    if config.arch not in ARCHITECTURES:
        raise ConfigError(f"{config.file}: arch must be one of {', '.join(ARCHITECTURES)}, not {config.arch!r}")
    for key in ("arch", "items", "text_dims"):
        if key in config.model:
            raise ConfigError(f"{config.file}: [model] {key} is not for a file to say: it follows from the data")
    folder = open_folder(config.data, needs_vectors=config.model.get("features", "id") != "id")
    dims = 0 if folder.vectors is None else folder.vectors.shape[1]
    try:
        model_config = RetrieverConfig.of(
            {**config.model, "arch": config.arch, "items": folder.items, "text_dims": dims}
        )
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{config.file}: [model] {error}") from None
    return folder, model_config


def _train(
    config: RunConfig,
    folder: Folder,
    model_config: RetrieverConfig,
    setting: Setting,
    world: World,
    reporter: Reporter,
    resume: bool,
) -> None:
    training, items_file = config.training, folder.path / checkpoint.ITEMS
    resolved = resolved_table(config, folder, model_config.as_dict(), sha256(items_file))
    if is_finished(config.out, resolved):
        reporter.event("done", message=f"{config.out} holds this model already", **(read_summary(config.out) or {}))
        return
    sequences = read_sequences(
        folder.path / "sequences.parquet", folder.items, model_config.max_history, training.long_sequences
    )
    examples = read_examples(
        folder.path / "validation.parquet", folder.items, training.validation_examples, config.seed
    )
    said = []
    if sequences.clipped:
        what = "their latest items are kept" if training.long_sequences == "latest" else "they are cut into windows"
        said.append(f"{sequences.clipped} sequences are longer than max_history {model_config.max_history}: {what}")
    if sequences.dropped:
        said.append(f"{sequences.dropped} sequences without a target are left out")
    for text in said:
        reporter.event("progress", message=text)

    torch.manual_seed(config.seed)
    model = build(model_config, checkpoint.as_tensor(folder.vectors))
    if config.init_from is not None:
        taken = take_over(model, folder.movie_ids, config.init_from)
        reporter.event("progress", message=str(taken))
    identity = identity_of(material(resolved))
    resumed = read_checkpoint(config.out, identity, reporter.warn) if resume else None
    if resumed is not None:
        reporter.event("progress", message=f"going on from step {resumed.progress.step}", step=resumed.progress.step)
    world.wait()
    run = Run(
        model, sequences, examples, training, config.seed, config.out, identity, reporter, setting, world, resumed
    )
    reporter.open_logs(run.progress.metrics_bytes, run.progress.step)
    try:
        outcome = run.fit()
    except Interrupted as stop:
        reporter.event("interrupted", message=f"{stop}; the state is in a checkpoint", step=run.progress.step)
        raise
    if world.is_main:
        summary = summarise(outcome, run)
        finish(config.out, resolved, outcome.weights, summary, folder)
        reporter.done(summary)
    world.wait()


def resolved_table(config: RunConfig, folder: Folder, model: dict[str, Any], items_sha256: str) -> dict[str, Any]:
    """What `config.json` holds: everything that decides the weights, and no path."""
    origin = None
    if config.init_from is not None:
        checkpoint.read_config(config.init_from)
        origin = {"weights_sha256": sha256(config.init_from / checkpoint.WEIGHTS)}
    return {
        "task": config.task,
        "arch": config.arch,
        "preset": config.preset,
        "seed": config.seed,
        "model": model,
        "training": as_table(config.training),
        "items": folder.items,
        "items_sha256": items_sha256,
        "dataset": folder.manifest["dataset"],
        "data_hash": folder.data_hash,
        "init_from": origin,
    }


def material(resolved: dict[str, Any]) -> dict[str, Any]:
    """The part of a resolved configuration that two runs must share to be the same."""
    training = {key: value for key, value in resolved["training"].items() if key not in IMMATERIAL}
    return {**resolved, "training": training}


def is_finished(out: Path, resolved: dict[str, Any]) -> bool:
    """Whether `out` holds the finished model of this configuration. Raises CheckpointError where it holds another one, or what is no model."""
    strangers = sorted(path.name for path in out.iterdir() if path.name.lstrip(".").split(".")[0] not in _STEMS)
    if strangers:
        raise CheckpointError(f"{out}: is no model folder: it holds {strangers[0]}; nothing was written")
    if read_summary(out) is None:
        return False
    there = checkpoint.read_config(out)
    # Through JSON, as the stored one went.
    if json.dumps(material(there), sort_keys=True) != json.dumps(material(resolved), sort_keys=True):
        keys = [key for key in resolved if there.get(key) != resolved[key]]
        raise CheckpointError(
            f"{out}: holds a finished model of another configuration ({', '.join(keys)}); nothing was written"
        )
    shutil.rmtree(out / checkpoint.CHECKPOINTS, ignore_errors=True)
    return True


_STEMS = {name.lstrip(".").split(".")[0] for name in checkpoint.KNOWN}


def summarise(outcome: Outcome, run: Run) -> dict[str, Any]:
    """What `summary.json` holds."""
    progress = outcome.progress
    train_loss = progress.last_epoch_loss
    if train_loss is None and progress.epoch_targets:
        train_loss = progress.epoch_loss / progress.epoch_targets
    return {
        "steps": progress.step,
        "epochs": progress.epoch + progress.position / run.steps_an_epoch,
        "ended_by": outcome.ended_by,
        "best_step": progress.best_step,
        "validation_metric": run.config.validation_metric,
        "validation_value": progress.best_value,
        "train_loss": train_loss,
        "interactions": progress.interactions,
        "train_s": progress.train_s,
        "interactions_per_s": progress.interactions / progress.train_s if progress.train_s else None,
        "parameters": sum(values.numel() for values in run.model.parameters() if values.requires_grad),
        "device": str(run.setting),
        "warnings": progress.warnings,
    }


def finish(
    out: Path, resolved: dict[str, Any], weights: dict[str, torch.Tensor], summary: dict[str, Any], folder: Folder
) -> None:
    """Write the files of a finished model, `summary.json` last, and drop the checkpoint."""
    save(
        out / checkpoint.WEIGHTS,
        weights,
        {"format": "pt", "arch": resolved["arch"], "items_sha256": resolved["items_sha256"]},
    )
    summary["weights_sha256"] = sha256(out / checkpoint.WEIGHTS)
    beside = out / f".{checkpoint.ITEMS}"
    shutil.copyfile(folder.path / checkpoint.ITEMS, beside)
    beside.rename(out / checkpoint.ITEMS)
    write_text(out / checkpoint.CONFIG, json.dumps(resolved, indent=1, sort_keys=True) + "\n")
    write_text(out / checkpoint.CARD, model_card(resolved, summary, folder.manifest))
    write_text(out / checkpoint.SUMMARY, json.dumps(summary, indent=1) + "\n")
    shutil.rmtree(out / checkpoint.CHECKPOINTS, ignore_errors=True)


@contextmanager
def locked(out: Path, world: World | None = None) -> Iterator[None]:
    """Hold `out`, made if need be, for one run at a time. The lock is the kernel's and dies with the process. Raises CheckpointError where another run holds it."""
    if world is not None and not world.is_main:
        yield
        return
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CheckpointError(f"{out}: another run is writing to this folder") from None
        yield


if __name__ == "__main__":
    sys.exit(main())

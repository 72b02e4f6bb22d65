"""Training retrievers: which runs a scale asks for, starting those whose inputs changed, and rows about all of them.

A training run is addressed by the hash of its configuration, its data and the code's version: one that was finished is not run again, whoever asks,
and one that was killed goes on from its checkpoint.
Does not belong here: how a model is trained (models/), what is trained at which scale (scales.toml).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from assets.build.files import FILES_FOLDER, FileError, digest_of, sha256_of
from assets.build.launching import Launch
from assets.build.rankings import RankRun, baseline_runs, build_rankings, make_rankings
from assets.build.scales import Scale, Stage
from assets.build.tables import Built, Tell, published_or_empty
from assets.build.training_data import NoTrainingData, write_training_data
from warehouse.contracts import Table
from warehouse.store import Warehouse
from warehouse.tables.interactions import CORE_REC_TURNS, CORE_SESSIONS
from warehouse.tables.retrieval import ML_ITEM_EMBEDDINGS, ML_TRAINING_LOG, RETRIEVERS, RL_RETRIEVERS

# Raise it when training with the same configuration and data gives other weights than before.
TRAINING_VERSION = "1"

DIALOGUES = "dialogues"


def run_id(config: Mapping[str, Any], data_hash: str, inputs: Sequence[str | None]) -> str:
    """What a training run follows from, as 16 digits: its configuration but for paths, and the hashes of what lies there."""
    stated = {key: value for key, value in config.items() if key not in ("data", "out", "init_from")}
    if "rl" in stated:
        stated["rl"] = {key: value for key, value in stated["rl"].items() if key != "rewards"}
    return digest_of([TRAINING_VERSION, data_hash, list(inputs), stated])


def release_of(warehouse: Warehouse, scale: Scale) -> tuple[str, str] | None:
    """The release that the scale trains on, and how it is split; None where there are no ratings.

    Sessions need times; a release without them is split by leaving one out.
    """
    settings = release_settings(warehouse)
    return next(((release, settings[release]) for release in scale.releases if release in settings), None)


def release_settings(warehouse: Warehouse) -> dict[str, str]:
    """How each release of core_sessions is split: into sessions, or by leaving one out where it states no times."""
    if warehouse.published(CORE_SESSIONS.name) is None:
        return {}
    has_times = warehouse.scan(CORE_SESSIONS.name).group_by("release").agg(pl.col("rated_at").is_not_null().any())
    return {release: "sessions" if timed else "leave_one_out" for release, timed in has_times.collect().iter_rows()}


def training_data(
    warehouse: Warehouse, dataset: str, setting: str, scale: Scale, tell: Tell
) -> tuple[Path, dict[str, Any]]:
    """The folder of training files of a dataset, made anew when a table behind it has another version, and its manifest."""
    folder = warehouse.root / FILES_FOLDER / "training_data" / f"{dataset}-{setting}-{scale.encoder}"
    state = {
        "tables": {name: warehouse.published(name) for name in _BEHIND},
        "dialogues": scale.dialogues if dataset == DIALOGUES else (),
    }
    stated = json.dumps(state, sort_keys=True)
    marker, manifest = folder.with_name(f"{folder.name}.json"), folder / "manifest.json"
    if not (marker.exists() and manifest.exists() and marker.read_text(encoding="utf-8") == stated):
        tell(f"training files of {dataset}")
        write_training_data(
            warehouse,
            dataset,
            setting,
            folder,
            scale.encoder,
            datasets=scale.dialogues if dataset == DIALOGUES else (),
        )
        marker.write_text(stated, encoding="utf-8")
    return folder, json.loads(manifest.read_text(encoding="utf-8"))


_BEHIND = (CORE_SESSIONS.name, CORE_REC_TURNS.name, ML_ITEM_EMBEDDINGS.name)


def trained(
    warehouse: Warehouse,
    table: Table,
    config: Mapping[str, Any],
    about: Mapping[str, Any],
    manifest: Mapping[str, Any],
    tell: Tell,
    launch: Launch,
    inputs: Sequence[str] = (),
) -> dict[str, Any]:
    """Train as `config` says, unless that was done before; returns the run's row of `table`.

    `inputs`: hashes of files beside the data that it learns from. Raises ProcessFailed, and FileError where the files of a finished run are damaged.
    """
    digest = run_id(config, manifest["data_hash"], [about["started_from"], *inputs])
    relative = Path(FILES_FOLDER) / table.name / digest
    folder = warehouse.root / relative
    if not (folder / "summary.json").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        stated = folder.with_name(f"{digest}.json")
        stated.write_text(json.dumps({**config, "out": str(folder)}, indent=1), encoding="utf-8")
        launch("models.train", stated, tell)
    figures, weights = _finished(folder)
    own = {key: figures[key] for key in table.schema.names() if key in figures and key not in about}
    return {
        **own,
        **about,
        "model_id": digest,
        "sha256": weights,
        "path": relative.as_posix(),
        "config": (folder / "config.json").read_text(encoding="utf-8"),
        "data_hash": manifest["data_hash"],
        "items": manifest["items"],
        "seed": config["seed"],
        "arch": config["arch"],
        "preset": config["preset"],
    }


def _finished(folder: Path) -> tuple[dict[str, Any], str]:
    """What a finished run says of itself, and the SHA-256 of its weights. Raises FileError naming the file that is missing or damaged."""
    summary, weights = folder / "summary.json", folder / "weights.safetensors"
    again = f"remove {folder}, and it is trained again"
    try:
        figures = json.loads(summary.read_text(encoding="utf-8"))
        stated, found = figures["weights_sha256"], sha256_of(weights)
    except (ValueError, KeyError, TypeError) as error:
        raise FileError(f"{summary}: is damaged ({error}); {again}") from error
    except OSError as error:
        raise FileError(f"{error.filename}: cannot be read: {error.strerror}; {again}") from error
    if found != stated:
        raise FileError(f"{weights}: is damaged: its SHA-256 is {found[:16]}…, {str(stated)[:16]}… was stored; {again}")
    return figures, found


def build_retriever(warehouse: Warehouse, arch: str, scale: Scale, tell: Tell, launch: Launch) -> Built:
    """Train `arch` on ratings, and from there on dialogues, with every seed of the scale: ml_retriever_<arch>.

    Where there are neither ratings nor dialogues with films there is nothing to train on, and the table is empty. Raises ProcessFailed.
    """
    table = RETRIEVERS[arch]
    rows: list[dict[str, Any]] = []
    starts: dict[int, dict[str, Any]] = {}
    found = release_of(warehouse, scale)
    if found is not None and (made := _data_or_none(warehouse, *found, scale, tell)):
        (data, manifest), release = made, found[0]
        for seed in scale.sessions.seeds:
            tell(f"{arch} on {release}, seed {seed}")
            about = {"system": arch, "stage": "sessions", "trained_on": release, "started_from": None}
            config = _config(arch, scale.sessions, seed, data)
            starts[seed] = trained(warehouse, table, config, about, manifest, tell, launch)
        rows += starts.values()
    has_turns = warehouse.published(CORE_REC_TURNS.name) is not None and warehouse.rows(CORE_REC_TURNS.name)
    if has_turns and (made := _data_or_none(warehouse, DIALOGUES, DIALOGUES, scale, tell)):
        data, manifest = made
        for seed in scale.tuning.seeds:
            tell(f"{arch} on dialogues, seed {seed}")
            start = starts.get(seed) or next(iter(starts.values()), None)
            about = {
                "system": arch,
                "stage": "dialogues",
                "trained_on": DIALOGUES,
                "started_from": start["model_id"] if start else None,
            }
            config = _config(arch, scale.tuning, seed, data)
            if start:
                config["init_from"] = str(warehouse.root / start["path"])
            rows.append(trained(warehouse, table, config, about, manifest, tell, launch))
    if not rows:
        tell("skipped: there are neither ratings nor dialogues with films to train on")
    return Built((warehouse.write(table, retriever_frame(table, rows)),), run_counts(rows))


def _data_or_none(
    warehouse: Warehouse, dataset: str, setting: str, scale: Scale, tell: Tell
) -> tuple[Path, dict[str, Any]] | None:
    """The training folder of a dataset and its manifest; None, and a word, where none of it can be trained on."""
    try:
        folder, manifest = training_data(warehouse, dataset, setting, scale, tell)
    except NoTrainingData as nothing:
        tell(f"skipped: {nothing}")
        return None
    if not manifest["examples"]["valid"]:
        tell(f"{dataset}: skipped: none of it is held out for validation, which says when to stop")
        return None
    return folder, manifest


def _config(arch: str, stage: Stage, seed: int, data: Path) -> dict[str, Any]:
    return {
        "task": "train",
        "arch": arch,
        "preset": stage.preset,
        "seed": seed,
        "data": str(data),
        "model": dict(stage.model),
        "training": dict(stage.training),
    }


def retriever_frame(table: Table, rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows of training runs as their table has them."""
    return pl.DataFrame(list(rows), schema=table.schema)


def run_counts(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    rows = list(rows)
    counts: dict[str, float] = {"training runs": len(rows), "seconds of training": sum(row["train_s"] for row in rows)}
    for row in rows:
        name = f"{row['stage']}, seed {row['seed']}: {row['validation_metric']} on validation"
        counts[name] = row["validation_value"]
    return counts


def retriever_rows(warehouse: Warehouse) -> pl.DataFrame:
    """Rows of all published ml_retriever_* tables."""
    tables = (*RETRIEVERS.values(), *RL_RETRIEVERS.values())
    return pl.concat([published_or_empty(warehouse, table) for table in tables])


def ranking_runs(warehouse: Warehouse, scale: Scale, tell: Tell) -> list[RankRun]:
    """The rankings of every published retriever and of the baselines, on the data that each was trained on last, if some of it is held out."""
    runs: list[RankRun] = []
    folders: dict[str, Path] = {}
    empty: set[str] = set()
    found = release_of(warehouse, scale)
    for row in retriever_rows(warehouse).iter_rows(named=True):
        name = row["trained_on"]
        if name in empty:
            continue
        if name not in folders:
            if name != DIALOGUES and (found is None or found[0] != name):
                continue
            setting = DIALOGUES if found is None or name == DIALOGUES else found[1]
            folder, manifest = training_data(warehouse, name, setting, scale, tell)
            if not manifest["examples"]["test"]:
                tell(f"{name}: skipped: none of it is held out for testing")
                empty.add(name)
                continue
            folders[name] = folder
        weights = warehouse.root / row["path"]
        runs.append(RankRun(row["system"], row["seed"], folders[name], model=weights, model_id=row["model_id"]))
    return [run for data in folders.values() for run in baseline_runs(data)] + runs


def build_all_rankings(warehouse: Warehouse, scale: Scale, tell: Tell, launch: Launch) -> Built:
    """Rank the test examples with every published retriever and every baseline: ml_rankings. Raises ProcessFailed."""
    runs = ranking_runs(warehouse, scale, tell)
    make_rankings(warehouse, runs, tell, launch)
    return build_rankings(warehouse, runs, False, tell)


def build_training_log(warehouse: Warehouse) -> Built:
    """What all published training runs logged: ml_training_log. Raises ValueError naming file and line of a damaged log."""
    parts = [ML_TRAINING_LOG.empty()]
    for row in retriever_rows(warehouse).iter_rows(named=True):
        path = warehouse.root / row["path"] / "metrics.jsonl"
        try:
            logged = pl.read_ndjson(
                path, schema={"step": pl.Int64, "epoch": pl.Float64, "name": pl.String, "value": pl.Float64}
            )
        except pl.exceptions.PolarsError as error:
            raise ValueError(f"{path}: {error}") from error
        known = logged.filter(pl.col("value").is_not_null() & pl.col("value").is_finite())
        parts.append(
            ML_TRAINING_LOG.conform(
                # A resumed run may have logged a step twice; the later line is the one that counts.
                known.unique(["step", "name"], keep="last", maintain_order=True).with_columns(
                    model_id=pl.lit(row["model_id"]), system=pl.lit(row["system"]), seed=pl.lit(row["seed"])
                )
            )
        )
    rows = pl.concat(parts).unique(ML_TRAINING_LOG.key, keep="last", maintain_order=True)
    counts = {"figures": rows.height, "runs": len(parts) - 1}
    return Built((warehouse.write(ML_TRAINING_LOG, rows),), counts)

"""Ranking with every system: which rankings are asked for, running those that are not there, and their rows in ml_rankings.

A ranking is addressed by what it follows from (weights or baseline, data, split, seed, version of the code): one that was made is not made
again. Does not belong here: how it is made (models/rank.py), figures (ranking_evaluation.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from assets.build.files import FILES_FOLDER, digest_of
from assets.build.launching import Launch
from assets.build.tables import Built, Tell, as_one, published_metadata, unchanged
from warehouse.store import Commit, Warehouse
from warehouse.tables.ranking_evaluation import BASELINES
from warehouse.tables.retrieval import ML_RANKINGS

# Raise it when ranking with the same weights and data gives other rows than before.
RANKINGS_VERSION = "1"

_FILMS = ("history", "labels", "top")


class UnusableRanking(ValueError):
    """A file of rankings that is damaged or belongs to other data; the message names it."""


@dataclass(frozen=True)
class RankRun:
    """One system, with one seed, ranking one split of one training folder (`data`).

    `model`: folder of a trained retriever, whose weights are `model_id`; without one, `system` is a baseline.
    """

    system: str
    seed: int
    data: Path
    split: str = "test"
    model: Path | None = None
    model_id: str | None = None

    def __post_init__(self) -> None:
        if (self.model is None) != (self.model_id is None):
            raise ValueError(f"{self.system}: a model's folder and its model_id come together")
        if self.model is None and self.system not in BASELINES:
            raise ValueError(f"{self.system} has no model and is no baseline")


def baseline_runs(data: Path, split: str = "test") -> list[RankRun]:
    """The four baselines on a training folder: they belong beside every system that ranks it."""
    return [RankRun(name, 0, data, split) for name in BASELINES]


def output(warehouse: Warehouse, run: RankRun) -> Path:
    """Where the ranking of `run` lies, or will. Raises OSError or ValueError when the folder has no manifest."""
    stated = [RANKINGS_VERSION, run.system, run.model_id, run.seed, run.split, _manifest(run)["data_hash"]]
    digest = digest_of(stated)
    return warehouse.root / FILES_FOLDER / ML_RANKINGS.name / digest / "rankings.parquet"


def rank_config(run: RankRun, out: Path) -> dict[str, Any]:
    """The configuration of models.rank for `run`."""
    what = {"baseline": run.system} if run.model is None else {"model": str(run.model.resolve())}
    return {**what, "data": str(run.data.resolve()), "split": run.split, "seed": run.seed, "out": str(out)}


def make_rankings(warehouse: Warehouse, runs: Iterable[RankRun], tell: Tell, launch: Launch) -> int:
    """Rank what has not been ranked yet; returns how many that were. Raises ProcessFailed.

    Each ranking is in place as soon as it is made, so that a run that was killed goes on with the next one.
    """
    missing = [(run, out) for run in runs if not (out := output(warehouse, run)).exists()]
    if missing:
        for _, out in missing:
            out.parent.mkdir(parents=True, exist_ok=True)
        config = warehouse.root / FILES_FOLDER / ML_RANKINGS.name / "rank.json"
        stated = {"runs": [rank_config(run, out) for run, out in missing]}
        config.write_text(json.dumps(stated, indent=1), encoding="utf-8")
        launch("models.rank", config, tell)
    return len(missing)


def build_rankings(warehouse: Warehouse, runs: Sequence[RankRun], full: bool, tell: Tell) -> Built:
    """Rows of all `runs`, which must have been made: ml_rankings. Systems that are not among them are taken out.

    One commit a system whose rankings differ from those noted, so that one system's rows are held at a time. Raises UnusableRanking.
    """
    by_system: dict[str, list[RankRun]] = {}
    for run in runs:
        by_system.setdefault(run.system, []).append(run)
    noted = {} if full else (published_metadata(warehouse, ML_RANKINGS.name) or {}).get("made_from", {})
    state = {name: sorted(output(warehouse, run).parent.name for run in own) for name, own in by_system.items()}
    counts: dict[str, float] = {"systems": len(by_system), "systems ranked anew": 0}
    commits: list[Commit] = []
    # Notes of systems that are yet to be written are the old ones: they are true if this ends half-way.
    notes = {name: noted[name] for name in state if name in noted}
    version = warehouse.latest(ML_RANKINGS.name)
    stored = (
        [] if version is None else warehouse.read(ML_RANKINGS.name, ["system"], version)["system"].unique().to_list()
    )
    for name in sorted({*stored} - {*state}):
        commits.append(warehouse.replace(ML_RANKINGS, ML_RANKINGS.empty(), "system", name, {"made_from": notes}))
    for name, own in by_system.items():
        if name in stored and noted.get(name) == state[name]:
            continue
        tell(f"rankings of {name}")
        rows = pl.concat([rows_of(output(warehouse, run), run) for run in own])
        notes[name] = state[name]
        commits.append(warehouse.replace(ML_RANKINGS, rows, "system", name, {"made_from": notes}))
        counts["systems ranked anew"] += 1
    if not commits:
        if version is None:
            return Built((warehouse.write(ML_RANKINGS, ML_RANKINGS.empty()),), counts)
        commits = [unchanged(warehouse, ML_RANKINGS, version)]
    whole = as_one(commits)
    return Built((whole,), {**counts, "rows": whole.rows})


def rows_of(path: Path, run: RankRun) -> pl.DataFrame:
    """The rows of one file of rankings, films under their movie_id, as ml_rankings. Raises UnusableRanking."""
    manifest = _manifest(run)
    try:
        table = pq.read_table(path)
        about = json.loads((table.schema.metadata or {})[b"marquee"])
        movie_ids = pq.read_table(run.data / "items.parquet", columns=["movie_id"])["movie_id"].combine_chunks()
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise UnusableRanking(f"{path}: cannot be read: {error}") from error
    if about["data_hash"] != manifest["data_hash"]:
        raise UnusableRanking(f"{path}: was made from other data than {run.data} holds now; rank again")
    columns = {name: table[name].combine_chunks() for name in table.column_names}
    for name in _FILMS:
        lists = columns[name]
        columns[name] = pa.ListArray.from_arrays(lists.offsets, movie_ids.take(lists.values))
    setting = manifest["setting"]
    frame = pl.from_arrow(pa.table(columns))
    assert isinstance(frame, pl.DataFrame)
    # Dialogue datasets may be ranked in one go; an example's id begins with its own.
    own = pl.col("example_id").str.extract(r"^([a-z]+)-") if setting == "dialogues" else pl.lit(manifest["dataset"])
    return ML_RANKINGS.conform(
        frame.with_columns(
            system=pl.lit(run.system),
            model_id=pl.lit(run.model_id, dtype=pl.String),
            seed=pl.lit(run.seed),
            dataset=own,
            setting=pl.lit(setting),
            split=pl.lit(run.split),
            data_hash=pl.lit(manifest["data_hash"]),
        )
    )


def _manifest(run: RankRun) -> Mapping[str, Any]:
    return json.loads((run.data / "manifest.json").read_text(encoding="utf-8"))

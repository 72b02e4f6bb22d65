"""Linking alone, Marquee against Splink 5: seconds, memory, precision, recall and F1 on the same records in one run.

    python benchmarks/bench_linking.py [--yardstick] [--movies N | --pack DIR] [--no-splink]

Without options both sets of records are linked: the yardstick (five real catalogues that share IMDb ids, in
../shared/data or MARQUEE_REAL_DATA; left out where they are missing) with ids hidden, truth being equal IMDb ids; and a
synthetic pack of 337,731 films with ids hidden and with ids visible, truth being the pack's own. With --yardstick or --movies (or
--pack) only what they name. Records are read and normalised before any clock runs, and each linker has a process of its own.
Splink's threshold is the one at which its F1 is best, chosen with the truth in hand.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from benchmarks.agreement import agreement
from benchmarks.bench_build import MOVIES, add_pack_options, made_pack, with_truth
from benchmarks.machine import GB, PROJECT, Target, environment, library_version, machine, print_line, tell, watch
from pipelines.evaluation.entity_resolution import hide_ids
from pipelines.linking.keys import with_keys
from pipelines.sources.blocks import SourceBlock, builtin_blocks
from pipelines.sources.normalise import normalise
from pipelines.sources.read import read_source

YARDSTICK = ("movielens_32m", "omdb", "imdb_2010s", "movietweetings", "imdb_5000")


def real_data() -> Path:
    """Where the real catalogues are."""
    return Path(os.environ.get("MARQUEE_REAL_DATA") or PROJECT.parent / "shared" / "data")


def records_of(blocks: Iterable[SourceBlock], sources: Path) -> pl.DataFrame:
    """Normalised film records of `blocks`, with the keys of their people, sorted by record_id."""
    frames = []
    for block in blocks:
        titles = read_source(block, sources).titles
        if titles.height:
            tell(f"read {titles.height:,} records of {block.name}")
            frames.append(with_keys(normalise(titles, block)))
    if not frames:
        raise FileNotFoundError(f"no catalogue in {sources}")
    return pl.concat(frames).filter("is_film").sort("record_id")


def judged(records: pl.DataFrame, truth: np.ndarray, folder: Path, with_splink: bool) -> dict[str, object]:
    """Link `records` with both linkers and compare with `truth` [records]."""
    path, out = folder / "records.parquet", folder / "linked.parquet"
    records.write_parquet(path)
    env = environment(folder)
    tell(f"Marquee links {records.height:,} records")
    cost = json.loads(watch([sys.executable, "-m", "benchmarks.link_with_marquee", path, out], env).out)
    label = _in_order(records, pl.read_parquet(out), "movie_id")
    figures: dict[str, object] = {"marquee": {**_cost(cost), "pairs": cost["pairs"], **agreement(truth, label)}}
    if not with_splink:
        return figures
    if library_version("splink") is None:
        return {**figures, "splink": "not measured: the package splink is not installed (the extra `bench`)"}
    tell(f"Splink links {records.height:,} records")
    cost = json.loads(watch([sys.executable, "-m", "benchmarks.link_with_splink", path, out], env).out)
    clusters = pl.read_parquet(out)
    found = {
        threshold: agreement(truth, _in_order(records, clusters, threshold), replicates=0)
        for threshold in cost["thresholds"]
    }
    best = max(found, key=lambda threshold: _value(found[threshold], "f1"))
    splink = {
        "threshold": float(best),
        **_cost(cost["thresholds"][best]),
        "training_s": round(cost["trained_s"], 2),
        **agreement(truth, _in_order(records, clusters, best)),
    }
    ratio = cost["thresholds"][best]["seconds"] / figures["marquee"]["seconds"]  # type: ignore[index]
    return {**figures, "splink": splink, "times_as_fast": round(ratio, 2)}


def _cost(cost: dict) -> dict[str, object]:
    return {
        "seconds": round(cost["seconds"], 2),
        "cpu_seconds": round(cost["cpu_seconds"], 2),
        "peak_memory_gb": round(cost["peak_bytes"] / GB, 2),
    }


def _value(found: dict, metric: str) -> float:
    return found[metric]["value"] if found[metric] else 0.0


def _in_order(records: pl.DataFrame, labels: pl.DataFrame, column: str) -> np.ndarray:
    """Groups of `labels` as numbers, in the order of `records`."""
    joined = records.select("record_id").join(labels, on="record_id", how="left", maintain_order="left")
    return joined[column].rank("dense").cast(pl.Int64).to_numpy()


def yardstick(folder: Path, with_splink: bool) -> dict[str, object] | str:
    """Both linkers on the real catalogues, ids hidden."""
    if not real_data().is_dir():
        return f"not measured: there is no folder {real_data()} (MARQUEE_REAL_DATA)"
    blocks = builtin_blocks()
    records = records_of((blocks[name] for name in YARDSTICK), real_data()).filter(pl.col("imdb_id").is_not_null())
    truth = records["imdb_id"].rank("dense").cast(pl.Int64).to_numpy()
    return judged(hide_ids(records), truth, folder, with_splink)


def synthetic(pack: Path, folder: Path, with_splink: bool) -> dict[str, object]:
    """Both linkers on all records of a pack, ids hidden and ids visible."""
    records = with_truth(records_of(builtin_blocks().values(), pack), pack)
    truth = records["film"].to_numpy()
    records = records.drop("film")
    return {
        "ids_hidden": judged(hide_ids(records), truth, folder, with_splink),
        "ids_visible": judged(records, truth, folder, with_splink),
    }


def _targets(name: str, figures: object, with_quality: bool) -> list[Target]:
    if not isinstance(figures, dict):
        return []
    ours, theirs = figures["marquee"], figures.get("splink")
    targets = []
    if with_quality:
        targets += [
            Target(f"{name}.marquee.f1", _value(ours, "f1"), 0.93, is_upper=False),
            Target(f"{name}.marquee.precision", _value(ours, "precision"), 0.98, is_upper=False),
        ]
    if isinstance(theirs, dict):
        targets += [
            Target(f"{name}.times_as_fast", figures["times_as_fast"], 3, is_upper=False),
            Target(f"{name}.marquee.f1 against Splink's", _value(ours, "f1"), _value(theirs, "f1"), is_upper=False),
        ]
    return targets


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--yardstick", action="store_true", help="the real catalogues")
    parser.add_argument("--no-splink", action="store_true", help="Marquee alone")
    add_pack_options(parser, default=None)
    options = parser.parse_args(arguments)
    is_pack_asked = options.movies is not None or options.pack is not None
    options.movies = options.movies or MOVIES
    where = machine()
    figures: dict[str, object] = {}
    with TemporaryDirectory(prefix="marquee-bench-") as temporary:
        folder = Path(temporary)
        if options.yardstick or not is_pack_asked:
            figures["yardstick"] = yardstick(folder, not options.no_splink)
        if is_pack_asked or not options.yardstick:
            figures["pack"] = synthetic(made_pack(options, folder), folder, not options.no_splink)
    targets = _targets("yardstick", figures.get("yardstick"), with_quality=True)
    pack = figures.get("pack")
    if isinstance(pack, dict):
        targets += [each for ids, found in pack.items() for each in _targets(f"pack.{ids}", found, with_quality=False)]
    what = (
        "linking alone, Marquee and Splink 5 on the same records; precision, recall and F1 of pairs with 95 % intervals"
    )
    print_line("linking", what, figures, targets, where)


if __name__ == "__main__":
    main()

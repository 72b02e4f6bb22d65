"""Figures of baselines and trained models on ml-1m by leaving one out, with intervals; and what ranking and evaluating cost.

    python benchmarks/bench_ranking.py [--data FOLDER | --sources FOLDER] [--model FOLDER ...] [--split valid|test]

`--data` is a training folder. Without it, one is made from the ml-1m release under `--sources` (MARQUEE_REAL_DATA, or ../shared/data); where there is none, the
benchmark says so and stops. `--model`: folders of trained models; those of one architecture with different seeds are one system. One JSON line a system: recall and NDCG
under every protocol that fits (mean over its seeds), the interval clustered by user, chance, the paired test against windowed Markov, and seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from assets.build.rankings import RankRun, baseline_runs, rank_config, rows_of
from benchmarks.bench_lrurec import folder_of
from benchmarks.machine import GB, PROJECT, Target, machine, own_peak_bytes, print_line, tell
from pipelines.evaluation.ranking.evaluate import About, Evaluation, evaluate
from pipelines.evaluation.ranking.examples import of_rankings
from warehouse.tables.ranking_evaluation import BASELINES

# Known figures of ml-1m by leaving one out, full catalogue: history masked, and not.
KNOWN = {
    "popularity": {("full_masked", "recall"): 0.0353, ("full_masked", "ndcg"): 0.0175},
    "markov": {
        ("full_masked", "recall"): 0.2512,
        ("full_masked", "ndcg"): 0.1505,
        ("full_unmasked", "recall"): 0.2104,
        ("full_unmasked", "ndcg"): 0.1231,
    },
}
K = 10
REFERENCE = "markov"


def run_of(folder: Path, data: Path) -> RankRun:
    """A trained model as a system: named by its architecture and preset."""
    from models.weights import sha256

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    name = f"{config['model']['arch']}-{config.get('preset', 'unknown')}"
    return RankRun(
        name, config.get("seed", 0), data, model=folder, model_id=sha256(folder / "weights.safetensors")[:16]
    )


def ranked(runs: list[RankRun], folder: Path) -> tuple[pl.DataFrame, dict[str, float]]:
    """Rows of all runs, and the seconds that ranking took for each system."""
    from models.rank import main

    parts, seconds = [], dict.fromkeys((run.system for run in runs), 0.0)
    for number, run in enumerate(runs):
        out, config = folder / f"{number}.parquet", folder / f"{number}.json"
        config.write_text(json.dumps(rank_config(run, out)), encoding="utf-8")
        tell(f"ranking: {run.system}, seed {run.seed}")
        started = time.perf_counter()
        with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
            if main(["--config", str(config)]):
                raise SystemExit(f"{run.system} could not be ranked")
        seconds[run.system] += time.perf_counter() - started
        parts.append(of_rankings(rows_of(out, run).lazy()))
    return pl.concat(parts), seconds


def figures_of(system: str, found: Evaluation) -> dict[str, object]:
    """Figures at K of the mean over seeds, by protocol and metric."""
    rows = found.numbers.filter(
        (pl.col("system") == system)
        & (pl.col("slice") == "all")
        & (pl.col("k") == K)
        & pl.col("metric").is_in(["recall", "ndcg"])
    )
    seeds = rows["seeds"].list.len().max()
    figures: dict[str, object] = {}
    for row in rows.filter(pl.col("seeds").list.len() == seeds).iter_rows(named=True):
        figures[f"{row['protocol']} {row['metric']}@{K}"] = {
            key: round(row[key], 4) for key in ("value", "low", "high", "chance")
        }
        figures |= {"n": row["n"], "clusters": row["clusters"], "seeds": row["seeds"]}
    tests = found.tests.filter(
        (pl.col("protocol") == "full_masked")
        & (pl.col("metric") == "recall")
        & ((pl.col("system") == system) | (pl.col("other") == system))
        & ((pl.col("system") == REFERENCE) | (pl.col("other") == REFERENCE))
    )
    for row in tests.iter_rows(named=True) if system != REFERENCE else ():
        sign = 1 if row["system"] == system else -1
        figures[f"recall@{K} over {REFERENCE}"] = {
            "difference": round(sign * row["difference"], 4),
            "p_holm": row["p_holm"],
            "family": row["family"],
        }
    return figures


def targets_of(system: str, figures: dict, reference: dict) -> list[Target]:
    """Known figures of baselines; of a model, that its interval lies above that of the reference."""
    if system in BASELINES:
        return [
            Target(f"{protocol} {metric}@{K}", figures[f"{protocol} {metric}@{K}"]["value"], known, is_upper=False)
            for (protocol, metric), known in KNOWN.get(system, {}).items()
        ]
    return [
        Target(f"low end of full_masked {metric}@{K}", figures[name]["low"], reference[name]["high"], is_upper=False)
        for metric in ("recall", "ndcg")
        for name in [f"full_masked {metric}@{K}"]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="training folder")
    parser.add_argument("--sources", type=Path, help="folder of real data, with movielens/ml-1m in it")
    parser.add_argument("--model", type=Path, nargs="*", default=[], help="folders of trained models")
    parser.add_argument("--split", choices=("valid", "test"), default="test")
    options = parser.parse_args()
    where = machine()
    with TemporaryDirectory(prefix="marquee-bench-") as temporary:
        data = options.data
        if data is None:
            sources = options.sources or Path(os.environ.get("MARQUEE_REAL_DATA") or PROJECT.parent / "shared" / "data")
            data = folder_of(sources, Path(temporary))
            if data is None:
                raise SystemExit(f"{sources} holds no movielens/ml-1m; name a training folder with --data")
        runs = [*baseline_runs(data), *(run_of(folder, data) for folder in options.model)]
        rankings, seconds = ranked([replace(run, split=options.split) for run in runs], Path(temporary))
        started = time.perf_counter()
        found = evaluate(rankings, About({}, 0, pl.DataFrame(schema={"movie_id": pl.String, "year": pl.Int32})))
        evaluated_s = time.perf_counter() - started
    by_system = {system: figures_of(system, found) for system in seconds}
    for system, figures in by_system.items():
        targets = targets_of(system, figures, by_system[REFERENCE])
        cost = {
            "seconds_to_rank": round(seconds[system], 2),
            "seconds_to_evaluate_all": round(evaluated_s, 2),
            "peak_memory_gb": round(own_peak_bytes() / GB, 2),
        }
        what = f"{system} on {rankings['dataset'][0]}, {options.split}"
        print_line("ranking", what, {"system": system, **figures, **cost}, targets, where)


if __name__ == "__main__":
    main()

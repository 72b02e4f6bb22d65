"""The benchmarks of training, ranking and embedding, as the programs they are, at a tiny size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.machine import PROJECT
from tests.toy_training import toy_config, toy_folder

pytestmark = pytest.mark.slow


def lines(*command: object, **more: str) -> list[dict[str, Any]]:
    """What a program of benchmarks/ says, a line each."""
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=PROJECT,
        env={**os.environ, "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1", **more},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(set(line) == {"benchmark", "what", "figures", "targets", "machine"} for line in found)
    return found


def test_training_is_compared_with_the_obvious_way(tmp_path: Path) -> None:
    data = toy_folder(tmp_path / "data", items=60, people=300)
    (line,) = lines("benchmarks/bench_lrurec.py", "--data", data, "--steps", 2, "--threads", 1)
    assert line["benchmark"] == "lrurec"
    figures = line["figures"]
    assert (figures["items"], figures["steps"]) == (60, 2)
    ours, obvious = figures["ours"], figures["obvious"]
    assert ours["first_loss_without_dropout"] == pytest.approx(obvious["first_loss_without_dropout"], rel=1e-4)
    assert ours["interactions_per_s"] > 0 and figures["scan"]
    assert [target["figure"] for target in line["targets"]] == ["ours.interactions_per_s", "last_loss_over_obvious"]


def test_training_without_data_says_so(tmp_path: Path) -> None:
    assert lines("benchmarks/bench_lrurec.py", "--sources", tmp_path) == []


def test_ranking_has_a_line_for_each_system(tmp_path: Path) -> None:
    from models.train import main

    data = toy_folder(tmp_path / "data", items=60, people=40)
    assert main(["--config", str(toy_config(tmp_path / "c.json", data, tmp_path / "model"))]) == 0
    found = lines("benchmarks/bench_ranking.py", "--data", data, "--model", tmp_path / "model")
    by_system = {line["figures"]["system"]: line for line in found}
    assert set(by_system) == {"random", "popularity", "copy_last", "markov", "lrurec-tiny"}
    for line in found:
        assert line["benchmark"] == "ranking"
        recall = line["figures"]["full_masked recall@10"]
        assert 0 <= recall["low"] <= recall["value"] <= recall["high"] <= 1
        assert recall["chance"] == pytest.approx(10 / 60, abs=0.05)
    assert by_system["lrurec-tiny"]["figures"]["recall@10 over markov"]["p_holm"] <= 1


def test_embedding_and_indexing_have_a_line_each() -> None:
    embeddings, index = lines("benchmarks/bench_embeddings.py", "--films", 40, "--changed", 0.1, "--items", 200)
    assert (embeddings["benchmark"], index["benchmark"]) == ("embeddings", "item_index")
    assert embeddings["figures"]["refreshed_films"] == 4
    assert embeddings["figures"]["least_cosine"] > 0.999
    assert index["figures"]["200_flat"]["is_chosen"]
    assert index["figures"]["200_flat"]["recall_25"] > 0.999

"""Each benchmark, as the program it is, at a tiny size: one JSON line with the keys that the README's figures come from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.synth.pack import write_pack

pytestmark = pytest.mark.slow
PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Catalogues that nobody talks about: what is measured here is made of films."""
    return write_pack(tmp_path_factory.mktemp("benchmarks") / "pack", movies=60, dialogues=0).out


def measured(name: str, *arguments: object, **more: str) -> dict:
    """Run a benchmark; returns what its line says."""
    done = subprocess.run(
        [sys.executable, f"benchmarks/{name}.py", *map(str, arguments)],
        cwd=PROJECT,
        env={**os.environ, "PYTHONSAFEPATH": "1", **more},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = done.stdout.splitlines()
    found = json.loads(line)
    assert set(found) == {"benchmark", "what", "figures", "targets", "machine"}
    assert set(found["machine"]) == {"cores", "memory_gb", "cpu", "system", "load_average", "python", "libraries"}
    assert found["benchmark"] == name.removeprefix("bench_")
    return found


RAN = {
    "seconds_to_core_movies",
    "seconds",
    "cpu_seconds",
    "step_seconds",
    "peak_memory_tree_gb",
    "peak_memory_process_gb",
}


def test_build() -> None:
    figures = measured("bench_build", "--movies", 60)["figures"]
    assert set(figures) == RAN | {"sources", "files", "rows", "records", "films", "quality"}
    assert 0 < figures["seconds_to_core_movies"] < figures["seconds"]
    assert {"read sources", "normalise", "link", "fuse", "evaluate linking"} <= set(figures["step_seconds"])
    assert figures["peak_memory_tree_gb"] >= figures["peak_memory_process_gb"] > 0.05
    assert figures["records"] > figures["films"] > 50
    assert figures["quality"]["precision"]["value"] > 0.95
    assert figures["quality"]["recall"]["value"] > 0.8
    assert figures["quality"]["true_pairs"] > 50


def test_refresh(tiny: Path) -> None:
    found = measured("bench_refresh", "--pack", tiny)
    figures = found["figures"]
    assert set(figures["full_build"]) == RAN
    shared = RAN | {"records_changed", "share_of_full_build"}
    assert set(figures["nothing_changed"]) == shared
    assert figures["nothing_changed"]["seconds_to_core_movies"] is None
    for name in ("changed_everywhere", "changed_in_one_catalogue"):
        assert set(figures[name]) == shared | {"is_equal_to_full_run", "differing_tables"}
        assert figures[name]["differing_tables"] == []
        assert figures[name]["is_equal_to_full_run"]
    assert len(found["targets"]) == 3


def test_linking_without_splink(tiny: Path) -> None:
    figures = measured("bench_linking", "--pack", tiny, "--no-splink")["figures"]
    assert set(figures) == {"pack"}
    for ids in ("ids_hidden", "ids_visible"):
        assert set(figures["pack"][ids]) == {"marquee"}
        ours = figures["pack"][ids]["marquee"]
        assert ours["seconds"] > 0
        assert ours["peak_memory_gb"] > 0.05
        assert ours["precision"]["ci_low"] <= ours["precision"]["value"] <= ours["precision"]["ci_high"]
    hidden, visible = (figures["pack"][ids]["marquee"]["f1"]["value"] for ids in ("ids_hidden", "ids_visible"))
    assert visible >= hidden > 0.7


def test_linking_says_what_it_could_not_measure(tmp_path: Path) -> None:
    found = measured("bench_linking", "--yardstick", "--no-splink", MARQUEE_REAL_DATA=str(tmp_path / "nowhere"))
    assert found["figures"]["yardstick"].startswith("not measured: there is no folder")
    assert found["targets"] == []


def test_linking_with_splink(tmp_path: Path) -> None:
    pytest.importorskip("splink", reason="the extra `bench` is not installed")
    pack = write_pack(tmp_path / "pack", movies=400).out
    found = measured("bench_linking", "--pack", pack)
    figures = found["figures"]["pack"]["ids_hidden"]
    assert figures["splink"]["f1"]["value"] > 0.5
    assert figures["times_as_fast"] > 0
    assert figures["splink"]["records"] == figures["marquee"]["records"]
    assert len(found["targets"]) == 4


def test_definitions() -> None:
    figures = measured("bench_definitions")["figures"]
    assert set(figures) == {"dagster_s", "definitions_s", "asset_graph_s", "processes", "definitions_s_all"}
    assert figures["dagster_s"] > 0

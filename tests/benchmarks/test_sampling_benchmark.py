"""The benchmark of drawing and ranking: what its line holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from benchmarks.bench_sampling import compared
from benchmarks.machine import PROJECT


def test_two_ways_are_compared_less_their_inputs() -> None:
    found = {
        "inputs": {"peak_bytes": 1e9},
        "draw": {"seconds": 0.5, "cpu_seconds": 1.0, "peak_bytes": 1.5e9},
        "draw_obvious": {"seconds": 2.0, "cpu_seconds": 3.0, "peak_bytes": 3e9},
    }
    line = compared(found, "draw", "draw_obvious", 64)
    assert (line["histories_per_s"], line["obvious_histories_per_s"]) == (128, 32)
    assert (line["times_as_fast"], line["times_less_cpu"]) == (4, 3)
    assert (line["memory_gb"], line["obvious_memory_gb"], line["share_of_memory"]) == (0.5, 2, 0.25)


@pytest.mark.slow
def test_the_line_that_it_prints() -> None:
    done = subprocess.run(
        [sys.executable, "benchmarks/bench_sampling.py", "--items", "3000", "--repeats", "2", "--threads", "1"],
        cwd=PROJECT,
        env={**os.environ, "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = done.stdout.splitlines()
    found = json.loads(line)
    assert set(found) == {"benchmark", "what", "figures", "targets", "machine"}
    assert found["figures"]["items"] == 3000
    assert found["figures"]["rank"]["is_same"] is True
    assert found["figures"]["draw"]["standard_errors_apart"] < 5

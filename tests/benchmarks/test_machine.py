"""Watching a command: its time, its memory with that of its children, its words."""

from __future__ import annotations

import json
import os
import sys

import pytest

from benchmarks.machine import CommandFailed, Target, environment, machine, print_line, watch

# A parent that holds little and a child that holds 200 MB for a while.
_HUNGRY = """
import subprocess, sys
print("from the parent", file=sys.stderr)
subprocess.run([sys.executable, "-c", "import time; held = b'x' * 200_000_000; time.sleep(0.6)"], check=True)
print("done")
"""


def test_memory_of_children_counts() -> None:
    samples: list[float] = []
    cost = watch([sys.executable, "-c", _HUNGRY], os.environ, samples.append)
    assert cost.out == "done"
    assert [text for _, text in cost.lines] == ["from the parent"]
    assert cost.peak_process_bytes > 200_000_000
    assert cost.peak_tree_bytes > cost.peak_process_bytes
    assert cost.peak_tree_bytes < 400_000_000
    assert samples == sorted(samples)
    assert samples[-1] == pytest.approx(cost.seconds)


def test_memory_of_the_caller_does_not_count() -> None:
    held = b"x" * 300_000_000
    cost = watch([sys.executable, "-c", "import time; time.sleep(0.3)"], os.environ)
    assert len(held) > cost.peak_process_bytes > 1_000_000


def test_failure_tells_why() -> None:
    with pytest.raises(CommandFailed, match=r"exit 3\nout of film"):
        watch([sys.executable, "-c", "import sys; print('out of film', file=sys.stderr); sys.exit(3)"], os.environ)


def test_environment_keeps_nothing_of_the_callers_settings(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MARQUEE_SOURCES", "TMDB_API_KEY", "DAGSTER_HOME"):
        monkeypatch.setenv(name, "elsewhere")
    found = environment(tmp_path, MARQUEE_WAREHOUSE=tmp_path)
    assert "elsewhere" not in found.values()
    assert (found["DAGSTER_HOME"], found["MARQUEE_WAREHOUSE"]) == (str(tmp_path), str(tmp_path))
    assert found["PATH"] == os.environ["PATH"]


def test_line_holds_figures_targets_and_machine(capsys: pytest.CaptureFixture[str]) -> None:
    targets = [Target("seconds", 3.0, 4), Target("f1", 0.9, 0.93, is_upper=False), Target("share", None, 1)]
    print_line("some", "what", {"seconds": 3.0}, targets, machine())
    line = json.loads(capsys.readouterr().out)
    assert [target["is_met"] for target in line["targets"]] == [True, False, None]
    assert line["targets"][1]["at_least"] == 0.93
    assert line["machine"]["cores"] >= 1
    assert line["machine"]["memory_gb"] > 0
    assert line["machine"]["libraries"]["polars"]

"""Processes beside the run: what they say is passed on, and how they end is told."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from assets.build.launching import ProcessFailed, launch, told

PROGRAM = """
import json, sys
print(json.dumps({"event": "progress", "text": "epoch 1 of 2"}), flush=True)
print(json.dumps({"event": "metric", "name": "train/loss", "value": 1.0}), flush=True)
print("a library says something")
print("error: the data is empty", file=sys.stderr)
sys.exit(CODE)
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", os.fspath(tmp_path))
    return tmp_path


def test_progress_is_told_and_figures_are_not(program: Path) -> None:
    (program / "trains_well.py").write_text(PROGRAM.replace("CODE", "0"))
    heard: list[str] = []
    launch("trains_well", program / "config.json", heard.append)
    assert heard == ["epoch 1 of 2", "a library says something"]


def test_events_in_words() -> None:
    assert told({"event": "progress", "step": 50, "of_steps": 4800, "share": 0.0104}) == "1%, step 50 of at most 4,800"
    assert (
        told({"event": "metric", "step": 1, "validation/recall@10": 0.25, "train/lr": 0.1})
        == "validation/recall@10 0.2500"
    )
    assert told({"event": "metric", "step": 1, "train/loss": 0.25}) == ""
    assert told({"event": "warning", "message": "batch halved"}) == "batch halved"


def test_the_last_words_of_a_failure_are_told(program: Path) -> None:
    (program / "trains_badly.py").write_text(PROGRAM.replace("CODE", "3"))
    with pytest.raises(
        ProcessFailed, match=r"trains_badly ended with code 3: error: the data is empty .*config\.json\.log"
    ):
        launch("trains_badly", program / "config.json", lambda text: None)


def test_an_interrupted_step_leaves_no_process_behind(program: Path) -> None:
    (program / "trains_long.py").write_text(
        "import os, time\nprint(os.getpid(), flush=True)\nfor _ in range(600): time.sleep(0.1)\n"
    )
    heard: list[int] = []

    def interrupt(text: str) -> None:
        heard.append(int(text))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        launch("trains_long", program / "config.json", interrupt)
    with pytest.raises(ProcessLookupError):
        os.kill(heard[0], 0)


def test_a_process_ends_with_the_run_that_launched_it_however_that_ends(program: Path) -> None:
    (program / "trains_long.py").write_text(
        "import os, time\nprint(os.getpid(), flush=True)\nfor _ in range(6000): time.sleep(0.1)\n"
    )
    (program / "runs.py").write_text(
        "import sys\nfrom pathlib import Path\nfrom assets.build.launching import launch\n"
        "launch('trains_long', Path(sys.argv[1]), lambda text: print(text, flush=True))\n"
    )
    command = [sys.executable, "-P", "-m", "runs", str(program / "config.json")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        child = int(run.stdout.readline())
        os.kill(child, 0)
        run.kill()
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail(f"process {child} is still there")

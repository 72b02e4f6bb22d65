"""`marquee llm`: the stand-in as a command, forecasts as a table, failures asked again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from assets.commands.llm import llm
from pipelines.gateways.llm.prompts import Prompt
from pipelines.gateways.llm.requests import LlmRequest

SCHEMA = {"type": "object", "properties": {}, "additionalProperties": False}
PROMPT = Prompt("nothing", "1", 0.0, 500, "Say nothing.", "{data}", SCHEMA)


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("MARQUEE_LLM_", "OPENAI_"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def pending(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[LlmRequest]]:
    """What the stages would ask."""
    stages = {
        "operations": [LlmRequest(str(n), PROMPT, {"turn": n}) for n in range(1_200)],
        "pairs": [LlmRequest(str(n), PROMPT, {"pair": n}) for n in range(3)],
    }
    monkeypatch.setattr("assets.build.llm_requests.pending", lambda warehouse: stages)
    return stages


def forecast(folder: Path) -> tuple[int, str]:
    result = CliRunner().invoke(llm, ["forecast", "--warehouse", str(folder)], catch_exceptions=False)
    return result.exit_code, result.output


def test_a_forecast_is_a_table_with_a_total(tmp_path: Path, pending: Any) -> None:
    code, out = forecast(tmp_path)
    assert code == 0
    rows = [line.replace("│", " ").split() for line in out.splitlines()]
    lines = {row[0]: row for row in rows if row}
    assert lines["operations"][1:4] == ["1,200", "0", "1,200"]
    assert lines["total"][1:4] == ["1,203", "0", "1,203"]
    assert lines["total"][5] == f"{1_203 * 500:,}"
    assert float(lines["total"][6]) >= 1_203 * 500 * 0.6 / 1e6
    assert "gpt-4o-mini" in out and "no language model is configured" in out


def test_a_forecast_says_when_prices_are_unknown(tmp_path: Path, pending: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("MARQUEE_LLM_MODEL", "home-grown")
    code, out = forecast(tmp_path)
    assert code == 0 and "MARQUEE_LLM_PRICE" in out
    monkeypatch.setenv("MARQUEE_LLM_BUDGET_USD", "1")
    code, out = forecast(tmp_path)
    assert code == 1 and "MARQUEE_LLM_PRICE" in out and "Traceback" not in out


def test_a_damaged_file_of_answers_is_one_line(tmp_path: Path, pending: Any) -> None:
    (tmp_path / "llm").mkdir()
    (tmp_path / "llm" / "answers.sqlite").write_bytes(b"no database" * 1_000)
    code, out = forecast(tmp_path)
    assert code == 1 and "answers.sqlite is damaged" in out


def test_failures_can_be_asked_again(tmp_path: Path) -> None:
    result = CliRunner().invoke(llm, ["retry", "--warehouse", str(tmp_path)])
    assert result.exit_code == 0 and "0 questions" in result.output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--host", "0.0.0.0"], "this machine only"),
        (["--fault", "gremlins=0.5"], "is no fault"),
        (["--fault", "slow"], "KIND=SHARE"),
        (["--fault", "slow=2"], "at most 1"),
    ],
)
def test_a_wrong_option_is_one_line(options: list[str], words: str) -> None:
    result = CliRunner().invoke(llm, ["serve", *options])
    assert result.exit_code != 0 and words in result.output


@pytest.mark.slow
def test_the_stand_in_serves_until_ctrl_c() -> None:
    program = "from assets.commands.llm import llm; llm(['serve', '--port', '0'])"
    child = subprocess.Popen(
        [sys.executable, "-u", "-c", program], cwd=Path.cwd(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        base_url = next(line for line in child.stdout if "OPENAI_BASE_URL" in line).split("=")[1].strip()
        # It says where it answers before it listens to signals; the first answer shows that it does.
        assert httpx.get(f"{base_url}/models", trust_env=False, timeout=30).status_code == 200
        child.send_signal(signal.SIGINT)
        out, errors = child.communicate(timeout=60)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == 0 and "the stand-in has ended" in out and "Traceback" not in errors

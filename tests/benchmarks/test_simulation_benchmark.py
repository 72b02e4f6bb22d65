"""The benchmark of simulated conversations: its server's limit, what it plays, and what its line holds."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import Any

import pytest

from benchmarks.bench_simulation import Limited, film, search, task
from benchmarks.machine import PROJECT
from pipelines.simulation.parts import Search


def asked(app: Limited, path: str, times: int) -> list[tuple[int, Any]]:
    """Status and content of answers to requests that come one right after the other."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def ask() -> None:
        for _ in range(times):
            await app({"path": path}, None, send)

    asyncio.run(ask())
    return [(start["status"], json.loads(body["body"])) for start, body in zip(sent[::2], sent[1::2], strict=True)]


async def fine(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


def test_what_exceeds_the_limit_is_refused_and_counted() -> None:
    app = Limited(fine, per_minute=600)  # type: ignore[arg-type]
    statuses = [status for status, _ in asked(app, "/v1/chat/completions", 100)]
    ((_, seen),) = asked(app, "/stats", 1)
    assert statuses[:10] == [200] * 10, "what a second brings"
    assert statuses.count(429) >= 80
    assert (seen["requests"], seen["refused"]) == (statuses.count(200), statuses.count(429))


def test_users_and_films_are_all_different() -> None:
    assert len({film(n).title for n in range(2_000)}) == len({film(n).text for n in range(2_000)}) == 2_000
    assert len({json.dumps(dict(task(n).persona.traits)) for n in range(500)}) == 500
    wishes = [Search("film", "a quiet ferry", 5), Search("film", "a late train", 3), Search("film", "a quiet ferry", 5)]
    first, other, same = search(wishes)
    assert first == same != other
    assert (len(first), len(other)) == (5, 3)


@pytest.mark.slow
def test_the_line_that_it_prints() -> None:
    done = subprocess.run(
        [sys.executable, "benchmarks/bench_simulation.py", "--episodes", "3", "--per-minute", "60000", "--latency-ms", "5"],
        cwd=PROJECT,
        env={**os.environ, "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = done.stdout.splitlines()
    found = json.loads(line)
    assert set(found) == {"benchmark", "what", "figures", "targets", "machine"}
    figures = found["figures"]["paces"]["60000"]
    assert 0 < figures["share_of_limit"] <= 1
    assert figures["questions_per_episode"] > 5
    assert figures["questions"] == figures["replay"]["questions"] >= figures["requests"]
    assert figures["cpu_ms_per_question"] > figures["replay"]["cpu_ms_per_question"] > 0

"""Runs that end in the middle: no answer that was paid for is lost, and the next run goes on where this one was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.gateways.llm.cache import NEVER_ENDED, LlmCache, LlmCacheError
from pipelines.gateways.llm.gateway import LlmGateway
from pipelines.gateways.llm.requests import LlmRequest
from pipelines.gateways.stand_in.faults import Faults
from pipelines.gateways.stand_in.server import StandIn
from warehouse.tables.llm import LLM_CALLS

# A run in a process of its own that asks 400 questions, whose answers are empty objects: at once, or in 80 conversations of five that depend on each other, with an errand in the middle.
PROGRAM = """
import sys
import time
from pathlib import Path
from pipelines.gateways.llm.cache import LlmCache
from pipelines.gateways.llm.conversations import Errand
from pipelines.gateways.llm.gateway import LlmGateway
from pipelines.gateways.llm.prompts import Prompt
from pipelines.gateways.llm.requests import LlmRequest
from pipelines.gateways.llm.settings import LlmSettings

how, base_url, path, errand_s = sys.argv[1:]
schema = {"type": "object", "properties": {}, "additionalProperties": False}
prompt = Prompt("nothing", "1", 0.0, 50, "Say nothing.", "{data}", schema)

def conversation(n):
    heard = []
    for step in range(5):
        answer = yield LlmRequest(str(step), prompt, {"turn": n, "heard": heard})
        heard = [*heard, answer.value, step]
        if step == 2:
            yield Errand(n)
    return len(heard) // 2

def errands(batch):
    time.sleep(float(errand_s))
    return batch

settings = LlmSettings(base_url, "marquee-stand-in", requests_per_minute=60_000, workers=4, grace_s=20)
with LlmCache(Path(path)) as cache:
    gateway = LlmGateway(settings, None, cache)
    if how == "answer":
        requests = [LlmRequest(str(n), prompt, {"turn": n}) for n in range(400)]
        run = gateway.answer(requests, lambda text: None)
        answered = len(run.answers)
    else:
        conversed = gateway.converse({str(n): conversation(n) for n in range(80)}, errands, lambda text: None)
        run, answered = conversed.run, sum(conversed.results.values())
    print(answered, run.cached, run.calls, flush=True)
"""
HOW = ("answer", "converse")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "answers.sqlite"


@pytest.fixture
def children() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that end with the test, whatever happens."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for child in started:
        if child.poll() is None:
            child.kill()
        child.communicate()


def start(
    children: list[subprocess.Popen[str]], stand_in: StandIn, path: Path, how: str = "answer", errand_s: float = 0.0
) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, how, stand_in.base_url, str(path), str(errand_s)],
        cwd=Path.cwd(),
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    children.append(child)
    return child


def wait_for(stand_in: StandIn, completions: int) -> None:
    deadline_s = time.monotonic() + 60
    while stand_in.traffic.completions < completions:
        assert time.monotonic() < deadline_s, "nothing was asked"
        time.sleep(0.005)


def finish(children: list[subprocess.Popen[str]], stand_in: StandIn, path: Path, how: str = "answer") -> list[int]:
    """Run to the end; returns answers, answers from the cache, calls."""
    out, _ = start(children, stand_in, path, how).communicate(timeout=120)
    return [int(number) for number in out.split()]


def wait_for_ledger(path: Path, answered: int, open_calls: int) -> None:
    """Wait until so many calls are answered and stored, and so many are under way."""
    deadline_s = time.monotonic() + 60
    while True:
        with LlmCache(path) as cache:
            outcomes = cache.calls()["outcome"].to_list()
        if outcomes.count("answered") >= answered and outcomes.count("cancelled") >= open_calls:
            return
        assert time.monotonic() < deadline_s, "the calls were not made"
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("how", HOW)
def test_kill_9_loses_at_most_what_was_on_its_way(children: Any, path: Path, how: str) -> None:
    with StandIn() as stand_in:
        child = start(children, stand_in, path, how)
        wait_for(stand_in, 50)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        sent = stand_in.traffic.requests
        with LlmCache(path) as cache:
            ledger = LLM_CALLS.check(cache.calls())
        ended = ledger.filter(ledger["outcome"] == "answered").height
        lost = ledger.filter(ledger["error"] == NEVER_ENDED).height
        assert ended >= 40 and lost <= 4 and ended + lost == ledger.height
        assert sent >= ended
        answers, cached, calls = finish(children, stand_in, path, how)
    assert (answers, cached, calls) == (400, ended, 400 - ended)
    assert stand_in.traffic.requests <= ledger.height + calls


@pytest.mark.slow
@pytest.mark.parametrize("how", HOW)
def test_ctrl_c_lets_calls_under_way_end_and_keeps_them(children: Any, path: Path, how: str) -> None:
    # All that come after the first take long: a run that is not interrupted would take half a minute.
    with StandIn(Faults({"slow": 1.0}, script=[None] * 50, slow_s=0.3)) as stand_in:
        child = start(children, stand_in, path, how)
        wait_for(stand_in, 50)
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=60)
        assert "KeyboardInterrupt" in errors and child.returncode != 0
        sent = stand_in.traffic.requests
        assert sent < 400
        with LlmCache(path) as cache:
            ledger = cache.calls()
        assert ledger["outcome"].to_list() == ["answered"] * sent
    with StandIn() as quick:
        answers, cached, calls = finish(children, quick, path, how)
    assert (answers, cached, calls) == (400, sent, 400 - sent)


@pytest.mark.slow
@pytest.mark.parametrize("how", HOW)
def test_a_second_ctrl_c_does_not_wait_for_calls_under_way(children: Any, path: Path, how: str) -> None:
    with StandIn(Faults({"slow": 1.0}, script=[None] * 20, slow_s=600)) as stand_in:
        child = start(children, stand_in, path, how)
        wait_for_ledger(path, answered=20, open_calls=4)
        interrupt_until_it_ends(child)
        with LlmCache(path) as cache:
            outcomes = LLM_CALLS.check(cache.calls())["outcome"].to_list()
    # Calls that set out side by side may arrive in another order than they set out in.
    assert (outcomes.count("answered"), outcomes.count("cancelled")) == (20, 4)


@pytest.mark.slow
def test_a_second_ctrl_c_does_not_wait_for_errands(children: Any, path: Path) -> None:
    with StandIn() as stand_in:
        child = start(children, stand_in, path, "converse", errand_s=600)
        # The first three questions of each, then they all wait for their errand.
        wait_for_ledger(path, answered=240, open_calls=0)
        interrupt_until_it_ends(child)
        with LlmCache(path) as cache:
            assert cache.calls()["outcome"].to_list() == ["answered"] * 240
        assert finish(children, stand_in, path, "converse") == [400, 240, 160]


def interrupt_until_it_ends(child: subprocess.Popen[str]) -> None:
    deadline_s = time.monotonic() + 60
    while child.poll() is None:
        assert time.monotonic() < deadline_s, "it does not end"
        child.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            child.wait(1)
    assert "KeyboardInterrupt" in child.communicate()[1]


def test_calls_that_outlast_the_grace_are_given_up(path: Path, asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.gateways.llm.asking._TELL_EVERY_S", 0.0)

    def interrupt(_: str) -> None:
        # Not before one of those that hang is there.
        wait_for_requests(stand_in, 4)
        raise KeyboardInterrupt

    with StandIn(Faults({"slow": 1.0}, script=[None] * 3, slow_s=600)) as stand_in, LlmCache(path) as cache:
        settings = replace(stand_in.settings(workers=3), grace_s=0.2)
        with pytest.raises(KeyboardInterrupt):
            LlmGateway(settings, None, cache).answer(asked(30), interrupt)
        outcomes = LLM_CALLS.check(cache.calls())["outcome"].to_list()
    assert 3 < len(outcomes) < 10
    assert set(outcomes) == {"answered", "cancelled"}
    assert "language model" not in [thread.name for thread in threading.enumerate()]


def wait_for_requests(stand_in: StandIn, requests: int) -> None:
    deadline_s = time.monotonic() + 60
    while stand_in.traffic.requests < requests:
        assert time.monotonic() < deadline_s, "nothing was asked"
        time.sleep(0.005)


def test_an_exception_in_the_caller_loses_nothing(path: Path, asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.gateways.llm.asking._TELL_EVERY_S", 0.0)

    def fail(_: str) -> None:
        raise RuntimeError("the listener failed")

    # All that come after the first take so long that the exception is there before the last.
    with (
        StandIn(Faults({"slow": 1.0}, script=[None] * 50, slow_s=0.3)) as stand_in,
        StandIn() as quick,
        LlmCache(path) as cache,
    ):
        with pytest.raises(RuntimeError, match="the listener failed"):
            LlmGateway(stand_in.settings(workers=4), None, cache).answer(asked(200), fail)
        sent = stand_in.traffic.requests
        assert sent < 200
        assert cache.calls()["outcome"].to_list() == ["answered"] * sent
        run = LlmGateway(quick.settings(workers=4), None, cache).answer(asked(200), lambda _: None)
    assert (len(run.answers), run.cached) == (200, sent)
    assert quick.traffic.requests == 200 - sent


def test_an_exception_in_the_requests_comes_before_anything_is_sent(path: Path, asked: Any) -> None:
    def broken() -> Iterator[LlmRequest]:
        yield from asked(3)
        raise RuntimeError("the asker failed")

    with StandIn() as stand_in, LlmCache(path) as cache, pytest.raises(RuntimeError, match="the asker failed"):
        LlmGateway(stand_in.settings(), None, cache).answer(broken(), lambda _: None)
    assert stand_in.traffic.requests == 0


def test_when_answers_cannot_be_stored_the_run_ends_and_says_so(
    path: Path, asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled: list[str] = []
    real = LlmCache.settle

    def full(self: LlmCache, call: Any, ending: Any, stored: Any = None) -> None:
        settled.append(call.call_id)
        if len(settled) > 5:
            raise LlmCacheError(f"{self.path}: answers cannot be read or stored: database or disk is full")
        real(self, call, ending, stored)

    with StandIn() as stand_in, LlmCache(path) as cache:
        gateway = LlmGateway(stand_in.settings(workers=2), None, cache)
        with monkeypatch.context() as broken:
            broken.setattr(LlmCache, "settle", full)
            with pytest.raises(LlmCacheError, match="disk is full"):
                gateway.answer(asked(50), lambda _: None)
        assert stand_in.traffic.requests <= 8
        run = gateway.answer(asked(50), lambda _: None)
    assert (len(run.answers), run.cached) == (50, 5)


def test_inside_an_event_loop_it_works_as_well(path: Path, asked: Any) -> None:
    import asyncio

    async def main(gateway: LlmGateway) -> int:
        return len(gateway.answer(asked(5), lambda _: None).answers)

    with StandIn() as stand_in, LlmCache(path) as cache:
        assert asyncio.run(main(LlmGateway(stand_in.settings(), None, cache))) == 5


@pytest.mark.slow
def test_two_processes_share_answers_and_budget(children: Any, path: Path) -> None:
    with StandIn() as stand_in:
        both = [start(children, stand_in, path) for _ in range(2)]
        results = [[int(number) for number in child.communicate(timeout=120)[0].split()] for child in both]
    with LlmCache(path) as cache:
        assert cache.calls().height == stand_in.traffic.requests == sum(calls for _, _, calls in results)
        assert [answers for answers, _, _ in results] == [400, 400]

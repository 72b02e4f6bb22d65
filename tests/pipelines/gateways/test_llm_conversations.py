"""Conversations over real HTTP: many at once, nothing paid twice, results that depend on the answers alone."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.gateways.llm import asking as module
from pipelines.gateways.llm.asking import FAILURES_IN_A_ROW, TRIES_TO_FIT
from pipelines.gateways.llm.cache import LlmCache
from pipelines.gateways.llm.conversations import Asked, Conversation, Conversed, Errand, Unanswered
from pipelines.gateways.llm.gateway import LlmGateway
from pipelines.gateways.llm.prompts import Prompt
from pipelines.gateways.llm.requests import LlmRequest
from pipelines.gateways.llm.runs import STAND_IN_MODEL
from pipelines.gateways.llm.settings import LlmSettings, Price
from pipelines.gateways.stand_in import answers
from pipelines.gateways.stand_in.faults import Faults
from pipelines.gateways.stand_in.server import StandIn
from warehouse.tables.llm import LLM_CALLS

SCHEMA = {
    "type": "object",
    "properties": {"number": {"type": "integer"}},
    "required": ["number"],
    "additionalProperties": False,
}
# The stand-in answers it by a number that depends on all of the request's data.
PROMPT = Prompt("numbers", "3", 0.0, 50, "Name a number.", "For this:\n{data}\nThe number?", SCHEMA)

pytestmark = pytest.mark.usefixtures("quick", "numbers")


def number(data: object) -> int:
    """What the stand-in answers."""
    return int(sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:6], 16)


@pytest.fixture
def numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in knows the prompt."""
    rules = {**answers.ANSWERERS, PROMPT.name: lambda data, _: {"number": number(data)}}
    monkeypatch.setattr(answers, "ANSWERERS", rules)


def told(_: str) -> None:
    """Nobody listens."""


def no_errands(_: Sequence[Any]) -> Sequence[Any]:
    raise AssertionError("nobody has an errand")


def wait_until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline_s, "it was waited for in vain"
        time.sleep(0.005)


def ask(key: str, **data: Any) -> LlmRequest:
    return LlmRequest(key, PROMPT, data)


def value(sent: Any) -> Any:
    return sent.reason if isinstance(sent, Unanswered) else sent.value["number"]


def chain(name: str, questions: int = 3) -> Conversation[list[Any]]:
    """Each question holds the answer before it."""
    heard: list[Any] = []
    for n in range(questions):
        heard.append(value((yield ask(f"q{n}", name=name, n=n, before=heard[-1:]))))
    return heard


def chains(count: int, questions: int = 3) -> dict[str, Conversation[list[Any]]]:
    return {f"c{n}": chain(f"c{n}", questions) for n in range(count)}


def expected(name: str, questions: int = 3) -> list[int]:
    heard: list[int] = []
    for n in range(questions):
        heard.append(number({"name": name, "n": n, "before": heard[-1:]}))
    return heard


def completion(text: str, model: str = "m-1") -> bytes:
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    return json.dumps(
        {"model": model, "choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}
    ).encode()


def balanced(conversed: Conversed, cache: LlmCache) -> None:
    """The books of one run in a file of answers of its own."""
    ledger = LLM_CALLS.check(cache.calls())
    run = conversed.run
    assert run.calls == ledger.height == sum(run.outcomes.values())
    assert run.cost_usd == pytest.approx(ledger["cost_usd"].sum())


def test_a_conversation_hears_what_it_asked(cache: LlmCache) -> None:
    with StandIn() as stand_in:
        conversed = LlmGateway(stand_in.settings(), None, cache).converse(chains(20), no_errands, told)
    assert conversed.results == {f"c{n}": expected(f"c{n}") for n in range(20)}
    assert list(conversed.results) == list(conversed.asked) == [f"c{n}" for n in range(20)]
    assert conversed.unfinished == {}
    assert stand_in.traffic.requests == conversed.run.calls == 60
    first = conversed.asked["c7"][0]
    assert first == Asked("q0", "numbers@3", first.request_hash, "answered", STAND_IN_MODEL, False)
    assert [each.key for each in conversed.asked["c7"]] == ["q0", "q1", "q2"]
    assert {each.request_hash for each in conversed.asked["c7"]} < set(cache.calls()["request_hash"])
    assert conversed.counts["questions"] == 60 and conversed.counts["ended"] == 20
    balanced(conversed, cache)


def test_a_second_run_sends_nothing(cache: LlmCache) -> None:
    with StandIn() as stand_in:
        gateway = LlmGateway(stand_in.settings(), None, cache)
        first = gateway.converse(chains(10), no_errands, told)
        again = gateway.converse(chains(12), no_errands, told)
    assert stand_in.traffic.requests == 36
    assert (again.run.cached, again.run.calls) == (30, 6)
    assert {name: again.results[name] for name in first.results} == first.results
    assert [each.is_cached for each in again.asked["c3"]] == [True] * 3


def test_questions_of_one_wish_are_answered_in_their_order(cache: LlmCache) -> None:
    def several() -> Conversation[list[Any]]:
        none = yield []
        sent = yield [ask(f"k{n}", n=n % 3) for n in range(7)]
        again = yield (ask("k1", n=1),)
        return [none, [value(each) for each in sent], [value(each) for each in again]]

    with StandIn() as stand_in:
        conversed = LlmGateway(stand_in.settings(), None, cache).converse({"a": several()}, no_errands, told)
    assert conversed.results["a"] == [[], [number({"n": n % 3}) for n in range(7)], [number({"n": 1})]]
    assert [each.key for each in conversed.asked["a"]] == [f"k{n}" for n in range(7)], "each key once"
    assert (stand_in.traffic.requests, conversed.run.shared) == (3, 5)


def test_the_same_question_of_many_is_sent_once(cache: LlmCache) -> None:
    def same(n: int) -> Conversation[int]:
        first = value((yield ask("a", everybody="asks")))
        return first + value((yield ask("b", n=n % 2)))

    with StandIn() as stand_in:
        for mode in ("cached", "live"):
            conversations = {f"c{n}": same(n) for n in range(30)}
            conversed = LlmGateway(stand_in.settings(mode), None, cache).converse(
                conversations, no_errands, told, at_once=4
            )
            assert len(conversed.results) == 30
            if mode == "cached":
                assert (stand_in.traffic.requests, conversed.run.shared, conversed.run.cached) == (3, 57, 0)
                assert not any(each.is_cached for asked in conversed.asked.values() for each in asked)
    assert stand_in.traffic.requests == 6, "live calls again, and once for each question"


def test_errands_of_those_that_wait_are_run_together(cache: LlmCache) -> None:
    batches: list[list[Any]] = []
    threads = set()

    def double(batch: Sequence[Any]) -> Sequence[Any]:
        batches.append(list(batch))
        threads.add(threading.current_thread().name)
        time.sleep(0.05)
        return [2 * each for each in batch]

    def errand(n: int) -> Conversation[int]:
        twice = yield Errand(n)
        heard = value((yield ask("q", twice=twice)))
        return heard + (yield Errand(twice))

    with StandIn() as stand_in:
        conversations = {f"c{n}": errand(n) for n in range(40)}
        conversed = LlmGateway(stand_in.settings(), None, cache).converse(conversations, double, told)
    assert conversed.results == {f"c{n}": number({"twice": 2 * n}) + 4 * n for n in range(40)}
    assert batches[0] == list(range(40)), "in the order of the conversations"
    assert len(batches) < 20 and sum(map(len, batches)) == 80
    assert threads == {"errands"}
    assert "errands" not in [thread.name for thread in threading.enumerate()]


def test_errands_hold_up_nobody_else(cache: LlmCache) -> None:
    """While an errand is run, others ask and their answers are stored: it ends only when all of them are there."""

    def patient(batch: Sequence[Any]) -> Sequence[Any]:
        with LlmCache(cache.path) as same:
            wait_until(lambda: same.calls()["outcome"].to_list().count("answered") == 30)
        return batch

    def slow() -> Conversation[str]:
        return (yield Errand("wait"))

    with StandIn() as stand_in:
        conversed = LlmGateway(stand_in.settings(), None, cache).converse({"slow": slow(), **chains(10)}, patient, told)
    assert len(conversed.results) == 11 and conversed.results["slow"] == "wait"


def test_earlier_conversations_go_first_and_few_are_open(cache: LlmCache) -> None:
    open_now: set[str] = set()
    most = 0

    def watched(name: str) -> Conversation[list[Any]]:
        nonlocal most
        open_now.add(name)
        most = max(most, len(open_now))
        heard = yield from chain(name)
        open_now.discard(name)
        return heard

    ended: list[str] = []
    with StandIn() as stand_in:
        LlmGateway(stand_in.settings(workers=1), None, cache).converse(
            {f"c{n}": watched(f"c{n}") for n in range(30)},
            no_errands,
            told,
            at_once=7,
            keep=lambda name, result: ended.append(name),
        )
    assert most == 7
    assert ended == [f"c{n}" for n in range(30)], "one worker serves one conversation after the other"


def test_a_question_goes_as_early_as_the_first_who_asks_it(cache: LlmCache, scripted: Any) -> None:
    came: list[int] = []
    has_come, may_go = threading.Event(), threading.Event()

    def reply(_: Any, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        came.append(int(body["messages"][1]["content"].partition('"n":')[2].partition("}")[0]))
        has_come.set()
        assert may_go.wait(60)
        return 200, {}, completion('{"number": 5}')

    def first() -> Conversation[None]:
        yield Errand("wait until all others wait")
        may_go.set()
        yield ask("q", n=4)

    def other(n: int) -> Conversation[None]:
        yield ask("q", n=n)

    def wait(batch: Sequence[Any]) -> Sequence[Any]:
        assert has_come.wait(60)
        return batch

    with scripted(reply) as endpoint:
        at = LlmSettings(endpoint.base_url, "m-1", requests_per_minute=100_000, workers=1)
        conversations = {"first": first(), **{f"c{n}": other(n) for n in range(6)}}
        conversed = LlmGateway(at, None, cache).converse(conversations, wait, told)
    assert came == [0, 4, 1, 2, 3, 5]
    assert len(conversed.results) == 7 and conversed.run.shared == 1


def test_with_nobody_nothing_happens(cache: LlmCache) -> None:
    gateway = LlmGateway(LlmSettings(base_url="http://127.0.0.1:9/v1"), None, cache)
    assert gateway.converse({}, no_errands, told) == Conversed()
    with pytest.raises(ValueError, match="at least one"):
        gateway.converse(chains(1), no_errands, told, at_once=0)


# What is not answered.


@pytest.mark.parametrize(("kind", "calls"), [("refusal", 1), ("off_schema", TRIES_TO_FIT)])
def test_what_will_never_be_answered_is_sent_in(cache: LlmCache, kind: str, calls: int) -> None:
    def bears_it() -> Conversation[Any]:
        sent = yield ask("a", n=1)
        assert isinstance(sent, Unanswered)
        return sent.reason

    outcome = "refused" if kind == "refusal" else "invalid"
    with StandIn(Faults({kind: 1.0})) as stand_in:
        gateway = LlmGateway(stand_in.settings(), None, cache)
        for mode in ("cached", "cached", "replay"):
            gateway = LlmGateway(stand_in.settings(mode), None, cache)  # type: ignore[arg-type]
            conversed = gateway.converse({"a": bears_it()}, no_errands, told)
            assert conversed.results["a"].startswith(f"{outcome}: ")
            assert conversed.asked["a"][0].outcome == outcome
    assert stand_in.traffic.requests == calls


def test_what_is_too_long_is_sent_in(cache: LlmCache) -> None:
    def long() -> Conversation[str]:
        sent = yield ask("a", text="x" * 1_000_000)
        return sent.reason

    for mode in ("cached", "replay"):
        settings = LlmSettings(base_url="http://127.0.0.1:9/v1", mode=mode)  # type: ignore[arg-type]
        conversed = LlmGateway(settings, None, cache).converse({"a": long()}, no_errands, told)
        assert conversed.results["a"].startswith("too long: ")
        assert conversed.asked["a"][0].outcome == "failed"


def test_replay_leaves_unfinished_what_is_not_in_the_cache(cache: LlmCache, monkeypatch: pytest.MonkeyPatch) -> None:
    with StandIn() as stand_in:
        gateway = LlmGateway(stand_in.settings(), None, cache)
        whole = gateway.converse(chains(6), no_errands, told)
        gateway.converse({"c7": chain("c7", 2)}, no_errands, told)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("pipelines.gateways.llm.transport.open_client", refuse)
    closed: list[str] = []

    def watched(name: str) -> Conversation[list[Any]]:
        try:
            return (yield from chain(name))
        except GeneratorExit:
            closed.append(name)
            raise

    replay = LlmGateway(stand_in.settings("replay"), None, cache)
    conversed = replay.converse({f"c{n}": watched(f"c{n}") for n in range(9)}, no_errands, told, at_once=2)
    assert conversed.results == whole.results
    assert conversed.unfinished == dict.fromkeys(["c6", "c7", "c8"], "not in the cache")
    assert sorted(closed) == ["c6", "c7", "c8"]
    assert [len(conversed.asked[name]) for name in ("c5", "c6", "c7")] == [3, 0, 2]
    assert conversed.run.calls == 0 and conversed.run.stopped is None


@pytest.mark.parametrize("workers", [1, 4])
def test_a_budget_leaves_whole_conversations(cache: LlmCache, scripted: Any, workers: int) -> None:
    at = LlmSettings(model="m-1", price=Price(1000.0, 2000.0), requests_per_minute=100_000, workers=workers)
    with scripted(lambda *_: (200, {}, completion('{"number": 5}'))) as endpoint:
        at = replace(at, base_url=endpoint.base_url, budget_usd=33 * 0.12)
        conversed = LlmGateway(at, None, cache).converse(chains(500, questions=5), no_errands, told)
        sent = len(endpoint.requests)
        assert conversed.run.stopped == "budget" and cache.spent_usd() <= 33 * 0.12
        # Of what was paid for, all but what lies with as many conversations as there are workers.
        assert len(conversed.results) >= (sent - 4 * workers) // 5 >= 2
        assert len(conversed.results) + len(conversed.unfinished) == 500
        assert all("MARQUEE_LLM_BUDGET_USD" in reason for reason in conversed.unfinished.values())
        balanced(conversed, cache)
        replayed = LlmGateway(at, None, cache).converse(chains(500, questions=5), no_errands, told)
        assert replayed.results == conversed.results, "with nothing left to spend, what is paid for is still played"
        assert len(endpoint.requests) == sent
        rich = LlmGateway(replace(at, budget_usd=1000.0), None, cache)
        assert len(rich.converse(chains(20, questions=5), no_errands, told).results) == 20
    assert len(endpoint.requests) == 100, "nothing is paid for twice"


@pytest.mark.parametrize(("kind", "stopped"), [("out_of_quota", "quota"), ("unauthorized", "key")])
def test_what_ends_a_run_leaves_the_rest_unfinished(cache: LlmCache, kind: str, stopped: str) -> None:
    with StandIn(Faults({kind: 1.0}, script=[None] * 7)) as stand_in:
        conversed = LlmGateway(stand_in.settings(workers=1), None, cache).converse(chains(300), no_errands, told)
    assert conversed.run.stopped == stopped
    assert list(conversed.results) == ["c0", "c1"] and len(conversed.unfinished) == 298
    assert all(reason.startswith("not asked: ") for reason in conversed.unfinished.values())
    assert stand_in.traffic.requests == 8


def test_a_dead_endpoint_ends_the_run(cache: LlmCache) -> None:
    with StandIn() as stand_in:
        at = stand_in.settings()
    words: list[str] = []
    conversed = LlmGateway(at, None, cache).converse(chains(60), no_errands, words.append)
    assert conversed.run.stopped == "endpoint" and conversed.results == {}
    reasons = Counter(reason.partition(":")[0] for reason in conversed.unfinished.values())
    assert reasons["failed"] >= FAILURES_IN_A_ROW and reasons["not asked"] > 20
    assert words[-1].endswith(conversed.run.problem or "-")
    balanced(conversed, cache)


def test_a_request_that_fails_breaks_off_its_conversation_alone(cache: LlmCache, scripted: Any) -> None:
    def reply(_: Any, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        if '"c1"' in body["messages"][1]["content"]:
            return 400, {}, b'{"error": {"message": "too much context"}}'
        return 200, {}, completion('{"number": 5}')

    with scripted(reply) as endpoint:
        at = LlmSettings(endpoint.base_url, "m-1", requests_per_minute=100_000)
        conversed = LlmGateway(at, None, cache).converse(chains(3), no_errands, told)
    assert list(conversed.results) == ["c0", "c2"]
    assert conversed.unfinished["c1"].startswith("failed: ") and "too much context" in conversed.unfinished["c1"]


# What goes wrong in a conversation.


def bad(questions: int, error: BaseException) -> Conversation[None]:
    yield from chain("bad", questions)
    yield Errand("wait for the others")
    raise error


@pytest.mark.parametrize("error", [RuntimeError("the speaker failed"), KeyboardInterrupt("odd"), AssertionError("no")])
def test_an_exception_in_a_conversation_comes_out_and_loses_nothing(cache: LlmCache, error: BaseException) -> None:
    kept: list[str] = []

    def others_kept(batch: Sequence[Any]) -> Sequence[Any]:
        wait_until(lambda: len(kept) >= 3)
        return batch

    with StandIn() as stand_in:
        gateway = LlmGateway(stand_in.settings(workers=4), None, cache)
        with pytest.raises(type(error), match=str(error)) as caught:
            gateway.converse(
                {**chains(3), "bad": bad(5, error), **{f"d{n}": chain(f"d{n}", 500) for n in range(40)}},
                others_kept,
                told,
                keep=lambda name, result: kept.append(name),
            )
        assert "in the conversation 'bad'" in caught.value.__notes__
        sent = stand_in.traffic.requests
        assert cache.calls()["outcome"].to_list() == ["answered"] * sent
        assert set(kept) == {"c0", "c1", "c2"}, "those that had ended were kept"
        assert gateway.converse(chains(3), no_errands, told).run.calls == 0


def test_an_exception_of_an_errand_comes_out_and_loses_nothing(cache: LlmCache) -> None:
    def fail(batch: Sequence[Any]) -> Sequence[Any]:
        time.sleep(0.05)
        raise LookupError("nothing was found")

    def errand() -> Conversation[None]:
        yield Errand(1)

    with StandIn() as stand_in:
        gateway = LlmGateway(stand_in.settings(workers=4), None, cache)
        with pytest.raises(LookupError, match="nothing was found"):
            gateway.converse({"e": errand(), "f": errand(), **chains(40, 500)}, fail, told)
        assert cache.calls()["outcome"].to_list() == ["answered"] * stand_in.traffic.requests
    assert "errands" not in [thread.name for thread in threading.enumerate()]


def test_errands_must_bring_as_much_as_they_were_sent_for(cache: LlmCache) -> None:
    def errand() -> Conversation[None]:
        yield Errand(1)

    gateway = LlmGateway(LlmSettings(mode="replay"), None, cache)
    with pytest.raises(ValueError, match="1 errands were run, and 2 results came back"):
        gateway.converse({"e": errand()}, lambda batch: [1, 2], told)


@pytest.mark.parametrize("which", ["keep", "told", "tell"])
def test_an_exception_of_the_caller_comes_out_and_loses_nothing(
    cache: LlmCache, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TELL_EVERY_S", 0.0)

    def fail(*_: Any) -> Any:
        raise OSError("the caller failed")

    callbacks = {"keep": lambda *_: None, "told": lambda: "so far", "tell": told, which: fail}
    # All that come after the first take so long that the exception is there before the last.
    with StandIn(Faults({"slow": 1.0}, script=[None] * 20, slow_s=0.3)) as stand_in, StandIn() as quick:
        with pytest.raises(OSError, match="the caller failed"):
            LlmGateway(stand_in.settings(workers=4), None, cache).converse(
                chains(60), no_errands, callbacks["tell"], keep=callbacks["keep"], told=callbacks["told"]
            )
        sent = stand_in.traffic.requests
        assert sent < 180
        assert cache.calls()["outcome"].to_list() == ["answered"] * sent
        again = LlmGateway(quick.settings(), None, cache).converse(chains(60), no_errands, told)
    assert (len(again.results), again.run.cached, again.run.calls) == (60, sent, 180 - sent)


def test_one_key_for_two_questions_is_a_mistake(cache: LlmCache) -> None:
    def twice() -> Conversation[None]:
        yield ask("a", n=1)
        yield ask("a", n=2)

    def at_once() -> Conversation[None]:
        yield [ask("a", n=1), ask("a", n=2)]

    with StandIn() as stand_in:
        for bad in (twice, at_once):
            with pytest.raises(ValueError, match=r"'a' stands for two different"):
                LlmGateway(stand_in.settings(), None, cache).converse({"x": bad()}, no_errands, told)
        fine = {"x": chain("x"), "y": chain("y")}
        assert len(LlmGateway(stand_in.settings(), None, cache).converse(fine, no_errands, told).results) == 2


@pytest.mark.parametrize("wish", ["a text", None, 7, [ask("a", n=1), "a text"]])
def test_a_wish_must_be_one(cache: LlmCache, wish: Any) -> None:
    def odd() -> Conversation[None]:
        yield wish

    with pytest.raises(TypeError, match="a conversation yields"):
        LlmGateway(LlmSettings(mode="replay"), None, cache).converse({"x": odd()}, no_errands, told)


def test_data_that_json_cannot_hold_is_a_mistake(cache: LlmCache) -> None:
    def odd() -> Conversation[None]:
        yield ask("a", n=float("nan"))

    with pytest.raises(ValueError, match=r"'a'.*JSON"):
        LlmGateway(LlmSettings(mode="replay"), None, cache).converse({"x": odd()}, no_errands, told)


# What the caller hears.


def test_what_ended_is_kept_at_once_and_in_the_callers_thread(cache: LlmCache) -> None:
    kept: dict[str, Any] = {}

    def keep(name: str, result: Any) -> None:
        assert threading.current_thread() is threading.main_thread()
        kept[name] = result

    def waits_for_the_others() -> Conversation[int]:
        yield Errand("the others")
        return len(kept)

    def others_kept(batch: Sequence[Any]) -> Sequence[Any]:
        wait_until(lambda: len(kept) == 8)
        return batch

    with StandIn() as stand_in:
        conversations = {"last": waits_for_the_others(), **chains(8)}
        conversed = LlmGateway(stand_in.settings(), None, cache).converse(conversations, others_kept, told, keep=keep)
    assert conversed.results["last"] == 8
    assert kept == conversed.results


def test_progress_says_how_far_it_is(cache: LlmCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TELL_EVERY_S", 0.0)
    words: list[str] = []
    kept: list[str] = []
    with StandIn() as stand_in:
        LlmGateway(stand_in.settings(), None, cache).converse(
            chains(10),
            no_errands,
            words.append,
            keep=lambda name, result: kept.append(name),
            told=lambda: f"success {len(kept)} times",
        )
    assert any(" of 10 conversations ended" in each and "questions answered" in each for each in words)
    assert all("; success " in each and " USD" in each for each in words)


# Order and chance.


def maze(name: str, seed: int) -> Conversation[list[Any]]:
    """What it asks next depends on what it heard."""
    heard: list[Any] = []
    state = seed
    for step in range(6):
        what = (state + step) % 4
        if what == 0:
            state = heard_number((yield ask(f"{step}", state=state)))
        elif what == 1:
            sent = yield [ask(f"{step}/{n}", name=name, n=n, state=state) for n in range(state % 3)]
            state += sum(map(heard_number, sent))
        elif what == 2:
            state = yield Errand(state)
        else:
            state = heard_number((yield ask(f"{step}", state=state % 5)))
        heard.append(state)
    return heard


def heard_number(sent: Any) -> int:
    return 1 if isinstance(sent, Unanswered) else int(sent.value["number"])


@given(
    seed=st.integers(0, 1_000_000),
    workers=st.sampled_from([1, 3, 40]),
    at_once=st.sampled_from([1, 5, 100]),
    faulty=st.booleans(),
)
@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_results_do_not_depend_on_timing(
    tmp_path_factory: pytest.TempPathFactory, seed: int, workers: int, at_once: int, faulty: bool
) -> None:
    conversations = {f"c{n}": maze(f"c{n}", seed + n) for n in range(8)}
    pause = iter(range(10_000))

    def errands(batch: Sequence[int]) -> list[int]:
        time.sleep(number([seed, next(pause)]) % 4 / 1000)
        return [each // 2 + 1 for each in batch]

    def late(*_: object) -> None:
        time.sleep(number([seed, next(pause)]) % 3 / 1000)

    faults = Faults({"rate_limited": 0.05, "broken_off": 0.05, "malformed": 0.1, "slow": 0.2}, (), 0.0, 0.01, seed)
    path = tmp_path_factory.mktemp("maze") / "answers.sqlite"
    with StandIn(faults if faulty else None, late) as stand_in, LlmCache(path) as cache:
        conversed = LlmGateway(stand_in.settings(workers=workers), None, cache).converse(
            conversations, errands, told, at_once=at_once
        )
        played = {name: replayed(maze(name, seed + n), errands) for n, name in enumerate(conversations)}
        again = LlmGateway(stand_in.settings("replay"), None, cache).converse(
            {f"c{n}": maze(f"c{n}", seed + n) for n in range(8)}, errands, told
        )
    assert conversed.unfinished == {} and conversed.run.stopped is None
    assert again.results == conversed.results
    if not any(each.outcome == "invalid" for asked in conversed.asked.values() for each in asked):
        assert conversed.results == played


def replayed(conversation: Conversation[Any], errands: Callable[[list[int]], list[int]]) -> Any:
    """The conversation alone, one step after the other."""
    from types import SimpleNamespace

    def heard(request: LlmRequest) -> Any:
        return SimpleNamespace(value={"number": number(dict(request.data))})

    sent: Any = None
    while True:
        try:
            wish = conversation.send(sent)
        except StopIteration as end:
            return end.value
        if isinstance(wish, Errand):
            (sent,) = errands([wish.what])
        else:
            sent = heard(wish) if isinstance(wish, LlmRequest) else [heard(each) for each in wish]


@pytest.mark.parametrize("at_once", [200, 5_000])
def test_five_thousand_conversations_from_the_cache(
    cache: LlmCache, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """No recursion, no pile of threads; looked up many at a time."""
    with StandIn() as stand_in:
        gateway = LlmGateway(stand_in.settings(workers=40), None, cache)
        assert len(gateway.converse(chains(20), no_errands, told).results) == 20
        looked_up: list[int] = []
        real = LlmCache.answers
        monkeypatch.setattr(
            LlmCache, "answers", lambda self, hashes: looked_up.append(len(hashes)) or real(self, hashes)
        )
        names = [f"c{n % 20}" for n in range(5_000)]
        conversations = {f"{n}": chain(name) for n, name in enumerate(names)}
        conversed = gateway.converse(conversations, no_errands, told, at_once=at_once)
    assert len(conversed.results) == 5_000
    assert all(conversed.results[f"{n}"] == expected(name) for n, name in enumerate(names[:20]))
    assert (conversed.run.cached, conversed.run.calls) == (15_000, 0)
    assert len(looked_up) < 300


def test_inside_an_event_loop_it_works_as_well(tmp_path: Path) -> None:
    async def main(gateway: LlmGateway) -> int:
        return len(gateway.converse(chains(5), no_errands, told).results)

    with StandIn() as stand_in, LlmCache(tmp_path / "answers.sqlite") as cache:
        assert asyncio.run(main(LlmGateway(stand_in.settings(), None, cache))) == 5


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert "language model" not in [thread.name for thread in threading.enumerate()]

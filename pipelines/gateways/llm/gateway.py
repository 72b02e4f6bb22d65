"""The conversation with an endpoint: pace, retries, budget, and the care that no paid answer is lost.

Does not belong here: reading an answer's text (`replies.py`), storing it (`cache.py`), putting the key on (`transport.py`).

Source of the protocol: OpenAI's API reference, `POST /chat/completions`, with structured output by `response_format`.
"""

from __future__ import annotations

import asyncio
import json
import queue
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipelines.gateways.llm.cache import Call, Ending, LlmCache, Stored
from pipelines.gateways.llm.dialect import Dialect
from pipelines.gateways.llm.prompts import Prompt
from pipelines.gateways.llm.replies import Reply, ReplyError, read_reply, read_value
from pipelines.gateways.llm.requests import LlmRequest, message_tokens, request_hash, text_tokens
from pipelines.gateways.llm.runs import Forecast, LlmAnswer, LlmRun, Stop, is_stand_in
from pipelines.gateways.llm.settings import LlmSettings, Price
from pipelines.gateways.pacing import TokenBucket, backoff_s, retry_after_s
from pipelines.gateways.secret import HIDDEN, Secret

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from openai import APIStatusError, AsyncOpenAI

# Of a request that fails for reasons that pass: overload, server errors, broken connections.
TRIES = 6
# Each may cost as much as an answer, and each takes the whole timeout.
TRIES_IN_TIME = 3
# Of a request whose answers do not fit the schema: each is paid.
TRIES_TO_FIT = 3
# That many requests failing one after the other mean that the endpoint is the trouble, not the requests.
FAILURES_IN_A_ROW = 20
# Some 130,000 tokens: as much as the larger models read at once.
LONGEST_REQUEST = 400_000

_TELL_EVERY_S = 1.0
_LONGEST_WORDS = 200
_KEY_LIKE = re.compile(r"\b(?:sk|pk|key)-[\w*.-]{4,}|Bearer\s+\S+", re.IGNORECASE)


class _Stopped(Exception):
    """The run winds down: nothing more is sent."""


class _NoAnswer(Exception):
    """A call that brought no chat completion, and what to do about it."""

    def __init__(
        self,
        reason: str,
        status: int | None = None,
        *,
        stop: Stop | None = None,
        tries: int = TRIES,
        pause_s: float | None = None,
        is_charge_known: bool = True,
        simpler: Dialect | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.stop = stop
        self.tries = tries
        self.pause_s = pause_s
        self.is_charge_known = is_charge_known
        self.simpler = simpler


@dataclass
class _Job:
    """One question of a run: all requests that ask the same."""

    request: LlmRequest
    request_hash: str
    tokens: int
    keys: list[str] = field(default_factory=list)
    cost_usd: float = 0.0
    is_settled: bool = False


class LlmGateway:
    """Asks a language model, and keeps what it answers.

    `api_key` may be None for an endpoint that wants none. The gateway does not close `cache`. One `answer` at a time.

    Raises ValueError for an unusable key, and for a budget where the model's price is unknown.
    """

    def __init__(self, settings: LlmSettings, api_key: str | None, cache: LlmCache) -> None:
        self.settings = settings
        self.cache = cache
        self._key = Secret(api_key, "API") if api_key else None
        price = settings.price_of_model()
        if price is None and settings.budget_usd is not None and settings.mode != "replay":
            raise ValueError(
                f"no price is known for the model {settings.model}, so its budget cannot be kept:"
                " set MARQUEE_LLM_PRICE to USD per million tokens, as input,output"
            )
        self._price = price or Price(0.0, 0.0)
        self._is_price_known = price is not None

    def __repr__(self) -> str:
        return f"LlmGateway({self.settings.model!r} at {self.settings.base_url!r}, mode={self.settings.mode!r})"

    def forecast(self, requests: Iterable[LlmRequest]) -> Forecast:
        """What `answer` would send and spend at most, without asking anybody. Raises ValueError as `answer` does."""
        jobs = self._jobs(requests)
        is_cached = self._stored(jobs)
        open_jobs = [job for job in jobs if job.request_hash not in is_cached]
        return Forecast(
            requests=len(jobs),
            cached=len(jobs) - len(open_jobs),
            prompt_tokens=sum(job.tokens for job in open_jobs),
            completion_tokens=sum(job.request.prompt.max_tokens for job in open_jobs),
            cost_usd=sum(self._most_usd(job) for job in open_jobs),
        )

    def answer(self, requests: Iterable[LlmRequest], tell: Callable[[str], None]) -> LlmRun:
        """Get an answer for each request: from the cache, or by a call, as the mode says.

        Requests that ask the same are sent once. An answer is stored before anything else is done with it, so that whatever ends
        the run, the next one goes on where it was. On KeyboardInterrupt, or when `tell` raises, nothing more is sent,
        calls under way may end for `grace_s` and are stored; then the exception comes out. A second
        KeyboardInterrupt ends them at once. `tell` gets progress in words, in the calling thread.

        What ends a run early (the budget, a quota used up, a refused key, a dead endpoint) is no exception: it is in
        `stopped` and `problem`, and what was not asked is in `unanswered`. Raises ValueError for a key that stands for two
        different requests and for data that JSON cannot hold, LlmCacheError when answers cannot be stored.
        """
        jobs = self._jobs(requests)
        run = LlmRun()
        stored = self._stored(jobs)
        for job in jobs:
            if job.request_hash in stored:
                self._hand_out(run, job, stored[job.request_hash], is_cached=True)
                run.cached += len(job.keys)
        rest = [job for job in jobs if not job.is_settled]
        if self.settings.mode == "replay":
            _give_up(run, rest, "not in the cache")
        else:
            for job in rest:
                if job.tokens * 3 > LONGEST_REQUEST:
                    _give_up(run, [job], f"too long: some {job.tokens:,} tokens")
            rest = [job for job in rest if not job.is_settled]
            if rest:
                if not self._is_price_known:
                    tell(f"no price is known for the model {self.settings.model}: its calls count as free")
                _Asking(self, run, rest).ask(tell)
                _give_up(run, rest, f"not asked: {run.problem}")
        return run

    def _jobs(self, requests: Iterable[LlmRequest]) -> list[_Job]:
        jobs: dict[str, _Job] = {}
        hashes: dict[str, str] = {}
        for request in requests:
            try:
                messages = request.prompt.messages(request.data)
            except (TypeError, ValueError, RecursionError) as error:
                raise ValueError(f"request {request.key!r}: its data cannot be written as JSON: {error}") from None
            key = request_hash(self.settings.model, request, messages)
            if hashes.setdefault(request.key, key) != key:
                raise ValueError(f"request {request.key!r} stands for two different requests")
            job = jobs.get(key)
            if job is None:
                job = jobs[key] = _Job(request, key, message_tokens(messages, request.prompt.schema))
            if request.key not in job.keys[-1:]:
                job.keys.append(request.key)
        for job in jobs.values():
            job.keys = list(dict.fromkeys(job.keys))
        return list(jobs.values())

    def _stored(self, jobs: list[_Job]) -> dict[str, Stored]:
        return {} if self.settings.mode == "live" else self.cache.answers([job.request_hash for job in jobs])

    def _most_usd(self, job: _Job) -> float:
        return self._price.cost_usd(job.tokens, job.request.prompt.max_tokens)

    def _hand_out(self, run: LlmRun, job: _Job, stored: Stored, *, is_cached: bool) -> None:
        """Put a settled question's answer, or the reason why there is none, under all keys that asked it."""
        job.is_settled = True
        for key in job.keys:
            if stored.value is None:
                run.unanswered[key] = f"{stored.outcome}: {stored.error}"
            else:
                run.answers[key] = LlmAnswer(
                    value=stored.value,
                    model=stored.model,
                    is_stand_in=is_stand_in(stored.model),
                    outcome=stored.outcome,
                    request_hash=job.request_hash,
                    is_cached=is_cached,
                    cost_usd=stored.cost_usd,
                )


def _give_up(run: LlmRun, jobs: Iterable[_Job], reason: str) -> None:
    for job in jobs:
        if not job.is_settled:
            job.is_settled = True
            run.unanswered.update(dict.fromkeys(job.keys, reason))


class _Asking:
    """The calls of one run. They are made in a thread of their own, so that an interrupt, which Python raises in the main
    thread wherever that is, cannot strike between an answer's arrival and its storage.
    """

    def __init__(self, gateway: LlmGateway, run: LlmRun, jobs: list[_Job]) -> None:
        self._gateway = gateway
        self._settings = gateway.settings
        self._cache = gateway.cache
        self._run = run
        self._jobs = jobs
        self._queue: Iterator[_Job] = iter(jobs)
        self._events: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._is_up = threading.Event()
        self._is_cancelled = False
        self._loop: asyncio.AbstractEventLoop
        self._main: asyncio.Task[None]
        self._stop: asyncio.Event
        self._settled: asyncio.Event
        self._bucket: TokenBucket
        self._error: BaseException | None = None
        self._in_flight = 0
        self._failed_in_a_row = 0
        self._done = 0
        self._told_s = time.monotonic()
        self._dialect = Dialect()
        self._validators: dict[int, Draft202012Validator] = {}

    def ask(self, tell: Callable[[str], None]) -> None:
        """Make the calls; returns when all are settled or the run has stopped."""
        thread = threading.Thread(target=self._in_thread, name="language model", daemon=True)
        thread.start()
        try:
            while (text := self._events.get()) is not None:
                tell(text)
        except BaseException:
            self._wind_down(thread)
            raise
        thread.join()
        if self._error is not None:
            raise self._error
        if self._run.problem:
            tell(f"the language model could not be asked further: {self._run.problem}")

    def _wind_down(self, thread: threading.Thread) -> None:
        self._is_cancelled = True
        self._is_up.wait()
        try:
            self._call(self._stop.set)
            thread.join(self._settings.grace_s)
        finally:
            if thread.is_alive():
                self._call(self._main.cancel)
                thread.join()

    def _call(self, function: Callable[[], Any]) -> None:
        # The loop may have ended meanwhile, which is what was wanted.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function)

    def _in_thread(self) -> None:
        try:
            asyncio.run(self._ask_all())
        except asyncio.CancelledError:
            return
        except BaseException as error:
            self._error = error
        finally:
            self._is_up.set()
            self._events.put(None)

    async def _ask_all(self) -> None:
        from pipelines.gateways.llm.transport import open_client  # openai is slow to import

        self._loop = asyncio.get_running_loop()
        main = asyncio.current_task()
        assert main is not None
        self._main = main
        self._stop, self._settled = asyncio.Event(), asyncio.Event()
        self._bucket = TokenBucket(self._settings.requests_per_minute / 60, time.monotonic, self._sleep)
        self._is_up.set()
        if self._is_cancelled:
            return
        async with open_client(self._settings, self._gateway._key) as client:
            tasks = [
                asyncio.create_task(self._work(client)) for _ in range(min(self._settings.workers, len(self._jobs)))
            ]
            try:
                await asyncio.gather(*tasks)
            except BaseException:
                self._stop.set()
                self._settled.set()
                await asyncio.wait(tasks, timeout=self._settings.grace_s)
                raise
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, client: AsyncOpenAI) -> None:
        with suppress(_Stopped):
            for job in self._queue:
                await self._ask(client, job)

    async def _ask(self, client: AsyncOpenAI, job: _Job) -> None:
        """Call until the question is settled or given up. Raises _Stopped when the run winds down."""
        misfits, failures, attempt = 0, 0, 0
        while True:
            attempt += 1
            call = await self._begin(job, attempt)
            started_s = time.monotonic()
            dialect = self._dialect
            try:
                body = await self._send(client, job, dialect, misfits)
            except _NoAnswer as trouble:
                self._settle(call, _broken(call, trouble, time.monotonic() - started_s))
                if trouble.simpler is not None:
                    # Another worker may have found out first, and even more.
                    if self._dialect == dialect:
                        self._dialect = trouble.simpler
                    continue
                failures += 1
                if trouble.stop:
                    self._end(trouble.stop, trouble.reason)
                    raise _Stopped from None
                if failures >= trouble.tries:
                    self._fail(job, trouble.reason)
                    return
                if trouble.pause_s is not None:
                    self._bucket.pause(trouble.pause_s)
                else:
                    await self._sleep(backoff_s(failures - 1))
                continue
            ending, stored = self._judge(job, body, time.monotonic() - started_s)
            misfits += ending.outcome == "invalid"
            if stored is not None and stored.value is None and ending.outcome == "invalid" and misfits < TRIES_TO_FIT:
                stored = None
            self._settle(call, ending, stored)
            if ending.outcome == "failed":
                self._end("endpoint", ending.error or "")
                raise _Stopped
            job.cost_usd += ending.cost_usd
            if stored is not None:
                self._settle_job(job, stored)
                return

    async def _begin(self, job: _Job, attempt: int) -> Call:
        """Wait for the turn of a call, and enter it into the ledger within the budget."""
        await self._bucket.take()
        prompt = job.request.prompt
        while True:
            if self._stop.is_set():
                raise _Stopped
            call = Call(
                call_id=uuid.uuid4().hex,
                request_hash=job.request_hash,
                attempt=attempt,
                prompt=prompt.name,
                prompt_version=prompt.version,
                model=self._settings.model,
                held_usd=self._gateway._most_usd(job),
                started_at=datetime.now(UTC).replace(tzinfo=None),
            )
            if self._cache.begin(call, self._settings.budget_usd):
                self._in_flight += 1
                self._run.calls += 1
                return call
            if not self._in_flight:
                self._end(
                    "budget",
                    f"the budget of {self._settings.budget_usd:g} USD does not allow another call of up to {call.held_usd:.6f} USD:"
                    f" {self._cache.spent_usd():.6f} USD are spent according to {self._cache.path}; raise MARQUEE_LLM_BUDGET_USD to go on",
                )
                raise _Stopped
            # What calls under way turn out to cost less than held may leave room for this one.
            await self._settled.wait()

    async def _send(self, client: AsyncOpenAI, job: _Job, dialect: Dialect, misfits: int) -> str:
        """Send a question; returns the body of the answer. Raises _NoAnswer."""
        import httpx2
        import openai

        # With the same seed, an endpoint that honours it would give the same misfit again.
        seed = (job.request.seed or 0) + misfits if misfits else job.request.seed
        body = dialect.body(self._settings.model, job.request, seed)
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                # Not chat.completions.create: checking our own body against its types takes as long as the rest of a call.
                response = await client.post("/chat/completions", cast_to=httpx2.Response, body=body)
            return self._without_key(response.content.decode("utf-8", "replace"))
        except (TimeoutError, openai.APITimeoutError):
            raise _NoAnswer(
                f"no answer within {self._settings.timeout_s:g} s", tries=TRIES_IN_TIME, is_charge_known=False
            ) from None
        except openai.APIConnectionError as error:
            kind = type(error.__cause__).__name__
            raise _NoAnswer(
                f"no connection, or one that broke ({kind})", is_charge_known=kind in ("ConnectError", "ConnectTimeout")
            ) from None
        except openai.APIStatusError as error:
            raise self._trouble(error, dialect) from None
        except Exception as error:
            # The client's own reading of a strange answer; its words could quote what was sent.
            raise _NoAnswer(f"unreadable answer ({type(error).__name__})", is_charge_known=False) from None

    def _trouble(self, error: APIStatusError, dialect: Dialect) -> _NoAnswer:
        """What an HTTP status other than 200 means."""
        status, settings = error.status_code, self._settings
        words = self._words(error)
        said = f"HTTP {status}{f': {words}' if words else ''}"
        if status == 402 or (status in (403, 429) and "insufficient_quota" in (error.code, error.type)):
            return _NoAnswer(f"the account's quota is used up ({said})", status, stop="quota")
        if status == 429:
            return _NoAnswer(f"too many requests ({said})", status, pause_s=retry_after_s(error.response.headers))
        if status == 401:
            # Not its words: they like to quote the key.
            return _NoAnswer(
                f"{settings.base_url} refuses the API key (HTTP 401); check OPENAI_API_KEY", status, stop="key"
            )
        if status == 403:
            return _NoAnswer(
                f"{settings.base_url} forbids this key to ask {settings.model} ({said})", status, stop="key"
            )
        if status == 404:
            return _NoAnswer(
                f"{settings.base_url} does not know the model {settings.model}, or is no such endpoint ({said})",
                status,
                stop="address",
            )
        if status in (408, 409, 425) or status >= 500:
            return _NoAnswer(f"server error ({said})", status, pause_s=retry_after_s(error.response.headers))
        if status < 400 or status == 405:
            return _NoAnswer(
                f"{settings.base_url} is no endpoint for chat completions ({said})", status, stop="address"
            )
        simpler = dialect.without(error.param or "", error.message) if status in (400, 422) else None
        return _NoAnswer(f"the request was refused ({said})", status, tries=1, simpler=simpler)

    def _words(self, error: APIStatusError) -> str:
        """What the endpoint says about its refusal, on one line, without anything like a key."""
        body = error.body if isinstance(error.body, dict) else {}
        inner = body.get("error")
        said = (inner if isinstance(inner, dict) else body).get("message")
        if not isinstance(said, str):
            return ""
        text = _KEY_LIKE.sub(HIDDEN, self._without_key(said[:10_000]))
        return re.sub(r"[^\x20-\x7e\xa1-\ud7ff\ue000-\uffff]+", " ", text).strip()[:_LONGEST_WORDS]

    def _without_key(self, text: str) -> str:
        key = self._gateway._key
        return text if key is None else key.hide_in(text)

    def _judge(self, job: _Job, body: str, latency_s: float) -> tuple[Ending, Stored | None]:
        """Read an answer: how the call ended, and what is to be stored if no other call should follow."""
        settings, price = self._settings, self._gateway._price
        reply: Reply | None = None
        value, outcome, error = None, "answered", None
        try:
            reply = read_reply(body)
            if reply.is_refusal:
                outcome, error = "refused", "the model declined to answer"
            else:
                text = None if reply.text is None else self._without_key(reply.text)
                value, is_mended = read_value(text, self._validator(job.request.prompt))
                if is_mended:
                    outcome = "repaired"
                plain = json.dumps(value, ensure_ascii=False)
                if self._without_key(plain) != plain:
                    raise ReplyError("the answer holds the key")
        except ReplyError as trouble:
            value, outcome = None, "invalid"
            error = "the answer was cut at max_tokens" if reply and reply.is_cut else str(trouble)
        model = (reply.model if reply else None) or settings.model
        if is_stand_in(model) and not is_stand_in(settings.model):
            value, outcome = None, "failed"
            error = f"the stand-in answered at {settings.base_url}, which is not {settings.model}: set MARQUEE_LLM_MODEL={model}"
        sent = reply.prompt_tokens if reply else None
        received = reply.completion_tokens if reply else None
        sent = job.tokens if sent is None else sent
        received = text_tokens((reply.text if reply else body) or "") if received is None else received
        cost_usd = 0.0 if is_stand_in(model) else price.cost_usd(sent, received)
        ending = Ending(outcome, model, latency_s, sent, received, cost_usd, 200, error)
        return ending, Stored(outcome, value, model, job.cost_usd + cost_usd, error)

    def _validator(self, prompt: Prompt) -> Draft202012Validator:
        from jsonschema import Draft202012Validator

        if id(prompt) not in self._validators:
            self._validators[id(prompt)] = Draft202012Validator(prompt.schema)
        return self._validators[id(prompt)]

    def _settle(self, call: Call, ending: Ending, stored: Stored | None = None) -> None:
        self._cache.settle(call, ending, stored)
        self._in_flight -= 1
        self._settled.set()
        self._settled = asyncio.Event()
        run = self._run
        run.outcomes[ending.outcome] += 1
        run.prompt_tokens += ending.prompt_tokens
        run.completion_tokens += ending.completion_tokens
        run.cost_usd += ending.cost_usd

    def _settle_job(self, job: _Job, stored: Stored) -> None:
        self._gateway._hand_out(self._run, job, stored, is_cached=False)
        self._run.shared += len(job.keys) - 1
        if stored.outcome == "invalid":
            self._count_failure(stored.error or "")
        else:
            self._failed_in_a_row = 0
        self._progress()

    def _fail(self, job: _Job, reason: str) -> None:
        _give_up(self._run, [job], f"failed: {reason}")
        self._count_failure(reason)
        self._progress()

    def _count_failure(self, reason: str) -> None:
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= FAILURES_IN_A_ROW:
            self._end(
                "endpoint",
                f"{self._settings.base_url} gives no usable answers: the last {self._failed_in_a_row} requests failed, lately with: {reason}",
            )

    def _end(self, stop: Stop, problem: str) -> None:
        if self._run.stopped is None:
            self._run.stopped, self._run.problem = stop, problem
        self._stop.set()

    async def _sleep(self, seconds: float) -> None:
        """Sleep, unless the run winds down: then raise _Stopped at once."""
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return
        raise _Stopped

    def _progress(self) -> None:
        self._done += 1
        now_s = time.monotonic()
        if now_s - self._told_s >= _TELL_EVERY_S:
            self._told_s = now_s
            self._events.put(
                f"asked {self._done:,} of {len(self._jobs):,} questions, {len(self._run.unanswered):,} without answer,"
                f" {self._run.cost_usd:.4f} USD"
            )


def _broken(call: Call, trouble: _NoAnswer, latency_s: float) -> Ending:
    return Ending(
        outcome="failed",
        model=call.model,
        latency_s=latency_s,
        http_status=trouble.status,
        error=trouble.reason,
        is_charge_known=trouble.is_charge_known,
    )

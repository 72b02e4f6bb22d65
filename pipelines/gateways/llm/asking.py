"""The conversation with an endpoint: pace, retries, budget, and the care that no paid answer is lost.

Does not belong here: what one call means (`endpoint.py`), storing its answer (`cache.py`), who asks and what for (`gateway.py`, `conversing.py`).
"""

from __future__ import annotations

import asyncio
import heapq
import queue
import threading
import time
import uuid
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

from pipelines.gateways.llm.cache import Call, Ending, LlmCache, Stored
from pipelines.gateways.llm.endpoint import Endpoint, NoAnswer
from pipelines.gateways.llm.requests import Question
from pipelines.gateways.llm.runs import Books, LlmAnswer, Stop, is_stand_in
from pipelines.gateways.llm.settings import LlmSettings
from pipelines.gateways.llm.storing import Storing
from pipelines.gateways.pacing import TokenBucket, backoff_s

# Of a request whose answers do not fit the schema: each is paid.
TRIES_TO_FIT = 3
# That many requests failing one after the other mean that the endpoint is the trouble, not the requests.
FAILURES_IN_A_ROW = 20
# Some 130,000 tokens: as much as the larger models read at once.
LONGEST_REQUEST = 400_000

_TELL_EVERY_S = 1.0


class _Stopped(Exception):
    """The run winds down: nothing more is sent."""


@dataclass(frozen=True)
class Settled:
    """What became of a question.

    `stored`: the answer, or that there is none (refused, never within the schema); None where nothing is known. `reason`: why there is no answer.
    `is_final`: whether the next run would fare the same. `is_cached`: no call of this run brought it.
    """

    stored: Stored | None
    reason: str = ""
    is_cached: bool = False
    is_final: bool = True

    @classmethod
    def by(cls, stored: Stored, *, is_cached: bool) -> Settled:
        """Settled by an answer that is stored."""
        return cls(stored, "" if stored.value is not None else f"{stored.outcome}: {stored.error}", is_cached)

    def answer(self, question: Question) -> LlmAnswer | None:
        """The answer as who asked gets it; None where there is none."""
        stored = self.stored
        if stored is None or stored.value is None:
            return None
        return LlmAnswer(
            value=stored.value,
            model=stored.model,
            is_stand_in=is_stand_in(stored.model),
            outcome=stored.outcome,
            request_hash=question.request_hash,
            is_cached=self.is_cached,
            cost_usd=stored.cost_usd,
        )


@dataclass(eq=False)
class _Job:
    """A question under way. `order`: the least of those who ask it. `askers`: how many do."""

    question: Question
    order: int
    future: asyncio.Future[Settled]
    askers: int = 1
    is_waiting: bool = False
    cost_usd: float = 0.0


class Asker(Protocol):
    """Who asks: `play` puts its questions and returns when it has all that it wants; `progress` says in the caller's thread how far it is."""

    async def play(self, asking: Asking) -> None: ...

    def progress(self) -> str: ...


class Asking:
    """The calls of one run: questions that are put are looked up in the cache, and sent where it does not hold them.

    Questions may come at any time, those that arise from answers too; of those that wait the one of least `order` is sent first. All this happens in a thread of its own, so that an
    interrupt, which Python raises in the main thread wherever that is, cannot strike between an answer's arrival and its storage.

    When something ends the run early (the budget, a quota used up, a refused key, a dead endpoint), what the cache holds is
    answered as before, and what it does not hold is given up at once. On replay it is so from the start.
    """

    def __init__(
        self, settings: LlmSettings, cache: LlmCache, endpoint: Endpoint, books: Books, tell: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._cache = cache
        self._endpoint = endpoint
        self._books = books
        self._tell = tell
        self._given_up_for = "not in the cache" if settings.mode == "replay" else None
        self._asker: Asker
        self._events: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._is_up = threading.Event()
        self._is_cancelled = False
        self._failure: BaseException | None = None
        self._told_s = time.monotonic()
        self._failed_in_a_row = 0
        # By request hash: questions that are open, and those that a call of this run has settled.
        self._open: dict[str, _Job] = {}
        self._answered: set[str] = set()
        # Those that wait to be looked up; those that wait to be sent, by order, and how many they are; calls that wait for their turn.
        self._new: list[_Job] = []
        self._waiting: list[tuple[int, int, _Job]] = []
        self._unsent = 0
        self._queueing = 0
        self._entered = 0
        self._in_flight = 0
        self._calls: set[asyncio.Task[None]] = set()
        self._looking_up: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop
        self._main: asyncio.Task[None]
        self._play: asyncio.Task[None]
        self._over: asyncio.Future[None]
        self._stop: asyncio.Event
        self._freed: asyncio.Event
        self._bucket: TokenBucket | None = None
        self._storing: Storing

    # In the caller's thread.

    def run(self, asker: Asker) -> None:
        """Play `asker` to its end, telling about it and doing what it leaves to this thread."""
        self._asker = asker
        thread = threading.Thread(target=self._in_thread, name="language model", daemon=True)
        thread.start()
        try:
            while (act := self._events.get()) is not None:
                act()
        except BaseException:
            self._wind_down(thread)
            raise
        thread.join()
        if self._failure is not None:
            raise self._failure
        if self._books.problem:
            self._tell(f"the language model could not be asked further: {self._books.problem}")

    def _wind_down(self, thread: threading.Thread) -> None:
        self._is_cancelled = True
        self._is_up.wait()
        try:
            self._call(self._finish)
            thread.join(self._settings.grace_s)
        finally:
            if thread.is_alive():
                self._call(self._main.cancel)
                thread.join()

    def _call(self, function: Callable[[], Any]) -> None:
        # The loop may have ended meanwhile, which is what was wanted.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function)

    # In the thread of the calls.

    def put(self, question: Question, order: int) -> asyncio.Future[Settled]:
        """Ask a question; what becomes of it. Who puts one that is open already gets the same."""
        job = self._open.get(question.request_hash)
        if job is None:
            job = self._open[question.request_hash] = _Job(question, order, self._loop.create_future())
            if not self._new:
                # Not at once: those that are put in the same breath are looked up together.
                self._loop.call_soon(lambda: self._begin_task(self._look_up(), self._looking_up))
            self._new.append(job)
            return job.future
        job.askers += 1
        if order < job.order:
            job.order = order
            if job.is_waiting:
                self._enter(job)
        return job.future

    def later(self, act: Callable[[], None]) -> None:
        """Leave something to the caller's thread; it is done in the order in which it was left."""
        self._events.put(act)

    def _in_thread(self) -> None:
        try:
            asyncio.run(self._ask_all())
        except asyncio.CancelledError:
            return
        except BaseException as error:
            self._failure = error
        finally:
            self._is_up.set()
            self._events.put(None)

    async def _ask_all(self) -> None:
        self._loop = asyncio.get_running_loop()
        main = asyncio.current_task()
        assert main is not None
        self._main = main
        self._stop, self._freed = asyncio.Event(), asyncio.Event()
        self._over = self._loop.create_future()
        self._storing = Storing(self._cache)
        self._play = self._loop.create_task(self._playing())
        self._is_up.set()
        if self._is_cancelled:
            self._finish()
        try:
            await asyncio.wait({self._play, self._over}, return_when=asyncio.FIRST_COMPLETED)
            self._stop.set()
            self._play.cancel()
            await asyncio.wait({self._play, *self._calls}, timeout=self._settings.grace_s)
        finally:
            self._stop.set()
            left = {self._play, *self._calls, *self._looking_up}
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            self._storing.close()
            await self._endpoint.close()
        if self._failure is not None:
            raise self._failure
        self._play.result()

    def _playing(self) -> Coroutine[Any, Any, None]:
        return self._asker.play(self)

    async def _look_up(self) -> None:
        """Settle what the cache holds, and what will not be sent; the rest waits to be sent."""
        jobs, self._new = self._new, []
        hashes = [job.question.request_hash for job in jobs]
        if self._settings.mode == "live":
            hashes = [each for each in hashes if each in self._answered]
        found = await self._storing.read(lambda: self._cache.answers(hashes))
        for job in jobs:
            stored = found.get(job.question.request_hash)
            if stored is not None:
                is_cached = job.question.request_hash not in self._answered
                if is_cached:
                    self._books.cached += job.askers
                else:
                    self._books.shared += job.askers
                self._settle_job(job, Settled.by(stored, is_cached=is_cached))
            elif job.question.tokens * 3 > LONGEST_REQUEST:
                self._settle_job(job, Settled(None, f"too long: some {job.question.tokens:,} tokens"))
            elif self._given_up_for is not None:
                self._give_up(job, self._given_up_for)
            else:
                self._unsent += 1
                self._enter(job)
        self._call_more()

    def _enter(self, job: _Job) -> None:
        self._entered += 1
        job.is_waiting = True
        heapq.heappush(self._waiting, (job.order, self._entered, job))

    def _call_more(self) -> None:
        """Let a call queue for its turn for every question that waits, as far as there are workers."""
        if self._stop.is_set():
            return
        if self._unsent and self._bucket is None:
            # That takes a while, in which nobody's turn must come: they would all be sent at once.
            self._endpoint.open()
            self._bucket = TokenBucket(self._settings.requests_per_minute / 60, time.monotonic, self._sleep)
        while self._queueing < self._unsent and len(self._calls) < self._settings.workers:
            self._queueing += 1
            self._begin_task(self._turn(), self._calls)

    def _begin_task(self, doing: Coroutine[Any, Any, None], among: set[asyncio.Task[None]]) -> None:
        task = asyncio.create_task(doing)
        among.add(task)
        task.add_done_callback(partial(self._end_task, among))

    def _end_task(self, among: set[asyncio.Task[None]], task: asyncio.Task[None]) -> None:
        among.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error)
        self._call_more()

    def fail(self, error: BaseException) -> None:
        """End the run: calls under way are kept, then the error comes out."""
        if self._failure is None:
            self._failure = error
        self._finish()

    def _finish(self) -> None:
        self._stop.set()
        if not self._over.done():
            self._over.set_result(None)

    async def _turn(self) -> None:
        """Wait for the turn of a call; only then choose the question, so that it is the first of those that wait by then."""
        try:
            await self._pace.take()
        except _Stopped:
            return
        finally:
            self._queueing -= 1
        job = self._next()
        if job is not None:
            try:
                await self._ask(job)
            except _Stopped:
                self._give_up(job, self._given_up_for or "interrupted")

    @property
    def _pace(self) -> TokenBucket:
        assert self._bucket is not None
        return self._bucket

    def _next(self) -> _Job | None:
        while self._waiting:
            _, _, job = heapq.heappop(self._waiting)
            # One that came to be asked by somebody of lesser order stands there twice.
            if job.is_waiting:
                job.is_waiting = False
                self._unsent -= 1
                return job
        return None

    async def _ask(self, job: _Job) -> None:
        """Call until the question is settled or given up. Raises _Stopped when the run winds down."""
        misfits, failures, attempt = 0, 0, 0
        while True:
            attempt += 1
            if attempt > 1:
                await self._pace.take()
            call = await self._begin(job, attempt)
            started_s = time.monotonic()
            try:
                body = await self._endpoint.send(job.question.request, misfits)
            except NoAnswer as trouble:
                await self._settle(call, trouble.ending(call.model, time.monotonic() - started_s))
                if trouble.simpler is not None:
                    continue
                failures += 1
                if trouble.stop:
                    self._end(trouble.stop, trouble.reason)
                    raise _Stopped from None
                if failures >= trouble.tries:
                    self._give_up(job, f"failed: {trouble.reason}")
                    self._count_failure(trouble.reason)
                    return
                if trouble.pause_s is not None:
                    self._pace.pause(trouble.pause_s)
                else:
                    await self._sleep(backoff_s(failures - 1))
                continue
            ending, stored = self._endpoint.judge(job.question, body, time.monotonic() - started_s, job.cost_usd)
            misfits += ending.outcome == "invalid"
            is_settled = ending.outcome != "invalid" or misfits >= TRIES_TO_FIT
            if ending.outcome == "failed":
                await self._settle(call, ending)
                self._end("endpoint", ending.error or "")
                raise _Stopped
            await self._settle(call, ending, stored if is_settled else None)
            job.cost_usd += ending.cost_usd
            if is_settled:
                self._answered.add(job.question.request_hash)
                self._books.shared += job.askers - 1
                self._settle_job(job, Settled.by(stored, is_cached=False))
                if ending.outcome == "invalid":
                    self._count_failure(stored.error or "")
                else:
                    self._failed_in_a_row = 0
                return

    async def _begin(self, job: _Job, attempt: int) -> Call:
        """Enter a call into the ledger, within the budget."""
        prompt = job.question.request.prompt
        while True:
            if self._stop.is_set():
                raise _Stopped
            call = Call(
                call_id=uuid.uuid4().hex,
                request_hash=job.question.request_hash,
                attempt=attempt,
                prompt=prompt.name,
                prompt_version=prompt.version,
                model=self._settings.model,
                held_usd=self._endpoint.most_usd(job.question),
                started_at=datetime.now(UTC).replace(tzinfo=None),
            )
            # It counts as under way from here on, for others that do not fit into the budget beside it. Once it is entered it is sent, come what may.
            self._in_flight += 1
            if await self._storing.change(partial(self._cache.begin, call, self._settings.budget_usd)):
                if not self._books.calls and self._endpoint.is_free:
                    self.later(
                        lambda: self._tell(
                            f"no price is known for the model {self._settings.model}: its calls count as free"
                        )
                    )
                self._books.calls += 1
                return call
            self._in_flight -= 1
            if not self._in_flight:
                spent_usd = await self._storing.read(self._cache.spent_usd)
                self._end(
                    "budget",
                    f"the budget of {self._settings.budget_usd:g} USD does not allow another call of up to {call.held_usd:.6f} USD:"
                    f" {spent_usd:.6f} USD are spent according to {self._cache.path}; raise MARQUEE_LLM_BUDGET_USD to go on",
                )
                raise _Stopped
            # What calls under way turn out to cost less than held may leave room for this one.
            await self._freed.wait()

    async def _settle(self, call: Call, ending: Ending, stored: Stored | None = None) -> None:
        await self._storing.change(lambda: self._cache.settle(call, ending, stored))
        self._in_flight -= 1
        self._free()
        books = self._books
        books.outcomes[ending.outcome] += 1
        books.prompt_tokens += ending.prompt_tokens
        books.completion_tokens += ending.completion_tokens
        books.cost_usd += ending.cost_usd

    def _free(self) -> None:
        self._freed.set()
        self._freed = asyncio.Event()

    def _give_up(self, job: _Job, reason: str) -> None:
        self._settle_job(job, Settled(None, reason, is_final=False))

    def _settle_job(self, job: _Job, settled: Settled) -> None:
        del self._open[job.question.request_hash]
        if not job.future.done():
            job.future.set_result(settled)
        now_s = time.monotonic()
        if now_s - self._told_s >= _TELL_EVERY_S:
            self._told_s = now_s
            self.later(lambda: self._tell(self._asker.progress()))

    def _count_failure(self, reason: str) -> None:
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= FAILURES_IN_A_ROW:
            self._end(
                "endpoint",
                f"{self._settings.base_url} gives no usable answers: the last {self._failed_in_a_row} requests failed, lately with: {reason}",
            )

    def _end(self, stop: Stop, problem: str) -> None:
        """Send nothing more."""
        if self._books.stopped is None:
            self._books.stopped, self._books.problem = stop, problem
            self._given_up_for = f"not asked: {problem}"
        self._stop.set()
        self._free()
        while (job := self._next()) is not None:
            self._give_up(job, self._given_up_for or "")

    async def _sleep(self, seconds: float) -> None:
        """Sleep, unless the run winds down: then raise _Stopped at once."""
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return
        raise _Stopped

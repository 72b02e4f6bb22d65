"""Playing conversations: their generators are run on, as answers and errands come in.

Does not belong here: how questions are answered (`asking.py`), what conversations are (`conversations.py`).
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from pipelines.gateways.llm.asking import Asking, Settled
from pipelines.gateways.llm.conversations import Asked, Conversation, Conversed, Errand, Unanswered
from pipelines.gateways.llm.requests import LlmRequest, Question, question


class _BrokenOff(Exception):
    """A question that has no answer now and may have one in another run."""


class Conversing:
    """Plays conversations in their order, at most `at_once` at a time; what comes of them goes into `conversed`.

    Generators run in the thread of the calls, one at a time; `errands` has a thread of its own; `keep` and `told` are called in the caller's.
    """

    def __init__(
        self,
        model: str,
        conversations: Mapping[str, Conversation[Any]],
        errands: Callable[[Sequence[Any]], Sequence[Any]],
        conversed: Conversed,
        *,
        at_once: int,
        keep: Callable[[str, Any], None] | None,
        told: Callable[[], str] | None,
    ) -> None:
        self._model = model
        self._conversations = conversations
        self._errands = errands
        self._conversed = conversed
        self._at_once = at_once
        self._keep = keep
        self._told = told
        self._questions = 0
        self._asking: Asking
        self._runner: _Errands

    def progress(self) -> str:
        """How many conversations ended, and what that took."""
        conversed, run = self._conversed, self._conversed.run
        words = (
            f"{len(conversed.results):,} of {len(self._conversations):,} conversations ended, {len(conversed.unfinished):,} broken off;"
            f" {self._questions:,} questions answered, {run.cached:,} from the cache, {run.cost_usd:.4f} USD"
        )
        return f"{words}; {self._told()}" if self._told else words

    async def play(self, asking: Asking) -> None:
        """Run all of them to their end, or as far as they get."""
        self._asking = asking
        self._runner = _Errands(self._errands, asking.fail)
        coming = iter(enumerate(self._conversations.items()))
        players = [
            asyncio.create_task(self._play_some(coming)) for _ in range(min(self._at_once, len(self._conversations)))
        ]
        try:
            await asyncio.gather(*players)
        finally:
            self._runner.close()
            for player in players:
                player.cancel()
            await asyncio.gather(*players, return_exceptions=True)
            await self._runner.ended()

    async def _play_some(self, coming: Iterator[tuple[int, tuple[str, Conversation[Any]]]]) -> None:
        for order, (name, conversation) in coming:
            try:
                await self._play_one(order, name, conversation)
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                error.add_note(f"in the conversation {name!r}")
                self._asking.fail(error)
                return

    async def _play_one(self, order: int, name: str, conversation: Conversation[Any]) -> None:
        asked = self._conversed.asked[name] = []
        hashes: dict[str, str] = {}
        sent: Any = None
        try:
            while True:
                try:
                    wish = conversation.send(sent)
                except StopIteration as end:
                    self._conversed.results[name] = end.value
                    if self._keep is not None:
                        self._asking.later(partial(self._keep, name, end.value))
                    return
                if isinstance(wish, Errand):
                    sent = await self._runner.put(order, wish.what)
                elif isinstance(wish, LlmRequest):
                    (sent,) = await self._answers(order, [wish], hashes, asked)
                elif isinstance(wish, Sequence) and all(isinstance(each, LlmRequest) for each in wish):
                    sent = await self._answers(order, wish, hashes, asked)
                else:
                    raise TypeError(
                        f"a conversation yields an LlmRequest, a sequence of them or an Errand, not {type(wish).__name__}"
                    )
        except _BrokenOff as trouble:
            self._conversed.unfinished[name] = str(trouble)
        finally:
            conversation.close()

    async def _answers(
        self, order: int, requests: Sequence[LlmRequest], hashes: dict[str, str], asked: list[Asked]
    ) -> list[Any]:
        """What is sent for some requests. Raises _BrokenOff."""
        questions = [question(self._model, request) for request in requests]
        new: list[Question] = []
        for each in questions:
            key = each.request.key
            if key not in hashes:
                hashes[key] = each.request_hash
                new.append(each)
            elif hashes[key] != each.request_hash:
                raise ValueError(f"request {key!r} stands for two different requests")
        futures = [self._asking.put(each, order) for each in questions]
        settled = [await future for future in futures]
        self._questions += len(settled)
        of = dict(zip((each.request_hash for each in questions), settled, strict=True))
        asked.extend(self._asked(each, of[each.request_hash]) for each in new if of[each.request_hash].is_final)
        for result in settled:
            if not result.is_final:
                raise _BrokenOff(result.reason)
        return [
            result.answer(each) or Unanswered(result.reason) for each, result in zip(questions, settled, strict=True)
        ]

    def _asked(self, asked: Question, settled: Settled) -> Asked:
        prompt, stored = asked.request.prompt, settled.stored
        return Asked(
            key=asked.request.key,
            prompt=f"{prompt.name}@{prompt.version}",
            request_hash=asked.request_hash,
            outcome=stored.outcome if stored else "failed",
            model=stored.model if stored else self._model,
            is_cached=settled.is_cached,
        )


class _Errands:
    """Runs errands in a thread of its own, those that wait at the same time in one batch, in the order of the conversations."""

    def __init__(self, run: Callable[[Sequence[Any]], Sequence[Any]], fail: Callable[[BaseException], None]) -> None:
        self._run = run
        self._fail = fail
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[int, Any, asyncio.Future[Any]]] = []
        self._batches: queue.SimpleQueue[list[Any] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    def put(self, order: int, what: Any) -> asyncio.Future[Any]:
        """What comes of an errand."""
        future = self._loop.create_future()
        if not self._waiting and self._idle.is_set():
            # Not at once: others may come in the same breath.
            self._loop.call_soon(self._begin)
        self._waiting.append((order, what, future))
        return future

    def close(self) -> None:
        """Let the thread end after the batch that is under way."""
        self._waiting.clear()
        self._batches.put(None)

    async def ended(self) -> None:
        """Wait for the end of the thread. Who cannot wait so long leaves it to itself: what its batch brings is for nobody."""
        await self._idle.wait()
        if self._thread is not None:
            self._thread.join()

    def _begin(self) -> None:
        # Somebody who waits for two things may come again before the first begin.
        if not self._waiting or not self._idle.is_set():
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._in_thread, name="errands", daemon=True)
            self._thread.start()
        self._idle.clear()
        batch, self._waiting = sorted(self._waiting, key=lambda each: each[0]), []
        self._futures = [future for _, _, future in batch]
        self._batches.put([what for _, what, _ in batch])

    def _in_thread(self) -> None:
        while (batch := self._batches.get()) is not None:
            try:
                found = list(self._run(batch))
                if len(found) != len(batch):
                    raise ValueError(f"{len(batch)} errands were run, and {len(found)} results came back")
                done = partial(self._done, found, None)
            except BaseException as error:
                done = partial(self._done, [], error)
            # The loop may have ended meanwhile: a run that is interrupted does not wait for long.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(done)

    def _done(self, found: list[Any], error: BaseException | None) -> None:
        self._idle.set()
        if error is not None:
            self._fail(error)
            return
        for future, result in zip(self._futures, found, strict=True):
            if not future.done():
                future.set_result(result)
        self._begin()

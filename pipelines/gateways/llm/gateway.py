"""The language model for everybody who asks one: single questions, or conversations of many.

Does not belong here: how questions reach an endpoint and what is done when it misbehaves (`asking.py`), what an answer means (`endpoint.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from pipelines.gateways.llm.asking import Asker, Asking, Settled
from pipelines.gateways.llm.cache import LlmCache
from pipelines.gateways.llm.conversations import Conversation, Conversed
from pipelines.gateways.llm.conversing import Conversing
from pipelines.gateways.llm.endpoint import Endpoint
from pipelines.gateways.llm.requests import LlmRequest, Question, question
from pipelines.gateways.llm.runs import Books, Forecast, LlmRun
from pipelines.gateways.llm.settings import LlmSettings
from pipelines.gateways.secret import Secret


class LlmGateway:
    """Asks a language model, and keeps what it answers.

    `api_key` may be None for an endpoint that wants none. The gateway does not close `cache`. One `answer` or `converse` at a time.

    Raises ValueError for an unusable key, and for a budget where the model's price is unknown.
    """

    def __init__(self, settings: LlmSettings, api_key: str | None, cache: LlmCache) -> None:
        self.settings = settings
        self.cache = cache
        self._key = Secret(api_key, "API") if api_key else None
        self._price = settings.price_of_model()
        if self._price is None and settings.budget_usd is not None and settings.mode != "replay":
            raise ValueError(
                f"no price is known for the model {settings.model}, so its budget cannot be kept:"
                " set MARQUEE_LLM_PRICE to USD per million tokens, as input,output"
            )

    def __repr__(self) -> str:
        return f"LlmGateway({self.settings.model!r} at {self.settings.base_url!r}, mode={self.settings.mode!r})"

    def forecast(self, requests: Iterable[LlmRequest]) -> Forecast:
        """What `answer` would send and spend at most, without asking anybody. Raises ValueError as `answer` does."""
        questions = {each.request_hash: each for each in self._questions(requests).values()}
        is_cached = {} if self.settings.mode == "live" else self.cache.answers(list(questions))
        rest = [each for key, each in questions.items() if key not in is_cached]
        endpoint = self._endpoint()
        return Forecast(
            requests=len(questions),
            cached=len(questions) - len(rest),
            prompt_tokens=sum(each.tokens for each in rest),
            completion_tokens=sum(each.request.prompt.max_tokens for each in rest),
            cost_usd=sum(endpoint.most_usd(each) for each in rest),
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
        questions = self._questions(requests)
        run = LlmRun()
        if questions:
            self._run(_Answering(questions, run), run, tell)
        # Not as they happened to come in.
        run.answers = {key: run.answers[key] for key in questions if key in run.answers}
        run.unanswered = {key: run.unanswered[key] for key in questions if key in run.unanswered}
        return run

    def converse(
        self,
        conversations: Mapping[str, Conversation[Any]],
        errands: Callable[[Sequence[Any]], Sequence[Any]],
        tell: Callable[[str], None],
        *,
        at_once: int = 200,
        keep: Callable[[str, Any], None] | None = None,
        told: Callable[[], str] | None = None,
    ) -> Conversed:
        """Hold many conversations at once, by name; what is asked in them is answered as `answer` does it, with the same care.

        At most `at_once` are open at a time, and where several wait to ask, the earlier in `conversations` goes first: what ends the run leaves
        conversations that are whole, and few that are begun. Generators run one at a time beside the calls and must not take long. What takes long is an
        errand: `errands` gets all that wait at the same time, in the order of their conversations, and gives back what comes of each; it is called in a thread of its own.
        `keep` gets name and result of each conversation that ended, soon after, in the calling thread, as `tell` does; `told` adds words to the progress.

        A question that is refused, never answered within the schema, or too long to send is answered by `Unanswered`. Where an answer fails that another run may bring (the budget, a quota,
        a refused key, an endpoint that fails, nothing in the cache on replay), the generator is closed and its conversation is in `unfinished` with the reason. When something
        ends the run early, the others still go on as far as the cache has answers. Results depend on answers alone, not on the order in which they come.

        Exceptions of generators, `errands`, `keep`, `told` and `tell` end the run and come out, as KeyboardInterrupt does; calls under way are kept as in `answer`. Raises ValueError for a
        key that stands for two different requests in one conversation, and as `answer` does.
        """
        if at_once < 1:
            raise ValueError(f"at least one conversation must be open at a time, not {at_once}")
        conversed = Conversed()
        if conversations:
            asker = Conversing(
                self.settings.model, conversations, errands, conversed, at_once=at_once, keep=keep, told=told
            )
            self._run(asker, conversed.run, tell)
        # Not as they happened to end.
        conversed.results = {name: conversed.results[name] for name in conversations if name in conversed.results}
        conversed.unfinished = {
            name: conversed.unfinished[name] for name in conversations if name in conversed.unfinished
        }
        return conversed

    def _run(self, asker: Asker, books: Books, tell: Callable[[str], None]) -> None:
        Asking(self.settings, self.cache, self._endpoint(), books, tell).run(asker)

    def _endpoint(self) -> Endpoint:
        return Endpoint(self.settings, self._key, self._price)

    def _questions(self, requests: Iterable[LlmRequest]) -> dict[str, Question]:
        """The questions by key."""
        questions: dict[str, Question] = {}
        for request in requests:
            asked = question(self.settings.model, request)
            if questions.setdefault(request.key, asked).request_hash != asked.request_hash:
                raise ValueError(f"request {request.key!r} stands for two different requests")
        return questions


class _Answering:
    """Puts all questions at once; their answers go into `run`."""

    def __init__(self, questions: Mapping[str, Question], run: LlmRun) -> None:
        self._questions = questions
        self._run = run

    def progress(self) -> str:
        run = self._run
        return (
            f"asked {run.requests:,} of {len(self._questions):,} questions, {len(run.unanswered):,} without answer,"
            f" {run.cost_usd:.4f} USD"
        )

    async def play(self, asking: Asking) -> None:
        futures = set()
        for order, (key, each) in enumerate(self._questions.items()):
            future = asking.put(each, order)
            future.add_done_callback(partial(self._hand_out, key, each))
            futures.add(future)
        await asyncio.wait(futures)

    def _hand_out(self, key: str, asked: Question, future: asyncio.Future[Settled]) -> None:
        settled = future.result()
        answer = settled.answer(asked)
        if answer is None:
            self._run.unanswered[key] = settled.reason
        else:
            self._run.answers[key] = answer

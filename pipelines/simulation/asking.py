"""Asking until an answer can be used: the same question again, a little changed, three times at most.

Does not belong here: what makes an answer unusable; each asker brings a function that reads it, and that raises Unusable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from pipelines.gateways.llm.conversations import Conversation, Unanswered
from pipelines.gateways.llm.requests import LlmRequest
from pipelines.simulation.parts import Unusable

T = TypeVar("T")

# What an answer is read by, and how a question is put again: its first form, the number of the try (from 1), what was wrong with the last answer.
Read = Callable[[Any], T]
Again = Callable[[LlmRequest, int, Unusable], LlmRequest]

TRIES = 3
# A seed alone changes nothing at temperature 0.
_WARM, _WARMER, _HOTTEST = 0.5, 0.1, 2.0


def asked(request: LlmRequest, read: Read[T]) -> Conversation[T]:
    """What `read` makes of the answer to one question. Raises Unusable, saying why, after TRIES tries."""
    results = yield from all_asked([request], read)
    if isinstance(results[0], Unusable):
        raise Unusable(f"{request.prompt.name}: {results[0]}")
    return results[0]


def all_asked(requests: Sequence[LlmRequest], read: Read[T]) -> Conversation[list[T | Unusable]]:
    """What `read` makes of the answers to several samples asked at once, in their order; Unusable in place of those that had none after TRIES tries.

    Each try has another seed and is a little warmer.
    """
    return tried([(request, read) for request in requests], partial(_warmer, len(requests)))


def tried(questions: Sequence[tuple[LlmRequest, Read[T]]], again: Again) -> Conversation[list[T | Unusable]]:
    """Ask several questions at once, each with what reads its answer; those whose answer cannot be used `again`, TRIES times in all.

    Keys get the number of the try: `plan/0`. Returns what was read, or why the last answer could not be, in the order of the questions.
    """
    results: list[T | Unusable] = [Unusable("was not asked") for _ in questions]
    open_ = list(range(len(questions)))
    for attempt in range(TRIES):
        if not open_:
            break
        wishes = []
        for at in open_:
            request, problem = questions[at][0], results[at]
            if attempt and isinstance(problem, Unusable):
                request = again(request, attempt, problem)
            wishes.append(replace(request, key=f"{questions[at][0].key}/{attempt}"))
        answers = yield wishes
        for at, answer in zip(open_, answers, strict=True):
            results[at] = _read(answer, questions[at][1])
        open_ = [at for at in open_ if isinstance(results[at], Unusable)]
    return results


def _warmer(stride: int, request: LlmRequest, attempt: int, problem: Unusable) -> LlmRequest:
    """Seeds of samples that are asked at once stay apart: those of a try follow those of the try before."""
    warmth = min(max(request.sampled_at, _WARM) + _WARMER * attempt, _HOTTEST)
    return replace(request, seed=(request.seed or 0) + stride * attempt, temperature=warmth)


def _read(answer: Any, read: Read[T]) -> T | Unusable:
    if isinstance(answer, Unanswered):
        return Unusable(answer.reason)
    try:
        return read(answer.value)
    except Unusable as problem:
        return problem

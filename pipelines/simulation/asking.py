"""Asking until an answer can be used: the same question again, with another seed and a little warmer, three times at most.

Does not belong here: what makes an answer usable; each asker brings a function that reads it, and that raises Unusable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from pipelines.gateways.llm.conversations import Conversation, Unanswered
from pipelines.gateways.llm.requests import LlmRequest
from pipelines.simulation.parts import Unusable

T = TypeVar("T")

TRIES = 3
# A seed alone changes nothing at temperature 0.
_WARM, _WARMER, _HOTTEST = 0.5, 0.1, 2.0


def asked(request: LlmRequest, read: Callable[[Any], T]) -> Conversation[T]:
    """What `read` makes of the answer to one question. Raises Unusable, saying why, after TRIES tries."""
    results = yield from all_asked([request], read)
    if isinstance(results[0], Unusable):
        raise Unusable(f"{request.prompt.name}: {results[0]}")
    return results[0]


def all_asked(requests: Sequence[LlmRequest], read: Callable[[Any], T]) -> Conversation[list[T | Unusable]]:
    """What `read` makes of the answers to several questions asked at once, in their order; Unusable in place of those that had none after TRIES tries.

    Keys get the number of the try: `plan/0`.
    """
    results: list[T | Unusable] = [Unusable("not asked")] * len(requests)
    open_ = list(range(len(requests)))
    for attempt in range(TRIES):
        answers = yield [_again(requests[at], attempt, len(requests)) for at in open_]
        for at, answer in zip(open_, answers, strict=True):
            results[at] = _read(answer, read)
        open_ = [at for at in open_ if isinstance(results[at], Unusable)]
        if not open_:
            break
    return results


def _again(request: LlmRequest, attempt: int, stride: int) -> LlmRequest:
    """The request of a try. Seeds of samples that are asked at once stay apart: those of a try follow those of the try before."""
    key = f"{request.key}/{attempt}"
    if not attempt:
        return replace(request, key=key)
    warmth = min(max(request.sampled_at, _WARM) + _WARMER * attempt, _HOTTEST)
    return replace(request, key=key, seed=(request.seed or 0) + stride * attempt, temperature=warmth)


def _read(answer: Any, read: Callable[[Any], T]) -> T | Unusable:
    if isinstance(answer, Unanswered):
        return Unusable(answer.reason)
    try:
        return read(answer.value)
    except Unusable as problem:
        return problem

"""An agent's questions to the model, and what it is told where an answer cannot be used.

Does not belong here: what makes an answer unusable (`replies.py`, and each agent's own readers).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from pipelines.gateways.llm.conversations import Conversation
from pipelines.gateways.llm.requests import LlmRequest
from pipelines.simulation.asking import tried
from pipelines.simulation.brief import prompt
from pipelines.simulation.parts import Unusable

T = TypeVar("T")

_NO_ANSWER = "there was no answer that keeps to the schema"


class Misfit(Unusable):
    """An answer that keeps to its schema and cannot be used all the same.

    The message says why. The model is shown it, so it is one of a few sentences of our own and holds nothing of the answer.
    """


@dataclass(frozen=True)
class Question(Generic[T]):
    """One question: its name within the turn, the prompt's name, its data, and how to read the answer. `read` raises Misfit."""

    name: str
    prompt: str
    data: Mapping[str, Any]
    read: Callable[[Mapping[str, Any]], T]


def ask(question: Question[T]) -> Conversation[T]:
    """Ask one question. Raises Unusable when none of its tries can be used."""
    (result,) = yield from ask_all([question])
    if isinstance(result, Unusable):
        raise Unusable(f"{question.name}: {_objection(result)}")
    return result


def ask_all(questions: Sequence[Question[T]]) -> Conversation[list[T | Unusable]]:
    """Ask questions that do not depend on each other, in one batch; those whose answer cannot be used again, with seed 1 and then 2.

    A second try also says what was wrong with the first, as `objection`: at temperature 0 another seed alone gives the same answer again. The words are the same
    whatever the answer was, so that a replay asks the same. Returns what was read, or why the last answer could not be, in the order of the questions.
    """
    requests = [
        LlmRequest(key=each.name, prompt=prompt(each.prompt), data={**each.data, "objection": None})
        for each in questions
    ]
    return tried([(request, each.read) for request, each in zip(requests, questions, strict=True)], _objecting)


def _objecting(request: LlmRequest, attempt: int, problem: Unusable) -> LlmRequest:
    return replace(request, data={**request.data, "objection": _objection(problem)}, seed=attempt)


def _objection(problem: Unusable) -> str:
    return str(problem) if isinstance(problem, Misfit) else _NO_ANSWER

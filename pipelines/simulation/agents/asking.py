"""An agent's questions to the model, asked again where an answer cannot be used.

Does not belong here: what makes an answer unusable (`replies.py`, and each agent's own readers).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

from pipelines.gateways.llm.conversations import Conversation, Unanswered
from pipelines.gateways.llm.prompts import Prompt, load_prompt
from pipelines.gateways.llm.requests import LlmRequest
from pipelines.gateways.llm.runs import LlmAnswer
from pipelines.simulation.parts import Unusable

T = TypeVar("T")

TRIES = 3


class Misfit(ValueError):
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


@cache
def prompt(name: str) -> Prompt:
    """The prompt of that name, read once. Raises PromptError."""
    return load_prompt(name)


def ask(question: Question[T]) -> Conversation[T]:
    """Ask one question. Raises Unusable when none of its tries can be used."""
    (result,) = yield from ask_all([question])
    if isinstance(result, Misfit):
        raise Unusable(f"{question.name}: {result}")
    return result


def ask_all(questions: Sequence[Question[T]]) -> Conversation[list[T | Misfit]]:
    """Ask questions that do not depend on each other, in one batch; those whose answer cannot be used again, with seed 1 and then 2.

    A second try also says what was wrong with the first, as `objection`: at temperature 0 another seed alone gives the same answer again. The words are the same
    whatever the answer was, so that a replay asks the same. Returns what was read, or the last Misfit, in the order of the questions.
    """
    results: list[T | Misfit] = [Misfit("was not asked") for _ in questions]
    open_ones = list(range(len(questions)))
    for attempt in range(TRIES):
        if not open_ones:
            break
        objections = {at: str(results[at]) if attempt else None for at in open_ones}
        answers: Sequence[LlmAnswer | Unanswered] = yield [
            LlmRequest(
                key=f"{questions[at].name}/{attempt}",
                prompt=prompt(questions[at].prompt),
                data={**questions[at].data, "objection": objections[at]},
                seed=attempt or None,
            )
            for at in open_ones
        ]
        for at, answer in zip(open_ones, answers, strict=True):
            results[at] = _read(questions[at], answer)
        open_ones = [at for at in open_ones if isinstance(results[at], Misfit)]
    return results


def _read(question: Question[T], answer: LlmAnswer | Unanswered) -> T | Misfit:
    if isinstance(answer, Unanswered):
        return Misfit("there was no answer that keeps to the schema")
    try:
        return question.read(answer.value)
    except Misfit as misfit:
        return misfit

"""Conversations with a language model: generators that ask one question after the other, and wait for each answer.

A conversation is a generator. It yields what it needs and is sent what came of it:

- an `LlmRequest`: it is sent an `LlmAnswer`, or an `Unanswered` where the model refused or never kept to the schema;
- a sequence of requests that do not depend on each other: it is sent a list of the same length and order;
- an `Errand`, something else than a question (a search): it is sent what the caller's function makes of it.

So a conversation has no network, clock or threads of its own: what it says depends on the answers alone, and a test can play the model. The gateway
(`LlmGateway.converse`) runs many at once. Keys of their requests need be unique only within a conversation.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pipelines.gateways.llm.requests import LlmRequest
from pipelines.gateways.llm.runs import Books

T = TypeVar("T")


@dataclass(frozen=True)
class Unanswered:
    """A question that has no usable answer and will not have one: refused, or never within the schema. `reason` says which."""

    reason: str


@dataclass(frozen=True)
class Errand:
    """Something that a conversation needs and that is no question to the model."""

    what: Any


Wish = LlmRequest | Sequence[LlmRequest] | Errand
Conversation = Generator[Wish, Any, T]


@dataclass(frozen=True)
class Asked:
    """One question that a conversation asked: the key that it gave it, the hash of the request, and how it ended (as in llm_calls)."""

    key: str
    prompt: str
    request_hash: str
    outcome: str
    model: str
    is_cached: bool


@dataclass
class Conversed:
    """What came of many conversations.

    `results`: of those that ended, by name. `unfinished`: why others did not: a budget, a dead endpoint, an answer missing in replay. `asked`: the questions of each, in
    order. `run`: the books of all of them together.
    """

    results: dict[str, Any] = field(default_factory=dict)
    unfinished: dict[str, str] = field(default_factory=dict)
    asked: dict[str, list[Asked]] = field(default_factory=dict)
    run: Books = field(default_factory=Books)

    @property
    def reasons(self) -> str:
        """Why conversations did not end: the first three reasons; empty where all did."""
        return "; ".join(sorted(set(self.unfinished.values()))[:3])

    @property
    def counts(self) -> dict[str, int | float]:
        """The figures of the run by name, for metadata and reports."""
        return {
            "conversations": len(self.asked),
            "ended": len(self.results),
            "unfinished": len(self.unfinished),
            "questions": sum(map(len, self.asked.values())),
            **self.run.counts,
        }

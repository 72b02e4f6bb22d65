"""Conversations played in tests: the test answers in the model's place, and finds in the index's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from pipelines.gateways.llm.conversations import Asked, Conversation, Errand, Unanswered
from pipelines.gateways.llm.requests import LlmRequest, request_hash
from pipelines.gateways.llm.runs import LlmAnswer
from pipelines.gateways.stand_in.answers import ANSWERERS
from pipelines.simulation.parts import Item, Persona, Search, Task

T = TypeVar("T")

MODEL = "model-under-test"

TARGET = Item(
    "b-salt",
    "Salt Road (The Harbour Saga Book 2)",
    "Title: Salt Road (The Harbour Saga Book 2)\nCategories: Fantasy, Adventure\nCreators: Mara Lind\nDescription: A smuggler crosses a frozen sea with a stolen map and a talking heron.",
)
OTHER = Item(
    "b-oven",
    "The Quiet Oven",
    "Title: The Quiet Oven\nCategories: Cooking\nCreators: Jo Bell\nDescription: Bread that bakes itself overnight.",
)
TASK = Task(
    task_id="0123456789abcdef",
    domain="book",
    user_id="amazon-u1",
    split="test",
    target=TARGET,
    persona=Persona(
        "fedcba9876543210",
        "book",
        {
            "activities": "Looks for details before deciding.",
            "interests": "Voyages, maps, dry humour.",
            "information_density": "Short.",
            "expression_style": "Plain.",
            "tone": "Friendly.",
            "orientations": "Values patience.",
        },
    ),
)


def no_search(search: Search) -> list[Item]:
    """Finds nothing."""
    return []


def played(
    conversation: Conversation[T],
    answer: Callable[[LlmRequest], object],
    search: Callable[[Search], list[Item]] = no_search,
) -> tuple[T, list[LlmRequest]]:
    """Play a conversation to its end: what it returns, and what it asked, in order.

    `answer` gives the JSON object for a request, or an Unanswered. A key that comes twice is an AssertionError.
    """
    requests: list[LlmRequest] = []

    def one(request: LlmRequest) -> LlmAnswer | Unanswered:
        assert request.key not in {each.key for each in requests}, f"key {request.key} came twice"
        requests.append(request)
        value = answer(request)
        return value if isinstance(value, Unanswered) else answered(value, request)

    sent: Any = None
    while True:
        try:
            wish = conversation.send(sent)
        except StopIteration as end:
            return end.value, requests
        if isinstance(wish, Errand):
            sent = search(wish.what)
        elif isinstance(wish, LlmRequest):
            sent = one(wish)
        else:
            sent = [one(each) for each in wish]


def answered(value: object, request: LlmRequest | None = None) -> LlmAnswer:
    """An answer as the gateway hands it over."""
    return LlmAnswer(
        value=value,
        model=MODEL,
        is_stand_in=False,
        outcome="answered",
        request_hash=hash_of(request) if request is not None else "",
        is_cached=False,
        cost_usd=0.0,
    )


def hash_of(request: LlmRequest) -> str:
    """The request's hash, as the gateway would keep it."""
    return request_hash(MODEL, request, request.prompt.messages(request.data))


def books(requests: Sequence[LlmRequest], model: str = MODEL) -> list[Asked]:
    """What the gateway tells about questions that were all answered."""
    return [
        Asked(
            key=request.key,
            prompt=f"{request.prompt.name}@{request.prompt.version}",
            request_hash=hash_of(request),
            outcome="answered",
            model=model,
            is_cached=False,
        )
        for request in requests
    ]


def by_stand_in(request: LlmRequest) -> object:
    """What the stand-in answers: its rules draw by data and temperature, of which a seed is a hair (as in its server)."""
    drawn_at = request.sampled_at + 1e-9 * (request.seed or 0) if request.sampled_at else 0.0
    return ANSWERERS[request.prompt.name](dict(request.data), drawn_at)

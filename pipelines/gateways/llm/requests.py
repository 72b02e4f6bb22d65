"""What is asked of a model: a prompt with data, and the hash under which its answer is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

from pipelines.gateways.llm.prompts import Prompt

# English is at about four bytes a token, other scripts and JSON's punctuation at fewer; three errs on the dear side.
BYTES_PER_TOKEN = 3
# What a message costs beyond its text: its role and the marks around it.
TOKENS_PER_MESSAGE = 8

Thinking = Literal["off", "low", "on"]
THINKING: tuple[str, ...] = get_args(Thinking)


@dataclass(frozen=True)
class LlmRequest:
    """One question. `key` is the asker's name for it, unique within a run; `data` is all that users wrote or did.

    `temperature` and `seed` take the place of the prompt's when they are given. `thinking`: how much the model may think before it
    answers; None says nothing about it, and leaves it to the endpoint.
    """

    key: str
    prompt: Prompt
    data: Mapping[str, Any] = field(repr=False)
    temperature: float | None = None
    seed: int | None = None
    thinking: Thinking | None = None

    @property
    def sampled_at(self) -> float:
        """The temperature that holds."""
        return self.prompt.temperature if self.temperature is None else self.temperature


@dataclass(frozen=True)
class Question:
    """A request with what its answer is kept under."""

    request: LlmRequest
    request_hash: str

    @cached_property
    def tokens(self) -> int:
        """Tokens that it sends, rather too many. Not counted before somebody wants to know: most questions of a second run are in the cache."""
        prompt = self.request.prompt
        return message_tokens(prompt.messages(self.request.data), prompt.schema)


def question(model: str, request: LlmRequest) -> Question:
    """What `model` would be asked by a request. Raises ValueError for data that JSON cannot hold."""
    try:
        messages = request.prompt.messages(request.data)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"request {request.key!r}: its data cannot be written as JSON: {error}") from None
    return Question(request, request_hash(model, request, messages))


def request_hash(model: str, request: LlmRequest, messages: list[dict[str, str]]) -> str:
    """SHA-256 of the canonical JSON of model, messages, schema and sampling: the same question has the same hash."""
    asked = {
        "model": model,
        "messages": messages,
        "schema": request.prompt.schema,
        "temperature": float(request.sampled_at),
        "max_tokens": request.prompt.max_tokens,
        "seed": request.seed,
    }
    # Only where it is stated, so that answers to requests that say nothing about it keep their hash.
    if request.thinking is not None:
        asked["thinking"] = request.thinking
    return hashlib.sha256(json.dumps(asked, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def text_tokens(text: str) -> int:
    """Tokens of a text, without a tokenizer and rather too many: bytes of UTF-8 / 3, rounded up."""
    return -(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN)


def message_tokens(messages: list[dict[str, str]], schema: Mapping[str, Any]) -> int:
    """Tokens of what is sent, schema included, rather too many."""
    texts = [*(message["content"] for message in messages), json.dumps(schema)]
    return sum(map(text_tokens, texts)) + TOKENS_PER_MESSAGE * len(messages)

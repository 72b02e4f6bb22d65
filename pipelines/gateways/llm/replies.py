"""Reading what an endpoint sent: nothing in it is taken on trust.

Belongs here: from a body to a value that fits a schema, or to the reason why there is none. Does not belong here: whether to ask
again.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

# More than any call can hold; a figure beyond it is a lie or a bug, and would spoil the sums.
_MOST_TOKENS = 10_000_000
# How far an answer with something around its JSON is searched.
_SEARCHED_CHARACTERS = 200_000
_SEARCHED_PLACES = 200
_DAMAGED = re.compile("[\0\ud800-\udfff]")


class ReplyError(ValueError):
    """What was sent is no usable answer; the message says why, without its content."""


@dataclass(frozen=True)
class Reply:
    """The envelope of a chat completion. `text` is None where there is none; tokens are None where usage is absent or absurd."""

    text: str | None = field(repr=False)
    is_refusal: bool
    is_cut: bool
    model: str | None
    prompt_tokens: int | None
    completion_tokens: int | None


def read_reply(body: str) -> Reply:
    """Read the envelope. Raises ReplyError when it is no chat completion."""
    content = _json(body)
    choices = content.get("choices") if isinstance(content, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    if not isinstance(content, dict) or not isinstance(first, dict) or not isinstance(message, dict):
        raise ReplyError("the answer is no chat completion")
    text, refusal, reason = message.get("content"), message.get("refusal"), first.get("finish_reason")
    usage = content.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    return Reply(
        text=text if isinstance(text, str) else None,
        is_refusal=bool(isinstance(refusal, str) and refusal.strip()) or reason == "content_filter",
        is_cut=reason == "length",
        model=_name(content.get("model")),
        prompt_tokens=_tokens(usage.get("prompt_tokens")),
        completion_tokens=_tokens(usage.get("completion_tokens")),
    )


def read_value(text: str | None, validator: Draft202012Validator) -> tuple[Any, bool]:
    """The value in an answer's text that fits the schema, and whether it had to be mended.

    Mending is leaving out what stands around the JSON (code fences, prose) and characters that no store takes (NUL, lone
    surrogates). A text with two different values that fit is ambiguous. Raises ReplyError.
    """
    if text is None or not text.strip():
        raise ReplyError("the answer is empty")
    is_clean = _DAMAGED.search(text) is None
    try:
        found, is_whole = [_json(text)], True
    except ReplyError:
        found, is_whole = _objects(text), False
    if not found:
        raise ReplyError("the answer holds no JSON")
    cleaned = [_clean(value) for value in found]
    fitting = [value for value in cleaned if validator.is_valid(value)]
    if not fitting:
        raise ReplyError(_misfit(cleaned[0], validator))
    if any(value != fitting[0] for value in fitting[1:]):
        raise ReplyError("the answer holds several different values")
    return fitting[0], not (is_whole and is_clean and cleaned[0] == found[0])


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise ReplyError("the answer is malformed JSON") from None


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


def _objects(text: str) -> list[Any]:
    """The JSON objects that stand side by side in a text."""
    text = text[:_SEARCHED_CHARACTERS]
    decoder = json.JSONDecoder(parse_constant=_refuse)
    found: list[Any] = []
    place = 0
    for _ in range(_SEARCHED_PLACES):
        place = text.find("{", place)
        if place < 0:
            break
        try:
            value, place = decoder.raw_decode(text, place)
            found.append(value)
        except (ValueError, RecursionError):
            place += 1
    return found


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _DAMAGED.sub("", value)
    if isinstance(value, list):
        return [_clean(each) for each in value]
    if isinstance(value, dict):
        return {_DAMAGED.sub("", key): _clean(each) for key, each in value.items()}
    return value


def _misfit(value: Any, validator: Draft202012Validator) -> str:
    """Where and how a value breaks the schema; the value itself may be anything, so it is not repeated."""
    from jsonschema.exceptions import best_match

    error = best_match(validator.iter_errors(value))
    place = re.sub(r"[^\w.$\[\]-]", "?", error.json_path)[:100] if error else "$"
    return f"the answer breaks the schema at {place} ({error.validator if error else 'unknown'})"


def _name(value: Any) -> str | None:
    return value if isinstance(value, str) and re.fullmatch(r"[!-~]{1,200}", value) else None


def _tokens(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST_TOKENS:
        return None
    return value

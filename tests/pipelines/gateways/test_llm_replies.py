"""Reading what an endpoint sent: envelopes, values, and what is neither."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from pipelines.gateways.llm.replies import ReplyError, read_reply, read_value

VALIDATOR = Draft202012Validator(
    {
        "type": "object",
        "properties": {"words": {"type": "array", "items": {"type": "string"}}},
        "required": ["words"],
        "additionalProperties": False,
    }
)


def envelope(**changes: Any) -> str:
    choice = {"message": {"content": '{"words": []}', "refusal": None}, "finish_reason": "stop"}
    return json.dumps(
        {"model": "m-1", "choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 3}, **changes}
    )


def test_an_envelope_is_read() -> None:
    reply = read_reply(envelope())
    assert (reply.text, reply.model, reply.prompt_tokens, reply.completion_tokens) == ('{"words": []}', "m-1", 5, 3)
    assert not reply.is_refusal and not reply.is_cut


@pytest.mark.parametrize(
    "body",
    [
        "",
        "null",
        "[]",
        "{}",
        "{",
        "NaN",
        "[" * 100_000,
        '{"choices": []}',
        '{"choices": [1]}',
        '{"choices": {"0": {}}}',
        '{"choices": [{"message": "hi"}]}',
        '{"n": ' + "9" * 5_000 + "}",
    ],
)
def test_what_is_no_completion_is_refused(body: str) -> None:
    with pytest.raises(ReplyError):
        read_reply(body)


@pytest.mark.parametrize("usage", [None, [], {"prompt_tokens": -1, "completion_tokens": 1e3}, {"prompt_tokens": True}])
def test_absurd_token_counts_count_as_absent(usage: Any) -> None:
    reply = read_reply(envelope(usage=usage))
    assert (reply.prompt_tokens, reply.completion_tokens) == (None, None)
    assert read_reply(envelope(usage={"prompt_tokens": 10**18})).prompt_tokens is None


@pytest.mark.parametrize("model", [None, 7, "", "a b", "x" * 201, "m\x00"])
def test_an_absurd_name_of_a_model_counts_as_absent(model: Any) -> None:
    assert read_reply(envelope(model=model)).model is None


def test_refusals_and_cuts_are_seen() -> None:
    said_no = {"message": {"content": None, "refusal": "No."}, "finish_reason": "stop"}
    assert read_reply(envelope(choices=[said_no])).is_refusal
    filtered = {"message": {"content": "{}"}, "finish_reason": "content_filter"}
    assert read_reply(envelope(choices=[filtered])).is_refusal
    cut = {"message": {"content": "{"}, "finish_reason": "length"}
    assert read_reply(envelope(choices=[cut])).is_cut


@pytest.mark.parametrize(
    ("text", "value", "is_mended"),
    [
        ('{"words": ["a"]}', ["a"], False),
        (' \n{"words": []}\n', [], False),
        ('```json\n{"words": ["a"]}\n```', ["a"], True),
        ('Sure! {"words": ["a"]} Hope that helps {smile}.', ["a"], True),
        ('First {x}, then {"words": ["a", "{"]}', ["a", "{"], True),
        ('{"words": ["a"]} {"words": ["a"]}', ["a"], True),
        ('{"words": ["a\\u0000b\\ud800"]}', ["ab"], True),
    ],
)
def test_values_are_found(text: str, value: list[str], is_mended: bool) -> None:
    assert read_value(text, VALIDATOR) == ({"words": value}, is_mended)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "empty"),
        (" \n", "empty"),
        ("I cannot.", "no JSON"),
        ('{"words": ["a"', "no JSON"),
        ('{"words": NaN}', "no JSON"),
        ("{" * 50_000, "no JSON"),
        ("[]", "schema"),
        ('"words"', "schema"),
        ('{"words": [1]}', r"schema at \$\.words\[0\] \(type\)"),
        ('{"words": [], "more": 1}', "additionalProperties"),
        ('The user said {"words": ["x"]} but I say {"words": ["y"]}', "several different"),
    ],
)
def test_what_does_not_fit_is_refused(text: str | None, reason: str) -> None:
    with pytest.raises(ReplyError, match=reason):
        read_value(text, VALIDATOR)


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(codec=None)))
def test_only_fitting_values_come_out_of_any_text(text: str) -> None:
    for said in (text, json.dumps({"words": [text]}), f'{text} {{"words": []}} {text}'):
        try:
            value, _ = read_value(said, VALIDATOR)
        except ReplyError:
            continue
        assert VALIDATOR.is_valid(value)
        json.dumps(value, ensure_ascii=False).encode("utf-8")

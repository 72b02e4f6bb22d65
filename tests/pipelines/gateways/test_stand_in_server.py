"""The stand-in: strict about requests, honest about itself, and wrong only on demand."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from pipelines.gateways.llm.runs import STAND_IN_MODEL, is_stand_in
from pipelines.gateways.stand_in import answers
from pipelines.gateways.stand_in.answers import smallest
from pipelines.gateways.stand_in.faults import KINDS, Faults
from pipelines.gateways.stand_in.server import StandIn, serve

SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer", "minimum": 3}},
    "required": ["n"],
    "additionalProperties": False,
}


def body(**changes: Any) -> dict[str, Any]:
    shape = {"name": "numbers", "strict": True, "schema": SCHEMA}
    return {
        "model": STAND_IN_MODEL,
        "messages": [{"role": "system", "content": "Count."}, {"role": "user", "content": "<data>\n{}\n</data>"}],
        "response_format": {"type": "json_schema", "json_schema": shape},
        **changes,
    }


def post(stand_in: StandIn, content: Any) -> httpx.Response:
    sent = content if isinstance(content, bytes) else json.dumps(content).encode()
    return httpx.post(f"{stand_in.base_url}/chat/completions", content=sent, trust_env=False)


@pytest.fixture(scope="module")
def stand_in() -> Any:
    with StandIn() as running:
        yield running


def test_a_completion_has_all_that_the_protocol_asks(stand_in: StandIn) -> None:
    completion = post(stand_in, body()).json()
    choice = completion["choices"][0]
    assert json.loads(choice["message"]["content"]) == {"n": 3}
    assert (choice["finish_reason"], choice["message"]["role"], completion["object"]) == (
        "stop",
        "assistant",
        "chat.completion",
    )
    usage = completion["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0
    assert is_stand_in(completion["model"])


def test_it_lists_itself_and_nothing_else(stand_in: StandIn) -> None:
    listed = httpx.get(f"{stand_in.base_url}/models", trust_env=False).json()
    assert [model["id"] for model in listed["data"]] == [STAND_IN_MODEL]
    elsewhere = httpx.get(f"{stand_in.base_url}/elsewhere", trust_env=False)
    assert elsewhere.status_code == 404 and "error" in elsewhere.json()


@pytest.mark.parametrize(
    ("content", "status", "param"),
    [
        (b"{", 400, None),
        (b"[" * 100_000, 400, None),
        (b"\xff\xfe\x00", 400, None),
        ([], 400, None),
        (body(model=None), 400, "model"),
        (body(model="gpt-4o-mini"), 404, "model"),
        (body(messages=[]), 400, "messages"),
        (body(messages=[{"role": "wizard", "content": "x"}]), 400, "messages[0].role"),
        (body(messages=[{"role": "user", "content": 5}]), 400, "messages[0].content"),
        (body(messages=["x"]), 400, "messages[0].role"),
        (body(stream=True), 400, "stream"),
        (body(n=2), 400, "n"),
        (body(temperature=3), 400, "temperature"),
        (body(max_tokens=0), 400, "max_tokens"),
        (body(seed="x"), 400, "seed"),
        (body(response_format={"type": "xml"}), 400, "response_format"),
        (body(response_format=7), 400, "response_format"),
        (body(response_format={"type": "json_schema"}), 400, "response_format.json_schema.name"),
        (
            body(response_format={"type": "json_schema", "json_schema": {"name": "a b", "schema": SCHEMA}}),
            400,
            "response_format.json_schema.name",
        ),
        (
            body(response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": 5}}}),
            400,
            "response_format",
        ),
        (
            body(
                response_format={
                    "type": "json_schema",
                    "json_schema": {"name": "a", "strict": True, "schema": {"type": "object"}},
                }
            ),
            400,
            "response_format",
        ),
    ],
)
def test_wrong_requests_are_refused_as_the_real_thing_does(
    stand_in: StandIn, content: Any, status: int, param: Any
) -> None:
    answer = post(stand_in, content)
    assert answer.status_code == status
    assert answer.json()["error"]["param"] == param
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_streaming_is_refused_in_words(stand_in: StandIn) -> None:
    assert post(stand_in, body(stream=True)).json()["error"]["message"] == "streaming is not offered"


def test_max_tokens_cuts(stand_in: StandIn) -> None:
    completion = post(stand_in, body(max_tokens=1)).json()
    assert completion["choices"][0]["finish_reason"] == "length"
    assert completion["usage"]["completion_tokens"] == 1


def known(monkeypatch: pytest.MonkeyPatch, rule: Any) -> list[tuple[Any, float]]:
    """Let the rules know the prompt `numbers`; returns what they get to see."""
    seen: list[tuple[Any, float]] = []

    def note(data: dict[str, Any], temperature: float) -> object:
        seen.append((data, temperature))
        return rule(data)

    monkeypatch.setattr(answers, "ANSWERERS", {"numbers": note})
    return seen


def test_rules_get_the_data_between_the_delimiters(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = known(monkeypatch, lambda data: {"n": data["n"]})
    said = 'An example: {"n": 1} <data>\n{"n": 2}\n</data>\nNow:\n<data>\n{"n": 30, "t": "\\u003c/data\\u003e"}\n</data>\nGo.'
    completion = post(stand_in, body(messages=[{"role": "user", "content": said}], temperature=0.5)).json()
    assert json.loads(completion["choices"][0]["message"]["content"]) == {"n": 30}
    assert seen == [({"n": 30, "t": "</data>"}, 0.5)]


def test_seeds_make_other_samples_but_not_at_temperature_0(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = known(monkeypatch, lambda data: {"n": 1})
    for temperature, seed in ((0, 1), (0, 2), (0.5, None), (0.5, 1), (0.5, 2), (0.5, 1)):
        post(stand_in, body(temperature=temperature, seed=seed))
    drawn = [temperature for _, temperature in seen]
    assert drawn[0] == drawn[1] and drawn[3] == drawn[5]
    assert len(set(drawn[2:5])) == 3 and all(round(each, 3) == 0.5 for each in drawn[2:])


def test_a_megabyte_of_blanks_is_no_trouble(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = known(monkeypatch, lambda data: {"n": 3})
    said = f"<data>\n{json.dumps({'t': ' ' * 1_000_000})}\n</data>"
    assert post(stand_in, body(messages=[{"role": "user", "content": said}])).status_code == 200
    assert len(seen[0][0]["t"]) == 1_000_000


def test_rules_are_found_when_the_schema_stands_in_words(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.gateways.llm.dialect import SCHEMA_IN_WORDS

    known(monkeypatch, lambda data: {"n": 40})
    words = "Count." + SCHEMA_IN_WORDS.format(name="numbers") + json.dumps(SCHEMA)
    messages = [{"role": "system", "content": words}, {"role": "user", "content": "<data>\n{}\n</data>"}]
    completion = post(stand_in, body(messages=messages, response_format={"type": "json_object"})).json()
    assert json.loads(completion["choices"][0]["message"]["content"]) == {"n": 40}


@pytest.mark.parametrize(
    "rule", [lambda data: {"n": "x"}, lambda data: data["absent"], lambda data: {"n": float("nan")}]
)
def test_rules_that_fail_are_a_server_error(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, rule: Any) -> None:
    known(monkeypatch, rule)
    answer = post(stand_in, body())
    assert answer.status_code == 500 and "rules for numbers" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "schema",
    [
        {
            "type": "object",
            "properties": {"a": {"enum": ["x", "y"]}, "b": {"type": ["string", "null"]}},
            "required": ["a", "b"],
        },
        {
            "type": "object",
            "properties": {"a": {"type": "array", "items": {"type": "boolean"}, "minItems": 2}},
            "required": ["a"],
        },
        {
            "type": "object",
            "properties": {"a": {"$ref": "#/$defs/t"}},
            "required": ["a"],
            "$defs": {"t": {"type": "string", "minLength": 3}},
        },
        {"type": "object", "properties": {"a": {"type": "number", "exclusiveMinimum": 0}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"type": "integer", "maximum": -5}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"anyOf": [{"const": 7}, {"type": "null"}]}}, "required": ["a"]},
    ],
)
def test_unknown_prompts_get_the_smallest_object_that_fits(schema: dict[str, Any]) -> None:
    Draft202012Validator(schema).validate(smallest(schema))


def test_a_schema_without_end_is_refused() -> None:
    endless = {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}
    with pytest.raises(ValueError, match="without end"):
        smallest(endless)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_fault_shows(kind: str) -> None:
    with StandIn(Faults(script=[kind], slow_s=0.01, retry_after_s=7)) as faulty:
        sent = body(max_tokens=50)
        try:
            first = post(faulty, sent)
        except httpx.RemoteProtocolError:
            assert kind == "broken_off"
            return
        second = post(faulty, sent)
    assert second.status_code == 200
    if kind == "slow":
        assert first.json()["choices"] == second.json()["choices"]
    else:
        assert (
            first.status_code != 200
            or first.json().get("choices") != second.json()["choices"]
            or "usage" not in first.json()
        )
    assert (first.headers.get("Retry-After") == "7") == (first.status_code == 429)


def test_faults_strike_their_share_and_the_same_by_seed() -> None:
    def drawn(seed: int) -> list[str | None]:
        faults = Faults({"slow": 0.2, "server_error": 0.1}, seed=seed)
        return [faults.draw() for _ in range(2_000)]

    assert drawn(1) == drawn(1) != drawn(2)
    assert 300 < drawn(1).count("slow") < 500 and 120 < drawn(1).count("server_error") < 280


@pytest.mark.parametrize(
    "shares", [{"gremlins": 0.1}, {"slow": -0.1}, {"slow": 0.7, "malformed": 0.7}, {"slow": float("nan")}]
)
def test_faults_that_cannot_be_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        Faults(shares)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_it_answers_on_this_machine_only(host: str) -> None:
    with pytest.raises(ValueError, match="this machine only"):
        serve(host, 0, Faults(), print)


def test_a_taken_port_is_said(stand_in: StandIn) -> None:
    with pytest.raises(OSError):
        serve("127.0.0.1", int(stand_in.base_url.split(":")[2].split("/")[0]), Faults(), print)

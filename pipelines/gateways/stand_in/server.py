"""The stand-in's server: `POST /v1/chat/completions` and `GET /v1/models`, strict about requests as the real thing is.

Belongs here: the protocol, and the faults that are asked for. Does not belong here: the answers themselves.

Source of the protocol: OpenAI's API reference, chat completions and errors.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pipelines.gateways.llm.prompts import CLOSING, OPENING
from pipelines.gateways.llm.requests import text_tokens
from pipelines.gateways.llm.runs import STAND_IN_MODEL
from pipelines.gateways.llm.settings import LlmSettings, Mode
from pipelines.gateways.stand_in.answers import answer
from pipelines.gateways.stand_in.faults import Faults

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

LARGEST_REQUEST_BYTES = 8 * 1024 * 1024
_START_S = 30.0
_SCHEMA_IN_WORDS = re.compile(r'must fit this JSON schema, named "([^"]+)":\n(\{.*)\Z', re.DOTALL)


class _Refused(Exception):
    """A request that is answered with an error body in OpenAI's form."""

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        kind = "invalid_request_error" if status < 429 else "server_error"
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


# Of temperature, for each seed.
_SEED = 1e-9


@dataclass(frozen=True)
class _Asked:
    """A request that holds to the protocol. `schema` is None where none was given. `temperature`: what rules draw by, the seed in it."""

    messages: list[dict[str, Any]]
    temperature: float
    max_tokens: int | None
    task: str | None
    schema: dict[str, Any] | None


@dataclass
class Traffic:
    """What came in and went out: requests, completions, and answers by status."""

    requests: int = 0
    completions: int = 0
    statuses: dict[int, int] = field(default_factory=dict)


def build_app(
    faults: Faults | None = None,
    traffic: Traffic | None = None,
    on_request: Callable[[Mapping[str, str], bytes], None] | None = None,
) -> Starlette:
    """The server as an ASGI application. `on_request` sees the headers and the body of each completion request."""
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    faults, traffic = faults or Faults(), traffic or Traffic()

    async def models(request: Request) -> Response:
        model = {"id": STAND_IN_MODEL, "object": "model", "created": 0, "owned_by": "marquee"}
        return JSONResponse({"object": "list", "data": [model]})

    async def completions(request: Request) -> Response:
        traffic.requests += 1
        try:
            body = await _body(request)
            if on_request is not None:
                on_request(request.headers, body)
            response = await _complete(body, faults, request.headers)
        except _Refused as refusal:
            headers = {"Retry-After": f"{faults.retry_after_s:g}"} if refusal.status == 429 else None
            response = JSONResponse(refusal.body, refusal.status, headers)
        traffic.completions += response.status_code == 200
        traffic.statuses[response.status_code] = traffic.statuses.get(response.status_code, 0) + 1
        return response

    async def unknown(request: Request, error: Exception) -> Response:
        refusal = _Refused(404, f"unknown address: {request.method} {request.url.path}")
        return JSONResponse(refusal.body, 404)

    return Starlette(
        routes=[
            Route("/v1/chat/completions", completions, methods=["POST"]),
            Route("/v1/models", models, methods=["GET"]),
        ],
        exception_handlers={404: unknown, 405: unknown},
    )


async def _body(request: Request) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        chunks.append(chunk)
        size += len(chunk)
        if size > LARGEST_REQUEST_BYTES:
            raise _Refused(413, "the request is too large")
    return b"".join(chunks)


async def _complete(body: bytes, faults: Faults, headers: Mapping[str, str]) -> Response:
    from starlette.responses import Response

    fault = faults.draw()
    _refuse(fault, faults, headers)
    asked = _asked(body, fault)
    if fault == "slow":
        await asyncio.sleep(faults.slow_s)
    text = _text(asked)
    if fault == "off_schema":
        text = json.dumps({"unexpected": [text]})
    elif fault == "malformed":
        text = text[: max(1, len(text) // 2)]
    elif fault == "fenced":
        text = f"Here is the answer:\n```json\n{text}\n```\nDoes that help?"
    tokens, reason = text_tokens(text), "stop"
    limit = 1 if fault == "cut_short" else asked.max_tokens
    if limit is not None and tokens > limit:
        text, tokens, reason = text[: 3 * limit], limit, "length"
    completion: dict[str, Any] = {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": STAND_IN_MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "finish_reason": reason,
                "logprobs": None,
            }
        ],
        "usage": _usage(asked, tokens),
    }
    if fault == "refusal":
        completion["choices"][0]["message"] |= {"content": None, "refusal": "This cannot be answered."}
    if fault == "no_usage":
        del completion["usage"]
    # As ASCII: what was sent may hold lone surrogates, which UTF-8 cannot carry.
    sent = json.dumps({"hello": "world"} if fault == "no_completion" else completion).encode()
    if fault == "broken_off":
        # A promised length that never comes: the server drops the connection in the middle of the body.
        return Response(
            sent[: len(sent) // 2], headers={"Content-Length": str(len(sent))}, media_type="application/json"
        )
    return Response(sent, media_type="application/json")


def _refuse(fault: str | None, faults: Faults, headers: Mapping[str, str]) -> None:
    """Raise the refusal that a fault stands for, if it stands for one."""
    if fault == "rate_limited":
        raise _Refused(429, "Rate limit reached for requests", code="rate_limit_exceeded")
    if fault == "out_of_quota":
        raise _Refused(429, "You exceeded your current quota", code="insufficient_quota")
    if fault == "server_error":
        raise _Refused(500, "The server had an error while processing your request")
    if fault == "overloaded":
        raise _Refused(503, "The engine is currently overloaded")
    if fault == "unauthorized":
        given = headers.get("authorization", "")
        raise _Refused(401, f"Incorrect API key provided: {given}", code="invalid_api_key")


def _usage(asked: _Asked, completion_tokens: int) -> dict[str, int]:
    prompt_tokens = sum(text_tokens(message["content"]) for message in asked.messages)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def _asked(body: bytes, fault: str | None) -> _Asked:
    """Check a request. Raises _Refused as the real thing would."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise _Refused(400, "the body is no JSON") from None
    if not isinstance(content, dict):
        raise _Refused(400, "the body must be a JSON object")
    model = content.get("model")
    if not isinstance(model, str) or not model:
        raise _Refused(400, "you must provide a model parameter", "model")
    if model != STAND_IN_MODEL:
        # Its answers under another model's name would be taken for that model's.
        raise _Refused(
            404,
            f"this is the stand-in, which only offers the model {STAND_IN_MODEL}: set MARQUEE_LLM_MODEL={STAND_IN_MODEL}",
            "model",
            "model_not_found",
        )
    messages = content.get("messages")
    if not isinstance(messages, list) or not messages:
        raise _Refused(400, "'messages' must be a list that is not empty", "messages")
    for number, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in ("system", "developer", "user", "assistant"):
            raise _Refused(400, "a message needs a known role", f"messages[{number}].role")
        if not isinstance(message.get("content"), str):
            raise _Refused(400, "a message's content must be a string", f"messages[{number}].content")
    if content.get("stream"):
        raise _Refused(400, "streaming is not offered", "stream")
    if content.get("n", 1) != 1:
        raise _Refused(400, "only one choice is offered", "n")
    temperature = content.get("temperature", 1)
    if isinstance(temperature, bool) or not isinstance(temperature, int | float) or not 0 <= temperature <= 2:
        raise _Refused(400, "temperature must be a number from 0 to 2", "temperature")
    seed = content.get("seed")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise _Refused(400, "seed must be an integer", "seed")
    if fault == "no_max_tokens" and "max_tokens" in content:
        raise _Refused(400, "use max_completion_tokens in place of max_tokens", "max_tokens", "unsupported_parameter")
    limit = content.get("max_completion_tokens", content.get("max_tokens"))
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise _Refused(400, "max_tokens must be a positive integer", "max_tokens")
    task, schema = _shape(content.get("response_format"), messages, fault)
    # Rules draw by data and temperature. A seed is a hair of it, so that samples differ as a model's do; at temperature 0 they do not.
    drawn_at = temperature + _SEED * ((seed or 0) % 1_000_000) if temperature else 0.0
    return _Asked(messages, float(drawn_at), limit, task, schema)


def _shape(form: Any, messages: list[dict[str, Any]], fault: str | None) -> tuple[str | None, dict[str, Any] | None]:
    """Name and schema of the answer that is asked for, from response_format or from the system message."""
    if form is None:
        form = {"type": "text"}
    kind = form.get("type") if isinstance(form, dict) else None
    if kind not in ("text", "json_object", "json_schema"):
        raise _Refused(400, "response_format.type must be text, json_object or json_schema", "response_format")
    if kind != "json_schema":
        found = _SCHEMA_IN_WORDS.search(messages[0]["content"])
        try:
            return (found[1], json.loads(found[2])) if found else (None, None)
        except ValueError:
            return None, None
    if fault == "no_json_schema":
        raise _Refused(400, "response_format of type json_schema is not supported", "response_format")
    inner = form.get("json_schema")
    name = inner.get("name") if isinstance(inner, dict) else None
    if not isinstance(inner, dict) or not isinstance(name, str) or not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name):
        raise _Refused(
            400, "json_schema needs a name of at most 64 letters, digits, _ and -", "response_format.json_schema.name"
        )
    schema = inner.get("schema")
    from jsonschema import Draft202012Validator, SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise _Refused(400, f"invalid schema: {error.message}", "response_format") from None
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise _Refused(400, "the schema must be of type object", "response_format")
    if inner.get("strict") and schema.get("additionalProperties") is not False:
        raise _Refused(400, "'additionalProperties' must be false in a strict schema", "response_format")
    return name, schema


def _text(asked: _Asked) -> str:
    """The answer to a request, held to the schema that the request gave. Raises _Refused when the rules fail."""
    schema = asked.schema if asked.schema is not None else {"type": "object"}
    try:
        value = answer(asked.task, _data(asked.messages), asked.temperature, schema)
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except Exception as error:
        raise _Refused(500, f"the rules for {asked.task} failed: {type(error).__name__}: {error}") from error
    from jsonschema import Draft202012Validator

    if not Draft202012Validator(schema).is_valid(json.loads(text)):
        raise _Refused(500, f"the rules for {asked.task} gave an answer outside its schema")
    return text


def _data(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """The JSON document in the last message of the user: what stands between the delimiters, else the whole message."""
    said = next((message["content"] for message in reversed(messages) if message["role"] == "user"), "")
    _, opening, rest = said.rpartition(OPENING)
    inside, closing, _ = rest.partition(CLOSING)
    try:
        data = json.loads(inside if opening and closing else said)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _server(app: Starlette) -> uvicorn.Server:
    import uvicorn

    return uvicorn.Server(uvicorn.Config(app, log_level="critical", access_log=False, lifespan="off"))


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket on this machine. Raises ValueError for an address that others could reach, OSError for a taken port."""
    if host not in ("127.0.0.1", "::1", "localhost"):
        raise ValueError(f"the stand-in answers on this machine only (127.0.0.1, ::1 or localhost), not on {host}")
    listening = socket.socket(socket.AF_INET6 if host == "::1" else socket.AF_INET)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        # Who connects before the server runs waits, and is not turned away.
        listening.listen(128)
    except OSError:
        listening.close()
        raise
    return listening


def serve(host: str, port: int, faults: Faults, tell: Callable[[str], None]) -> None:
    """Serve until Ctrl-C. Raises ValueError for an address that others could reach, OSError for a taken port."""
    with _listen(host, port) as listening:
        taken = listening.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        tell(f"http://{shown}:{taken}/v1")
        _server(build_app(faults)).run(sockets=[listening])


class StandIn:
    """The stand-in on a free port of this machine, in a thread, while the `with` block lasts."""

    def __init__(
        self, faults: Faults | None = None, on_request: Callable[[Mapping[str, str], bytes], None] | None = None
    ) -> None:
        self.traffic = Traffic()
        self._app = build_app(faults, self.traffic, on_request)

    @property
    def base_url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._port}/v1"

    def settings(self, mode: Mode = "cached", budget_usd: float | None = None, workers: int = 10) -> LlmSettings:
        """Settings of a gateway that asks it, as fast as it can."""
        return LlmSettings(
            base_url=self.base_url,
            model=STAND_IN_MODEL,
            mode=mode,
            budget_usd=budget_usd,
            requests_per_minute=100_000,
            workers=workers,
        )

    def __enter__(self) -> StandIn:
        self._socket = _listen("127.0.0.1", 0)
        self._port = self._socket.getsockname()[1]
        self._server = _server(self._app)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="stand-in", daemon=True
        )
        self._thread.start()
        deadline_s = time.monotonic() + _START_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline_s:
                self._socket.close()
                raise RuntimeError("the stand-in did not start")
            time.sleep(0.005)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join()
        self._socket.close()

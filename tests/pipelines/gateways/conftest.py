"""Servers on this machine that misbehave on demand: one speaks TMDB's API, one chat completions."""

from __future__ import annotations

import json
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from pipelines.gateways import pacing
from pipelines.gateways.llm.cache import LlmCache
from pipelines.gateways.llm.prompts import Prompt
from pipelines.gateways.llm.requests import LlmRequest


def film(tmdb_id: int, **changes: Any) -> dict[str, Any]:
    """An answer in the shape of /movie/{id}?append_to_response=credits, about an invented film."""
    return {
        "id": tmdb_id,
        "title": f"Film {tmdb_id}",
        "original_title": f"Film {tmdb_id} (original)",
        "overview": "Somebody looks for something.",
        "runtime": 101,
        "release_date": "1987-06-05",
        "imdb_id": f"tt{tmdb_id:07d}",
        "genres": [{"id": 18, "name": "Drama"}, {"id": 35, "name": "Comedy"}],
        "spoken_languages": [{"iso_639_1": "fr", "english_name": "French", "name": "Français"}],
        "production_countries": [{"iso_3166_1": "FR", "name": "France"}],
        "credits": {
            "cast": [{"name": f"Actor {n}", "order": n} for n in reversed(range(12))],
            "crew": [
                {"name": "Dora Director", "job": "Director"},
                {"name": "Walt Writer", "job": "Writer"},
                {"name": "Dan Director", "job": "Director"},
            ],
        },
        **changes,
    }


@dataclass(frozen=True)
class Reply:
    """One answer: `cut` ends the connection in its middle, `drip` sends it byte by byte, `hang` never."""

    status: int = 200
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    hang: bool = False
    drip: bool = False


@dataclass
class TmdbServer:
    """`replies[id]` are given first, in order; after them the film itself. `requests` is what came in."""

    url: str
    replies: dict[int, list[Reply]] = field(default_factory=lambda: defaultdict(list))
    requests: list[tuple[int, dict[str, list[str]], dict[str, str]]] = field(default_factory=list)
    key: str | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def counts(self) -> Counter[int]:
        """How often each id was asked for."""
        return Counter(tmdb_id for tmdb_id, _, _ in self.requests)


def _handler(server: TmdbServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: the tests read `requests`."""

        def do_GET(self) -> None:
            address = urlsplit(self.path)
            tmdb_id = int(address.path.rsplit("/", 1)[1])
            query = parse_qs(address.query)
            with server.lock:
                server.requests.append((tmdb_id, query, dict(self.headers)))
                reply = server.replies[tmdb_id].pop(0) if server.replies[tmdb_id] else Reply()
            given = query.get("api_key", [self.headers.get("Authorization", "").removeprefix("Bearer ")])[0]
            if server.key is not None and given != server.key:
                refusal = {"status_code": 7, "status_message": f"Invalid API key: {given}"}
                reply = Reply(401, json.dumps(refusal).encode())
            self.answer(reply, reply.body if reply.body is not None else json.dumps(film(tmdb_id)).encode())

        def answer(self, reply: Reply, body: bytes) -> None:
            if reply.hang:
                server.closing.wait(30)
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if reply.cut:
                self.wfile.write(body[: len(body) // 2])
                self.close_connection = True
            elif reply.drip:
                self.drip(body)
            else:
                self.wfile.write(body)

        def drip(self, body: bytes) -> None:
            self.close_connection = True
            for byte in body:
                if server.closing.wait(0.02):
                    return
                try:
                    self.wfile.write(bytes([byte]))
                except OSError:
                    return

    return Handler


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a client that gives up in the middle of an answer is part of the tests."""


@pytest.fixture
def tmdb() -> Iterator[TmdbServer]:
    """A running server."""
    server = TmdbServer(url="")
    http = _Http(("127.0.0.1", 0), _handler(server))
    server.url = f"http://127.0.0.1:{http.server_address[1]}/3"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.closing.set()
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture(name="reply")
def _reply() -> type[Reply]:
    """The class of scripted answers."""
    return Reply


@pytest.fixture(name="film")
def _film() -> Any:
    """The maker of a whole answer."""
    return film


SCHEMA = {
    "type": "object",
    "properties": {"words": {"type": "array", "items": {"type": "string"}}},
    "required": ["words"],
    "additionalProperties": False,
}


@pytest.fixture(name="prompt")
def _prompt() -> Prompt:
    """A prompt that asks for a list of words; the stand-in's rules do not know it, so it answers an empty list."""
    return Prompt("words", "1", 0.0, 50, "List the words of the turn.", "The turn:\n{data}\nIts words?", SCHEMA)


@pytest.fixture(name="asked")
def _asked(prompt: Prompt) -> Any:
    """A maker of n different requests."""

    def make(number: int, first: int = 0) -> list[LlmRequest]:
        return [LlmRequest(f"turn {n}", prompt, {"turn": f"say {n}"}) for n in range(first, first + number)]

    return make


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[LlmCache]:
    """An empty file of answers."""
    with LlmCache(tmp_path / "llm" / "answers.sqlite") as opened:
        yield opened


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait long after a failure."""
    monkeypatch.setattr(pacing, "FIRST_BACKOFF_S", 0.001)
    monkeypatch.setattr(pacing, "LONGEST_PAUSE_S", 0.05)


class Scripted:
    """An endpoint that sends what it is told: `reply(headers, body)` gives status, headers and body."""

    def __init__(self, reply: Callable[[dict[str, str], dict[str, Any]], tuple[int, dict[str, str], bytes]]) -> None:
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: the tests read `requests`."""

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                headers = {name.lower(): value for name, value in self.headers.items()}
                script.requests.append((self.path, headers, body))
                status, extra, sent = reply(headers, body)
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **extra}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)

        self._http = _Http(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self) -> Scripted:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture(name="scripted")
def _scripted() -> type[Scripted]:
    """The class of scripted endpoints."""
    return Scripted

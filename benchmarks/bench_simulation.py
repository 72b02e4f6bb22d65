"""How busy simulated conversations keep an endpoint, what a question costs the machine, and how fast they are played again from the cache.

    python benchmarks/bench_simulation.py [--per-minute N ...] [--episodes N] [--at-once N] [--latency-ms N]

Episodes of made-up users and films, all of them different, are played by `LlmGateway.converse` against the stand-in, in a process of its own, which answers
after `--latency-ms` and refuses what exceeds `--per-minute` (a bucket that holds what a second brings). The share of its limit is what it saw, refused requests left out, from its
first request to its last. Then the same episodes are played from the cache. The figures of each pace stand under its number of requests a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from benchmarks.machine import PROJECT, Target, library_version, machine, print_line, tell
from pipelines.gateways.llm.cache import LlmCache
from pipelines.gateways.llm.conversations import Conversation, Conversed
from pipelines.gateways.llm.gateway import LlmGateway
from pipelines.gateways.llm.runs import STAND_IN_MODEL
from pipelines.gateways.llm.settings import LlmSettings
from pipelines.simulation.agents import AGENTS
from pipelines.simulation.episode import play
from pipelines.simulation.parts import Episode, Item, Persona, Search, Task
from pipelines.simulation.simulators import SIMULATORS

if TYPE_CHECKING:
    from starlette.applications import Starlette

AGENT = "macrs"
SIMULATOR = "ailo"
TURNS = 5
FILMS = 2_000
SHARE = 0.8
_START_S = 60.0

_ADJECTIVES = ("Quiet", "Crooked", "Salted", "Hollow", "Patient", "Gilded", "Northern", "Borrowed", "Paper", "Late")
_NOUNS = ("Harbour", "Orchard", "Lantern", "Ferry", "Winter", "Cartographer", "Bakery", "Signal", "Meadow", "Engine")
_GENRES = ("Drama", "Comedy", "Mystery", "Romance", "Adventure", "Horror", "Western", "Music")


# What is played.


def film(number: int) -> Item:
    """A made-up film."""
    name = f"The {_ADJECTIVES[number % 10]} {_NOUNS[number // 10 % 10]} {number:04}"
    about = f"Somebody finds a {_NOUNS[number % 7].lower()} that was thought lost, and must choose who is to have it."
    text = f"Title: {name}\nGenres: {_GENRES[number % 8]}, {_GENRES[number // 8 % 8]}\nYear: {1950 + number % 70}\nDescription: {about}"
    return Item(f"film-{number}", name, text)


def task(number: int) -> Task:
    """A made-up user who looks for one of the films."""
    traits = {
        "activities": f"Watches {number % 6 + 1} films a week, mostly at night.",
        "interests": f"{_GENRES[number % 8]} and {_GENRES[number // 8 % 8].lower()}, above all about a {_NOUNS[number % 10].lower()}.",
        "information_density": "Says little at once.",
        "expression_style": "Plain and direct.",
        "tone": "Friendly.",
        "orientations": f"Trusts friends more than critics ({number}).",
    }
    persona = Persona(f"persona-{number}", "film", traits)
    return Task(f"task-{number}", "film", f"user-{number}", "test", film(number * 7 % FILMS), persona)


def search(batch: Sequence[Search]) -> list[list[Item]]:
    """Films by chance, the same for the same query: what an index finds is no part of what is measured."""
    first = [int(sha256(each.query.encode()).hexdigest()[:8], 16) for each in batch]
    return [[film((at + n) % FILMS) for n in range(each.k)] for at, each in zip(first, batch, strict=True)]


def episodes(number: int) -> dict[str, Conversation[Episode]]:
    """Episodes by name, none of them begun."""
    simulator = SIMULATORS[SIMULATOR]
    return {f"{n}": play(task(n), AGENT, AGENTS[AGENT], simulator, turn_limit=TURNS) for n in range(number)}


# The server.


class Limited:
    """An application behind a limit of requests; `GET /stats` says what came."""

    def __init__(self, app: Starlette, per_minute: float) -> None:
        self._app = app
        self._per_s = per_minute / 60
        self._free = self._per_s
        self._arrived_s: list[float] = []
        self._at_s = 0.0
        self._refused = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        if scope["path"] == "/stats":
            await self._answer(send, 200, self._stats())
            return
        now_s = time.monotonic()
        self._free = min(max(self._per_s, 1.0), self._free + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._free < 1:
            self._refused += 1
            await self._answer(send, 429, {"error": {"message": "too many requests", "type": "rate_limit"}})
            return
        self._free -= 1
        self._arrived_s.append(now_s)
        await self._app(scope, receive, send)

    def _stats(self) -> dict[str, float]:
        seen = self._arrived_s
        return {
            "requests": len(seen),
            "refused": self._refused,
            "seconds": seen[-1] - seen[0] if seen else 0.0,
            "cpu_seconds": time.process_time(),
        }

    async def _answer(self, send: Any, status: int, content: Mapping[str, Any]) -> None:
        body = json.dumps(content).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        headers += [(b"retry-after", b"1")] if status == 429 else []
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def serve(per_minute: float, latency_s: float) -> None:
    """Serve on a free port, which is printed, until the process is ended."""
    import socket

    import uvicorn

    from pipelines.gateways.stand_in.faults import Faults
    from pipelines.gateways.stand_in.server import build_app

    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(1024)
    app = Limited(build_app(Faults({"slow": 1.0}, slow_s=latency_s)), per_minute)
    print(listening.getsockname()[1], flush=True)
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", access_log=False, lifespan="off"))
    asyncio.run(server.serve(sockets=[listening]))


@contextmanager
def served(per_minute: float, latency_s: float) -> Iterator[str]:
    """The server in a process of its own; its address."""
    command = [sys.executable, __file__, "--serve", str(per_minute), "--latency-ms", str(latency_s * 1000)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT, env=dict(os.environ))
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline() or 0)
        if not port:
            raise SystemExit("the server did not start")
        url = f"http://127.0.0.1:{port}"
        deadline_s = time.monotonic() + _START_S
        while True:
            try:
                stats(url)
                break
            except OSError:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.05)
        yield url
    finally:
        process.kill()
        process.wait()


def stats(url: str) -> dict[str, float]:
    """What the server saw."""
    with urllib.request.urlopen(f"{url}/stats", timeout=10) as answer:
        found: dict[str, float] = json.load(answer)
    return found


# What is measured.


def played(gateway: LlmGateway, number: int, at_once: int) -> tuple[Conversed, dict[str, float]]:
    """Play the episodes; what came of them and what it cost this process."""
    cpu_s, started_s = time.process_time(), time.perf_counter()
    conversed = gateway.converse(episodes(number), search, tell, at_once=at_once)
    seconds, cpu_s = time.perf_counter() - started_s, time.process_time() - cpu_s
    questions = max(sum(map(len, conversed.asked.values())), 1)
    if conversed.unfinished:
        raise SystemExit(f"not all episodes were played: {next(iter(conversed.unfinished.values()))}")
    return conversed, {
        "seconds": round(seconds, 3),
        "questions": questions,
        "questions_per_s": round(questions / seconds, 1),
        "cpu_ms_per_question": round(1e3 * cpu_s / questions, 3),
    }


def paced(per_minute: float, number: int, at_once: int, latency_s: float) -> dict[str, object]:
    """Figures at one pace: against the server, then from the cache."""
    load = os.getloadavg()[0]
    with (
        TemporaryDirectory(prefix="marquee-bench-") as folder,
        served(per_minute, latency_s) as url,
        LlmCache(Path(folder) / "answers.sqlite") as cache,
    ):
        settings = LlmSettings(
            base_url=f"{url}/v1",
            model=STAND_IN_MODEL,
            requests_per_minute=per_minute,
            # As many as are under way at the pace, and room for those that take longer.
            workers=min(1_000, max(10, int(2 * latency_s * per_minute / 60))),
        )
        cpu_s = stats(url)["cpu_seconds"]
        conversed, asked = played(LlmGateway(settings, None, cache), number, at_once)
        seen = stats(url)
        again, replay = played(LlmGateway(settings, None, cache), number, at_once)
        if again.results != conversed.results or again.run.calls:
            raise SystemExit("played from the cache, the episodes were not the same")
    rate = (seen["requests"] - 1) / max(seen["seconds"], 1e-9)
    lengths = [len(each) for each in conversed.asked.values()]
    return {
        "share_of_limit": round(rate / (per_minute / 60), 4),
        "requests_per_s": round(rate, 2),
        "requests": seen["requests"],
        "refused": seen["refused"],
        "workers": settings.workers,
        "questions_per_episode": round(statistics.mean(lengths), 1),
        "server_cpu_ms_per_question": round(1e3 * (seen["cpu_seconds"] - cpu_s) / max(seen["requests"], 1), 3),
        "load_average_before": round(load, 2),
        "load_average_after": round(os.getloadavg()[0], 2),
        **asked,
        "replay": replay,
    }


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--per-minute", type=float, nargs="+", default=[6_000, 12_000], help="limits of the server (6000 12000)"
    )
    parser.add_argument("--episodes", type=int, default=200, help="episodes (200)")
    parser.add_argument("--at-once", type=int, default=200, help="episodes that are open at once (200)")
    parser.add_argument("--latency-ms", type=float, default=200.0, help="how long the server takes to answer (200)")
    parser.add_argument("--serve", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    latency_s = options.latency_ms / 1000
    if options.serve:
        serve(options.serve, latency_s)
        return
    where = machine()
    paces = {}
    for per_minute in options.per_minute:
        tell(f"{options.episodes:,} episodes at {per_minute:,.0f} requests a minute")
        paces[f"{per_minute:.0f}"] = paced(per_minute, options.episodes, options.at_once, latency_s)
    figures = {
        "episodes": options.episodes,
        "at_once": options.at_once,
        "latency_ms": options.latency_ms,
        "agent": AGENT,
        "simulator": SIMULATOR,
        "paces": paces,
        "libraries": {name: library_version(name) for name in ("openai", "httpx2", "uvicorn", "starlette")},
    }
    targets = [
        Target(f"paces.{pace}.share_of_limit", found["share_of_limit"], SHARE, is_upper=False)  # type: ignore[arg-type]
        for pace, found in paces.items()
    ]
    what = f"playing {options.at_once:,} episodes at once against a server that answers in {options.latency_ms:g} ms"
    print_line("simulation", what, figures, targets, where)


if __name__ == "__main__":
    main()

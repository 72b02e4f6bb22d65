"""Running `marquee` in processes of its own: as the program it is, or forked from a process that has its imports done.

Belongs here: starting, watching, killing commands, and reading what they left. What is expected of them is in the tests.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from assets.contracts import FIXED
from warehouse.sql import query
from warehouse.store import Warehouse

PROJECT = Path(__file__).resolve().parents[2]
# Everything that a run makes but trained models, which have tests of their own.
BUILD = ("run", "--only", "raw,core,dialogues,anno,pref,items,eval")
PATIENCE_S = 600  # a command that takes longer hangs, even on a machine that has other things to do
TRAINING_PATIENCE_S = 900  # one that trains a dozen retrievers, on a machine that has other things to do
# One thread: with so little to compute, threads wait for each other most of the time.
TRAINING = {"OMP_NUM_THREADS": "1", "MARQUEE_SCALE": "toy"}
KEYS = {table.name: list(table.key) for table in FIXED}
CORE = (
    "core_title_records",
    "core_record_pairs",
    "core_movie_links",
    "core_movies",
    "core_movie_conflicts",
)

# Importing takes most of the time of a small run, and a forked child need not do it again. One thread: what was imported before the fork
# reads no environment after it.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        "alembic.command",
        "alembic.config",
        "assets.cli",
        "assets.conversations",
        "assets.corpus",
        "assets.retrieval",
        "assets.runs",
        "faiss",
        "ftfy",
        "great_expectations",
        "great_expectations.expectations",
        "httptools",
        "matplotlib.backends.backend_agg",
        "matplotlib.figure",
        "models.encoders",
        "models.item_index",
        "pipelines.gateways.llm.gateway",
        "pipelines.gateways.stand_in.server",
        "sentence_transformers",
        "uvicorn.lifespan.on",
        "uvicorn.loops.auto",
        "uvicorn.protocols.http.auto",
        "uvicorn.protocols.websockets.auto",
        "warehouse.sql",
        "wordfreq",
    ]
)


@dataclass(frozen=True)
class Finished:
    """What a command left: its exit code, stdout and stderr."""

    code: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"exit {self.code}\n{self.out}\n{self.err}"


def environment(home: Path, **more: str) -> dict[str, str]:
    """The environment of a command: nothing of the caller's settings and keys, dagster's files under `home`, the smallest scale."""
    own = ("MARQUEE_", "TMDB_", "DAGSTER_", "OPENAI_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return {**kept, "DAGSTER_HOME": str(home), "PYTHONUTF8": "1", "MARQUEE_SCALE": "toy", **more}


def marquee(*arguments: object, home: Path, **more: str) -> Finished:
    """Run the command as a program."""
    done = subprocess.run(
        [sys.executable, "-m", "assets.cli", *map(str, arguments)],
        env=environment(home, **more),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


class Command:
    """A forked `marquee`: it can be watched and killed while it runs.

    `is_recorded` keeps dagster's events on disk, as the program does; without it they stay in memory, which takes a third less
    time. `file_limit_bytes`: no file can grow larger, as on a disk that is full.
    """

    def __init__(
        self,
        *arguments: object,
        home: Path,
        is_recorded: bool = False,
        file_limit_bytes: int | None = None,
        **more: str,
    ) -> None:
        name = f"{arguments[0]}-{time.monotonic_ns()}"
        self.out_path, self.err_path = home / f"{name}.out", home / f"{name}.err"
        self._process = _FORKS.Process(
            target=_run_command,
            args=(
                [str(argument) for argument in arguments],
                environment(home, **more),
                str(self.out_path),
                str(self.err_path),
                is_recorded,
                file_limit_bytes,
            ),
        )
        self._process.start()

    @property
    def pid(self) -> int:
        """The process's number."""
        assert self._process.pid is not None
        return self._process.pid

    def until(self, text: str) -> bool:
        """Wait until `text` stands on stderr; False when the command ended without it."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            is_over = not self._process.is_alive()
            if self.err_path.exists() and text in self.err_path.read_text(encoding="utf-8"):
                return True
            if is_over:
                return False
            time.sleep(0.01)
        raise TimeoutError(f"{text!r} never came")

    def kill(self) -> None:
        """End the process as a power cut would."""
        self._process.kill()
        self._process.join(PATIENCE_S)

    def wait(self, patience_s: float = PATIENCE_S) -> Finished:
        """Wait for the end."""
        self._process.join(patience_s)
        if self._process.exitcode is None:
            self.kill()
            raise TimeoutError("the command never ended")
        return Finished(
            self._process.exitcode,
            self.out_path.read_text(encoding="utf-8"),
            self.err_path.read_text(encoding="utf-8"),
        )


def children(pid: int) -> list[int]:
    """The processes that a process has started and that live (Linux)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[:2]
        except OSError:  # it has just ended
            continue
        if int(parent) == pid and state != "Z":
            found.append(int(stat.parent.name))
    return found


def _run_command(
    arguments: list[str],
    environ: dict[str, str],
    out: str,
    err: str,
    is_recorded: bool,
    file_limit_bytes: int | None,
) -> None:
    gc.freeze()  # what was imported before the fork is no garbage and need not be looked at
    os.environ.clear()
    os.environ.update(environ)
    for path, descriptor in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    if not is_recorded:
        import dagster as dg

        dg.DagsterInstance.from_ref = staticmethod(lambda ref: dg.DagsterInstance.ephemeral())  # type: ignore[assignment]
    if file_limit_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit_bytes, file_limit_bytes))
    from assets.cli import main

    main(arguments)


CHECKSUM = "SELECT count(*) AS films, bit_xor(hash(m)) AS checksum FROM core_movies AS m"


def checksum(root: Path) -> tuple[int, int]:
    """Rows and checksum of what readers see of core_movies."""
    count, found = query(root, CHECKSUM).row(0)
    return int(count), int(found)


@contextmanager
def reading(root: Path, folder: Path, readers: int, pause_s: float) -> Iterator[list[tuple[int, int]]]:
    """Let processes ask for `checksum` over and over, each with pauses; what they saw is in the list when the block ends.

    Raises AssertionError when one of them failed.
    """
    folder.mkdir()
    stop = folder / "stop"
    processes = [
        _FORKS.Process(target=_read_on, args=(str(root), str(folder / f"{number}.jsonl"), str(stop), pause_s))
        for number in range(readers)
    ]
    seen: list[tuple[int, int]] = []
    for process in processes:
        process.start()
    try:
        yield seen
    finally:
        stop.touch()
        for process in processes:
            process.join(PATIENCE_S)
    for number in range(readers):
        answers = [json.loads(line) for line in (folder / f"{number}.jsonl").read_text().splitlines()]
        failures = [answer for answer in answers if isinstance(answer, str)]
        assert not failures, failures[0]
        assert answers, "a reader never got an answer"
        seen += [(films, found) for films, found in answers]


def _read_on(root: str, answers: str, stop: str, pause_s: float) -> None:
    with open(answers, "w", encoding="utf-8") as file:
        is_last = False
        while not is_last:
            is_last = Path(stop).exists()  # one more look after the end
            try:
                answer: object = checksum(Path(root))
            except Exception as error:
                answer = f"{type(error).__name__}: {error}"
            file.write(json.dumps(answer) + "\n")
            file.flush()
            time.sleep(random.random() * 2 * pause_s)  # not all of them at once


def content(root: Path, table: str, version: int | None = None) -> pl.DataFrame:
    """Rows of a table in the order of its key."""
    return Warehouse(root).read(table, version=version).sort(KEYS.get(table, ["source_id"]))


def versions(root: Path) -> dict[str, tuple[int | None, int | None]]:
    """Published and newest version of every table."""
    warehouse = Warehouse(root)
    return {name: (warehouse.published(name), warehouse.latest(name)) for name in warehouse.names()}


def differing(root: Path, other: Path, tables: Sequence[str] = CORE) -> list[str]:
    """Tables whose rows are not the same in both warehouses, ids included."""
    return [name for name in tables if not content(root, name).equals(content(other, name))]


def films(root: Path) -> set[frozenset[int]]:
    """The films as sets of record ids, whatever they are called."""
    links = Warehouse(root).read("core_movie_links", ["record_id", "movie_id"])
    return {frozenset(members) for members in links.group_by("movie_id").agg("record_id")["record_id"].to_list()}

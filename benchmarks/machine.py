"""The machine that a figure was measured on, and what a command costs on it.

Belongs here: facts about the machine, running a command while watching its time and memory, the shape of a benchmark's line.
Does not belong here: what is measured.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO

PROJECT = Path(__file__).resolve().parents[1]
LIBRARIES = (
    "dagster", "deltalake", "duckdb", "great_expectations", "numpy", "pandas", "polars", "pyarrow", "rapidfuzz", "scipy", "splink",
)  # fmt: skip
SAMPLED_EVERY_S = 0.1
GB = 1e9


@dataclass(frozen=True)
class Cost:
    """What a command cost.

    `seconds` on the clock and `cpu_seconds` on all cores. `peak_tree_bytes`: the largest sum of the resident memory of all its processes, seen every 0.1 s (pages shared by
    two of them count twice). `peak_process_bytes`: the most that one of them ever held. `lines`: its stderr, each line with
    the seconds at which it came.
    """

    seconds: float
    cpu_seconds: float
    peak_tree_bytes: int
    peak_process_bytes: int
    out: str
    lines: tuple[tuple[float, str], ...]


class CommandFailed(RuntimeError):
    """A measured command ended with another exit code than 0; the message holds the end of its stderr."""


def library_version(name: str) -> str | None:
    """Installed version of a distribution, None where it is missing."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def machine() -> dict[str, object]:
    """Facts about this machine: cores, memory, processor, versions, and how busy it is now."""
    cpu = _field(Path("/proc/cpuinfo"), "model name") or platform.processor() or platform.machine()
    memory = _field(Path("/proc/meminfo"), "MemTotal") or "0 kB"
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(int(memory.split()[0]) * 1024 / GB, 1),
        "cpu": cpu,
        "system": f"{platform.system()} {platform.release()}",
        "load_average": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "libraries": {name: found for name in LIBRARIES if (found := library_version(name))},
    }


def _field(path: Path, name: str) -> str | None:
    """The value of the first `name: value` line of a file under /proc; None when there is none."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == name), None)


def _bytes(process: Path, name: str) -> int:
    return int((_field(process / "status", name) or "0 kB").split()[0]) * 1024


def own_peak_bytes() -> int:
    """The most memory that this process has held so far."""
    return _bytes(Path("/proc/self"), "VmHWM")


def environment(home: Path, **more: object) -> dict[str, str]:
    """The environment of a measured command: nothing of the caller's settings, dagster's files under `home`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MARQUEE_", "TMDB_", "DAGSTER_"))}
    return {**kept, "DAGSTER_HOME": str(home), "PYTHONUTF8": "1", **{name: str(value) for name, value in more.items()}}


def _session(leader: int) -> list[Path]:
    """Processes of the session that `leader` began: it and all that came of it, orphans included."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            # The name in brackets may hold anything; the session is the fourth field after it.
            fields = (process / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader:
            found.append(process)
    return found


def watch(command: Sequence[object], env: Mapping[str, str], on_sample: Callable[[float], None] | None = None) -> Cost:
    """Run `command` from the checkout and watch it; its stderr is passed on.

    `on_sample` is called with the seconds since the start every 0.1 s and once at the end. Raises CommandFailed.
    """
    started, cpu = time.perf_counter(), _cpu_of_children()
    process = subprocess.Popen(
        [str(part) for part in command],
        env=dict(env),
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )
    assert process.stdout is not None and process.stderr is not None
    out: list[tuple[float, str]] = []
    err: list[tuple[float, str]] = []
    readers = [
        threading.Thread(target=_collect, args=(process.stdout, out, started, None)),
        threading.Thread(target=_collect, args=(process.stderr, err, started, sys.stderr)),
    ]
    for reader in readers:
        reader.start()
    tree, single = 0, 0
    try:
        while process.poll() is None:
            members = _session(process.pid)
            tree = max(tree, sum(_bytes(member, "VmRSS") for member in members))
            single = max([single, *(_bytes(member, "VmHWM") for member in members)])
            if on_sample:
                on_sample(time.perf_counter() - started)
            try:
                process.wait(SAMPLED_EVERY_S)
            except subprocess.TimeoutExpired:
                continue
        seconds = time.perf_counter() - started
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        for reader in readers:
            reader.join()
    if on_sample:
        on_sample(seconds)
    if process.returncode:
        tail = "\n".join(line for _, line in err[-15:])
        raise CommandFailed(f"{' '.join(map(str, command))}: exit {process.returncode}\n{tail}")
    # A process can hold more between two samples than in any of them.
    return Cost(
        seconds, _cpu_of_children() - cpu, max(tree, single), single, "\n".join(line for _, line in out), tuple(err)
    )


def _cpu_of_children() -> float:
    """Processor seconds of all processes that this one has started and seen the end of, and of theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _collect(stream: IO[str], lines: list[tuple[float, str]], started: float, also: IO[str] | None) -> None:
    for line in stream:
        lines.append((time.perf_counter() - started, line.rstrip("\n")))
        if also:
            also.write(line)
            also.flush()


def tell(text: str) -> None:
    """Say something about the progress."""
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Target:
    """What a figure should be: at most or at least `limit`."""

    figure: str
    measured: float | None
    limit: float
    is_upper: bool = True

    def as_dict(self) -> dict[str, object]:
        met = (
            None
            if self.measured is None
            else (self.measured <= self.limit) == self.is_upper or self.measured == self.limit
        )
        return {
            "figure": self.figure,
            "measured": self.measured,
            "at_most" if self.is_upper else "at_least": self.limit,
            "is_met": met,
        }


def print_line(
    benchmark: str, what: str, figures: Mapping[str, object], targets: Sequence[Target], where: Mapping[str, object]
) -> None:
    """Print a benchmark's one line; `where` is `machine()` as it was before anything was measured."""
    line = {
        "benchmark": benchmark,
        "what": what,
        "figures": figures,
        "targets": [target.as_dict() for target in targets],
        "machine": where,
    }
    print(json.dumps(line, ensure_ascii=False), flush=True)

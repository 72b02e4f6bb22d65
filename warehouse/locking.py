"""Advisory file locks: one writing run at a time, one publication at a time.

Belongs here: taking and releasing `flock` locks and saying who holds one.
Does not belong here: what is done under a lock (`warehouse/store.py`, `warehouse/catalog.py`).

The kernel frees a lock when its holder dies, however it dies, so no lock is ever stale.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path


@dataclass
class _Hold:
    """How often this process holds one lock file, and through which descriptor."""

    mutex: threading.Lock = field(default_factory=threading.Lock)
    depth: int = 0
    descriptor: int = -1


_holds: dict[Path, _Hold] = {}
_holds_mutex = threading.Lock()


def _forget_in_child() -> None:
    # A forked child inherits the descriptors and would keep its parent's lock alive after the parent is gone.
    global _holds_mutex
    for hold in _holds.values():
        if hold.depth:
            os.close(hold.descriptor)
    _holds.clear()
    _holds_mutex = threading.Lock()


os.register_at_fork(after_in_child=_forget_in_child)


def holder(path: Path) -> str:
    """Say in words which process holds the lock file `path`, as far as it wrote that down."""
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
        return f"process {int(stated['pid'])}, since {stated['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


@contextmanager
def process_lock(path: Path, on_wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold the lock file `path` for this process, waiting while another process holds it.

    Re-entrant inside a process, whichever thread or object asks. `on_wait` is called once, with who holds the
    lock and since when, if it is not free at once. Raises OSError when the file cannot be created.
    """
    with _holds_mutex:
        hold = _holds.setdefault(path, _Hold())
    with hold.mutex:
        if hold.depth == 0:
            hold.descriptor = _acquire(path, on_wait)
        hold.depth += 1
    try:
        yield
    finally:
        with hold.mutex:
            # A child forked inside the block starts without holds: only the process that took the lock
            # releases it.
            if _holds.get(path) is hold:
                hold.depth -= 1
                if hold.depth == 0:
                    os.close(hold.descriptor)


@contextmanager
def short_lock(path: Path) -> Iterator[None]:
    """Hold the lock file `path` against everybody else, other threads of this process included. Not
    re-entrant.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _acquire(path: Path, on_wait: Callable[[str], None] | None) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if on_wait is not None:
                on_wait(f"waiting for {path}, held by {holder(path)}")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        stated = {"pid": os.getpid(), "since": datetime.now(UTC).isoformat(timespec="seconds")}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(stated).encode(), 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor

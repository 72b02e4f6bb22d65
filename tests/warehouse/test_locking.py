"""Locks: one holder, waiting, release by death."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from warehouse.locking import holder, process_lock, short_lock

REPO = Path(__file__).parents[2]

HOLD = """
import sys
from pathlib import Path
from warehouse.locking import process_lock
with process_lock(Path(sys.argv[1]), lambda words: print(words, flush=True)):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def hold():
    """Start processes that take a lock and keep it until a line arrives on their standard input."""
    running = []

    def start(path):
        child = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path)],
            cwd=REPO,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        running.append(child)
        return child

    yield start
    for child in running:
        child.kill()
        child.communicate()


def test_a_second_process_waits_and_is_told_who_holds_the_lock(tmp_path, hold):
    path = tmp_path / ".lock"
    first = hold(path)
    assert first.stdout.readline() == "held\n"
    second = hold(path)
    told = second.stdout.readline()
    assert f"held by process {first.pid}, since 20" in told
    first.stdin.write("\n")
    first.stdin.flush()
    assert second.stdout.readline() == "held\n"


def test_a_killed_holder_frees_the_lock(tmp_path, hold):
    path = tmp_path / ".lock"
    child = hold(path)
    assert child.stdout.readline() == "held\n"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    waited = []
    with process_lock(path, waited.append):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert waited == []


def test_the_lock_is_reentrant_inside_a_process_and_freed_by_the_last_one_out(tmp_path, hold):
    path = tmp_path / ".lock"
    with process_lock(path):
        with process_lock(path):
            pass
        child = hold(path)
        assert "held by" in child.stdout.readline()  # the inner block did not free it
    assert child.stdout.readline() == "held\n"


def test_threads_of_one_process_share_the_lock(tmp_path):
    path = tmp_path / ".lock"
    entered = threading.Event()

    def enter():
        with process_lock(path):
            entered.set()

    with process_lock(path):
        other = threading.Thread(target=enter)
        other.start()
        assert entered.wait(10)
        other.join()


def test_an_exception_frees_the_lock(tmp_path, hold):
    path = tmp_path / ".lock"
    with pytest.raises(ZeroDivisionError), process_lock(path):
        raise ZeroDivisionError
    assert hold(path).stdout.readline() == "held\n"


def test_a_child_forked_while_the_lock_is_held_does_not_keep_it(tmp_path, hold):
    path = tmp_path / ".lock"
    read, write = os.pipe()
    with process_lock(path):
        pid = os.fork()
        if pid == 0:
            os.close(write)
            os.read(read, 1)  # lives until the parent closes the pipe
            os._exit(0)
    try:
        assert hold(path).stdout.readline() == "held\n"
    finally:
        os.close(write)
        os.close(read)
        os.waitpid(pid, 0)


def test_the_short_lock_keeps_threads_apart(tmp_path):
    path, order = tmp_path / ".short", []
    inside = threading.Event()

    def enter():
        inside.set()
        with short_lock(path):
            order.append("second")

    with short_lock(path):
        other = threading.Thread(target=enter)
        other.start()
        inside.wait(10)
        order.append("first")
    other.join()
    assert order == ["first", "second"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"pid": "x", "since": 1}', "\x00"])
def test_an_unreadable_holder_is_called_another_process(tmp_path, content):
    path = tmp_path / ".lock"
    path.write_text(content)
    assert holder(path) == "another process"
    assert holder(tmp_path / "missing") == "another process"

"""The cache in a thread of its own: in order, together, and nothing known to be done before it is on the disk."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from pipelines.gateways.llm.cache import Call, Ending, LlmCache, LlmCacheError, Stored
from pipelines.gateways.llm.storing import Storing


def call(name: str) -> Call:
    return Call(name, f"hash {name}", 1, "words", "1", "m-1", 0.5, datetime(2026, 1, 2))


ENDED = Ending("answered", "m-1", 0.1, 10, 5, 0.25, 200)


def begin(cache: LlmCache, name: str) -> Callable[[], bool]:
    return lambda: cache.begin(call(name), None)


def settle(cache: LlmCache, name: str) -> Callable[[], None]:
    return lambda: cache.settle(call(name), ENDED, Stored("answered", {"n": name}, "m-1", 0.25))


def outcomes(path: Path) -> dict[str, str]:
    """What another process would see."""
    with LlmCache(path) as other:
        calls = other.calls()
    return dict(zip(calls["call_id"], calls["outcome"], strict=True))


def test_what_is_known_to_be_done_is_on_the_disk_and_in_order(cache: LlmCache) -> None:
    async def main() -> None:
        storing = Storing(cache)
        for name in "abc":
            entered = storing.change(begin(cache, name))
            settled = storing.change(settle(cache, name))
            found = storing.read(lambda name=name: cache.answers([f"hash {name}"]))
            assert await entered is True
            await settled
            assert outcomes(cache.path)[name] == "answered"
            assert (await found)[f"hash {name}"].value == {"n": name}
        storing.close()

    asyncio.run(main())
    assert outcomes(cache.path) == dict.fromkeys("abc", "answered")
    assert cache.spent_usd() == pytest.approx(0.75)


def test_changes_that_wait_make_one_transaction(cache: LlmCache) -> None:
    statements: list[str] = []
    go = threading.Event()

    async def main() -> None:
        storing = Storing(cache)
        cache._connection.set_trace_callback(statements.append)
        held = storing.read(lambda: go.wait(30))
        waiting = [storing.change(begin(cache, f"{n}")) for n in range(50)]
        go.set()
        assert await held
        assert all(await asyncio.gather(*waiting))
        storing.close()

    asyncio.run(main())
    assert statements.count("COMMIT") == 1
    assert len(outcomes(cache.path)) == 50


def test_one_that_fails_is_undone_and_the_others_hold(cache: LlmCache) -> None:
    def half() -> None:
        cache.begin(call("half"), None)
        raise OSError("the rest cannot be done")

    async def main() -> list[object]:
        storing = Storing(cache)
        each = [storing.change(act) for act in (begin(cache, "a"), half, begin(cache, "b"))]
        ended = await asyncio.gather(*each, return_exceptions=True)
        storing.close()
        return ended

    first, failed, last = asyncio.run(main())
    assert (first, last) == (True, True) and isinstance(failed, OSError)
    assert outcomes(cache.path) == {"a": "cancelled", "b": "cancelled"}


def test_where_the_transaction_fails_nobody_is_told_that_it_was_done(cache: LlmCache) -> None:
    def undo() -> None:
        cache._connection.execute("ROLLBACK")

    async def main() -> list[object]:
        storing = Storing(cache)
        go = threading.Event()
        held = storing.read(lambda: go.wait(30))
        each = [storing.change(act) for act in (begin(cache, "a"), undo)]
        go.set()
        _, *ended = await asyncio.gather(held, *each, return_exceptions=True)
        storing.close()
        return ended

    assert all(isinstance(each, LlmCacheError) for each in asyncio.run(main()))
    assert outcomes(cache.path) == {}


def test_what_was_put_is_done_even_if_nobody_waits(cache: LlmCache) -> None:
    async def main() -> None:
        storing = Storing(cache)
        for name in "abcdefgh":
            storing.change(begin(cache, name)).cancel()
            storing.change(settle(cache, name))
        storing.close()

    asyncio.run(main())
    assert outcomes(cache.path) == dict.fromkeys("abcdefgh", "answered")
    assert "answers" not in [thread.name for thread in threading.enumerate()]


def test_blocks_within_blocks(cache: LlmCache) -> None:
    with LlmCache(cache.path) as other:
        with cache.together():
            cache.begin(call("a"), None)
            with pytest.raises(OSError), cache.together():
                cache.begin(call("b"), None)
                raise OSError
            with cache.together():
                cache.begin(call("c"), None)
            assert other.calls().is_empty(), "nobody else sees it before it is whole"
        assert other.calls()["call_id"].to_list() == ["a", "c"]
        with pytest.raises(OSError), cache.together():
            cache.begin(call("d"), None)
            with cache.together():
                cache.begin(call("e"), None)
            raise OSError
        assert other.calls()["call_id"].to_list() == ["a", "c"]

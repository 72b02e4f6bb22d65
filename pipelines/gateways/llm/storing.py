"""The cache for those who must not wait for a disk: in a thread of its own, many changes on the disk in one go.

Does not belong here: what is stored and how (`cache.py`).
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Any, TypeVar

from pipelines.gateways.llm.cache import LlmCache

T = TypeVar("T")
_Act = tuple[Callable[[], Any], bool, asyncio.Future[Any]]


class Storing:
    """Runs reads and changes of a cache one after the other, in the order in which they came, in a thread of its own.

    Changes that come while others are on their way to the disk make one transaction. A change is known to be done only when it is on the disk. What was put is
    done, even if nobody waits for it any more. Use it in an event loop, and `close` it there.
    """

    def __init__(self, cache: LlmCache) -> None:
        self._cache = cache
        self._loop = asyncio.get_running_loop()
        self._inbox: queue.SimpleQueue[_Act | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._in_thread, name="answers", daemon=True)
        self._thread.start()

    def read(self, act: Callable[[], T]) -> asyncio.Future[T]:
        """What comes of something that changes nothing."""
        return self._put(act, False)

    def change(self, act: Callable[[], T]) -> asyncio.Future[T]:
        """What comes of a change, when it is on the disk."""
        return self._put(act, True)

    def close(self) -> None:
        """Do what was put, and end the thread."""
        self._inbox.put(None)
        self._thread.join()

    def _put(self, act: Callable[[], T], is_change: bool) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self._loop.create_future()
        self._inbox.put((act, is_change, future))
        return future

    def _in_thread(self) -> None:
        is_open = True
        while is_open:
            acts: list[_Act] = []
            with suppress(queue.Empty):
                each = self._inbox.get()
                while each is not None:
                    acts.append(each)
                    each = self._inbox.get_nowait()
                is_open = False
            ended = self._all(acts)
            # A loop that has ended waits for nothing.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(_tell, ended)

    def _all(self, acts: list[_Act]) -> list[tuple[asyncio.Future[Any], Any, BaseException | None]]:
        """Run them, in one transaction if there is a change among them: one that fails is undone, and the others hold."""
        ended: list[tuple[asyncio.Future[Any], Any, BaseException | None]] = []
        has_change = any(is_change for _, is_change, _ in acts)
        try:
            with self._cache.together() if has_change else nullcontext():
                for act, is_change, future in acts:
                    try:
                        with self._cache.together() if is_change else nullcontext():
                            ended.append((future, act(), None))
                    except Exception as error:
                        ended.append((future, None, error))
        except Exception as error:
            return [(future, None, error) for _, _, future in acts]
        return ended


def _tell(ended: list[tuple[asyncio.Future[Any], Any, BaseException | None]]) -> None:
    for future, result, error in ended:
        if future.done():
            continue
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)

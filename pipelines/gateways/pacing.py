"""How fast a service is asked: starts at a steady rate, pauses that it demands, and back-off after failures."""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Callable, Mapping
from email.utils import parsedate_to_datetime

FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 30.0
# A Retry-After beyond this is a mistake or a trick; real ones are seconds.
LONGEST_PAUSE_S = 300.0


class TokenBucket:
    """Hands out starts at a steady rate; it holds one token, so that no burst can exceed the rate."""

    def __init__(
        self,
        per_second: float,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._interval_s = 1.0 / per_second
        self._clock = clock
        self._sleep = sleep
        self._next_s = clock()
        self._closed_until_s = self._next_s

    async def take(self) -> None:
        """Return when the next request may start."""
        while True:
            now_s = self._clock()
            start_s = max(now_s, self._next_s)
            self._next_s = start_s + self._interval_s
            if start_s > now_s:
                await self._sleep(start_s - now_s)
            # A pause that was declared meanwhile holds for those who were already queueing, too.
            if start_s >= self._closed_until_s:
                return

    def pause(self, seconds: float) -> None:
        """Let nobody start for `seconds`, as a 429 demands of all workers."""
        self._closed_until_s = max(self._closed_until_s, self._clock() + seconds)
        self._next_s = max(self._next_s, self._closed_until_s)


def backoff_s(attempt: int) -> float:
    """Seconds to wait after try `attempt` (from 0): exponential with jitter, so that workers which failed together do not
    come back together.
    """
    longest_s = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2**attempt)
    return longest_s * random.uniform(0.5, 1.0)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that a Retry-After asks for: a number, or a date read against the answer's own Date."""
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text, re.ASCII):
        return min(float(text), LONGEST_PAUSE_S)
    try:
        wait_s = (parsedate_to_datetime(text) - parsedate_to_datetime(headers.get("Date", ""))).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(wait_s, 0.0), LONGEST_PAUSE_S)

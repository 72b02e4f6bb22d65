"""Telling people how far a run is: to dagster's log always, and to a display where the run has one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

import dagster as dg


class Display(Protocol):
    """Something that shows steps to a person, such as the command line's."""

    def started(self, step: str) -> None:
        """A step has begun."""

    def told(self, step: str, text: str) -> None:
        """A step says what it is doing."""

    def finished(self, step: str, seconds: float, is_done: bool) -> None:
        """A step has ended, well or not."""


DISPLAY: ContextVar[Display | None] = ContextVar("display", default=None)


class Teller:
    """What a step calls to say what it is doing."""

    def __init__(self, context: dg.AssetExecutionContext, step: str) -> None:
        self._context, self._step = context, step
        self.started_at = time.monotonic()

    def __call__(self, text: str) -> None:
        self._context.log.info(text)
        if display := DISPLAY.get():
            display.told(self._step, text)

    @property
    def seconds(self) -> float:
        """Seconds since the step began."""
        return round(time.monotonic() - self.started_at, 2)


@contextmanager
def step(context: dg.AssetExecutionContext, name: str) -> Iterator[Teller]:
    """Announce a step, yield its teller, and announce its end."""
    teller, display = Teller(context, name), DISPLAY.get()
    if display:
        display.started(name)
    is_done = False
    try:
        yield teller
        is_done = True
    finally:
        if display:
            display.finished(name, teller.seconds, is_done)

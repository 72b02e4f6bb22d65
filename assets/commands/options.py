"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from assets.settings import Settings

STAND_IN = click.option(
    "--stand-in",
    is_flag=True,
    help="Let the rule-based stand-in answer in place of a language model; what it makes is marked.",
)

SCALE = click.option(
    "--scale",
    type=click.Choice(("toy", "cpu", "gpu")),
    help="How much is trained and asked (assets/build/scales.toml) [MARQUEE_SCALE; cpu].",
)


def with_folders(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say where sources and warehouse are; it gets them as `settings`."""

    @click.option(
        "--sources", metavar="DIR", help="Folder of catalogue and dialogue files [MARQUEE_SOURCES; data/sources]."
    )
    @click.option("--warehouse", metavar="DIR", help="Folder of the warehouse [MARQUEE_WAREHOUSE; data/warehouse].")
    @wraps(command)
    def with_settings(sources: str | None, warehouse: str | None, **rest: Any) -> None:
        command(settings=Settings.from_environment(sources, warehouse), **rest)

    return with_settings

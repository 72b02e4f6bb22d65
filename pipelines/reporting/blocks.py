"""What reports are put together from: blocks with a headline, words, a table and plots.

Does not belong here: what stands in them, how a plot is drawn (`plots.py`), looks (`blocks.html.jinja`, `warehouse/pages/`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Page:
    """A page, and how many plots are in it."""

    html: str
    figures: int


@dataclass(frozen=True)
class Cell:
    """A figure with what stands below it in small: its interval, its n."""

    value: str
    below: str = ""


@dataclass
class Block:
    """A headline, what it says, a table, and plots with their captions. A row that is a text is a headline over the rows below it.

    `is_folded`: the table is shown when asked for. `has_small_plots`: more of them side by side. `wide`: columns whose text may take several lines.
    """

    title: str
    words: str = ""
    header: Sequence[str] = ()
    rows: list[list[Any] | str] = field(default_factory=list)
    plots: list[tuple[str, str]] = field(default_factory=list)
    is_folded: bool = False
    has_small_plots: bool = False
    wide: Sequence[str] = ()

    @property
    def is_empty(self) -> bool:
        return not self.rows and not self.plots


def interval(row: Mapping[str, Any] | None, form: str = ".4f") -> str | Cell:
    """The value of a row of figures with its interval below; a dash where there is none."""
    if row is None or row["value"] is None:
        return "–"
    if row["low"] is None or row["high"] is None:
        return Cell(format(row["value"], form))
    return Cell(format(row["value"], form), f"{row['low']:{form}} – {row['high']:{form}}")

"""Plots as inline SVG: text stays text, and takes the page's colour in light and in dark.

Does not belong here: what is plotted.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

# Told apart by eyes that see few colours, on light and on dark ground (Okabe and Ito's palette without its black and yellow).
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8a6bb0", "#7a9a3a")
BASELINE = "#8b95a1"

_BANDS = 3

# Stands for the page's own text colour while matplotlib draws.
_INK = "#010203"
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
_PROLOGUE = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_IDS = re.compile(r'\b(id="|url\(#|href="#)([\w.-]+)')


@dataclass(frozen=True)
class Series:
    """A line: `x`, `y`, and where there is one the band `low` to `high`; `is_baseline` draws it grey and dashed."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    is_baseline: bool = False


@dataclass(frozen=True)
class Bar:
    """A value with its interval."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    is_baseline: bool = False


@dataclass(frozen=True)
class Part:
    """A part of stacked bars: its length in each of them."""

    name: str
    lengths: Sequence[float]
    color: str


def drawn(draw: Callable[[Any], None], width_in: float, height_in: float, name: str) -> str:
    """An SVG element with what `draw` draws on fresh axes; `name` is its label for those who do not see it, and unique in the page."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    colors = dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), _INK)
    style: dict[Any, Any] = {
        **colors,
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 9,
        "text.parse_math": False,
        "svg.hashsalt": name,
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(width_in, height_in), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots()
        axes.set_facecolor("none")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(True, alpha=0.15, color=_INK, linewidth=0.6)
        axes.set_axisbelow(True)
        draw(axes)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    svg = _PROLOGUE.sub("", _METADATA.sub("", file.getvalue()))
    # Ids of several pictures in one page must not meet.
    prefix = re.sub(r"\W+", "-", name)
    svg = _IDS.sub(rf"\1{prefix}-\2", svg).replace(_INK, "currentColor")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{_quoted(name)}" ', 1)


def _quoted(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")


def lines(
    series: Sequence[Series],
    name: str,
    x: str,
    y: str,
    is_log: bool = False,
    has_whole_ticks: bool = False,
    top: float | None = None,
) -> str:
    """Lines with their bands. `has_whole_ticks`: every x that is there gets a tick, and no other (turns, thresholds); `top`: where the scale of y ends."""

    def draw(axes: Any) -> None:
        for number, each in enumerate(series):
            color = BASELINE if each.is_baseline else COLORS[number % len(COLORS)]
            style = "--" if each.is_baseline else "-"
            axes.plot(each.x, each.y, style, color=color, marker="o", markersize=3, linewidth=1.6, label=each.name)
            # More bands than a few lie on top of each other and tell nothing.
            if each.low is not None and each.high is not None and number < _BANDS:
                axes.fill_between(each.x, each.low, each.high, color=color, alpha=0.12, linewidth=0)
        if is_log:
            axes.set_xscale("log")
            ticks = sorted({value for each in series for value in each.x})
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.minorticks_off()
        elif has_whole_ticks:
            axes.set_xticks(sorted({value for each in series for value in each.x}))
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.set_ylim(0, max(axes.get_ylim()[1], 1.05 * axes.dataLim.y1) if top is None else 1.02 * top)
        _legend(axes)

    return drawn(draw, 7.6, 3.1, name)


def _legend(axes: Any) -> None:
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))


def bars(rows: Sequence[Bar], name: str, x: str) -> str:
    """Horizontal bars, the first on top, with their intervals."""

    def draw(axes: Any) -> None:
        for at, each in enumerate(reversed(rows)):
            axes.barh(at, each.value, color=BASELINE if each.is_baseline else COLORS[0], height=0.62)
            if each.low is not None and each.high is not None:
                axes.plot([each.low, each.high], [at, at], color=_INK, linewidth=1.2)
        axes.set_yticks(range(len(rows)), [each.name for each in reversed(rows)])
        axes.set_xlabel(x)
        axes.set_xlim(left=0)
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.grid(False, axis="y")

    return drawn(draw, 7.6, 0.7 + 0.27 * len(rows), name)


def groups(names: Sequence[str], rows: Sequence[Sequence[Bar]], name: str, y: str) -> str:
    """Groups of bars side by side: `rows` holds, for each group of `names`, its bars; a bar's colour is that of its name."""
    known = list(dict.fromkeys(bar.name for row in rows for bar in row))

    def draw(axes: Any) -> None:
        width = 0.8 / max(1, len(known))
        for number, label in enumerate(known):
            found = [(at, bar) for at, row in enumerate(rows) for bar in row if bar.name == label]
            places = [at - 0.4 + width * (number + 0.5) for at, _ in found]
            color = BASELINE if found[0][1].is_baseline else COLORS[number % len(COLORS)]
            axes.bar(places, [bar.value for _, bar in found], width=width * 0.92, color=color, label=label)
            for place, (_, bar) in zip(places, found, strict=True):
                if bar.low is not None and bar.high is not None:
                    axes.plot([place, place], [bar.low, bar.high], color=_INK, linewidth=0.9)
        axes.set_xticks(range(len(names)), list(names))
        axes.set_ylabel(y)
        axes.set_ylim(bottom=0)
        axes.grid(False, axis="x")
        _legend(axes)

    return drawn(draw, 7.6, 3.1, name)


def dots(rows: Sequence[Bar], name: str, x: str) -> str:
    """Points with their intervals, the first on top, baselines (people, say) grey: a small plot, to stand beside others."""

    def draw(axes: Any) -> None:
        for at, each in enumerate(reversed(rows)):
            color = BASELINE if each.is_baseline else COLORS[0]
            if each.low is not None and each.high is not None:
                axes.plot([each.low, each.high], [at, at], color=color, linewidth=2.2, solid_capstyle="round")
            axes.plot([each.value], [at], "s" if each.is_baseline else "o", color=color, markersize=6)
        axes.set_yticks(range(len(rows)), [each.name for each in reversed(rows)])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.set_xlabel(x)
        axes.set_xlim(left=min([0.0, *(each.value if each.low is None else each.low for each in rows)]))
        axes.grid(False, axis="y")

    return drawn(draw, 4.4, 0.8 + 0.3 * len(rows), name)


def stacked(names: Sequence[str], parts: Sequence[Part], name: str, x: str) -> str:
    """Horizontal bars made of parts, the first on top."""

    def draw(axes: Any) -> None:
        places = range(len(names) - 1, -1, -1)
        left = [0.0] * len(names)
        for part in parts:
            axes.barh(places, part.lengths, left=left, color=part.color, label=part.name, height=0.66)
            left = [start + length for start, length in zip(left, part.lengths, strict=True)]
        axes.set_yticks(places, names)
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.set_xlabel(x)
        axes.grid(False, axis="y")
        _legend(axes)

    return drawn(draw, 7.6, 0.9 + 0.27 * len(names), name)


def histograms(
    values: Mapping[str, Sequence[float]], edges: Sequence[float], name: str, x: str, is_small: bool = False
) -> str:
    """Distributions over the same bins, one over the other, each as shares of its own total."""

    def draw(axes: Any) -> None:
        for (label, own), color in zip(values.items(), cycle(COLORS), strict=False):
            weights = [1 / len(own)] * len(own)
            shown = f"{label} (n = {len(own):,})"
            axes.hist(own, bins=edges, weights=weights, color=color, alpha=0.35, label=shown)
            axes.hist(own, bins=edges, weights=weights, color=color, histtype="step", linewidth=1.4)
        axes.set_xlabel(x)
        axes.set_ylabel("share")
        axes.set_xlim(edges[0], edges[-1])
        if is_small:
            axes.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
        else:
            _legend(axes)

    return drawn(draw, *((4.4, 4.0) if is_small else (7.6, 3.1)), name)


def bubbles(counts: Mapping[tuple[float, float], int], top: float, name: str, x: str, y: str) -> str:
    """How often each x meets each y, from 0 to `top`, as discs over the line where both are equal."""

    def draw(axes: Any) -> None:
        most = max(counts.values())
        axes.plot([0, top], [0, top], "--", color=BASELINE, linewidth=1)
        for (at_x, at_y), count in sorted(counts.items()):
            color = COLORS[2] if at_y > at_x else COLORS[1] if at_y < at_x else BASELINE
            axes.scatter([at_x], [at_y], s=40 + 560 * count / most, color=color, alpha=0.55, linewidth=0)
            axes.annotate(f"{count:,}", (at_x, at_y), ha="center", va="center", fontsize=8)
        axes.set_xlim(-0.6, top + 0.6)
        axes.set_ylim(-0.6, top + 0.6)
        axes.set_xlabel(x)
        axes.set_ylabel(y)

    return drawn(draw, 4.4, 4.0, name)

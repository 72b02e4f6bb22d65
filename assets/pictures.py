"""Pictures for the UI: small charts in the metadata of a materialization.

Charts are drawn only where a run has something new to show, and as inline PNG, so that they need no file of their own.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg
import polars as pl

from assets.build.sources import SourceOutcome
from assets.build.tables import Built
from warehouse.store import Warehouse
from warehouse.tables.corpus import CORE_MOVIE_LINKS, CORE_MOVIES, EVAL_ENTITY_RESOLUTION

BLUE, GREY, RED = "#3b6fb6", "#b8c0cc", "#c0504d"
MARKS = (BLUE, RED, GREY, "#7a9a3a", "#8a6bb0", "#c08a2d")
_BARS_MAX = 25


def drawn(draw: Callable[[Any], None], height_in: float = 3.2, width_in: float = 8.0) -> dg.MarkdownMetadataValue:
    """Draw on fresh axes and return the picture as Markdown."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), dpi=96, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    draw(axes)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return dg.MetadataValue.md(f"![chart](data:image/png;base64,{base64.b64encode(file.getvalue()).decode()})")


def bars(axes: Any, labels: list[str], values: list[float], title: str, color: str = BLUE) -> None:
    axes.barh(labels[::-1], values[::-1], color=color)
    axes.set_title(title, loc="left", fontsize=10)
    axes.tick_params(labelsize=8)
    axes.xaxis.set_major_formatter("{x:,.0f}")


def new_rows(warehouse: Warehouse, built: Built, name: str) -> pl.LazyFrame | None:
    """Rows of the version that was just made; None when nothing in it is new."""
    commit = next((commit for commit in built.commits if commit.table == name), None)
    if commit is None or not commit.changed or not commit.rows:
        return None
    return warehouse.scan(name, commit.version)


def stacked(counts: pl.DataFrame, row: str, part: str, title: str) -> dg.MarkdownMetadataValue:
    """Bars of `row`, each made of its `part`s; counts has the columns row, part and len."""
    rows = counts.group_by(row).agg(pl.col("len").sum()).sort("len")[row].to_list()
    parts = counts.group_by(part).agg(pl.col("len").sum()).sort("len", descending=True)[part].to_list()
    shown = {(r[row], r[part]): r["len"] for r in counts.iter_rows(named=True)}

    def draw(axes: Any) -> None:
        left = [0] * len(rows)
        for number, name in enumerate(parts):
            lengths = [shown.get((each, name), 0) for each in rows]
            axes.barh(rows, lengths, left=left, color=MARKS[number % len(MARKS)], label=name)
            left = [a + b for a, b in zip(left, lengths, strict=True)]
        axes.set_title(title, loc="left", fontsize=10)
        axes.tick_params(labelsize=8)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.legend(frameon=False, fontsize=8)

    return drawn(draw, 1.2 + 0.3 * len(rows))


def sources(outcomes: Mapping[str, SourceOutcome]) -> dict[str, Any]:
    """Rows kept and rejected by source, the largest first."""
    largest = sorted((o for o in outcomes.values() if o.rows_kept or o.rows_rejected), key=lambda o: -o.rows_kept)[
        :_BARS_MAX
    ]
    if not largest:
        return {}

    def draw(axes: Any) -> None:
        names = [o.source for o in largest]
        bars(axes, names, [o.rows_kept for o in largest], "Rows kept (blue) and rejected (red) by source")
        axes.barh(
            names[::-1],
            [o.rows_rejected for o in largest][::-1],
            left=[o.rows_kept for o in largest][::-1],
            color=RED,
        )

    return {"rows by source": drawn(draw, 1 + 0.22 * len(largest))}


def links(warehouse: Warehouse, built: Built) -> dict[str, Any]:
    """How the records came to their films."""
    commit = next(commit for commit in built.commits if commit.table == CORE_MOVIE_LINKS.name)
    if not commit.changed:
        return {}
    counts = (
        warehouse.scan(CORE_MOVIE_LINKS.name, commit.version)
        .group_by("method")
        .len()
        .sort("len", descending=True)
        .collect()
    )
    return {
        "records by method": drawn(
            lambda axes: bars(
                axes,
                counts["method"].to_list(),
                counts["len"].to_list(),
                "Records by the evidence that linked them",
            ),
            2.2,
        )
    }


def films(warehouse: Warehouse, built: Built) -> dict[str, Any]:
    """Films by decade, the complete ones marked."""
    commit = next(commit for commit in built.commits if commit.table == CORE_MOVIES.name)
    if not commit.changed:
        return {}
    decades = (
        warehouse.scan(CORE_MOVIES.name, commit.version)
        .drop_nulls("year")
        .group_by(decade=pl.col("year") // 10 * 10)
        .agg(films=pl.len(), complete=pl.col("is_complete").sum())
        .sort("decade")
        .collect()
    )

    def draw(axes: Any) -> None:
        labels = [f"{decade}s" for decade in decades["decade"]]
        axes.bar(labels, decades["films"].to_list(), color=GREY, label="all films")
        axes.bar(labels, decades["complete"].to_list(), color=BLUE, label="with director, cast, genre and plot")
        axes.set_title("Films by decade", loc="left", fontsize=10)
        axes.tick_params(labelsize=8, axis="both")
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.legend(frameon=False, fontsize=8)

    return {"films by decade": drawn(draw)}


def complete(warehouse: Warehouse) -> dict[str, Any]:
    """Row count of the complete films."""
    counts = (
        warehouse.scan(CORE_MOVIES.name).select(pl.col("is_complete").sum().alias("complete"), films=pl.len()).collect()
    )
    number, films = counts.row(0)
    return {"dagster/row_count": int(number), "share of all films": number / films if films else 0.0}


def resolution(warehouse: Warehouse, built: Built) -> dict[str, Any]:
    """Precision and recall by source pair, with their intervals."""
    commit = next(commit for commit in built.commits if commit.table == EVAL_ENTITY_RESOLUTION.name)
    rows = warehouse.read(EVAL_ENTITY_RESOLUTION.name, version=commit.version)
    largest = rows.filter(pl.col("metric") == "recall").sort("pairs", descending=True).head(20)["slice"].to_list()
    if not largest:
        return {}

    def draw(axes: Any) -> None:
        for metric, color, shift in (("precision", BLUE, 0.15), ("recall", RED, -0.15)):
            some = {r["slice"]: r for r in rows.filter(pl.col("metric") == metric).iter_rows(named=True)}
            for position, name in enumerate(reversed(largest)):
                if (row := some.get(name)) is None:
                    continue
                axes.plot([row["ci_low"], row["ci_high"]], [position + shift] * 2, color=color, linewidth=2)
                axes.plot(
                    row["value"],
                    position + shift,
                    "o",
                    color=color,
                    markersize=4,
                    label=metric if position == 0 else None,
                )
        axes.set_yticks(range(len(largest)), labels=largest[::-1], fontsize=8)
        axes.set_title("Pairwise precision and recall by source pair, 95 % intervals", loc="left", fontsize=10)
        axes.legend(frameon=False, fontsize=8)

    return {"precision and recall": drawn(draw, 1 + 0.3 * len(largest))}

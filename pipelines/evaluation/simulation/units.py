"""Units of measurement, one a row, and the rows of eval_simulation that are their means.

A measure is a frame of units (UNITS): where each belongs, its targets and users to cluster by, and its value; a unit without a value says why (`problem`), and is counted beside the
denominator. Does not belong here: what is measured (`measures.py`, `verdicts.py`, `by_products.py`), the interval (`clustered.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from pipelines.evaluation.simulation.clustered import TARGET, USER, Estimate
from pipelines.evaluation.simulation.figures import Figure, figure
from warehouse.tables.simulation_evaluation import EVAL_SIMULATION

ALL = "all"
PLACES = ("domain", "agent", "simulator", "split")
WHOSE: dict[str, Any] = {
    **dict.fromkeys(PLACES, pl.String),
    TARGET: pl.String,
    USER: pl.String,
    "is_stand_in": pl.Boolean,
    "model": pl.String,
}
UNITS: dict[str, Any] = {**WHOSE, "value": pl.Float64, "problem": pl.String}


@dataclass(frozen=True)
class Measure:
    """What a figure is: its name, how it is computed in words, and the bounds of a unit's value (`highest` None: there is none)."""

    name: str
    protocol: str
    lowest: float = 0.0
    highest: float | None = 1.0


def rows(
    measure: Measure,
    units: pl.DataFrame,
    over: Sequence[str] = ("split", "domain"),
    kinds: Sequence[str] = (TARGET, USER),
) -> list[dict[str, Any]]:
    """Rows of EVAL_SIMULATION: the mean of `units` (UNITS) for each domain, agent, simulator and split, and for `all` of the columns named in `over`.

    `all` splits always stand, `all` of another column only where there are several. `kinds`: what to cluster by; the widest interval stands.
    """
    made = []
    for place, own in placed(units, over):
        numbers = Counter(own.filter(pl.col("value").is_null())["problem"].to_list())
        reasons = ", ".join(f"{number:,} {problem}" for problem, number in sorted(numbers.items(), key=str))
        by = {kind: own[kind].to_list() for kind in kinds}
        mean = figure(measure.name, own["value"].to_list(), by, measure.lowest, measure.highest, reasons)
        made.append(row(place, mean, measure.protocol, own))
    return made


def placed(
    units: pl.DataFrame, over: Sequence[str] = ("split", "domain")
) -> Iterable[tuple[dict[str, str], pl.DataFrame]]:
    """Groups of rows with the place that each is a row of eval_simulation for: see `rows`."""
    whole = [units]
    for column in PLACES:
        if column in over and (column == "split" or units[column].n_unique() > 1):
            whole += [frame.with_columns(pl.lit(ALL).alias(column)) for frame in list(whole)]
    for frame in whole:
        for key, own in sorted(frame.partition_by(PLACES, as_dict=True).items()):
            yield dict(zip(PLACES, map(str, key), strict=True)), own


def row(place: dict[str, str], made: Figure, protocol: str, own: pl.DataFrame | None = None) -> dict[str, Any]:
    """One row of EVAL_SIMULATION. `own`: the rows that it rests on, with `model` and `is_stand_in`; None where no model had a part in it."""
    estimate = made.estimate
    models = (
        [] if own is None else sorted({name for names in own["model"].to_list() if names for name in names.split(", ")})
    )
    return {
        **place,
        "measure": made.measure,
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "n": estimate.n,
        "invalid": made.invalid,
        "invalid_reason": made.invalid_reason,
        "clusters": estimate.clusters,
        "clustered_by": estimate.clustered_by,
        "is_stand_in": own is not None and bool(own["is_stand_in"].any()),
        "model": ", ".join(models) or None,
        "protocol": protocol,
    }


def counted(
    place: dict[str, str], measure: Measure, value: float | None, n: int, by: str, own: pl.DataFrame | None = None
) -> dict[str, Any]:
    """A row for a figure without an interval: a count, a sum, a ratio of the whole."""
    return row(place, Figure(measure.name, Estimate(value, None, None, n, 0, by)), measure.protocol, own)


def frame(made: Iterable[dict[str, Any]]) -> pl.DataFrame:
    """Rows as EVAL_SIMULATION."""
    return EVAL_SIMULATION.frame(made)

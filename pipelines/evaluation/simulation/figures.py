"""A figure: a mean with its interval, its denominator, and what was left out of it and why.

Does not belong here: what is averaged (`measures.py`, `grading.py`), the interval (`clustered.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.evaluation.simulation.clustered import Estimate, mean


@dataclass(frozen=True)
class Figure:
    """`estimate.n` units are in the mean, `invalid` ones are not; `invalid_reason` says why, or how they are counted instead."""

    measure: str
    estimate: Estimate
    invalid: int = 0
    invalid_reason: str | None = None


def figure(
    measure: str,
    values: Sequence[float | None],
    by: Mapping[str, Sequence[str]],
    lowest: float = 0.0,
    highest: float | None = 1.0,
    invalid_reason: str | None = None,
    invalid: int = 0,
) -> Figure:
    """The mean of the values that are there [U]; those that are None are invalid units, beside `invalid` ones that are not in `values` at all.

    The books balance: n + invalid = U + `invalid`. Raises ValueError as `mean` does.
    """
    there = [at for at, value in enumerate(values) if value is not None]
    estimate = mean(
        [value for value in values if value is not None],
        {kind: [names[at] for at in there] for kind, names in by.items()},
        lowest,
        highest,
    )
    invalid += len(values) - len(there)
    return Figure(measure, estimate, invalid, invalid_reason if invalid else None)

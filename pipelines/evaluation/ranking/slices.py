"""Parts of the examples on which figures are reported by themselves.

Belongs here: which units belong to which slice. Does not belong here: figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

# Slices of fewer units say next to nothing, and are left out.
UNITS_MIN = 10

# First turn of each band, counted in turns of the dialogue.
_TURN_BANDS = (0, 5, 10, 15, 20)


class Slice(NamedTuple):
    """A slice, its value, and which units are in it [U]."""

    name: str
    value: str
    is_in: NDArray[np.bool_]


def slices(units: pl.DataFrame, unit: str, setting: str) -> Iterator[Slice]:
    """The slices of `units`: columns position, train_count, is_tail, year (null where unknown); one row a unit.

    Of labels: unseen_in_training (never a target there), tail (see `are_tail` in ml_rankings), decade of the film. Of dialogues: turn, in bands
    of five. A turn may have labels of several kinds, so that turns are sliced by their position only.
    """
    found: list[tuple[str, pl.Series]] = []
    if unit == "label":
        year = units["year"]
        decade = (year // 10 * 10).cast(pl.String) + "s"
        found += [
            ("unseen_in_training", _named(units["train_count"] == 0, "unseen", "seen")),
            ("tail", _named(units["is_tail"], "tail", "head")),
            ("decade", decade.fill_null("unknown")),
        ]
    if setting == "dialogues":
        found.append(("turn", _bands(units["position"])))
    for name, values in found:
        for value in values.unique().sort():
            is_in = (values == value).to_numpy()
            if is_in.sum() >= UNITS_MIN:
                yield Slice(name, value, is_in)


def _named(flags: pl.Series, if_true: str, if_false: str) -> pl.Series:
    return pl.select(pl.when(flags).then(pl.lit(if_true)).otherwise(pl.lit(if_false))).to_series()


def _bands(positions: pl.Series) -> pl.Series:
    names = [f"{low:02}-{high - 1:02}" for low, high in pairwise(_TURN_BANDS)]
    names.append(f"{_TURN_BANDS[-1]}+")
    band = np.searchsorted(_TURN_BANDS, positions.to_numpy(), side="right") - 1
    return pl.Series([names[each] for each in band], dtype=pl.String)

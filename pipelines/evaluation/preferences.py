"""What preference pairs are like: how many, how many repeat each other, and what the length of the answers gives away.

Belongs here: the figures and their intervals. Does not belong here: which pairs repeat each other (`preferences/duplicates.py`).
"""

from __future__ import annotations

from itertools import product

import numpy as np
import polars as pl

from warehouse.tables.preferences import EVAL_PREFERENCES

_REPLICATES = 200
_CONFIDENCE = 0.95

# Counts have no interval: they are what they are. Each: name, expression over all pairs of a slice, what it is.
_IS_USED = pl.col("duplicate_of").is_null()
COUNTS = {
    "pairs": (pl.len(), "all pairs"),
    "used": (_IS_USED.sum(), "pairs that are in the views, which leave near-duplicates out"),
    "conversations": (pl.col("conversation_id").n_unique(), "conversations that the pairs are from"),
    "near_duplicates": ((~_IS_USED).sum(), "pairs that nearly repeat another one and are left out for it"),
    "near_duplicates_across_splits": (
        (pl.col("split") != pl.col("first_split")).fill_null(False).sum(),
        "pairs left out because the one that they nearly repeat is in another, held-out split",
    ),
    "stand_in": (pl.col("is_stand_in").sum(), "pairs whose answers the rule-based stand-in wrote, which is no model"),
}
# Means over pairs, each with what it is.
MEANS = {
    "chosen_chars": "mean characters of the better answer",
    "rejected_chars": "mean characters of the worse answer",
    "chosen_longer_share": "share of the pairs whose better answer has more characters",
    "length_only_accuracy": "accuracy of the rule `the longer answer is the better one`, a tie counting half; .5: length gives nothing away",
}


def evaluate_pairs(pairs: pl.DataFrame, seed: int = 42) -> pl.DataFrame:
    """The figures of `pairs` (pref_pairs) as eval_preferences: for each dataset, construction and split that there is, and for all.

    Counts are over all pairs, lengths over those that are no near-duplicates. Intervals are 95 % percentile intervals of a Poisson
    bootstrap over conversations; where pairs are from fewer than two conversations there is none.
    """
    splits = pairs.select(duplicate_of="pair_id", first_split="split")
    ordered = pairs.sort("pair_id").join(splits, on="duplicate_of", how="left", maintain_order="left")
    chosen, rejected = (pl.col(name).str.len_chars().cast(pl.Float64) for name in ("chosen", "rejected"))
    measured = ordered.with_columns(
        cluster=pl.col("conversation_id").rank("dense").cast(pl.Int64) - 1,
        chosen_chars=chosen,
        rejected_chars=rejected,
        chosen_longer_share=(chosen > rejected).cast(pl.Float64),
        length_only_accuracy=(chosen > rejected).cast(pl.Float64) + 0.5 * (chosen == rejected),
    )
    clusters = measured["cluster"].n_unique()
    weights = np.random.default_rng(seed).poisson(1.0, size=(clusters, _REPLICATES)).astype(np.float32)
    figures = [
        figure
        for keys in product((True, False), repeat=3)
        for figure in _slices(measured, [name for name, used in zip(_BY, keys, strict=True) if used], weights)
    ]
    return EVAL_PREFERENCES.conform(pl.DataFrame(figures, schema=EVAL_PREFERENCES.schema, orient="row")).sort(
        EVAL_PREFERENCES.key
    )


_BY = ("dataset", "construction", "split")
_Figure = tuple[str, str, str, str, float, float | None, float | None, int, str]


def _slices(pairs: pl.DataFrame, by: list[str], weights: np.ndarray) -> list[_Figure]:
    """The figures of every slice by the columns `by`."""
    if pairs.is_empty():
        return []
    parts = pairs.partition_by(by, as_dict=True, maintain_order=True) if by else {(): pairs}
    found = []
    for values, part in parts.items():
        named = dict(zip(by, values, strict=True))
        dataset, construction, split = (str(named.get(name, "all")) for name in _BY)
        found += [(dataset, construction, split, *figure) for figure in _figures(part, weights)]
    return found


def _figures(pairs: pl.DataFrame, weights: np.ndarray) -> list[tuple[str, float, float | None, float | None, int, str]]:
    """Metric, value, interval, n and protocol of each figure of one slice."""
    row = pairs.select(each.alias(name) for name, (each, _) in COUNTS.items()).row(0, named=True)
    found: list[tuple[str, float, float | None, float | None, int, str]] = [
        (name, float(row[name]), None, None, pairs.height, words) for name, (_, words) in COUNTS.items()
    ]
    used = pairs.filter(_IS_USED)
    if used.is_empty():
        return found
    note = f"; {row['stand_in']:,} pairs of the stand-in take part, which is no model" if row["stand_in"] else ""
    sums = used.group_by("cluster").agg(pl.len().alias("n"), pl.col(*MEANS).sum()).sort("cluster")
    drawn = weights[sums["cluster"].to_numpy()]
    sizes = drawn.T @ sums["n"].to_numpy().astype(np.float32)
    for name, words in MEANS.items():
        low = high = None
        if sums.height > 1 and (sizes > 0).any():
            means = (drawn.T @ sums[name].to_numpy().astype(np.float32))[sizes > 0] / sizes[sizes > 0]
            tail = (1 - _CONFIDENCE) / 2
            low, high = (float(each) for each in np.quantile(means, (tail, 1 - tail)))
        protocol = f"{words}; pairs in the views; interval: bootstrap over {sums.height:,} conversations{note}"
        found.append((name, float(used[name].mean()), low, high, used.height, protocol))  # type: ignore[arg-type]
    return found

"""Fits the weights of the linking rules on a built warehouse, and prints them as they stand in pipelines/linking/rules.py.

    python benchmarks/fit_linking.py WAREHOUSE

Pairs are proposed with the ids hidden; a pair is true when both records have the same IMDb id. Weights are fitted by ridge
logistic regression on the films whose id is even and judged on the odd ones. Weights of ids are not fitted (they are
hidden), nor are those in FIXED.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl

from assets.build.evaluation import _TRUSTED_FROM
from pipelines.evaluation.entity_resolution import hide_ids
from pipelines.linking import blocking, compare
from pipelines.linking.link import COLUMNS
from pipelines.linking.rules import ID_RULES, RULES
from pipelines.sources.blocks import builtin_blocks
from warehouse.store import Warehouse

RIDGE = 1.0
FIXED = {
    # Truth that calls films of such years one film is mostly a wrong id.
    ("year", "few apart"): -8.0,
    ("year", "far apart"): -18.0,
    # A record without a year fits every film of that name: it needs more than its name.
    ("year", "unknown"): -3.0,
    ("numbers", "different"): -6.0,
    # The sample has next to no shorts.
    ("kind", "same"): 0.0,
    ("kind", "different"): -4.0,
    # Without people or ids, two entries of one source stay two films.
    ("sources", "same"): -15.0,
}


def fit(x: np.ndarray, y: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Ridge logistic regression by Newton's method; the last column of `x` is the unpenalised constant."""
    weights = np.zeros(x.shape[1])
    penalty = np.full(x.shape[1], RIDGE)
    penalty[-1] = 1e-6
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(x @ weights + offset, -30, 30)))
        gradient = x.T @ (y - p) - penalty * weights
        hessian = (x * (p * (1 - p))[:, None]).T @ x + np.diag(penalty)
        step = np.linalg.solve(hessian, gradient)
        weights += step
        if np.abs(step).max() < 1e-8:
            break
    return weights


def main(root: Path) -> None:
    trusted = [name for name, block in builtin_blocks().items() if block.reliability >= _TRUSTED_FROM]
    records = (
        Warehouse(root)
        .scan("core_title_records")
        .filter(pl.col("is_film") & pl.col("imdb_id").is_not_null() & pl.col("source").is_in(trusted))
        .select(COLUMNS)
        .collect()
        .sort("record_id")
    )
    hidden = hide_ids(records)
    found = blocking.occurrences(hidden)
    pairs = blocking.candidate_pairs(hidden, found)
    levels = compare.levels(
        compare.encode(hidden, blocking.rarity(found, hidden.height)), pairs.a, pairs.b, pairs.title
    )
    film = records["imdb_id"].rank("dense").cast(pl.Int64).to_numpy()
    true = (film[pairs.a] == film[pairs.b]).astype(float)
    columns, names, offset = [], [], np.zeros(pairs.count)
    for i, rule in enumerate(RULES):
        for j, level in enumerate(rule.levels):
            hit = levels[:, i] == j
            if (rule.name, level.name) in FIXED:
                offset += hit * FIXED[rule.name, level.name] * np.log(2)
            elif (
                rule.name not in ID_RULES
                and level.name != "unknown"
                and not (rule.name == "sources" and j == 0)
                and hit.any()
            ):
                columns.append(hit)
                names.append((rule.name, level.name))
    x = np.stack([*columns, np.ones(pairs.count)], axis=1).astype(float)
    train = film[pairs.a] % 2 == 0
    bits = fit(x[train], true[train], offset[train]) / np.log(2)
    fitted = dict(zip(names, bits, strict=False))
    print(f"BIAS_BITS = {bits[-1]:.1f}")
    for rule in RULES:
        if rule.name not in ID_RULES:
            weights = {
                lv.name: FIXED.get((rule.name, lv.name), fitted.get((rule.name, lv.name), 0.0)) for lv in rule.levels
            }
            print(
                f'_rule("{rule.name}", '
                + ", ".join(f"{n.replace(' ', '_')}={w:.1f}" for n, w in weights.items())
                + "),"
            )
    score = x @ bits + offset / np.log(2)
    for part, rows in (("train", train), ("test", ~train)):
        accepted = rows & (score >= 0)
        print(
            json.dumps(
                {
                    "part": part,
                    "pairs": int(rows.sum()),
                    "precision": round(float(true[accepted].mean()), 4),
                    "recall_of_proposed": round(float(true[accepted].sum() / true[rows].sum()), 4),
                }
            ),
            file=sys.stderr,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))

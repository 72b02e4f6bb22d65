"""How well a grouping of records agrees with the truth, for groupings by any linker.

Pairwise precision, recall and F1 with 95 % intervals, by the protocol of `pipelines/evaluation/entity_resolution.py` and
with its numbers, but counted from the sizes of groups instead of from pairs: millions of records take seconds.
"""

from __future__ import annotations

import numpy as np
import polars as pl


def agreement(truth: np.ndarray, label: np.ndarray, replicates: int = 200, seed: int = 42) -> dict[str, object]:
    """Compare a grouping with the truth.

    `truth` [records]: the film of each record, `label` [records]: the group it was put in; integers of any kind. Intervals are
    95 % percentile intervals of a Poisson bootstrap over films, in which a wrong pair counts half to each of its films; without
    `replicates` there are none.
    Metrics without a single pair to judge are null.
    """
    rows = pl.DataFrame({"film": truth, "label": label}).select(pl.all().rank("dense").cast(pl.Int64) - 1)
    film, group = rows["film"].to_numpy(), rows["label"].to_numpy()
    films = int(film.max(initial=-1)) + 1
    film_size, group_size = np.bincount(film, minlength=films), np.bincount(group)
    both = rows.group_by("film", "label").len()
    size = both["len"].to_numpy().astype(np.float64)
    # What each film contributes to the numbers of right, linked and true pairs: [films, 3].
    share = np.stack(
        [
            np.bincount(both["film"].to_numpy(), weights=size * (size - 1) / 2, minlength=films),
            np.bincount(film, weights=(group_size[group] - 1) / 2, minlength=films),
            film_size * (film_size - 1) / 2,
        ],
        axis=1,
    )
    point = share.sum(axis=0)
    rng = np.random.default_rng(seed)
    samples = np.array([rng.poisson(1.0, films) @ share for _ in range(replicates)]).reshape(replicates, 3)
    values, spread = _ratios(point), _ratios(samples.T)
    return {
        "records": len(film),
        "films": films,
        "true_pairs": int(point[2]),
        "linked_pairs": int(point[1]),
        "wrong_pairs": int(point[1] - point[0]),
        **{
            metric: {"value": round(float(value), 4), **_interval(spread[metric])} if np.isfinite(value) else None
            for metric, value in values.items()
        },
    }


def _ratios(pairs: np.ndarray) -> dict[str, np.ndarray]:
    right, linked, true = pairs
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall = np.divide(right, linked), np.divide(right, true)
        return {"precision": precision, "recall": recall, "f1": 2 * precision * recall / (precision + recall)}


def _interval(samples: np.ndarray) -> dict[str, float]:
    if not np.isfinite(samples).any():
        return {}
    low, high = np.nanpercentile(samples, [2.5, 97.5])
    return {"ci_low": round(float(low), 4), "ci_high": round(float(high), 4)}

"""Rankings of several systems as arrays over the same labels.

Belongs here: making sure that systems are compared on the same examples, and what is known of each label. Does not belong here: metrics.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NEGATIVES = 99

# What is needed of ml_rankings. `history_items`: number of different films in the history.
_GROUP = ("dataset", "setting", "split", "data_hash")
_SYSTEM = ("system", "llm_model", "is_stand_in", "matcher")
RANKS = ("ranks_all", "ranks_masked", "ranks_uniform", "ranks_popularity", "ranks_candidates")
_LABEL_LISTS = ("labels", "are_repeats", "train_counts", "are_tail", "are_in_pool", *RANKS)
_TYPES: dict[str, Any] = {
    **dict.fromkeys((*_GROUP, "system", "model_id", "llm_model", "matcher", "example_id", "cluster_id"), pl.String),
    "is_stand_in": pl.Boolean,
    "seed": pl.Int32,
    "position": pl.Int32,
    "history_items": pl.Int64,
    "pool_items": pl.Int64,
    "labels": pl.List(pl.String),
    **dict.fromkeys(("are_repeats", "are_tail", "are_in_pool"), pl.List(pl.Boolean)),
    **dict.fromkeys(("train_counts", *RANKS), pl.List(pl.Int64)),
}
SCHEMA = pl.Schema(_TYPES)


class NotComparable(ValueError):
    """Systems were ranked on different examples; the message names them."""


@dataclass(frozen=True)
class Run:
    """One system with one seed: places of labels by column (inf where there is none), and whether each label is in the pool at all."""

    seed: int
    model_id: str | None
    places: Mapping[str, Floats]
    is_in_pool: NDArray[np.bool_]
    pool_items: Ints


@dataclass(frozen=True)
class System:
    """A system and its runs, by seed."""

    name: str
    llm_model: str | None
    is_stand_in: bool
    matcher: str
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Group:
    """Systems that ranked the same examples. `labels`: one row a label, sorted by example; `examples`: how many there are."""

    dataset: str
    setting: str
    split: str
    data_hash: str
    labels: pl.DataFrame
    systems: tuple[System, ...]


def of_rankings(rankings: pl.LazyFrame) -> pl.DataFrame:
    """Rows of ml_rankings as SCHEMA; lists of films are not read."""
    return (
        rankings.select(
            *_GROUP,
            *("system", "model_id", "seed", "example_id", "cluster_id", "position", "pool_items"),
            *(name for name in _LABEL_LISTS if name not in ("are_in_pool", "ranks_candidates")),
            llm_model=pl.lit(None, dtype=pl.String),
            matcher=pl.lit("movie_id"),
            is_stand_in=pl.lit(False),
            history_items=pl.col("history").list.n_unique().cast(pl.Int64),
            are_in_pool=pl.col("labels").list.eval(pl.element().is_not_null()),
            ranks_candidates=pl.lit(None, dtype=pl.List(pl.Int64)),
        )
        .select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())
        .collect()
    )


def groups(rankings: pl.DataFrame) -> Iterator[Group]:
    """The groups of rows of SCHEMA. Raises NotComparable where systems of a group did not rank the same labels."""
    for key, rows in sorted(rankings.partition_by(_GROUP, as_dict=True).items()):
        dataset, setting, split, data_hash = (str(part) for part in key)
        reference: pl.DataFrame | None = None
        systems: list[System] = []
        for about, of_system in sorted(rows.partition_by(_SYSTEM, as_dict=True).items(), key=lambda each: str(each[0])):
            runs = []
            for (seed,), of_run in sorted(of_system.partition_by(["seed"], as_dict=True).items()):
                ordered = of_run.sort("example_id")
                lists = [name for name in _LABEL_LISTS if ordered[name].null_count() == 0]
                flat = ordered.filter(pl.col("labels").list.len() > 0).explode(lists)
                if reference is None:
                    reference = flat
                elif not flat.select("example_id", "labels").equals(reference.select("example_id", "labels")):
                    raise NotComparable(
                        f"{dataset}, {split}: {about[0]} (seed {seed}) was ranked on {ordered.height:,} examples that are not "
                        f"those of {systems[0].name if systems else about[0]}; rank it again"
                    )
                places = {
                    name: flat[name].cast(pl.Float64).fill_null(np.inf).to_numpy() for name in RANKS if name in lists
                }
                model_ids = of_run["model_id"].unique()
                runs.append(
                    Run(
                        int(seed),
                        model_ids[0] if len(model_ids) == 1 else None,
                        places,
                        flat["are_in_pool"].to_numpy(),
                        flat["pool_items"].to_numpy(),
                    )
                )
            name, llm_model, is_stand_in, matcher = about
            systems.append(System(str(name), llm_model, bool(is_stand_in), str(matcher), tuple(runs)))
        if reference is not None and reference.height:
            labels = reference.select(
                *("example_id", "cluster_id", "position", "history_items", "pool_items"),
                movie_id="labels",
                is_repeat="are_repeats",
                train_count="train_counts",
                is_tail="are_tail",
                new_labels=(~pl.col("are_repeats")).sum().over("example_id"),
            )
            yield Group(dataset, setting, split, data_hash, labels, tuple(systems))


def pool_sizes(labels: pl.DataFrame, run: Run, places: str) -> Ints:
    """Films that each label is ranked among, itself included, in the pool that the column `places` is about."""
    everything, seen = run.pool_items, labels["history_items"].to_numpy()
    if places in ("ranks_all", "ranks_candidates"):
        return everything
    if places == "ranks_masked":
        return everything - seen
    left = everything - seen - labels["new_labels"].to_numpy()
    return np.minimum(NEGATIVES, left) + 1

"""Numbers with their passports, and paired tests, from rankings: frames in, frames out.

Belongs here: applying protocols to rankings, and writing down with each number everything that it depends on.
Does not belong here: what the parts compute (`metrics.py`, `intervals.py`, `comparisons.py`, `slices.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.evaluation.ranking import intervals
from pipelines.evaluation.ranking.comparisons import bonferroni, holm, paired
from pipelines.evaluation.ranking.examples import Group, Run, System, groups, pool_sizes
from pipelines.evaluation.ranking.metrics import chance, per_unit
from pipelines.evaluation.ranking.protocols import PROTOCOLS_VERSION, Figure, Protocol, protocols
from pipelines.evaluation.ranking.slices import slices
from warehouse.tables.ranking_evaluation import BASELINES, EVAL_RANKING, EVAL_RANKING_TESTS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Columns that tell one number from another; the rest of the passport follows from them.
_IDENTITY = (
    *("system", "model_id", "seeds", "dataset", "dataset_hash", "setting", "split", "protocol", "matcher", "metric"),
    *("k", "slice", "slice_value", "llm_model", "protocol_version"),
)
_TEST_IDENTITY = ("system", "other", "seeds", "dataset", "dataset_hash", "split", "protocol", "matcher", "metric", "k")


@dataclass(frozen=True)
class About:
    """What numbers depend on beside the rankings: files of each dataset, the version of core_movies, and films' years."""

    files: Mapping[str, Sequence[str]]
    corpus_version: int
    years: pl.DataFrame  # movie_id, year


class Evaluation(NamedTuple):
    """`numbers` conforms to eval_ranking, `tests` to eval_ranking_tests."""

    numbers: pl.DataFrame
    tests: pl.DataFrame


def evaluate(rankings: pl.DataFrame, about: About, stated: Sequence[Protocol] | None = None) -> Evaluation:
    """All numbers and tests of `rankings` (`examples.SCHEMA`) under the protocols that fit.

    Systems with several seeds get a number for each seed and one for their mean: values of a unit are averaged over the seeds, and the interval is
    clustered as always; so it says how the mean of these seeds would vary with other examples, not with other seeds. Tests compare means over
    seeds. Raises NotComparable.
    """
    numbers: list[dict[str, Any]] = []
    tests: list[dict[str, Any]] = []
    for group in groups(rankings):
        for protocol in protocols() if stated is None else stated:
            judged = _judged(group, protocol, about)
            if judged is not None:
                numbers += _numbers(judged, about)
                tests += _tests(judged, about)
    return Evaluation(_frame(EVAL_RANKING, numbers), _frame(EVAL_RANKING_TESTS, tests))


def _frame(table: Any, rows: list[dict[str, Any]]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=table.schema, orient="row") if rows else table.empty()
    return frame.sort(table.sort_by, maintain_order=True)


# -- units -------------------------------------------------------------------------------------------------


class _Line(NamedTuple):
    """Values of a system's units [U, F]: of one seed, or averaged over several; `chance [U, F]`."""

    system: System
    seeds: list[int]
    model_id: str | None
    is_main: bool
    values: Floats
    chance: Floats
    pool_items: int


class _Judged(NamedTuple):
    """A group under one protocol. `units`: one row each, with what slices look at; `cluster [U]`."""

    group: Group
    protocol: Protocol
    units: pl.DataFrame
    cluster: Ints
    clusters: int
    lines: list[_Line]


def _judged(group: Group, protocol: Protocol, about: About) -> _Judged | None:
    """None where the protocol does not fit, or no label is left."""
    if group.setting not in protocol.settings:
        return None
    systems = [each for each in group.systems if all(protocol.places in run.places for run in each.runs)]
    keep = np.ones(group.labels.height, dtype=bool)
    if protocol.repeats == "dropped":
        keep = ~group.labels["is_repeat"].to_numpy()
    if not systems or not keep.any():
        return None
    labels = group.labels.filter(keep).join(about.years, on="movie_id", how="left", maintain_order="left")
    unit = np.arange(labels.height)
    if protocol.unit == "turn":
        unit = labels["example_id"].rle_id().cast(pl.Int64).to_numpy()
    first = np.flatnonzero(np.diff(unit, prepend=-1))
    units = labels[first]
    cluster = np.unique(units["cluster_id"].to_numpy(), return_inverse=True)[1]
    lines = [line for system in systems for line in _lines(system, group.labels, keep, unit, first, protocol)]
    return _Judged(group, protocol, units, cluster, int(cluster.max()) + 1, lines)


def _lines(
    system: System, labels: pl.DataFrame, keep: NDArray[np.bool_], unit: Ints, first: Ints, protocol: Protocol
) -> Iterator[_Line]:
    golds = np.bincount(unit)

    def line(run: Run) -> _Line:
        pool = pool_sizes(labels, run, protocol.places)[keep][first]
        expected = chance(pool, golds, protocol.figures)
        # A label that the pool lacks is not found by any order of it.
        expected *= (np.bincount(unit, run.is_in_pool[keep]) / golds)[:, None]
        films = int(pool.max()) if protocol.pool != "full" else int(run.pool_items.max())
        values = per_unit(run.places[protocol.places][keep], unit, protocol.figures)
        return _Line(system, [run.seed], run.model_id, len(system.runs) == 1, values, expected, films)

    each = [line(run) for run in system.runs]
    yield from each
    if len(each) > 1:
        yield _Line(
            system,
            [run.seed for run in system.runs],
            None,
            True,
            np.mean([one.values for one in each], axis=0),
            np.mean([one.chance for one in each], axis=0),
            max(one.pool_items for one in each),
        )


# -- rows --------------------------------------------------------------------------------------------------


def _numbers(judged: _Judged, about: About) -> Iterator[dict[str, Any]]:
    drawn = intervals.weights(judged.clusters)
    everything = np.ones(len(judged.cluster), dtype=bool)
    figures = judged.protocol.figures
    yield from _of_part(judged, about, drawn, everything, "all", "all", judged.lines, figures)
    if judged.protocol.slices:
        main = [line for line in judged.lines if line.is_main]
        for name, value, is_in in slices(judged.units, judged.protocol.unit, judged.group.setting):
            yield from _of_part(judged, about, drawn, is_in, name, value, main, judged.protocol.headline)


def _of_part(
    judged: _Judged,
    about: About,
    drawn: NDArray[np.float32],
    is_in: NDArray[np.bool_],
    name: str,
    value: str,
    lines: Sequence[_Line],
    figures: Sequence[Figure],
) -> Iterator[dict[str, Any]]:
    """Numbers of a part of the units: all systems at once, so that resampling is one matrix product."""
    columns = [judged.protocol.figures.index(each) for each in figures]
    cluster = judged.cluster[is_in]
    found = intervals.estimate(np.hstack([line.values[is_in][:, columns] for line in lines]), cluster, drawn)
    expected = np.hstack([line.chance[is_in][:, columns].mean(axis=0) for line in lines])
    passport = _passport(judged, about)
    sizes = {"n": int(is_in.sum()), "clusters": len(np.unique(cluster))}
    for at, (line, figure) in enumerate((line, figure) for line in lines for figure in figures):
        row = {
            **passport,
            **sizes,
            "system": line.system.name,
            "is_baseline": line.system.name in BASELINES,
            "model_id": line.model_id,
            "seeds": line.seeds,
            "matcher": line.system.matcher,
            "metric": figure.metric,
            "k": figure.k,
            "slice": name,
            "slice_value": value,
            "value": float(found.value[at]),
            "low": float(found.low[at]),
            "high": float(found.high[at]),
            "interval": found.method[at],
            "chance": min(1.0, float(expected[at])),
            "pool_items": line.pool_items,
            "llm_model": line.system.llm_model,
            "is_stand_in": line.system.is_stand_in,
            "corpus_version": about.corpus_version,
            "protocol_version": PROTOCOLS_VERSION,
        }
        yield {**row, "number_id": _digest(row[key] for key in _IDENTITY)}


def _tests(judged: _Judged, about: About) -> Iterator[dict[str, Any]]:
    """Every pair of systems, by each headline figure; figures of one kind are a family."""
    main = [line for line in judged.lines if line.is_main]
    pairs = list(combinations(range(len(main)), 2))
    if not judged.protocol.tests or not pairs or judged.clusters < 2:
        return
    one, other = (np.array(side) for side in zip(*pairs, strict=True))
    for figure in judged.protocol.headline:
        at = judged.protocol.figures.index(figure)
        values = np.stack([line.values[:, at] for line in main], axis=1)
        found = paired(values[:, one] - values[:, other], judged.cluster)
        by_bonferroni, by_holm = bonferroni(found.p_value), holm(found.p_value)
        for number, (a, b) in enumerate(pairs):
            row = {
                **_passport(judged, about),
                "system": main[a].system.name,
                "other": main[b].system.name,
                "matcher": " / ".join(dict.fromkeys((main[a].system.matcher, main[b].system.matcher))),
                "metric": figure.metric,
                "k": figure.k,
                "difference": float(found.difference[number]),
                "low": float(found.low[number]),
                "high": float(found.high[number]),
                "n": len(judged.cluster),
                "clusters": judged.clusters,
                "seeds": sorted({*main[a].seeds, *main[b].seeds}),
                "p_value": float(found.p_value[number]),
                "p_bonferroni": float(by_bonferroni[number]),
                "p_holm": float(by_holm[number]),
                "family": len(pairs),
            }
            yield {**row, "test_id": _digest(row[key] for key in _TEST_IDENTITY)}


def _passport(judged: _Judged, about: About) -> dict[str, Any]:
    group, protocol = judged.group, judged.protocol
    return {
        "dataset": group.dataset,
        "dataset_files": list(about.files.get(group.dataset, ())),
        "dataset_hash": group.data_hash,
        "setting": group.setting,
        "split": group.split,
        "protocol": protocol.name,
        "pool": protocol.pool,
        "repeats": protocol.repeats,
        "seen": protocol.seen,
        "unit": protocol.unit,
        "gold": protocol.gold,
    }


def _digest(parts: Any) -> str:
    return hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).hexdigest()[:16]

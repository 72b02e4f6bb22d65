"""How well linking works, measured on records whose ids were hidden from it.

Belongs here: the protocol and its figures. The linker itself is called exactly as the corpus calls it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from pipelines.linking import blocking, clustering, compare
from pipelines.linking.blocking import ID_COLUMNS
from pipelines.linking.link import COLUMNS, evidence_words, group, score_pairs
from pipelines.linking.rules import BIAS_BITS, RULES_VERSION
from warehouse.tables.corpus import EVAL_ENTITY_RESOLUTION, EVAL_UNCERTAIN_PAIRS

_REPLICATES = 200
_UNCERTAIN = 20
_SLICE_MIN = 50  # truth pairs below which a source pair gets no figures of its own


@dataclass(frozen=True)
class Evaluation:
    """`metrics` conforms to eval_entity_resolution, `uncertain` to eval_uncertain_pairs."""

    metrics: pl.DataFrame
    uncertain: pl.DataFrame


def hide_ids(records: pl.DataFrame) -> pl.DataFrame:
    """Blank every id column, so that only titles, years, people and the like remain."""
    return records.with_columns(pl.lit(None, dtype=records.schema[column]).alias(column) for column in ID_COLUMNS)


def evaluate(records: pl.DataFrame, protocol: str, seed: int = 42) -> Evaluation:
    """Link `records` with their ids hidden and compare with their IMDb ids.

    `records`: COLUMNS of core_title_records plus `title`; every one must have an imdb_id, which is the truth: two records are one
    film when, and only when, they share it. Intervals are 95 % percentile intervals of a Poisson bootstrap over films (a
    wrong pair counts half to each of its films).
    """
    records = records.sort("record_id")
    if records["imdb_id"].null_count():
        raise ValueError("evaluate: every record needs an imdb_id, the hidden truth")
    truth = records["imdb_id"].rank("dense").cast(pl.Int64).to_numpy() - 1
    hidden = hide_ids(records.select(COLUMNS))
    found = blocking.occurrences(hidden)
    proposed = blocking.candidate_pairs(hidden, found)
    scored = score_pairs(hidden, found=found)
    label = group(hidden, scored)
    judged = _pairs(records["source"], truth, label, pl.DataFrame({"a": proposed.a, "b": proposed.b}))
    naive = hidden.select(pl.struct("title_key", "year").rank("dense")).to_series().cast(pl.Int64).to_numpy()
    naive = np.where(hidden["year"].is_null().to_numpy(), -1 - np.arange(len(naive)), naive)
    baseline = _pairs(records["source"], truth, naive, pl.DataFrame({"a": proposed.a, "b": proposed.b}))
    films = int(truth.max(initial=-1)) + 1
    metrics = pl.concat(
        [
            _metrics(judged, films, seed, prefix=""),
            _metrics(baseline, films, seed, prefix="baseline_", slices=False),
        ]
    ).with_columns(protocol=pl.lit(protocol), linker_version=pl.lit(RULES_VERSION))
    return Evaluation(
        EVAL_ENTITY_RESOLUTION.conform(metrics).sort("slice", "metric"),
        EVAL_UNCERTAIN_PAIRS.conform(_uncertain(records, scored, truth, label)),
    )


def _pairs(source: pl.Series, truth: np.ndarray, label: np.ndarray, proposed: pl.DataFrame) -> pl.DataFrame:
    """Every pair that shares an id or was linked: slice, film of either side, is_true, is_linked, is_proposed."""
    rows = pl.DataFrame({"row": np.arange(len(truth)), "truth": truth, "label": label, "source": source})

    def inside(column: str) -> pl.DataFrame:
        joined = rows.select("row", column).join(rows.select("row", column), on=column)
        return joined.filter(pl.col("row") < pl.col("row_right")).select(a="row", b="row_right")

    pairs = pl.concat([inside("truth"), inside("label")]).unique()
    pairs = pairs.join(proposed.with_columns(is_proposed=True), on=["a", "b"], how="left")
    a, b = pairs["a"].to_numpy(), pairs["b"].to_numpy()
    left, right = source.gather(pairs["a"]), source.gather(pairs["b"])
    return pairs.with_columns(
        film_a=pl.Series(truth[a]),
        film_b=pl.Series(truth[b]),
        is_true=pl.Series(truth[a] == truth[b]),
        is_linked=pl.Series(label[a] == label[b]),
        is_proposed=pl.col("is_proposed").fill_null(False),
        slice=pl.select(
            pl.min_horizontal(left.cast(pl.String), right.cast(pl.String)) + " x " + pl.max_horizontal(left, right)
        ).to_series(),
    )


def _ratios(
    linked_true: np.ndarray, linked: np.ndarray, true: np.ndarray, proposed: np.ndarray
) -> dict[str, np.ndarray]:
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall = linked_true / linked, linked_true / true
        return {
            "precision": precision,
            "recall": recall,
            "f1": 2 * precision * recall / (precision + recall),
            "blocking_recall": proposed / true,
        }


def _metrics(pairs: pl.DataFrame, films: int, seed: int, prefix: str, slices: bool = True) -> pl.DataFrame:
    names = pairs["slice"].unique().sort() if slices else pl.Series("slice", [], dtype=pl.String)
    code = pairs["slice"].replace_strict(names, range(len(names)), default=-1, return_dtype=pl.Int64).to_numpy()
    film_a, film_b = pairs["film_a"].to_numpy(), pairs["film_b"].to_numpy()
    true, linked, proposed = (pairs[c].to_numpy() for c in ("is_true", "is_linked", "is_proposed"))
    kinds = (true & linked, linked, true, true & proposed)

    def totals(weight: np.ndarray) -> np.ndarray:
        """Weighted pair counts by kind and slice, the total last: shape [4, slices + 1]."""
        out = np.empty((4, len(names) + 1))
        for i, kind in enumerate(kinds):
            known = kind & (code >= 0)
            out[i, :-1] = np.bincount(code[known], weights=weight[known], minlength=len(names))
            out[i, -1] = weight[kind].sum()
        return out

    point = totals(np.ones(pairs.height))
    rng = np.random.default_rng(seed)
    samples = np.empty((_REPLICATES, *point.shape))
    for replicate in range(_REPLICATES):
        weight = rng.poisson(1.0, films)
        samples[replicate] = totals((weight[film_a] + weight[film_b]) / 2)
    values = _ratios(*point)
    spread = _ratios(*(samples[:, i] for i in range(4)))
    rows = []
    for column, name in enumerate([*names, "all"]):
        if name != "all" and point[2, column] < _SLICE_MIN:
            continue
        inside = (code == column) if name != "all" else np.ones(pairs.height, dtype=bool)
        films_here = len(np.unique(np.concatenate([film_a[inside], film_b[inside]])))
        counts = {"linked_pairs": linked, "true_pairs": true, "blocking_misses": true & ~proposed, "scoring_misses": true & proposed & ~linked, "wrong_pairs": linked & ~true}  # fmt: skip
        base = {"slice": name, "films": films_here}
        for metric, value in values.items():
            low, high = (
                np.nanpercentile(spread[metric][:, column], [2.5, 97.5])
                if np.isfinite(spread[metric][:, column]).any()
                else (None, None)
            )
            if np.isfinite(value[column]):
                denominator = point[1 if metric == "precision" else 2, column]
                rows.append({**base, "metric": prefix + metric, "value": float(value[column]), "ci_low": low, "ci_high": high, "pairs": int(denominator)})  # fmt: skip
        for metric, kind in counts.items():
            number = int((kind & inside).sum())
            rows.append(
                {
                    **base,
                    "metric": prefix + metric,
                    "value": float(number),
                    "ci_low": None,
                    "ci_high": None,
                    "pairs": number,
                }
            )
    schema = {"slice": pl.String, "metric": pl.String, "value": pl.Float64, "ci_low": pl.Float64, "ci_high": pl.Float64, "pairs": pl.Int64, "films": pl.Int64}  # fmt: skip
    return pl.DataFrame(rows, schema=schema)


def _uncertain(records: pl.DataFrame, scored: pl.DataFrame, truth: np.ndarray, label: np.ndarray) -> pl.DataFrame:
    """The pairs whose score lies closest to even odds, in words."""
    bits = compare.score_bits(compare.unpack(scored["levels"].to_numpy()), BIAS_BITS) + clustering.UNRIVALLED_BITS
    nearest = scored.with_columns(doubt=pl.Series(np.abs(bits))).sort("doubt", "record_a", "record_b").head(_UNCERTAIN)
    ids = records["record_id"].to_numpy()
    a, b = (np.searchsorted(ids, nearest[c].to_numpy()) for c in ("record_a", "record_b"))
    words = records.select(
        pl.concat_str(
            "title",
            pl.lit(" ("),
            pl.col("year").cast(pl.String).fill_null("year unknown"),
            pl.lit("), "),
            "source",
            pl.lit(":"),
            "source_id",
        )
    ).to_series()
    return nearest.select(
        "record_a",
        "record_b",
        "score_prob",
        is_linked=pl.Series(label[a] == label[b]),
        is_same_id=pl.Series(truth[a] == truth[b]),
        left=words.gather(a),
        right=words.gather(b),
        evidence=evidence_words(nearest["levels"]),
    )

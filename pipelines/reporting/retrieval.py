"""The report on retrieval, from frames to one HTML page.

Belongs here: which figures stand together, in which order, in which words. Does not belong here: how figures are computed
(pipelines/evaluation/), where they stand (`retrieval.html.jinja`), looks (`warehouse/pages/`), how a plot is drawn (`plots.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from pipelines.reporting.blocks import Block, Cell, Page, interval
from pipelines.reporting.plots import Bar, Series, bars, groups, lines
from warehouse.pages.rendering import rendered

REPORT_VERSION = "2"

# The protocol that a setting is judged by first.
HEADLINE = {"dialogues": "full_repeats_kept", "leave_one_out": "full_masked", "sessions": "full_masked"}
# Slices that are shown, and what their values mean.
_SLICES = {
    ("all", "all"): "all",
    ("tail", "head"): "popular",
    ("tail", "tail"): "rare",
    ("unseen_in_training", "unseen"): "never seen",
}
_FIRST_MEASURES = ("any_hallucination", "paper_rule", "candidate")
_SHOWN = 8
_NUMBERS_SHOWN = 3_000


def page(frames: Mapping[str, pl.DataFrame], rows: Mapping[str, int]) -> Page:
    """The report.

    `frames`: eval_ranking, eval_ranking_tests, eval_hallucination, ml_training_log, ml_item_index, rl_rewards, and `retrievers` (rows of all
    ml_retriever_*). `rows`: rows of other tables by name, for the overview. What is missing is left out of the page and said to be.
    """
    numbers = frames["eval_ranking"]
    blocks = [
        *_results(numbers),
        *_by_cutoff(numbers),
        *_slices(numbers),
        *_reranked(numbers),
        *_learning(frames["ml_training_log"], frames["retrievers"]),
        *_alignment(frames["retrievers"], frames["ml_training_log"], frames["rl_rewards"]),
        *_hallucination(frames["eval_hallucination"]),
        *_tests(frames["eval_ranking_tests"]),
        *_machines(frames["retrievers"], frames["ml_item_index"]),
        *_passports(numbers),
    ]
    systems = numbers.filter(~pl.col("is_baseline"))["system"].n_unique()
    tiles = [
        (f"{systems:,}", "systems"),
        (f"{numbers['dataset'].n_unique():,}", "datasets"),
        (f"{frames['retrievers'].height:,}", "training runs"),
        (f"{rows.get('core_sessions', 0):,}", "ratings"),
        (f"{rows.get('core_rec_turns', 0):,}", "turns that name films"),
        (f"{rows.get('ml_item_embeddings', 0):,}", "films embedded"),
        (f"{numbers.height:,}", "numbers"),
    ]
    html = rendered(
        "pipelines.reporting",
        "retrieval.html.jinja",
        title="Retrieval: retrievers, alignment and the language model",
        blocks=blocks,
        tiles=tiles,
        warnings=_warnings(frames),
        is_empty=numbers.is_empty(),
    )
    return Page(html, sum(len(block.plots) for block in blocks))


def _warnings(frames: Mapping[str, pl.DataFrame]) -> list[str]:
    """What a reader must know before the numbers."""
    found = []
    if frames["eval_ranking"]["is_stand_in"].any() or frames["rl_rewards"]["is_stand_in"].any():
        found.append(
            "A rule-based stand-in ranked in place of a language model. What is marked “stand-in” shows that the stages work, and says nothing "
            "about any language model, nor about what aligning a retriever with one brings."
        )
    for run in frames["retrievers"].iter_rows(named=True):
        found += [f"{run['system']} ({run['stage']}, seed {run['seed']}): {text}" for text in run["warnings"] or ()]
    return found


def _overall(numbers: pl.DataFrame) -> pl.DataFrame:
    """Figures over all examples, one a system: the mean over seeds where there are several, else the only one."""
    whole = numbers.filter(pl.col("slice") == "all")
    whole = whole.with_columns(n_seeds=pl.col("seeds").list.len()).sort("n_seeds", descending=True)
    return whole.unique(["dataset", "split", "protocol", "metric", "k", "system"], keep="first", maintain_order=True)


def _headlines(numbers: pl.DataFrame) -> list[tuple[str, str, pl.DataFrame]]:
    """Dataset, protocol and figures of each dataset under the protocol that it is judged by first."""
    whole = _overall(numbers)
    found = []
    for (dataset, setting), part in whole.sort("dataset").group_by("dataset", "setting", maintain_order=True):
        protocol = HEADLINE[str(setting)]
        own = part.filter(pl.col("protocol") == protocol)
        if own.height:
            found.append((str(dataset), protocol, own))
    return found


def _at(part: pl.DataFrame, metric: str, k: int) -> dict[str, dict[str, Any]]:
    """Rows of one figure by system."""
    rows = part.filter((pl.col("metric") == metric) & (pl.col("k") == k))
    return {row["system"]: row for row in rows.iter_rows(named=True)}


def _ordered(part: pl.DataFrame, metric: str = "recall", k: int = 10) -> list[str]:
    """Systems, the best first."""
    return sorted(found := _at(part, metric, k), key=lambda name: -found[name]["value"])


def _name(row: Mapping[str, Any]) -> str:
    mark = " (stand-in)" if row["is_stand_in"] else " (baseline)" if row["is_baseline"] else ""
    return f"{row['system']}{mark}"


def _passport(row: Mapping[str, Any]) -> str:
    return (
        f"{row['protocol']}: pool {row['pool']} ({row['pool_items']:,} films), repeats {row['repeats']}, history {row['seen']}, per {row['unit']}; "
        f"{row['split']} split, n = {row['n']:,} in {row['clusters']:,} clusters; {row['interval']}"
    )


def _results(numbers: pl.DataFrame) -> list[Block]:
    """A table a dataset."""
    blocks = []
    shown = (("recall", 1), ("recall", 10), ("recall", 50), ("ndcg", 10), ("mrr", 10))
    for dataset, protocol, part in _headlines(numbers):
        figures = {key: _at(part, *key) for key in shown}
        order = _ordered(part)
        if not order:
            continue
        first = figures["recall", 10][order[0]]
        block = Block(
            f"Results on {dataset}",
            f"{_passport(first)}. Chance: recall@10 {first['chance']:.5f}.",
            [
                "System",
                "Seeds",
                *(f"{metric.upper()}@{k}" if metric != "recall" else f"Recall@{k}" for metric, k in shown),
            ],
        )
        for system in order:
            row = figures["recall", 10][system]
            cells = [interval(figures[key].get(system)) for key in shown]
            block.rows.append([_name(row), ", ".join(map(str, row["seeds"])) or "–", *cells])
        block.plots.append(
            (
                bars(
                    [
                        Bar(_name(row), row["value"], row["low"], row["high"], row["is_baseline"])
                        for row in (figures["recall", 10][system] for system in order)
                    ],
                    f"Recall at 10 on {dataset}, {protocol}",
                    "Recall@10",
                ),
                "Recall@10 with 95 % intervals; baselines are grey.",
            )
        )
        blocks.append(block)
    return blocks


def _by_cutoff(numbers: pl.DataFrame) -> list[Block]:
    block = Block(
        "By cut-off", "How recall grows with the length of the list; bands are 95 % intervals of the first three."
    )
    for dataset, protocol, part in _headlines(numbers):
        order = _ordered(part)[:_SHOWN]
        series = []
        for system in order:
            own = part.filter((pl.col("system") == system) & (pl.col("metric") == "recall")).sort("k")
            series.append(
                Series(
                    system,
                    own["k"].to_list(),
                    own["value"].to_list(),
                    own["low"].to_list(),
                    own["high"].to_list(),
                    bool(own["is_baseline"][0]),
                )
            )
        if series and len(series[0].x) > 1:
            plot = lines(series, f"Recall by cut-off on {dataset}", "k", "Recall@k", is_log=True)
            block.plots.append((plot, f"{dataset}, {protocol}"))
    return [block] if block.plots else []


def _slices(numbers: pl.DataFrame) -> list[Block]:
    """Popularity bias: figures of popular and of rare labels."""
    block = Block(
        "Popularity bias",
        "Recall@10 for popular labels (films that together make up 80 % of the training targets), rare ones (all others), and those that training never had.",
    )
    sliced = numbers.filter((pl.col("metric") == "recall") & (pl.col("k") == 10))
    sliced = sliced.with_columns(n_seeds=pl.col("seeds").list.len()).sort("n_seeds", descending=True)
    sliced = sliced.unique(["dataset", "protocol", "system", "slice", "slice_value"], keep="first", maintain_order=True)
    for dataset, protocol, part in _headlines(numbers):
        own = sliced.filter((pl.col("dataset") == dataset) & (pl.col("protocol") == protocol))
        wanted = _ordered(part)[:6]
        names, rows = [], []
        for key, words in _SLICES.items():
            group = own.filter((pl.col("slice") == key[0]) & (pl.col("slice_value") == key[1]))
            if group.is_empty():
                continue
            by_system = {row["system"]: row for row in group.iter_rows(named=True)}
            names.append(f"{words}\nn = {max(group['n'].to_list()):,}")
            rows.append(
                [
                    Bar(system, row["value"], row["low"], row["high"], row["is_baseline"])
                    for system in wanted
                    if (row := by_system.get(system))
                ]
            )
        if len(names) > 1:
            block.plots.append((groups(names, rows, f"Slices on {dataset}", "Recall@10"), f"{dataset}, {protocol}"))
    return [block] if block.plots else []


def _reranked(numbers: pl.DataFrame) -> list[Block]:
    """The language model's order against the retriever's, on the same candidates."""
    whole = _overall(numbers).filter(pl.col("protocol") == "llm_candidates")
    block = Block(
        "The language model's order",
        "NDCG@10 of the retriever's candidates as they came and as the language model ordered them, on the same turns. A label that is not among the candidates is a miss for both.",
    )
    for (dataset,), part in whole.sort("dataset").group_by("dataset", maintain_order=True):
        found = _at(part, "ndcg", 10)
        if found:
            rows = [
                Bar(_name(row), row["value"], row["low"], row["high"], row["is_baseline"]) for row in found.values()
            ]
            rows.sort(key=lambda bar: -bar.value)
            block.plots.append((bars(rows, f"Language model on {dataset}", "NDCG@10"), f"{dataset}, llm_candidates"))
    return [block] if block.plots else []


def _learning(log: pl.DataFrame, retrievers: pl.DataFrame) -> list[Block]:
    block = Block(
        "Learning curves", "What was watched on validation, by optimizer step; one line a system (its first seed)."
    )
    about = retrievers.select("model_id", "stage", "trained_on", "validation_metric")
    watched = log.join(about, on="model_id").filter(
        pl.col("name") == pl.concat_str(pl.lit("validation/"), pl.col("validation_metric"))
    )
    order = ["stage", "trained_on", "validation_metric"]
    for (stage, trained_on, metric), part in watched.sort(*order, "system", "seed", "step").group_by(
        *order, maintain_order=True
    ):
        series = []
        for (system,), own in part.group_by("system", maintain_order=True):
            one = own.filter(pl.col("model_id") == own["model_id"][0])
            series.append(Series(str(system), one["step"].to_list(), one["value"].to_list()))
        where = f"{stage}, trained on {trained_on}"
        block.plots.append((lines(series, f"Learning curves: {where}", "step", str(metric)), where))
    return [block] if block.plots else []


def _alignment(retrievers: pl.DataFrame, log: pl.DataFrame, rewards: pl.DataFrame) -> list[Block]:
    """Health of reinforcement learning."""
    runs = retrievers.filter(pl.col("stage") == "rl")
    if runs.is_empty():
        return []
    names = {
        "health/zero_variance_share": "Turns whose sets all have one reward",
        "health/label_share": "Sets that hold a label",
        "health/resamples": "Rounds drawn again, a turn",
        "health/jaccard": "Overlap of a turn's sets",
        "health/entropy": "Entropy of the policy",
        "health/kl_to_start": "KL to the start",
        "health/weight_change": "Change of weights",
        "health/preference_accuracy": "Pairs in the right order",
    }
    last = log.sort("step").unique(["model_id", "name"], keep="last", maintain_order=True)
    known = {(row["model_id"], row["name"]): row["value"] for row in last.iter_rows(named=True)}
    shown = {key: words for key, words in names.items() if any((run, key) in known for run in runs["model_id"])}
    asked = rewards.filter(pl.col("outcome") != "no_label").height
    block = Block(
        "Alignment with the language model",
        f"{rewards.height:,} candidate sets were drawn from the tuned LRURec, {asked:,} of them with a label, which the language model was asked to rank; "
        f"mean reward of those {_mean(rewards.filter(pl.col('has_label'))['reward'])}. Figures are of the last step logged.",
        ["Method", "Seed", "Validation at start → kept", *shown.values()],
    )
    for run in runs.iter_rows(named=True):
        start = log.filter(
            (pl.col("model_id") == run["model_id"]) & (pl.col("name") == f"validation/{run['validation_metric']}")
        )
        first = start.sort("step")["value"][0] if start.height else None
        block.rows.append(
            [
                run["system"],
                run["seed"],
                f"{_number(first)} → {_number(run['validation_value'])}",
                *(_number(known.get((run["model_id"], key))) for key in shown),
            ]
        )
    curves = log.filter(
        pl.col("name").is_in(["health/kl_to_start"]) & pl.col("model_id").is_in(runs["model_id"].to_list())
    )
    series = [
        Series(f"{system}, seed {seed}", own["step"].to_list(), own["value"].to_list())
        for (system, seed), own in curves.sort("system", "seed", "step").group_by("system", "seed", maintain_order=True)
    ]
    if series:
        block.plots.append(
            (lines(series, "KL to the starting policy", "step", "KL"), "How far each run went from where it started.")
        )
    return [block]


def _hallucination(rows: pl.DataFrame) -> list[Block]:
    if rows.is_empty():
        return []
    measures = sorted(set(rows["measure"].to_list()) - set(_FIRST_MEASURES))
    shown = [name for name in _FIRST_MEASURES if name in rows["measure"].to_list()] + measures
    block = Block(
        "What the language model made up",
        "Shares of the lines of its answers, by what they name; 95 % intervals by dialogue. Paper rule: similarity to every candidate's title under .85.",
        ["Dataset", "Candidates of", "Model", "Lines", *(name.replace("_", " ").capitalize() for name in shown)],
    )
    order = ["dataset", "system", "model", "is_stand_in", "is_thinking"]
    for key, part in rows.sort(*order).group_by(*order, maintain_order=True):
        dataset, system, model, is_stand_in, is_thinking = key
        found = {row["measure"]: row for row in part.iter_rows(named=True)}
        name = f"{model}{' (stand-in)' if is_stand_in else ''}{', thinking' if is_thinking else ''}"
        cells = [_share(found.get(measure)) for measure in shown]
        block.rows.append([dataset, system, name, f"{max(part['n'].to_list()):,}", *cells])
    return [block]


def _share(row: Mapping[str, Any] | None) -> str | Cell:
    if row is None or row["share"] is None:
        return "–"
    return Cell(f"{row['share']:.2%}", f"{row['low']:.2%} – {row['high']:.2%}" if row["low"] is not None else "")


def _tests(tests: pl.DataFrame) -> list[Block]:
    if tests.is_empty():
        return []
    block = Block(
        "Paired comparisons",
        "Differences on the same examples, by dialogue or user; corrected for the number of comparisons in a family (one dataset, protocol, metric, cut-off). Those with p < .05 after Holm first.",
        [
            "Dataset",
            "Protocol",
            "Metric",
            "System",
            "Other",
            "Difference",
            "95 % interval",
            "p",
            "p (Holm)",
            "p (Bonferroni)",
        ],
        is_folded=True,
    )
    for row in tests.sort("p_holm", "p_value", "dataset", "system", "other").head(400).iter_rows(named=True):
        block.rows.append(
            [
                row["dataset"],
                row["protocol"],
                f"{row['metric']}@{row['k']}",
                row["system"],
                row["other"],
                f"{row['difference']:+.4f}",
                f"{row['low']:+.4f} – {row['high']:+.4f}",
                *(_p(row[name]) for name in ("p_value", "p_holm", "p_bonferroni")),
            ]
        )
    return [block]


def _machines(retrievers: pl.DataFrame, index: pl.DataFrame) -> list[Block]:
    """Time and speed."""
    blocks = []
    if retrievers.height:
        block = Block(
            "Training: time and speed",
            header=[
                "System",
                "Stage",
                "Seed",
                "Preset",
                "Parameters",
                "Time",
                "Targets a second",
                "Epochs",
                "Ended by",
                "Device",
            ],
        )
        order = retrievers.sort("stage", "system", "seed", descending=[True, False, False])
        for row in order.iter_rows(named=True):
            speed = "–" if row["interactions_per_s"] is None else f"{row['interactions_per_s']:,.0f}"
            block.rows.append(
                [
                    row["system"],
                    f"{row['stage']} ({row['trained_on']})",
                    row["seed"],
                    row["preset"],
                    f"{row['parameters']:,}",
                    f"{row['train_s']:,.1f} s",
                    speed,
                    f"{row['epochs']:.1f}",
                    row["ended_by"].replace("_", " "),
                    row["device"],
                ]
            )
        blocks.append(block)
    if index.height:
        block = Block(
            "Index: latency and loss",
            "Time of one query, and the share of the 25 nearest films by exact search that the index finds.",
            [
                "Encoder",
                "Kind",
                "Films",
                "Recall of the 25 nearest",
                "Median",
                "95th percentile",
                "Exact, median",
                "Size",
                "Machine",
            ],
        )
        for row in index.iter_rows(named=True):
            block.rows.append(
                [
                    row["encoder"],
                    row["kind"],
                    f"{row['items']:,}",
                    f"{row['recall_25_share']:.4f} ({row['recall_queries']:,} queries)",
                    f"{row['latency_p50_ms']:.2f} ms",
                    f"{row['latency_p95_ms']:.2f} ms",
                    f"{row['exact_p50_ms']:.2f} ms",
                    f"{row['bytes'] / 2**20:,.1f} MiB",
                    row["machine"],
                ]
            )
        times = [
            bar
            for row in index.iter_rows(named=True)
            for bar in (
                Bar(
                    f"{row['encoder']}, {row['kind']}",
                    row["latency_p50_ms"],
                    row["latency_p50_ms"],
                    row["latency_p95_ms"],
                ),
                Bar(f"{row['encoder']}, exact", row["exact_p50_ms"], is_baseline=True),
            )
        ]
        block.plots.append(
            (
                bars(times, "Latency of a query", "ms"),
                "Median time of a query; the line reaches to the 95th percentile.",
            )
        )
        blocks.append(block)
    return blocks


def _passports(numbers: pl.DataFrame) -> list[Block]:
    if numbers.is_empty():
        return []
    left_out = max(0, numbers.height - _NUMBERS_SHOWN)
    block = Block(
        "All numbers",
        "Each number with its passport, from the table eval_ranking"
        + (f"; {left_out:,} more are in the table." if left_out else "."),
        [
            "Dataset",
            "System",
            "Metric",
            "Value",
            "95 % interval",
            "Chance",
            "n",
            "Clusters",
            "Slice",
            "Protocol",
            "Seeds",
            "Model",
        ],
        is_folded=True,
    )
    order = ["dataset", "protocol", "slice", "slice_value", "metric", "k", "system"]
    for row in numbers.sort(order).head(_NUMBERS_SHOWN).iter_rows(named=True):
        cut = "all" if row["slice"] == "all" else f"{row['slice']} = {row['slice_value']}"
        rules = f"{row['protocol']} (pool {row['pool']} of {row['pool_items']:,}, repeats {row['repeats']}, history {row['seen']}, per {row['unit']})"
        block.rows.append(
            [
                f"{row['dataset']} {row['split']}",
                _name(row),
                f"{row['metric']}@{row['k']}",
                f"{row['value']:.4f}",
                f"{row['low']:.4f} – {row['high']:.4f}",
                f"{row['chance']:.5f}",
                f"{row['n']:,}",
                f"{row['clusters']:,}",
                cut,
                rules,
                ", ".join(map(str, row["seeds"])),
                row["llm_model"] or row["model_id"] or "–",
            ]
        )
    return [block]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _mean(values: pl.Series) -> str:
    return "–" if values.is_empty() else f"{values.sum() / len(values):.3f}"


def _p(value: float) -> str:
    return "< .0001" if value < 1e-4 else f"{value:.4f}"

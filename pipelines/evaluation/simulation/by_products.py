"""What comes with the episodes: pairs and what they cost, personas and how they differ, tasks and whose they are.

Frames in, rows of eval_simulation out. Does not belong here: episodes themselves (`measures.py`), how pairs are made (pipelines/simulation).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from pipelines.evaluation.simulation.clustered import EPISODE, TARGET, USER
from pipelines.evaluation.simulation.units import ALL, PLACES, UNITS, Measure, counted, placed, rows
from pipelines.simulation.rewriting import LAMBDAS, sweep

PERSONAS_OF = ("inferred", "released", "random")

_COUNTS = (
    ("turns", "turns", "agent turns that scored {} or less (ECPO, 2.2); n: those that scored at most the highest lambda"),
    ("pairs", "kept", "pairs (ECPO, 2.2): agent turns that scored {} or less and whose rewrite was accepted and scored again; n: turns that scored at most the highest lambda"),
)  # fmt: skip


def pairs(made: pl.DataFrame, episodes: pl.DataFrame) -> list[dict[str, Any]]:
    """Pairs by lambda: how many, and the share that a second confirmation scores higher. `made`: PREF_ECPO_PAIRS; `episodes`: SIM_EPISODES."""
    targets = episodes.select("episode_id", pl.concat_str("domain", "target_item", separator=" ").alias(TARGET))
    own = made.join(targets, on="episode_id", how="inner").with_columns(pl.col("user_id").alias(USER))
    found = []
    for place, part in placed(own) if own.height else ():
        swept = {row["lambda"]: row for row in sweep(part.drop(TARGET, USER)).iter_rows(named=True)}
        for threshold in LAMBDAS:
            for name, column, told in _COUNTS:
                measure = Measure(f"{name}_at_{threshold}", told.format(threshold))
                # Out of all turns that were looked at, so that none at a low threshold is a figure, too.
                found.append(counted(place, measure, float(swept[threshold][column]), part.height, EPISODE, part))
    for threshold in LAMBDAS:
        share = Measure(
            f"improved_at_{threshold}",
            f"of the pairs whose original scored {threshold} or less, those whose rewrite a second confirmation scores higher",
        )
        low = own.filter(pl.col("score_before") <= threshold).with_columns(
            value=pl.when(pl.col("status") == "kept").then(pl.col("is_improved").cast(pl.Float64)),
            problem=pl.concat_str(pl.lit("rewrites "), pl.col("status").replace({"kept": "not scored again"})),
        )
        if low.height:
            units = low.with_columns(problem=pl.when(pl.col("value").is_null()).then("problem")).select(list(UNITS))
            found += rows(share, units)
    return found


def personas(made: pl.DataFrame) -> list[dict[str, Any]]:
    """How alike personas of one domain and origin are: the largest ROUGE-L to any other, mean and median. `made`: SIM_PERSONAS."""
    found: list[dict[str, Any]] = []
    for origin in PERSONAS_OF:
        own = made.filter(pl.col("origin") == origin).with_columns(
            *(pl.lit(ALL).alias(name) for name in PLACES if name != "domain"),
            pl.lit(None, pl.String).alias(TARGET),
            pl.concat_str("domain", "user_id", separator=" ").alias(USER),
            value=pl.col("max_rouge_l"),
            problem=pl.when(pl.col("max_rouge_l").is_null()).then(pl.lit("without another persona beside it")),
        )
        if own.is_empty():
            continue
        told = f"largest ROUGE-L (F1) of a persona to any other of its domain and of origin `{origin}`"
        mean = Measure(f"persona_rouge_l_{origin}", f"{told}; mean over personas; lower is more diverse")
        units = own.select(list(UNITS))
        found += rows(mean, units, ("domain",), (USER,))
        median = Measure(f"persona_rouge_l_median_{origin}", f"{told}; median over personas; no interval")
        for place, part in placed(units, ("domain",)):
            there = part["value"].drop_nulls()
            found.append(counted(place, median, _number(there.median()), len(there), USER, part))
    return found


def tasks(made: pl.DataFrame) -> list[dict[str, Any]]:
    """Tasks, users and targets of each split, and users that a release has in both of its splits. `made`: SIM_TASKS."""
    if made.is_empty():
        return []
    own = made.with_columns(*(pl.lit(ALL).alias(name) for name in ("agent", "simulator")))
    found = []
    for place, part in placed(own):
        both = part.filter(pl.col("is_user_in_both"))
        in_two = part.group_by("domain", "user_id").agg(pl.col("split").n_unique()).filter(pl.col("split") > 1)
        for name, number, told in (
            ("tasks", part.height, "tasks"),
            ("users", _pairs_of(part, "user_id"), "users that have tasks"),
            ("targets", _pairs_of(part, "target_item"), "distinct targets of tasks"),
            ("users_in_both_released", _pairs_of(both, "user_id"), "users of whom the release has tasks in both of its splits"),
            ("users_in_both", in_two.height, "users with tasks in both splits as they are used here; only `all` splits can have any"),
        ):  # fmt: skip
            found.append(counted(place, Measure(name, f"number of {told}"), float(number), part.height, USER))
    return found


def costs(
    calls: pl.DataFrame, ledger: pl.DataFrame, episodes: pl.DataFrame, ecpo: pl.DataFrame, trees: pl.DataFrame
) -> list[dict[str, Any]]:
    """What pairs cost beyond the episodes that they are made from: questions, tokens and USD for each pair, by ECPO and by tree sampling; and trajectories played.

    calls: SIM_CALLS; ledger: LLM_CALLS; episodes: SIM_EPISODES; ecpo: PREF_ECPO_PAIRS; trees: PREF_TREE_PAIRS. A question that several asked is shared evenly; what was answered from the cache of an earlier run still
    costs what it cost then.
    """
    asked = _priced(calls, ledger)
    found: list[dict[str, Any]] = []
    kept = {
        "ecpo": ecpo.filter(pl.col("status") == "kept").select("domain"),
        "tree": trees.filter(pl.col("chosen").is_not_null()).select("domain"),
    }
    train = episodes.filter((pl.col("split") == "train") & (pl.col("outcome") != "leaked"))
    played = {
        "ecpo": train.select("domain", n=pl.lit(1, pl.Int32)),
        "tree": trees.select("domain", n="trajectories"),
    }
    for domain in sorted({*calls["domain"].to_list(), ALL}):
        of = pl.lit(True) if domain == ALL else pl.col("domain") == domain
        place = {"domain": domain, **dict.fromkeys(("agent", "simulator", "split"), ALL)}
        for method in ("episode", "ecpo", "tree"):
            own = asked.filter(of & (pl.col("method") == method))
            if own.is_empty():
                continue
            found += _of_method(place, method, own)
            if method in kept:
                number = kept[method].filter(of).height
                found += _of_pairs(place, method, own, number, int(played[method].filter(of)["n"].sum()))
    return found


def _priced(calls: pl.DataFrame, ledger: pl.DataFrame) -> pl.DataFrame:
    """Questions with what their calls cost, tries included: tokens, usd."""
    paid = ledger.group_by("request_hash").agg(
        tokens=(pl.col("prompt_tokens").fill_null(0) + pl.col("completion_tokens").fill_null(0)).sum(),
        usd=pl.col("cost_usd").fill_null(0).sum(),
        model=pl.col("model").drop_nulls().first(),
    )
    joined = calls.join(paid, on="request_hash", how="left")
    # The same question asked twice was paid once.
    sharers = pl.len().over("request_hash")
    return joined.with_columns(
        tokens=pl.col("tokens").fill_null(0) / sharers,
        usd=pl.col("usd").fill_null(0) / sharers,
        is_stand_in=pl.col("model").fill_null("").str.starts_with("marquee-stand-in"),
    )


def _of_method(place: dict[str, str], method: str, own: pl.DataFrame) -> Iterator[dict[str, Any]]:
    told = {
        "questions": (float(own.height), "questions to the language model, from the cache or not"),
        "tokens": (float(own["tokens"].sum()), "tokens of their calls, tries included"),
        "usd": (float(own["usd"].sum()), "USD that their calls cost, tries included"),
    }
    for name, (value, words) in told.items():
        measure = Measure(
            f"{method}_{name}",
            f"{words}, for `{method}` in sim_calls; a call shared by several questions is split among them",
        )
        yield counted(place, measure, value, own.height, EPISODE, own)


def _of_pairs(
    place: dict[str, str], method: str, own: pl.DataFrame, kept: int, trajectories: int
) -> Iterator[dict[str, Any]]:
    of = "accepted rewrites" if method == "ecpo" else "turns whose samples differ in reward"
    told = {
        "pairs": (float(kept), f"pairs: {of}"),
        "trajectories": (float(trajectories), "conversations that they are made from: train episodes that did not leak for ecpo, sampled continuations for tree"),
        "questions_per_pair": (_ratio(float(own.height), kept), f"questions over pairs ({of}), the episodes' own questions left out"),
        "tokens_per_pair": (_ratio(float(own["tokens"].sum()), kept), f"tokens over pairs ({of}), the episodes' own left out"),
        "usd_per_pair": (_ratio(float(own["usd"].sum()), kept), f"USD over pairs ({of}), the episodes' own left out"),
    }  # fmt: skip
    for name, (value, words) in told.items():
        n = kept if name.endswith("_per_pair") else own.height
        yield counted(place, Measure(f"{method}_{name}", words), value, n, EPISODE, own)


def _ratio(of: float, by: int) -> float | None:
    return of / by if by else None


def _pairs_of(frame: pl.DataFrame, column: str) -> int:
    """Distinct values of a column, told apart by domain."""
    return frame.select("domain", column).unique().height


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None

"""Blocks of the report on simulated users that are about users and data: personas, likeness to people, pairs, what they cost, splits.

Belongs here: which figures stand together, in which words. Does not belong here: how figures are computed (pipelines/evaluation/simulation/), agents (`simulation_agents.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from pipelines.reporting.blocks import Block
from pipelines.reporting.plots import Bar, Series, bars, bubbles, dots, histograms, lines
from pipelines.reporting.simulation_agents import ALL, name

LAMBDAS = (1, 2, 3, 4)

_BINS = [step / 20 for step in range(21)]
_STATUSES = {
    "kept": "kept as a pair",
    "unparseable": "no single action",
    "other_action": "another action",
    "title_lost": "a title lost",
    "unknown_title": "a title that does not exist",
    "same": "not changed",
    "too_far": "changed too much",
    "empty": "empty",
    "no_answer": "no usable answer",
    "not_scored": "rewrite not scored",
}
# In the order that they are shown in; others follow.
_FIDELITY = {
    "words_per_turn": "words in a turn",
    "turns": "turns of the user in a dialogue",
    "question_rate": "share of turns that ask",
    "acceptance_rate": "share of turns that accept something",
    "rejection_rate": "share of turns that turn something down",
    "acceptance_rate_stated": "share that accept, as labelled or by policy",
    "rejection_rate_stated": "share that turn down, as labelled or by policy",
    "titles_per_turn": "titles volunteered in a turn",
    "linked_titles_per_turn": "films of the corpus volunteered in a turn",
    "type_token": "distinct words over words",
}
_METHODS = {
    "episode": "Conversations themselves",
    "ecpo": "ECPO: rewrites and second confirmations",
    "tree": "Tree sampling: replies drawn, each played to the end",
}
# Figure of a method in eval_simulation, its head in the table, and how its values are written.
_COSTS = (
    ("trajectories", "Conversations", ",.0f"),
    ("questions", "Questions", ",.0f"),
    ("tokens", "Tokens", ",.0f"),
    ("usd", "USD", ",.2f"),
    ("pairs", "Pairs", ",.0f"),
    ("questions_per_pair", "Questions per pair", ",.1f"),
    ("tokens_per_pair", "Tokens per pair", ",.0f"),
    ("usd_per_pair", "USD per pair", ",.5f"),
)
_SHORT = {"ecpo": "ECPO", "tree": "tree sampling"}
_NUMBERS_SHOWN = 3_000


def data_blocks(frames: Mapping[str, pl.DataFrame]) -> list[Block]:
    """All of them, in the order of the loop; those that have nothing to show left out."""
    blocks = [
        _personas(frames["sim_personas"]),
        _fidelity(frames["eval_simulator_fidelity"]),
        *_pairs(frames["pref_ecpo_pairs"]),
        _costs(frames["eval_simulation"]),
        _splits(frames["sim_tasks"]),
    ]
    return [block for block in blocks if not block.is_empty]


def _domains(frame: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    for (domain,), part in frame.sort("domain").group_by("domain", maintain_order=True):
        yield str(domain), part


def _personas(personas: pl.DataFrame) -> Block:
    """Diversity: how alike each persona is to its nearest neighbour (ECPO, figure 4)."""
    block = Block(
        "Diversity of personas",
        "The largest ROUGE-L of each persona to any other of the same domain and origin: the lower, the more they differ. Random ones are put together from drawn traits, for comparison.",
        ["Domain", "Origin", "Personas", "Mean", "Median", "Reviews each", "With words of another domain"],
    )
    for domain, part in _domains(personas):
        values = {}
        for (origin,), own in part.sort("origin").group_by("origin", maintain_order=True):
            known = own["max_rouge_l"].drop_nulls()
            if known.len():
                values[str(origin)] = known.to_list()
            leaky = own.filter(pl.col("foreign_words").list.len() > 0).height
            block.rows.append(
                [
                    domain,
                    origin,
                    f"{own.height:,}",
                    _number(known.mean(), ".3f"),
                    _number(known.median(), ".3f"),
                    _number(own["reviews"].mean(), ".1f"),
                    f"{leaky:,} ({leaky / own.height:.0%})",
                ]
            )
        if values:
            # In the legend's order, so that colours mean the same on every plot.
            values = {key: values[key] for key in ("inferred", "random", "released") if key in values}
            plot = histograms(values, _BINS, f"Diversity of personas, {domain}", "largest ROUGE-L to another persona")
            block.plots.append((plot, f"{domain}: distribution over personas (as ECPO, figure 4)"))
    return block


def _fidelity(rows: pl.DataFrame) -> Block:
    """Simulated users beside people."""
    block = Block(
        "Simulated users beside people",
        "Grey squares: human seekers; blue: simulated ones; 95 % intervals by dialogue. The nearer to people, the better. The table gives the largest distance of the distributions to people's (Kolmogorov–Smirnov).",
        ["Measure", "Who", "Kind", "Value", "95 % interval", "n", "Dialogues", "Distance to people"],
        has_small_plots=True,
        is_folded=True,
    )  # fmt: skip
    measures = {row[0] for row in rows.select("measure").iter_rows()}
    for measure in [*(each for each in _FIDELITY if each in measures), *sorted(measures - set(_FIDELITY))]:
        part = rows.filter(pl.col("measure") == measure).sort("kind", "population")
        words = _FIDELITY.get(measure, measure.replace("_", " "))
        points = []
        for row in part.iter_rows(named=True):
            has_interval = row["low"] is not None and row["high"] is not None
            block.rows.append(
                [
                    words,
                    row["population"],
                    row["kind"],
                    _number(row["value"], ".3g"),
                    f"{row['low']:.3g} – {row['high']:.3g}" if has_interval else "–",
                    f"{row['n']:,}",
                    f"{row['clusters']:,}",
                    _number(row["distance"], ".2f"),
                ]
            )
            if row["value"] is not None:
                points.append(Bar(row["population"], row["value"], row["low"], row["high"], row["kind"] == "human"))
        # What is known of people alone is told in the table.
        if points and not all(point.is_baseline for point in points):
            block.plots.append((dots(points, f"Fidelity: {words}", words), words.capitalize()))
    return block


def _pairs(pairs: pl.DataFrame) -> list[Block]:
    """ECPO's pairs: how many by threshold, whether rewrites are better, how far they are from the replies, and why others were dropped."""
    if pairs.is_empty():
        return []
    kept = pairs.filter(pl.col("status") == "kept")
    scored = kept.drop_nulls(["score_before", "score_after"])
    sweep = Block(
        "Pairs by threshold",
        "A reply is rewritten when its satisfaction is at most λ. Pairs: rewrites that could be used. Improved: those that a second confirmation scores higher.",
        ["Domain", "Agent", *(f"λ={most}" for most in LAMBDAS), "Scored again", "Improved", "Worse", "Mean score before → after", "Median distance"],
    )  # fmt: skip
    for (domain, agent), own in kept.sort("domain", "agent").group_by("domain", "agent", maintain_order=True):
        again = own.drop_nulls(["score_before", "score_after"])
        worse = again.filter(pl.col("score_after") < pl.col("score_before")).height
        sweep.rows.append(
            [
                domain,
                name(str(agent)),
                *(f"{_at(own, most):,}" for most in LAMBDAS),
                f"{again.height:,}",
                _share(int(again["is_improved"].sum()), again.height),
                _share(worse, again.height),
                f"{_number(again['score_before'].mean(), '.2f')} → {_number(again['score_after'].mean(), '.2f')}",
                _number(own["rewrite_distance"].median(), ".2f"),
            ]
        )
    improved = kept.filter("is_improved")
    series = [
        Series("pairs", LAMBDAS, [_at(kept, most) for most in LAMBDAS]),
        Series("of these improved", LAMBDAS, [_at(improved, most) for most in LAMBDAS]),
    ]
    plot = lines(series, "Pairs by threshold", "threshold λ", "pairs", has_whole_ticks=True)
    sweep.plots.append((plot, "All domains and agents together."))

    quality = Block(
        "What rewriting did",
        "Scores of the same judge before and after, how much of the words were changed, and what became of every reply that was to be rewritten.",
        ["Outcome", *sorted(pairs["domain"].unique()), "All"],
        has_small_plots=True,
    )
    if scored.height:
        counts = scored.group_by(pl.col("score_before").round(0), pl.col("score_after").round(0)).len()
        found = {(before, after): number for before, after, number in counts.iter_rows()}
        plot = bubbles(found, 5, "Scores before and after", "satisfaction before", "after the rewrite")
        words = f"Pairs by score, rounded; above the line: better. {int(scored['is_improved'].sum()):,} of {scored.height:,} improved."
        quality.plots.append((plot, words))
    distances = {"kept": kept, "dropped": pairs.filter(pl.col("status") != "kept")}
    known = {words: own["rewrite_distance"].drop_nulls().to_list() for words, own in distances.items()}
    known = {words: values for words, values in known.items() if values}
    if known:
        plot = histograms(
            known, _BINS, "Distance of rewrites", "distance to the reply (0: the same words)", is_small=True
        )
        quality.plots.append((plot, "Share of words that a rewrite does not have in common with the reply."))
    statuses = {
        (status, domain): number for status, domain, number in pairs.group_by("status", "domain").len().iter_rows()
    }
    for status, words in _STATUSES.items():
        numbers = [statuses.get((status, domain), 0) for domain in quality.header[1:-1]]
        if any(numbers):
            quality.rows.append([words, *(f"{number:,}" for number in numbers), f"{sum(numbers):,}"])
    return [each for each in (sweep, quality) if not each.is_empty]


def _at(pairs: pl.DataFrame, most: int) -> int:
    return pairs.filter(pl.col("score_before") <= most).height


def _costs(numbers: pl.DataFrame) -> Block:
    """What pairs cost, ECPO's beside those of tree sampling."""
    block = Block(
        "What pairs cost",
        "Questions to the language model by what they were for, with tokens and prices of the calls that answered them. ECPO scores turns while a conversation is played and rewrites some of them; tree "
        "sampling plays every sampled reply to the end. Conversations: those that ECPO's pairs come from, and those that tree sampling played in addition. Per pair: beyond the conversations that both start from.",
        ["For", *(head for _, head, _ in _COSTS)],
    )  # fmt: skip
    whole = numbers.filter(pl.all_horizontal(pl.col("agent", "simulator", "split") == ALL))
    found = {(row["domain"], row["measure"]): row["value"] for row in whole.iter_rows(named=True)}
    domains = sorted({domain for domain, _ in found} - {ALL})
    # Where there is one domain, all of them need not stand beside it.
    for domain in domains if len(domains) == 1 else [ALL, *domains]:
        asked = [method for method in _METHODS if found.get((domain, f"{method}_questions")) is not None]
        if asked:
            block.rows.append("all domains" if domain == ALL else domain)
        for method in asked:
            values = (_number(found.get((domain, f"{method}_{key}")), form) for key, _, form in _COSTS)
            block.rows.append([_METHODS[method], *values])
    costs = {method: found.get((ALL, f"{method}_questions_per_pair")) for method in _SHORT}
    points = [
        Bar(f"{_SHORT[method]} ({found[ALL, f'{method}_pairs']:,.0f} pairs)", value, is_baseline=method == "tree")
        for method, value in costs.items()
        if value is not None and found.get((ALL, f"{method}_pairs")) is not None
    ]
    if points:
        plot = bars(points, "Questions per pair", "questions to the language model per pair")
        block.plots.append((plot, "All domains; beyond the conversations that both start from."))
    return block


def _splits(tasks: pl.DataFrame) -> Block:
    """Users who stand in both splits: of the release, and of ours."""
    block = Block(
        "Users in both splits",
        "A split that shares users between train and test lets a model learn the test users. Ours is by user; a released one is as its authors made it.",
        ["Domain", "Split", "Tasks", "Train", "Test", "Users", "Users in both", "Test tasks of users who are also in train"],
    )  # fmt: skip
    for domain, part in _domains(tasks):
        released = part.drop_nulls("released_split")
        block.rows.append([domain, "here", *_overlap(part, "split")])
        if released.height:
            block.rows.append([domain, "released", *_overlap(released, "released_split")])
    return block


def _overlap(tasks: pl.DataFrame, split: str) -> list[str]:
    train, test = (tasks.filter(pl.col(split) == part) for part in ("train", "test"))
    # The release's own mark knows users whose other tasks could not be kept here.
    both = set(train["user_id"]) & set(test["user_id"])
    if split == "released_split":
        both |= set(tasks.filter("is_user_in_both")["user_id"])
    shared = test.filter(pl.col("user_id").is_in(list(both))).height
    return [
        f"{tasks.height:,}",
        f"{train.height:,}",
        f"{test.height:,}",
        f"{tasks['user_id'].n_unique():,}",
        f"{len(both):,}",
        _share(shared, test.height),
    ]


def passports(numbers: pl.DataFrame, fidelity: pl.DataFrame) -> list[Block]:
    """Every figure with how it was computed."""
    blocks = []
    if numbers.height:
        left_out = max(0, numbers.height - _NUMBERS_SHOWN)
        block = Block(
            "All numbers",
            "Each figure with its passport, from the table eval_simulation"
            + (f"; {left_out:,} more are in the table." if left_out else "."),
            ["Domain", "Agent", "Simulator", "Split", "Measure", "Value", "95 % interval", "n", "Left out", "Clusters", "Model", "How"],
            wide=["How", "Left out"],
            is_folded=True,
        )  # fmt: skip
        keys = ["domain", "simulator", "split", "measure", "agent"]
        for row in numbers.sort(keys).head(_NUMBERS_SHOWN).iter_rows(named=True):
            has_interval = row["low"] is not None and row["high"] is not None
            left = f"{row['invalid']:,}" + (f": {row['invalid_reason']}" if row["invalid_reason"] else "")
            block.rows.append(
                [
                    *(row[key] for key in ("domain", "agent", "simulator", "split", "measure")),
                    _number(row["value"], ".4f"),
                    f"{row['low']:.4f} – {row['high']:.4f}" if has_interval else "–",
                    f"{row['n']:,}",
                    left,
                    f"{row['clusters']:,} by {row['clustered_by']}",
                    f"{row['model'] or '–'}{' (stand-in)' if row['is_stand_in'] else ''}",
                    row["protocol"],
                ]
            )
        blocks.append(block)
    if fidelity.height:
        block = Block(
            "How likeness to people was measured",
            header=["Measure", "Who", "How"],
            wide=["How"],
            is_folded=True,
        )
        keys = ["measure", "kind", "population"]
        for row in fidelity.sort(keys).iter_rows(named=True):
            who = f"{row['population']}{' (stand-in)' if row['is_stand_in'] else ''}"
            block.rows.append([row["measure"], who, row["protocol"]])
        blocks.append(block)
    return blocks


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} ({part / whole:.0%})" if whole else "–"


def _number(value: Any, form: str) -> str:
    return "–" if value is None else format(value, form)

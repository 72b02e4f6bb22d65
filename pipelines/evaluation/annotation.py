"""How much was annotated by whom, how far people agree with it, and how right rules are: EVAL_ANNOTATION and its list of disagreements.

Every figure says in its protocol what is held against what. Intervals are 95 % percentile intervals of a Poisson bootstrap over
dialogues, for turns of one dialogue err together. Does not belong here: annotating (`pipelines/annotation`).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence

import numpy as np
import polars as pl

from pipelines.annotation.validation import ADJUDICATED, LABELS, settled
from pipelines.gateways.llm.runs import STAND_IN_MODEL
from warehouse.tables.annotation import (
    EVAL_ANNOTATION,
    EVAL_ANNOTATION_DISAGREEMENTS,
    NO_OPERATION,
    OPERATIONS,
    STRATEGIES,
)

DRAWS = 500
SEED = 42
MOST_EXAMPLES = 5
WILSON_Z = 1.96

# Labels of IARD (Cai and Chen, UMAP 2020) and the operations of which at least one should be found with them: an outside check of rules
# that were not written for these labels.
IARD_NOTIONS: dict[str, tuple[str, ...]] = {
    "IQU": ("search_candidates", "retrieve_preferences", "identify_constraints"),
    "CON": ("track_history", "refine_query"),
    "REF": ("refine_query",),
    "PRO": ("retrieve_preferences", "identify_constraints", "analyze_sentiment"),
    "SEE": ("filter_results", "update_beliefs"),
    "ACC": ("select_best", "analyze_sentiment"),
    "REJ": ("handle_rejection",),
    "INQ": ("query_knowledge",),
    "CRI-A": ("refine_query", "identify_constraints", "retrieve_preferences"),
    "CRI-F": ("refine_query", "identify_constraints", "analyze_sentiment"),
    "REQ": ("model_user_state", "identify_constraints"),
    "REC-S": ("select_best", "search_candidates"),
    "REC-E": ("select_best", "search_candidates"),
    "OTH": (NO_OPERATION,),
}

_TURN = ["dialogue_id", "turn"]
_GOLD_COLUMNS = ("dataset", "dialogue_id", "turn", "part", "operations", "strategy")
_STAND_IN = " The rule-based stand-in answered in place of a model for part of it: no model's result."


# ------------------------------------------------------------------------------------------------------------------- coverage


def coverage(turns: pl.DataFrame, rows: pl.DataFrame, validation: pl.DataFrame) -> pl.DataFrame:
    """HARPO's table 6 for each dataset and for all: EVAL_ANNOTATION rows.

    turns: ANNO_TURNS rows. rows: ANNO_VTO rows. validation: ANNO_VALIDATION rows. Shares are of all turns, by who would decide if no
    person had spoken; `human_share` is of turns that people have judged, as in HARPO, and `decided_by_human_share` what they hold.
    """
    judged = settled(validation, "vto").select(_TURN).with_columns(pl.lit(True).alias("is_judged"))
    answered = (
        rows.filter(pl.col("source") == "llm").group_by(_TURN).agg(pl.col("is_stand_in").any().alias("by_stand_in"))
    )
    frame = (
        turns.join(judged, on=_TURN, how="left")
        .join(answered, on=_TURN, how="left")
        .select(
            *_TURN,
            "dataset",
            pl.col("rule_confidence").is_not_null().alias("heuristic_share"),
            (pl.col("rule_confidence").is_null() & pl.col("by_stand_in").is_not_null()).alias("llm_share"),
            (pl.col("rule_confidence").is_null() & pl.col("by_stand_in").is_null()).alias("open_share"),
            pl.col("is_judged").fill_null(False).alias("human_share"),
            (pl.col("decided_by") == "human").fill_null(False).alias("decided_by_human_share"),
            pl.col("decided_by").is_not_null().alias("is_decided"),
            pl.col("operations").list.len().alias("operations"),
            pl.col("by_stand_in").fill_null(False),
        )
    )
    found = []
    for dataset, part in _by_dataset(frame):
        note = _STAND_IN if part["by_stand_in"].any() else ""
        found.append(_figure("vto", dataset, "all", "turns", part.height, part.height, "Turns annotated." + note))
        for name, words in (
            ("heuristic_share", "Turns that the rules decide, of all turns; the others they leave open."),
            ("llm_share", "Turns that the rules leave open and a model answered, of all turns."),
            ("open_share", "Turns that the rules leave open and nobody answered, of all turns."),
            ("human_share", "Turns that people have judged (agreed or adjudicated), of all turns."),
            ("decided_by_human_share", "Turns whose labels are people's, of all turns."),
        ):
            found.append(_share("vto", dataset, "all", name, part, pl.col(name), words + note))
        decided = part.filter("is_decided")
        with_some = decided.filter(pl.col("operations") > 0)
        for name, own, words in (
            ("operations_per_turn", decided, "Operations of a decided turn, small talk included with none."),
            ("operations_per_turn_with_some", with_some, "Operations of a decided turn that has any."),
        ):
            found.append(_share("vto", dataset, "all", name, own, pl.col("operations"), words + note))
    return _rows(found)


# ------------------------------------------------------------------------------------------------------------------ agreement


def agreement(validation: pl.DataFrame, kind: str) -> pl.DataFrame:
    """How far people agree with the automatic annotation as it was when the sample was drawn, and with each other: EVAL_ANNOTATION rows.

    For each label, and over all: `agreement` (share of decisions present or absent that are alike) and `kappa` (Cohen's); over all also
    `exact` (items with the same set of labels) and `overlap` (labels in common, of those that either gives). Slices `by:heuristic`, `by:llm`, by
    who had decided; `between annotators` for pairs of people who judged the same item. Items of a pair sheet have `agreement` alone.
    """
    held = settled(validation, kind).select("item_id", "dialogue_id", "labels")
    drawn = (
        validation.filter(pl.col("kind") == kind)
        .sort("imported_at")
        .unique(["item_id", "label"], keep="last", maintain_order=True)
        .group_by("item_id")
        .agg(
            pl.col("dataset", "was_by").first(),
            pl.col("label").filter(pl.col("was_present")).alias("was"),
            pl.col("made_by").str.contains(STAND_IN_MODEL, literal=True).any().fill_null(False).alias("by_stand_in"),
        )
    )
    items = held.join(drawn, on="item_id").sort("item_id")
    if kind == "pair":
        items = items.filter(~pl.col("labels").list.contains("tie"))
    found: list[dict[str, object]] = []
    automatic = "the automatic annotation when the sample was drawn, which people did not see"
    for dataset, part in _by_dataset(items):
        note = _STAND_IN if part["by_stand_in"].any() else ""
        found += _agreements(kind, dataset, "all", part, f"People (agreed or adjudicated) against {automatic}.{note}")
        for by in part["was_by"].drop_nulls().unique().sort() if kind != "pair" else ():
            own = part.filter(pl.col("was_by") == by)
            note = _STAND_IN if own["by_stand_in"].any() else ""
            words = f"People against {automatic}; turns decided by {by}.{note}"
            found += _agreements(kind, dataset, f"by:{by}", own, words, labels=False)
    if kind != "pair":
        found += _between(validation, kind)
    return _rows(found)


def disagreements(validation: pl.DataFrame, kinds: Sequence[str] = ("vto", "strategy")) -> pl.DataFrame:
    """Rules and prompts by how often people took back what they said or added what they missed: EVAL_ANNOTATION_DISAGREEMENTS rows.

    A rule's `wrong` are items where people say that its label does not hold. What nothing had said but people say stands under `(none)`,
    judged being all items where the label was absent. Sorted by the lower end of the Wilson interval.
    """
    tables = []
    for kind in kinds:
        held = settled(validation, kind).select("item_id", pl.col("labels"))
        judged = (
            validation.filter(pl.col("kind") == kind)
            .sort("imported_at")
            .unique(["item_id", "label"], keep="last", maintain_order=True)
            .join(held, on="item_id")
            .with_columns(
                pl.col("labels").list.contains(pl.col("label")).alias("holds"),
                pl.when("was_present")
                .then(pl.col("made_by").fill_null("(unknown)"))
                .otherwise(pl.lit("(none)"))
                .alias("by"),
            )
        )
        tables.append(
            judged.group_by("kind", pl.col("by").alias("made_by"), "label").agg(
                pl.len().cast(pl.Int64).alias("judged"),
                (pl.col("holds") != pl.col("was_present")).sum().cast(pl.Int64).alias("wrong"),
                pl.col("item_id")
                .filter(pl.col("holds") != pl.col("was_present"))
                .sort()
                .head(MOST_EXAMPLES)
                .alias("examples"),
            )
        )
    table = pl.concat(tables).with_columns(wilson_low(pl.col("wrong"), pl.col("judged")).alias("wrong_low"))
    return EVAL_ANNOTATION_DISAGREEMENTS.conform(
        table.sort(["wrong_low", "kind", "made_by", "label"], descending=[True, False, False, False])
    )


def wilson_low(hits: pl.Expr, number: pl.Expr) -> pl.Expr:
    """Lower end of the 95 % Wilson interval of hits / number; 0 where number is 0."""
    z2 = WILSON_Z**2
    share = hits / number
    centre = share + z2 / (2 * number)
    spread = WILSON_Z * ((share * (1 - share) + z2 / (4 * number)) / number).sqrt()
    return pl.when(number > 0).then(((centre - spread) / (1 + z2 / number)).clip(0, 1)).otherwise(0.0)


def cohen_kappa(both: float, first: float, second: float, number: float) -> float:
    """Cohen's kappa of two yes-or-no judgements: (p_o - p_e) / (1 - p_e).

    both: items with yes from both; first, second: yes from each; number: items. NaN where chance alone makes all alike.
    """
    if number <= 0:
        return float("nan")
    observed = (both + number - first - second + both) / number
    expected = (first * second + (number - first) * (number - second)) / number**2
    return float("nan") if expected >= 1 else (observed - expected) / (1 - expected)


def _agreements(
    kind: str, dataset: str, name: str, items: pl.DataFrame, words: str, *, labels: bool = True
) -> list[dict[str, object]]:
    """Figures for one group of items: item_id, dialogue_id, labels, was."""
    if items.is_empty():
        return []
    universe = LABELS[kind] if kind != "pair" else ("chosen",)
    first = np.array([[label in own for label in universe] for own in items["labels"].to_list()], dtype=bool)
    second = np.array([[label in own for label in universe] for own in items["was"].to_list()], dtype=bool)
    clusters = items["dialogue_id"].to_numpy()
    # Per item and label: alike, both yes, first yes, second yes, and one.
    parts = np.stack([first == second, first & second, first, second, np.ones_like(first)], axis=2).astype(float)
    found = []

    def add(slice_name: str, metric: str, value: float, low: float, high: float, number: int, more: str = "") -> None:
        if np.isfinite(value):
            found.append(_figure(kind, dataset, slice_name, metric, value, number, words + more, low, high))

    every = _drawn_sums(parts.sum(axis=1), clusters)
    decisions = " Each of the labels of an item is one decision." if len(universe) > 1 else ""
    add(name, "agreement", *_summary(every, lambda sums: sums[0] / sums[4]), first.size, decisions)
    if kind == "pair":
        return found
    add(
        name, "kappa", *_summary(every, lambda sums: cohen_kappa(*sums[1:5])), first.size, decisions + " Cohen's kappa."
    )
    sets = np.stack([(first == second).all(axis=1), np.ones(len(first))], axis=1).astype(float)
    add(
        name,
        "exact",
        *_summary(_drawn_sums(sets, clusters), lambda sums: sums[0] / sums[1]),
        len(first),
        " Items with the same set of labels.",
    )
    shared = np.stack([(first & second).sum(axis=1), (first | second).sum(axis=1)], axis=1).astype(float)
    add(name, "overlap", *_summary(_drawn_sums(shared, clusters), lambda sums: sums[0] / sums[1] if sums[1] else float("nan")), int(shared[:, 1].sum()), " Labels that both give, of those that either gives.")  # fmt: skip
    if labels:
        for at, label in enumerate(universe):
            if not (first[:, at].any() or second[:, at].any()):
                continue
            own = _drawn_sums(parts[:, at], clusters)
            add(label, "agreement", *_summary(own, lambda sums: sums[0] / sums[4]), len(first))
            add(label, "kappa", *_summary(own, lambda sums: cohen_kappa(*sums[1:5])), len(first), " Cohen's kappa.")
    return found


def _between(validation: pl.DataFrame, kind: str) -> list[dict[str, object]]:
    """Agreement of people with each other, over all pairs of annotators with an item in common."""
    said = (
        validation.filter((pl.col("kind") == kind) & (pl.col("annotator") != ADJUDICATED))
        .group_by("item_id", "annotator")
        .agg(pl.col("dialogue_id", "dataset").first(), pl.col("label").filter(pl.col("is_present")).alias("labels"))
    )
    other = said.select("item_id", pl.col("annotator").alias("other"), pl.col("labels").alias("was"))
    pairs = (
        said.join(other, on="item_id")
        .filter(pl.col("annotator") < pl.col("other"))
        .sort("item_id", "annotator", "other")
    )
    words = "Two annotators who judged the same item independently, before adjudication; all such pairs."
    found = []
    for row in _agreements(kind, "all", "between annotators", pairs, words):
        name = row["slice"]
        found.append(row | {"slice": name if name == "between annotators" else f"between annotators:{name}"})
    return found


# ----------------------------------------------------------------------------------------------------------------------- gold


def read_gold(content: str) -> pl.DataFrame:
    """The gold set (pipelines/evaluation/gold/vto.tsv): dataset, dialogue_id, turn, part, operations (list), strategy (null for seekers)."""
    table = pl.read_csv(io.BytesIO(content.encode()), separator="\t", infer_schema=False, quote_char=None).fill_null("")
    if tuple(table.columns) != _GOLD_COLUMNS:
        raise ValueError(f"the gold set has the columns {', '.join(_GOLD_COLUMNS)}, not {', '.join(table.columns)}")
    return table.with_columns(
        pl.col("turn").cast(pl.Int32),
        pl.col("operations").str.split("|").list.eval(pl.element().filter(pl.element() != "")),
        pl.when(pl.col("strategy") != "").then("strategy").alias("strategy"),
    )


def against_gold(gold: pl.DataFrame, turns: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Precision, recall and F1 of operations on gold turns: EVAL_ANNOTATION rows.

    gold: of `read_gold`. turns: ANNO_TURNS rows. rows: ANNO_VTO rows. Slices: `rules:<part>` (turns that the rules decide),
    `rules:<part>:<operation>`, and `final:<part>` (all gold turns with what holds; an open turn has no operation). `coverage` is the share
    that the rules decide, `exact` that of turns with just the gold's operations; its baseline is to say nothing always.
    """
    decided = turns.filter(pl.col("rule_confidence").is_not_null()).select(_TURN)
    by_rules = (
        rows.filter((pl.col("source") == "heuristic") & (pl.col("operation") != NO_OPERATION))
        .group_by(_TURN)
        .agg(pl.col("operation").unique().alias("said"))
    )
    known = gold.select("dataset", *_TURN, "part", pl.col("operations").alias("gold")).join(
        turns.select(*_TURN, "operations", "is_stand_in"), on=_TURN
    )
    ruled = (
        known.join(decided, on=_TURN).join(by_rules, on=_TURN, how="left").with_columns(pl.col("said").fill_null([]))
    )
    final = known.rename({"operations": "said"})
    covered = known.join(decided.with_columns(pl.lit(1).alias("hit")), on=_TURN, how="left").with_columns(
        pl.col("hit").fill_null(0)
    )
    hand = "One annotator's hand labels (pipelines/evaluation/gold)"
    found = []
    for dataset, part_name, all_of in _by_part(covered):
        tuned = (
            " Rules were tuned on this part."
            if part_name == "dev"
            else " Rules were not written on this part; one threshold was settled after its figures had been seen."
        )
        found.append(_share("vto", dataset, f"rules:{part_name}", "coverage", all_of, pl.col("hit"), f"Gold turns that the rules decide.{tuned}"))  # fmt: skip
        own = ruled.join(all_of.select(_TURN), on=_TURN, how="semi")
        found += _scores(
            dataset,
            f"rules:{part_name}",
            own,
            f"{hand} against the rules, on turns that the rules decide.{tuned}",
            True,
        )
        whole = final.join(all_of.select(_TURN), on=_TURN, how="semi")
        note = _STAND_IN if whole["is_stand_in"].any() else ""
        found += _scores(dataset, f"final:{part_name}", whole, f"{hand} against what holds in the end, on all gold turns; open turns count as without operation.{tuned}{note}", False)  # fmt: skip
    return _rows(found)


def _scores(dataset: str, name: str, turns: pl.DataFrame, words: str, by_label: bool) -> list[dict[str, object]]:
    """Micro-averaged precision, recall and F1, and exact matches, of `said` against `gold`."""
    if turns.is_empty():
        return []
    gold = np.array([[label in own for label in OPERATIONS] for own in turns["gold"].to_list()], dtype=bool)
    said = np.array([[label in own for label in OPERATIONS] for own in turns["said"].to_list()], dtype=bool)
    clusters = turns["dialogue_id"].to_numpy()
    counts = np.stack([gold & said, said, gold], axis=2).astype(float)
    found = []

    def add(slice_name: str, own: np.ndarray, numbers: tuple[int, int]) -> None:
        sums = _drawn_sums(own, clusters)
        for metric, number, formula in (
            ("precision", numbers[0], lambda s: s[0] / s[1] if s[1] else float("nan")),
            ("recall", numbers[1], lambda s: s[0] / s[2] if s[2] else float("nan")),
            ("f1", sum(numbers), lambda s: 2 * s[0] / (s[1] + s[2]) if s[1] + s[2] else float("nan")),
        ):
            value, low, high = _summary(sums, formula)
            if np.isfinite(value):
                found.append(_figure("vto", dataset, slice_name, metric, value, number, words, low, high))

    add(name, counts.sum(axis=1), (int(said.sum()), int(gold.sum())))
    exact = np.stack([(gold == said).all(axis=1), np.ones(len(gold))], axis=1).astype(float)
    value, low, high = _summary(_drawn_sums(exact, clusters), lambda s: s[0] / s[1])
    silent = float((~gold.any(axis=1)).mean())
    found.append(
        _figure(
            "vto",
            dataset,
            name,
            "exact",
            value,
            len(gold),
            words + " Turns with just these operations.",
            low,
            high,
            silent,
        )
    )
    if by_label and dataset == "all":
        for at, label in enumerate(OPERATIONS):
            add(f"{name}:{label}", counts[:, at], (int(said[:, at].sum()), int(gold[:, at].sum())))
    return found


def against_iard(labels: pl.DataFrame, turns: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """How often rules find an operation that goes with IARD's label of a turn, on turns that they decide: slices `iard:<label>`.

    labels: CORE_TURN_LABELS rows. The baseline is the share among all decided turns of IARD, whatever their label.
    """
    decided = turns.filter((pl.col("dataset") == "iard") & pl.col("rule_confidence").is_not_null()).select(_TURN)
    said = (
        rows.filter(pl.col("source") == "heuristic")
        .join(decided, on=_TURN)
        .group_by(_TURN)
        .agg(pl.col("operation").unique())
    )
    found = []
    for label, wanted in IARD_NOTIONS.items():
        hits = said.with_columns(pl.col("operation").list.set_intersection(list(wanted)).list.len().gt(0).alias("hit"))
        own = hits.join(
            labels.filter((pl.col("scheme") == "iard_sub_intent") & (pl.col("label") == label)).select(_TURN).unique(),
            on=_TURN,
        )
        if own.height:
            words = f"Turns that IARD's annotators labelled {label} and rules decide: whether rules give {' or '.join(wanted)}. Baseline: the share among all decided turns of IARD."
            found.append(
                _share("vto", "iard", f"iard:{label}", "recall", own, pl.col("hit"), words)
                | {"baseline": float(hits["hit"].mean())}  # type: ignore[arg-type]
            )
    return _rows(found)


# ----------------------------------------------------------------------------------------------------------------- strategies


def strategies(rows: pl.DataFrame, gold: pl.DataFrame | None = None) -> pl.DataFrame:
    """How right rules and model are about strategies, against datasets' labels (and the gold set): EVAL_ANNOTATION rows.

    rows: ANNO_STRATEGY rows of all sources. Slices: `rules:dev` are dialogues on which the rules' confidences were fitted (the id's
    SHA-256 begins with an even byte), `rules:test` the others; `rules:<part>:<strategy>`. `coverage`: turns with a rule's strategy that is sure enough;
    `accuracy`: of those, right; `macro_f1` counts turns that are left open as missed. Baseline: the most frequent strategy. Also the
    share of turns by source, for each dataset.
    """
    found = []
    for dataset, part in _by_dataset(rows.filter("is_chosen").unique([*_TURN, "source"])):
        note = _STAND_IN if part["is_stand_in"].any() else ""
        for source in ("dataset", "heuristic", "llm", "human"):
            hit = (pl.col("source") == source).cast(pl.Float64)
            found.append(_share("strategy", dataset, "all", f"{source}_share", part, hit, f"Recommender turns with a strategy whose strategy is from {source}, of those with any.{note}"))  # fmt: skip
    by_rules = _sure(rows)
    stated = rows.filter((pl.col("source") == "dataset") & (pl.col("position") == 0))
    truths = [("the dataset's annotators", stated.select("dataset", *_TURN, pl.col("strategy").alias("gold")).with_columns(_part(stated["dialogue_id"])), "")]  # fmt: skip
    if gold is not None:
        hand = gold.filter(pl.col("strategy").is_not_null())
        truths.append(("one annotator's hand labels (pipelines/evaluation/gold)", hand.select("dataset", *_TURN, pl.col("strategy").alias("gold"), "part"), ":gold"))  # fmt: skip
    for words, truth, suffix in truths:
        known = truth.join(by_rules, on=_TURN, how="left")
        for dataset, part_name, own in _by_part(known, all_too=bool(suffix)):
            tuned = "confidences fitted on this part" if part_name == "dev" else "nothing tuned on this part"
            found += _strategy_scores(dataset, f"rules{suffix}:{part_name}", own, f"Rules against {words}; {tuned}.")
    return _rows(found)


def _sure(rows: pl.DataFrame) -> pl.DataFrame:
    from pipelines.annotation.rulebook import rulebook

    least = pl.lit(rulebook("strategy").confidence_min, dtype=pl.Float32)
    return rows.filter(
        (pl.col("source") == "heuristic") & (pl.col("position") == 0) & (pl.col("confidence") >= least)
    ).select(*_TURN, pl.col("strategy").alias("said"))


def _strategy_scores(dataset: str, name: str, turns: pl.DataFrame, words: str) -> list[dict[str, object]]:
    gold, said = turns["gold"].to_numpy(), turns["said"].fill_null("").to_numpy()
    clusters = turns["dialogue_id"].to_numpy()
    answered, right = said != "", gold == said
    label, count = turns["gold"].value_counts(sort=True).row(0)
    majority = count / len(gold)
    sums = _drawn_sums(np.stack([right & answered, answered, np.ones(len(gold))], axis=1).astype(float), clusters)
    found = []
    for metric, number, formula, baseline, more in (
        ("coverage", len(gold), lambda s: s[1] / s[2], None, " Turns for which the rules are sure enough."),
        ("accuracy", int(answered.sum()), lambda s: s[0] / s[1] if s[1] else float("nan"), majority, f" Of turns that the rules decide; baseline: always {label}."),
        ("accuracy_of_all", len(gold), lambda s: s[0] / s[2], majority, f" Turns left open count as wrong; baseline: always {label}."),
    ):  # fmt: skip
        value, low, high = _summary(sums, formula)
        if np.isfinite(value):
            found.append(_figure("strategy", dataset, name, metric, value, number, words + more, low, high, baseline))
    kinds = [each for each in STRATEGIES if (gold == each).any()]
    per = np.stack([np.stack([(gold == k) & (said == k), said == k, gold == k], axis=1) for k in kinds], axis=1).astype(
        float
    )
    flat = _drawn_sums(per.reshape(len(gold), -1), clusters)

    def macro(s: np.ndarray) -> float:
        own = s.reshape(-1, 3)
        return float(np.mean(2 * own[:, 0] / np.maximum(own[:, 1] + own[:, 2], 1e-12)))

    alone = 2 * majority / (1 + majority) / len(kinds)
    found.append(_figure("strategy", dataset, name, "macro_f1", *_first(_summary(flat, macro)), len(gold), words + " Mean over the strategies that occur; turns left open count as missed.", *_rest(_summary(flat, macro)), alone))  # fmt: skip
    for at, kind in enumerate(kinds):
        own = _drawn_sums(per[:, at], clusters)
        for metric, number, formula in (
            ("precision", int(per[:, at, 1].sum()), lambda s: s[0] / s[1] if s[1] else float("nan")),
            ("recall", int(per[:, at, 2].sum()), lambda s: s[0] / s[2] if s[2] else float("nan")),
        ):
            value, low, high = _summary(own, formula)
            if np.isfinite(value):
                found.append(_figure("strategy", dataset, f"{name}:{kind}", metric, value, number, words, low, high))
    return found


def _part(dialogues: pl.Series) -> pl.Series:
    """dev or test by the first byte of the id's SHA-256: the split that the rules' confidences were fitted on."""
    names = {
        each: "dev" if hashlib.sha256(each.encode()).digest()[0] % 2 == 0 else "test" for each in dialogues.unique()
    }
    return dialogues.replace_strict(names, return_dtype=pl.String).alias("part") if names else dialogues.alias("part")


# ------------------------------------------------------------------------------------------------------------------ bootstrap


def _drawn_sums(values: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Sums of the columns of `values` [n, k]: row 0 as they are, DRAWS rows with Poisson weights of the clusters."""
    _, at = np.unique(clusters, return_inverse=True)
    totals = np.zeros((at.max() + 1 if len(at) else 0, values.shape[1]))
    for column in range(values.shape[1]):
        totals[:, column] = np.bincount(at, values[:, column], len(totals))
    weights = np.random.default_rng(SEED).poisson(1.0, (DRAWS, len(totals)))
    return np.vstack([totals.sum(axis=0, keepdims=True), weights @ totals])


def _summary(sums: np.ndarray, formula) -> tuple[float, float, float]:
    """(value, lower, upper end of its 95 % interval) of a formula of sums."""
    with np.errstate(all="ignore"):
        values = np.array([formula(row) for row in sums], dtype=float)
    drawn = values[1:][np.isfinite(values[1:])]
    if not len(drawn):
        return float(values[0]), float("nan"), float("nan")
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(values[0]), float(low), float(high)


def _first(summary: tuple[float, float, float]) -> tuple[float]:
    return summary[:1]


def _rest(summary: tuple[float, float, float]) -> tuple[float, float]:
    return summary[1:]


def _share(
    kind: str, dataset: str, name: str, metric: str, turns: pl.DataFrame, hit: pl.Expr, words: str
) -> dict[str, object]:
    """Mean of `hit` over turns, with its interval."""
    values = turns.select(hit.cast(pl.Float64)).to_series().to_numpy()
    if not len(values):
        return _figure(kind, dataset, name, metric, float("nan"), 0, words)
    sums = _drawn_sums(np.stack([values, np.ones(len(values))], axis=1), turns["dialogue_id"].to_numpy())
    value, low, high = _summary(sums, lambda s: s[0] / s[1] if s[1] else float("nan"))
    return _figure(kind, dataset, name, metric, value, len(values), words, low, high)


def _figure(
    kind: str, dataset: str, name: str, metric: str, value: float, number: int, words: str,
    low: float | None = None, high: float | None = None, baseline: float | None = None,
) -> dict[str, object]:  # fmt: skip
    ends = [None if end is None or not np.isfinite(end) else float(end) for end in (low, high)]
    return {
        "kind": kind, "dataset": dataset, "slice": name, "metric": metric, "value": float(value), "ci_low": ends[0], "ci_high": ends[1],
        "n": number, "baseline": baseline, "protocol": words,
    }  # fmt: skip


def _rows(found: Sequence[dict[str, object]]) -> pl.DataFrame:
    kept = [row for row in found if np.isfinite(row["value"])]  # type: ignore[call-overload]
    return EVAL_ANNOTATION.conform(pl.DataFrame(kept, schema=dict(EVAL_ANNOTATION.schema), orient="row"))


def _by_dataset(frame: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    names = frame["dataset"].unique().sort().to_list()
    each = [(name, frame.filter(pl.col("dataset") == name)) for name in names]
    return each + ([("all", frame)] if names else [])


def _by_part(frame: pl.DataFrame, all_too: bool = True) -> list[tuple[str, str, pl.DataFrame]]:
    """(dataset, part, rows) for each dataset (and all of them) and each part."""
    groups = [each for each in _by_dataset(frame) if all_too or each[0] != "all"]
    return [
        (dataset, part, own.filter(pl.col("part") == part))
        for dataset, own in groups
        for part in own["part"].unique().sort().to_list()
    ]

"""Contracts of the evaluation of rankings: numbers with their passports, paired tests, and the report."""

from __future__ import annotations

import polars as pl

from warehouse.contracts import Column, Table
from warehouse.tables.dialogues import SPLITS
from warehouse.tables.titles import STRINGS

GROUP = "eval"

METRICS = ("recall", "ndcg", "mrr", "hit_rate")
# Rankings that need no learning; every figure of a retriever stands beside theirs.
BASELINES = ("random", "popularity", "copy_last", "markov")
POOLS = ("full", "uniform_99", "popularity_99", "llm_candidates", "vocabulary")

_PROTOCOL = (
    Column("dataset", pl.String, "MovieLens release or dialogue dataset.", nullable=False),
    Column("dataset_files", STRINGS, "Files of the dataset.", nullable=False),
    Column("dataset_hash", pl.String, "Hash of the examples evaluated on.", nullable=False),
    Column("setting", pl.String, "leave_one_out, sessions or dialogues.", nullable=False),
    Column("split", pl.String, "Part of the data.", nullable=False, allowed=SPLITS),
    Column(
        "protocol", pl.String, "Name of the protocol (pipelines/evaluation/ranking/protocols.toml).", nullable=False
    ),
    Column("pool", pl.String, "What a label is ranked among.", nullable=False, allowed=POOLS),
    Column(
        "repeats",
        pl.String,
        "Labels that are in the history: kept or dropped.",
        nullable=False,
        allowed=("kept", "dropped"),
    ),
    Column(
        "seen",
        pl.String,
        "Films of the history in the ranked list: kept or masked.",
        nullable=False,
        allowed=("kept", "masked"),
    ),
    Column("unit", pl.String, "What is averaged over: labels or turns.", nullable=False, allowed=("label", "turn")),
    Column(
        "gold",
        pl.String,
        "single: each label by itself; ideal: the labels of a turn together, NDCG against their best order.",
        nullable=False,
        allowed=("single", "ideal"),
    ),
    Column(
        "matcher",
        pl.String,
        "How answers were matched to films: id, or the title matcher and its version.",
        nullable=False,
    ),
    Column("metric", pl.String, "Metric.", nullable=False, allowed=METRICS),
    Column("k", pl.Int32, "Cut-off.", nullable=False, minimum=1),
)

EVAL_RANKING = Table(
    name="eval_ranking",
    meaning="Figures of ranking: one row a number, with its protocol passport.",
    group=GROUP,
    key=("number_id",),
    sort_by=("dataset", "protocol", "system", "metric", "k"),
    columns=(
        Column("number_id", pl.String, "Hash of the passport.", nullable=False, pattern="[0-9a-f]{16}"),
        Column("system", pl.String, "Retriever, baseline, or retriever and language model.", nullable=False),
        Column("is_baseline", pl.Boolean, "Whether it is one of the trivial baselines.", nullable=False),
        Column("model_id", pl.String, "Weights; null for baselines, and for means over seeds."),
        Column("seeds", pl.List(pl.Int32), "Seeds that the number is a mean over.", nullable=False),
        *_PROTOCOL,
        Column("slice", pl.String, "Which examples: all, unseen_in_training, tail, decade, turn.", nullable=False),
        Column("slice_value", pl.String, "Value of the slice; `all` for all.", nullable=False),
        Column("value", pl.Float64, "The number.", nullable=False, minimum=0, maximum=1),
        Column(
            "low",
            pl.Float64,
            "Lower end of the 95 % interval, clustered by dialogue or user.",
            nullable=False,
            minimum=0,
            maximum=1,
        ),
        Column("high", pl.Float64, "Its upper end.", nullable=False, minimum=0, maximum=1),
        Column("interval", pl.String, "How the interval was made.", nullable=False),
        Column("n", pl.Int64, "Labels or turns averaged over.", nullable=False, minimum=1),
        Column("clusters", pl.Int64, "Dialogues or users.", nullable=False, minimum=1),
        Column("chance", pl.Float64, "What a random order would give.", nullable=False, minimum=0, maximum=1),
        Column("pool_items", pl.Int64, "Films in the pool.", nullable=False, minimum=1),
        Column("llm_model", pl.String, "Language model that ranked, if one did."),
        Column("is_stand_in", pl.Boolean, "Whether the rule-based stand-in ranked, which is no model.", nullable=False),
        Column("corpus_version", pl.Int64, "Version of core_movies.", nullable=False, minimum=0),
        Column("protocol_version", pl.String, "Version of the code that computes the numbers.", nullable=False),
    ),
)

EVAL_RANKING_TESTS = Table(
    name="eval_ranking_tests",
    meaning="Paired comparisons of systems on the same examples, corrected for their number.",
    group=GROUP,
    key=("test_id",),
    sort_by=("dataset", "protocol", "metric", "k"),
    columns=(
        Column("test_id", pl.String, "Hash of what is compared.", nullable=False, pattern="[0-9a-f]{16}"),
        Column("system", pl.String, "The one.", nullable=False),
        Column("other", pl.String, "The other.", nullable=False),
        *_PROTOCOL,
        Column("difference", pl.Float64, "Mean of the one less the other.", nullable=False, minimum=-1, maximum=1),
        Column("low", pl.Float64, "95 % interval of the difference, clustered.", nullable=False, minimum=-1, maximum=1),
        Column("high", pl.Float64, "Its upper end.", nullable=False, minimum=-1, maximum=1),
        Column("n", pl.Int64, "Paired labels or turns.", nullable=False, minimum=1),
        Column("clusters", pl.Int64, "Dialogues or users.", nullable=False, minimum=1),
        Column("seeds", pl.List(pl.Int32), "Seeds averaged over.", nullable=False),
        Column(
            "p_value", pl.Float64, "Two-sided, of a paired t-test on clusters.", nullable=False, minimum=0, maximum=1
        ),
        Column(
            "p_bonferroni", pl.Float64, "Times the number of tests of the family.", nullable=False, minimum=0, maximum=1
        ),
        Column("p_holm", pl.Float64, "By Holm's step-down.", nullable=False, minimum=0, maximum=1),
        Column(
            "family",
            pl.Int64,
            "Tests in the family: one dataset, protocol, metric and cut-off.",
            nullable=False,
            minimum=1,
        ),
    ),
)


def report_table(name: str, meaning: str) -> Table:
    """Contract of a report: a page kept as a file."""
    return Table(
        name=name,
        meaning=meaning,
        group=GROUP,
        key=("name",),
        columns=(
            Column("name", pl.String, "Which report.", nullable=False),
            Column("path", pl.String, "File, relative to the warehouse's folder.", nullable=False),
            Column("sha256", pl.String, "Hash of the file.", nullable=False, pattern="[0-9a-f]{64}"),
            Column("bytes", pl.Int64, "Its size.", unit="bytes", nullable=False, minimum=1),
            Column("figures", pl.Int32, "Plots in it.", nullable=False, minimum=0),
            Column("made_from", pl.String, "Versions of the tables it shows, as JSON.", nullable=False),
        ),
    )


REPORT_RETRIEVAL = report_table("report_retrieval", "The report on retrieval: one HTML file that needs no server.")

TABLES = (EVAL_RANKING, EVAL_RANKING_TESTS, REPORT_RETRIEVAL)

"""Contracts of what is measured on simulated conversations: agents, simulators, pairs, and the page that shows it."""

from __future__ import annotations

import polars as pl

from warehouse.contracts import Column, Table
from warehouse.tables.ranking_evaluation import report_table
from warehouse.tables.simulation import SIM_DOMAINS

GROUP = "eval"

EVAL_SIMULATION = Table(
    name="eval_simulation",
    meaning="Figures of simulated conversations: success, retrieval, turns, satisfaction, wins, RSO's measures, pairs and what they cost, each with its denominator and interval.",
    group=GROUP,
    key=("domain", "agent", "simulator", "split", "measure"),
    sort_by=("domain", "agent", "simulator", "split", "measure"),
    columns=(
        Column("domain", pl.String, "Domain, or `all`.", nullable=False, allowed=(*SIM_DOMAINS, "all")),
        Column("agent", pl.String, "Agent, or `all`; a baseline's name where it is one.", nullable=False),
        Column("simulator", pl.String, "Simulated user, or `all`.", nullable=False),
        Column("split", pl.String, "train, test or `all`.", nullable=False),
        Column(
            "measure",
            pl.String,
            "success, retrieved, turns_to_success, win_rate, position_bias, watching_intention, persuasiveness, credibility, conv_sr, rec_sr, pairs_at_1 ...",
            nullable=False,
        ),
        Column("value", pl.Float64, "The figure; null where nothing could be measured."),
        Column("low", pl.Float64, "95 % interval, clustered by target and by user: the wider of the two."),
        Column("high", pl.Float64, "Its upper end."),
        Column("n", pl.Int64, "Units in the denominator.", nullable=False, minimum=0),
        Column("invalid", pl.Int64, "Units left out of it.", nullable=False, minimum=0),
        Column("invalid_reason", pl.String, "Why they are left out, or how they are counted."),
        Column("clusters", pl.Int64, "Clusters of the interval that was taken.", nullable=False, minimum=0),
        Column("clustered_by", pl.String, "target, user or episode.", nullable=False),
        Column("is_stand_in", pl.Boolean, "Whether the rule-based stand-in made any of it.", nullable=False),
        Column("model", pl.String, "Language models that it rests on; null for none."),
        Column("protocol", pl.String, "How it is computed.", nullable=False),
    ),
)

EVAL_SIMULATOR_FIDELITY = Table(
    name="eval_simulator_fidelity",
    meaning="Simulated users beside people: how long their turns are, how often they ask, accept, reject and volunteer titles.",
    group=GROUP,
    key=("population", "kind", "measure"),
    sort_by=("measure", "kind", "population"),
    columns=(
        Column("population", pl.String, "Who: `redial`, `inspired`, `ailo film`, `seeker film`, ...", nullable=False),
        Column("kind", pl.String, "human or simulated.", nullable=False, allowed=("human", "simulated")),
        Column(
            "measure",
            pl.String,
            "words_per_turn, turns, question_rate, acceptance_rate, rejection_rate, titles_per_turn, ...",
            nullable=False,
        ),
        Column("value", pl.Float64, "The figure."),
        Column("low", pl.Float64, "95 % interval, clustered by dialogue."),
        Column("high", pl.Float64, "Its upper end."),
        Column("n", pl.Int64, "Turns or dialogues in the denominator.", nullable=False, minimum=0),
        Column("clusters", pl.Int64, "Dialogues.", nullable=False, minimum=0),
        Column(
            "distance",
            pl.Float64,
            "Largest difference of the distributions to people's (Kolmogorov-Smirnov); null for people.",
            minimum=0,
            maximum=1,
        ),
        Column("is_stand_in", pl.Boolean, "Whether the rule-based stand-in spoke.", nullable=False),
        Column("protocol", pl.String, "How it is computed.", nullable=False),
    ),
)

REPORT_SIMULATION = report_table(
    "report_simulation", "The report on simulated conversations: one HTML file that needs no server."
)

TABLES = (EVAL_SIMULATION, EVAL_SIMULATOR_FIDELITY, REPORT_SIMULATION)

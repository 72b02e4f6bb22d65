"""Contracts of the language model's stage of retrieval: what it made of candidates, what it invented, and rewards.

Source: RAR (sections 3.3 and A.2, figure 5).
"""

from __future__ import annotations

import polars as pl

from warehouse.contracts import Column, Table
from warehouse.tables.dialogues import DATASET, DIALOGUE, SPLIT, TURN
from warehouse.tables.interactions import IN_REC_TURNS
from warehouse.tables.titles import STRINGS

GROUP = "retrieval"

# Kinds of answer to "which of the candidates is this line".
LINE_KINDS = ("candidate", "repeated", "not_a_candidate", "not_in_corpus", "real_but_missing", "unparseable")

# `similarity`: of the line to the most similar candidate's title, 0..1. `is_dissimilar`: it is under .85, RAR's rule for a hallucination. Both are
# null where a line cannot be read.
LINES = pl.List(
    pl.Struct(
        {
            "rank": pl.Int64,
            "text": pl.String,
            "kind": pl.String,
            "movie_id": pl.String,
            "similarity": pl.Float64,
            "is_dissimilar": pl.Boolean,
            "reason": pl.String,
        }
    )
)

_MODEL = Column("model", pl.String, "Language model that ranked.", nullable=False)
_IS_STAND_IN = Column(
    "is_stand_in", pl.Boolean, "Whether the rule-based stand-in answered, which is no model.", nullable=False
)
_PROMPT = Column("prompt_version", pl.String, "Name and version of the prompt.", nullable=False)

LLM_RANKINGS = Table(
    name="llm_rankings",
    meaning="Candidates as the language model ranked them, line by line, with the reason for every line that could not be used.",
    group=GROUP,
    key=("system", "seed", "dialogue_id", "turn"),
    sort_by=("system", "seed", "dialogue_id", "turn"),
    foreign_keys=(IN_REC_TURNS,),
    columns=(
        Column("system", pl.String, "Retriever whose candidates were ranked.", nullable=False),
        Column("retriever_id", pl.String, "Its weights; null for baselines.", pattern="[0-9a-f]{16}"),
        Column("seed", pl.Int32, "Its seed.", nullable=False),
        DIALOGUE,
        TURN,
        DATASET,
        SPLIT,
        Column("candidates", STRINGS, "Films shown to the model, in the retriever's order.", nullable=False),
        Column("labels", STRINGS, "Films to be found.", nullable=False),
        Column("ranked", STRINGS, "Candidates in the model's order, those it left out not among them.", nullable=False),
        Column("lines", LINES, "Each line of the answer: what it was taken for, and why.", nullable=False),
        Column(
            "outcome",
            pl.String,
            "answered; empty: no line names a candidate; no_answer: the model refused, or never kept to the form.",
            nullable=False,
            allowed=("answered", "empty", "no_answer"),
        ),
        Column("problem", pl.String, "What went wrong where there is no list."),
        _MODEL,
        _IS_STAND_IN,
        _PROMPT,
        Column("is_thinking", pl.Boolean, "Whether the model was let think.", nullable=False),
        Column("request_hash", pl.String, "The request, as in llm_calls.", nullable=False),
    ),
)

RL_REWARDS = Table(
    name="rl_rewards",
    meaning="Sampled candidate sets and their frozen reward: the NDCG of the labels in the language model's ranking.",
    group=GROUP,
    key=("policy_id", "dialogue_id", "turn", "round", "draw"),
    sort_by=("policy_id", "dialogue_id", "turn", "round", "draw"),
    foreign_keys=(IN_REC_TURNS,),
    columns=(
        Column(
            "policy_id",
            pl.String,
            "model_id of the retriever that the set was drawn from.",
            nullable=False,
            pattern="[0-9a-f]{16}",
        ),
        DIALOGUE,
        TURN,
        DATASET,
        SPLIT,
        Column(
            "round",
            pl.Int32,
            "Round of sampling, from 0; rounds after the first are resamples of turns where no set held a label.",
            nullable=False,
            minimum=0,
        ),
        Column("draw", pl.Int32, "Number of the set in its round, from 0.", nullable=False, minimum=0),
        Column("candidates", STRINGS, "The films in the order they were drawn (Plackett-Luce).", nullable=False),
        Column(
            "log_prob",
            pl.Float64,
            "Log-likelihood of the draw under the policy it was drawn from.",
            nullable=False,
            maximum=0,
        ),
        Column("has_label", pl.Boolean, "Whether a label is in the set.", nullable=False),
        Column(
            "label_rank",
            pl.Int32,
            "Best place of a label in the model's list, from 1; null where it is not in it.",
            minimum=1,
        ),
        Column(
            "reward",
            pl.Float64,
            "NDCG of the labels in the model's list, cut at the set's size.",
            nullable=False,
            minimum=0,
            maximum=1,
        ),
        Column(
            "outcome",
            pl.String,
            "As in llm_rankings; no_label: the set holds none, so its reward is 0 whatever the order, and the model was not asked.",
            nullable=False,
            allowed=("answered", "empty", "no_answer", "no_label"),
        ),
        _MODEL,
        _IS_STAND_IN,
        _PROMPT,
        Column("request_hash", pl.String, "The request, as in llm_calls; null where the model was not asked."),
    ),
)

EVAL_HALLUCINATION = Table(
    name="eval_hallucination",
    meaning="What the language model named that was not among the candidates: shares by kind, with intervals.",
    group="eval",
    key=("dataset", "system", "model", "prompt_version", "is_thinking", "measure"),
    columns=(
        DATASET,
        Column(
            "system", pl.String, "Retriever whose candidates were ranked, or the recorded lists' name.", nullable=False
        ),
        _MODEL,
        _IS_STAND_IN,
        _PROMPT,
        Column("is_thinking", pl.Boolean, "Whether the model was let think.", nullable=False),
        Column(
            "measure",
            pl.String,
            "A kind of line; any_hallucination: lines that are no candidate, repeated ones apart; paper_rule: similarity to every candidate under .85, of lines that can be read.",
            nullable=False,
        ),
        Column("lines", pl.Int64, "Lines of that kind.", nullable=False, minimum=0),
        Column("n", pl.Int64, "Lines in all.", nullable=False, minimum=0),
        Column("share", pl.Float64, "Their share; null where it cannot be known.", nullable=True, minimum=0, maximum=1),
        Column("low", pl.Float64, "95 % interval, clustered by dialogue.", minimum=0, maximum=1),
        Column("high", pl.Float64, "Its upper end.", minimum=0, maximum=1),
        Column("clusters", pl.Int64, "Dialogues.", nullable=False, minimum=0),
    ),
)

TABLES = (LLM_RANKINGS, RL_REWARDS, EVAL_HALLUCINATION)

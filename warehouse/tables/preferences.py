"""Contracts of preference data: one store of pairs, and views in the shapes that TRL's trainers take."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from warehouse.contracts import Column, Table
from warehouse.tables.dialogues import DATASETS, DIALOGUE, DOMAIN, DOMAINS, IN_TURNS, SPLIT, TURN
from warehouse.tables.titles import STRINGS

GROUP = "pref"

# CHARM's dimensions (HARPO, section 3.3).
DIMENSIONS = ("relevance", "diversity", "satisfaction", "engagement")

CONSTRUCTIONS = (
    "items_removed",  # HARPO 1: gold against itself without the recommended items
    "items_replaced",  # HARPO 1: gold against itself with irrelevant items
    "llm_quality",  # HARPO 2: the same model, prompted for high and for low quality at two temperatures
    "human",  # HARPO 3: what a person preferred among the two of a sampled pair
    "questionnaire",  # ReDial's two-sided questionnaire: a film that was liked over one that was not
    "ecpo_rewrite",  # ECPO, 2.2: the rewrite of a simulated conversation's reply over the reply, where it scores higher
)

# What pairs of simulated conversations have for a dataset. It is none that is read, so no partition either.
SIMULATION = "simulation"

DATASET = Column(
    "dataset",
    pl.String,
    "Dataset the conversation is from; `simulation` for simulated ones.",
    nullable=False,
    allowed=(*DATASETS, SIMULATION),
)

MESSAGES = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))

PREF_PAIRS = Table(
    name="pref_pairs",
    meaning="Preference pairs: a context, the answer that is better and the one that is worse, why, and where they come from.",
    group=GROUP,
    key=("pair_id",),
    sort_by=("dialogue_id", "turn"),
    foreign_keys=(IN_TURNS,),
    columns=(
        Column(
            "pair_id",
            pl.String,
            "Hash of context, answers and construction; of simulated conversations the id in pref_ecpo_pairs.",
            nullable=False,
            pattern="[0-9a-f]{16}",
        ),
        DATASET,
        replace(DOMAIN, allowed=(*DOMAINS, "game", "business")),
        SPLIT,
        replace(DIALOGUE, meaning=f"{DIALOGUE.meaning} Null for simulated conversations.", nullable=True),
        replace(TURN, meaning=f"{TURN.meaning} Null for simulated conversations.", nullable=True),
        Column(
            "conversation_id",
            pl.String,
            "The conversation that the context is from, all those of a user for simulated ones: never in two splits.",
            nullable=False,
        ),
        Column(
            "context",
            MESSAGES,
            "The turns before, seeker as `user`, recommender as `assistant`, runs of one speaker joined.",
            nullable=False,
        ),
        Column("chosen", pl.String, "The better answer.", nullable=False),
        Column("rejected", pl.String, "The worse answer.", nullable=False),
        Column(
            "dimensions",
            STRINGS,
            "What the worse one is worse in: relevance, diversity, satisfaction, engagement.",
            nullable=False,
        ),
        Column("construction", pl.String, "How the pair was made.", nullable=False, allowed=CONSTRUCTIONS),
        Column("chosen_movie_ids", STRINGS, "Films that the better answer names.", nullable=False),
        Column("rejected_movie_ids", STRINGS, "Films that the worse answer names.", nullable=False),
        Column(
            "made_by", pl.String, "Construction's version, or the prompt; a person's name for `human`.", nullable=False
        ),
        Column("version", pl.String, "Its version.", nullable=False),
        Column(
            "model",
            pl.String,
            "Model that wrote the answers, for `llm_quality`; that wrote the better one, for `ecpo_rewrite`.",
        ),
        Column(
            "is_stand_in", pl.Boolean, "Whether the rule-based stand-in wrote them, which is no model.", nullable=False
        ),
        Column(
            "margin",
            pl.Float32,
            "How clear the preference is, where the construction says (questionnaire: 1 both sides agree, .5 one side; ecpo_rewrite: gain in satisfaction / 5).",
            minimum=0,
            maximum=1,
        ),
        Column("duplicate_of", pl.String, "The pair_id that it nearly repeats; null for the first of its kind."),
        Column("input_hash", pl.Int64, "Hash of what it was made from.", nullable=False),
    ),
)

_PROMPT = "context AS prompt"
_ANSWER = "[{{'role': 'assistant', 'content': {}}}]"
_USED = "FROM pref_pairs WHERE duplicate_of IS NULL"
_ABOUT_SQL = "pair_id, dataset, split, construction, is_stand_in"
_ABOUT = (
    Column("pair_id", pl.String, "The pair.", nullable=False),
    DATASET,
    SPLIT,
    Column("construction", pl.String, "How the pair was made.", nullable=False, allowed=CONSTRUCTIONS),
    Column("is_stand_in", pl.Boolean, "Whether the rule-based stand-in wrote it, which is no model.", nullable=False),
)
_PROMPT_COLUMN = Column("prompt", MESSAGES, "The conversation so far.", nullable=False)

PREF_DPO = Table(
    name="pref_dpo",
    meaning="Pairs as TRL's DPO trainer (and ORPO, SimPO) takes them: prompt, chosen, rejected, each a list of messages.",
    group=GROUP,
    key=("pair_id",),
    columns=(
        *_ABOUT,
        _PROMPT_COLUMN,
        Column("chosen", MESSAGES, "The better answer.", nullable=False),
        Column("rejected", MESSAGES, "The worse answer.", nullable=False),
    ),
    sql=f"SELECT {_ABOUT_SQL}, {_PROMPT}, {_ANSWER.format('chosen')} AS chosen, {_ANSWER.format('rejected')} AS rejected {_USED}",
)

PREF_REWARD = Table(
    name="pref_reward",
    meaning="Pairs as TRL's reward trainer takes them: two whole conversations.",
    group=GROUP,
    key=("pair_id",),
    columns=(
        *_ABOUT,
        Column("chosen", MESSAGES, "The conversation with the better answer.", nullable=False),
        Column("rejected", MESSAGES, "The conversation with the worse answer.", nullable=False),
        Column(
            "margin",
            pl.Float32,
            "How clear the preference is; 0, which asks for no margin, where the construction does not say.",
            nullable=False,
        ),
    ),
    sql=f"SELECT {_ABOUT_SQL}, context || {_ANSWER.format('chosen')} AS chosen, context || {_ANSWER.format('rejected')} AS rejected, coalesce(margin, 0)::FLOAT AS margin {_USED}",
)

PREF_KTO = Table(
    name="pref_kto",
    meaning="Single answers as TRL's KTO trainer takes them: prompt, completion, and whether it is a good one.",
    group=GROUP,
    key=("pair_id", "label"),
    columns=(
        *_ABOUT,
        _PROMPT_COLUMN,
        Column("completion", MESSAGES, "The answer.", nullable=False),
        Column("label", pl.Boolean, "Whether it is the better one.", nullable=False),
    ),
    sql=f"SELECT {_ABOUT_SQL}, {_PROMPT}, {_ANSWER.format('chosen')} AS completion, TRUE AS label {_USED} "
    f"UNION ALL SELECT {_ABOUT_SQL}, {_PROMPT}, {_ANSWER.format('rejected')}, FALSE {_USED}",
)

PREF_GRPO = Table(
    name="pref_grpo",
    meaning="Prompts as TRL's GRPO trainer takes them, each once, with what a reward function needs: the good answer and its films. None of simulated conversations.",
    group=GROUP,
    key=("dialogue_id", "turn"),
    columns=(
        DIALOGUE,
        TURN,
        DATASET,
        SPLIT,
        _PROMPT_COLUMN,
        Column("reference", pl.String, "A good answer.", nullable=False),
        Column("movie_ids", STRINGS, "Films that it names.", nullable=False),
    ),
    sql=f"SELECT dialogue_id, turn, dataset, split, {_PROMPT}, chosen AS reference, chosen_movie_ids AS movie_ids {_USED} "
    "AND construction <> 'questionnaire' AND NOT is_stand_in AND dialogue_id IS NOT NULL QUALIFY row_number() OVER (PARTITION BY dialogue_id, turn ORDER BY construction, pair_id) = 1",
)

EVAL_PREFERENCES = Table(
    name="eval_preferences",
    meaning="What the pairs are like: how many, near-duplicates, how much longer the better answer is.",
    group="eval",
    key=("dataset", "construction", "split", "metric"),
    columns=(
        Column("dataset", pl.String, "Dataset, or `all`.", nullable=False),
        Column("construction", pl.String, "Construction, or `all`.", nullable=False),
        Column("split", pl.String, "Split, or `all`.", nullable=False),
        Column(
            "metric",
            pl.String,
            "pairs, near_duplicates, chosen_chars, rejected_chars, chosen_longer_share, length_only_accuracy, ...",
            nullable=False,
        ),
        Column("value", pl.Float64, "The figure.", nullable=False),
        Column("ci_low", pl.Float64, "Lower end of the 95 % interval, bootstrap clustered by conversation."),
        Column("ci_high", pl.Float64, "Upper end."),
        Column("n", pl.Int64, "Pairs that the figure is computed from.", nullable=False, minimum=0),
        Column("protocol", pl.String, "How it is computed.", nullable=False),
    ),
)

TABLES = (PREF_PAIRS, PREF_DPO, PREF_REWARD, PREF_KTO, PREF_GRPO, EVAL_PREFERENCES)

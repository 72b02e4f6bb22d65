"""Contracts of the films that conversations mention: links of items and of mentions, and how good they are."""

from __future__ import annotations

import polars as pl

from warehouse.contracts import Column, ForeignKey, Table
from warehouse.tables.corpus import MOVIE_ID_PATTERN
from warehouse.tables.dialogues import DATASET, DIALOGUE, GROUP, IN_TURNS, TURN

# How a mention was found and resolved, most telling first.
MENTION_METHODS = ("id", "title_year", "hint", "free_text")

# The diseases that the lint knows.
QUARANTINE_REASONS = ("inside_word", "function_word", "year_clash", "not_a_film", "unresolved_id", "person_name")

# What a link says of its film: how the name was matched with a name of the corpus.
MATCHES = ("exact", "alias", "part", "fuzzy", "none")

PROBABILITY = Column(
    "score_prob",
    pl.Float32,
    "Calibrated probability that the link is right; of `no film`, that there is none.",
    nullable=False,
    minimum=0,
    maximum=1,
)
MOVIE = Column("movie_id", pl.String, "The film; null when the honest answer is none.", pattern=MOVIE_ID_PATTERN)
ALTERNATIVES = Column(
    "alternatives",
    pl.List(pl.Struct({"movie_id": pl.String, "score_prob": pl.Float32})),
    "The runners-up, the likeliest first, at most four.",
    nullable=False,
)
MATCH = Column(
    "match", pl.String, "How the name was matched with a name in the corpus.", nullable=False, allowed=MATCHES
)
LINKER = Column("linker_version", pl.String, "Version of the mention linker.", nullable=False)

CORE_ITEM_LINKS = Table(
    name="core_item_links",
    meaning="Which film each item of a dialogue dataset is, from its name and year alone.",
    group=GROUP,
    key=("dataset", "item_id"),
    foreign_keys=(ForeignKey(("movie_id",), "core_movies", ("movie_id",)),),
    columns=(
        DATASET,
        Column("item_id", pl.String, "The dataset's id of the item.", nullable=False),
        Column("item_name", pl.String, "Its name as the dataset states it.", nullable=False),
        MOVIE,
        PROBABILITY,
        MATCH,
        ALTERNATIVES,
        Column("is_quarantined", pl.Boolean, "Whether the lint set it aside.", nullable=False),
        Column("quarantine_reason", pl.String, "Why.", allowed=QUARANTINE_REASONS),
        LINKER,
    ),
)

CORE_MENTIONS = Table(
    name="core_mentions",
    meaning="Films mentioned in turns: where, which film, how it was found, how sure that is, and what else it could be.",
    group=GROUP,
    key=("dialogue_id", "turn", "start", "end", "method"),
    sort_by=("dialogue_id", "turn", "start"),
    foreign_keys=(IN_TURNS, ForeignKey(("movie_id",), "core_movies", ("movie_id",))),
    columns=(
        DIALOGUE,
        TURN,
        DATASET,
        Column(
            "start", pl.Int32, "Where the mention begins in core_turns.text, in characters.", nullable=False, minimum=0
        ),
        Column("end", pl.Int32, "Where it ends (exclusive).", nullable=False, minimum=0),
        Column("surface", pl.String, "The text between.", nullable=False),
        Column("item_id", pl.String, "The dataset's id of the item, where the mention comes with one."),
        MOVIE,
        PROBABILITY,
        Column("method", pl.String, "How it was found.", nullable=False, allowed=MENTION_METHODS),
        MATCH,
        ALTERNATIVES,
        Column(
            "is_quarantined", pl.Boolean, "Whether the lint set it aside: kept, and not to be used.", nullable=False
        ),
        Column("quarantine_reason", pl.String, "Why.", allowed=QUARANTINE_REASONS),
        LINKER,
    ),
)

CORE_FILM_MENTIONS = Table(
    name="core_film_mentions",
    meaning="The mentions to work with: linked to a film and not quarantined, one for each place in a text.",
    group=GROUP,
    key=("dialogue_id", "turn", "start", "end"),
    columns=CORE_MENTIONS.columns,
    sql="""
SELECT * FROM core_mentions WHERE movie_id IS NOT NULL AND NOT is_quarantined
QUALIFY row_number() OVER (PARTITION BY dialogue_id, turn, start ORDER BY score_prob DESC, "end" DESC, method) = 1
""",
)

EVAL_GROUP = "eval"

EVAL_MENTION_LINKING = Table(
    name="eval_mention_linking",
    meaning="How well mentions are linked: each figure with its truth, its size and its interval.",
    group=EVAL_GROUP,
    key=("dataset", "truth", "method", "stage", "metric"),
    columns=(
        Column("dataset", pl.String, "Dataset.", nullable=False),
        Column(
            "truth",
            pl.String,
            "What counts as right: `id2info` (noisy IMDb ids), `id2info_year_agrees` (without those that contradict the year an item states), `inspired_columns` (matched by its authors), `gold_dev` and `gold_test` (read by a person), `synthetic`.",
            nullable=False,
        ),
        Column("method", pl.String, "`all`, `item`, or a method of core_mentions.", nullable=False),
        Column("stage", pl.String, "before_lint or after_lint.", nullable=False, allowed=("before_lint", "after_lint")),
        Column("metric", pl.String, "precision, recall, f1, accuracy_at_1, mean_score_prob.", nullable=False),
        Column("value", pl.Float64, "The figure.", nullable=False),
        Column("ci_low", pl.Float64, "Lower end of the 95 % interval, bootstrap clustered by dialogue."),
        Column("ci_high", pl.Float64, "Upper end of the 95 % interval."),
        Column("n", pl.Int64, "Mentions (or items) that the figure is computed from.", nullable=False, minimum=0),
        Column("clusters", pl.Int64, "Dialogues they stand in.", nullable=False, minimum=0),
        Column("protocol", pl.String, "What was hidden, what was left out, in words.", nullable=False),
        LINKER,
    ),
)

EVAL_MENTION_DISAGREEMENTS = Table(
    name="eval_mention_disagreements",
    meaning="Where linking and a truth disagree, for a person to look at: either may be wrong.",
    group=EVAL_GROUP,
    columns=(
        Column("dataset", pl.String, "Dataset.", nullable=False),
        Column("truth", pl.String, "Which truth.", nullable=False),
        Column("dialogue_id", pl.String, "Dialogue; null for an item."),
        Column("turn", pl.Int32, "Turn."),
        Column("surface", pl.String, "The name as written.", nullable=False),
        Column("linked_id", pl.String, "The film it was linked to."),
        Column("linked_film", pl.String, "That film in words."),
        Column("true_id", pl.String, "The film that the truth states."),
        Column("true_film", pl.String, "That film in words."),
        Column("score_prob", pl.Float32, "Probability of the link."),
        Column("kind", pl.String, "wrong_film, missed, spurious or truth_year_differs.", nullable=False),
    ),
)

TABLES = (CORE_ITEM_LINKS, CORE_MENTIONS, CORE_FILM_MENTIONS, EVAL_MENTION_LINKING, EVAL_MENTION_DISAGREEMENTS)

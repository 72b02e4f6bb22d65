"""Contracts of annotations: Virtual Tool Operations (HARPO, table 5) and strategies (RSO, table I) of turns, who gave them, how
far people agree with them.

Annotations stand beside the turns under their id and never change them. People's labels win over a model's, a model's over a rule's
where the rules abstain.
"""

from __future__ import annotations

import polars as pl

from warehouse.contracts import Column, Table
from warehouse.tables.dialogues import DATASET, DIALOGUE, IN_TURNS, TURN
from warehouse.tables.titles import STRINGS

GROUP = "anno"

# HARPO, table 5: 21 operations in seven categories.
VTO_CATEGORIES: dict[str, tuple[str, ...]] = {
    "extraction": ("analyze_sentiment", "extract_context", "extract_entities"),
    "user_modeling": ("retrieve_preferences", "identify_constraints", "model_user_state"),
    "retrieval": ("search_candidates", "filter_results", "match_attributes"),
    "ranking": ("rank_options", "compare_options", "select_best"),
    "reasoning": ("query_knowledge", "reason_over_graph", "infer_implicit"),
    "interaction": ("explain_choice", "refine_query", "handle_rejection"),
    "memory": ("track_history", "update_beliefs", "recall_context"),
}
# In anno_vto beside them: a source says that a turn has none of them.
NO_OPERATION = "no_operation"
OPERATIONS = tuple(name for names in VTO_CATEGORIES.values() for name in names)

# RSO, table I: 13 strategies, after `preference_confirmation` of INSPIRED's 14 has been folded into transparency.
STRATEGIES = (
    "credibility", "personal_opinion", "encouragement", "acknowledgment", "similarity", "offer_help", "personal_experience",
    "self_modeling", "transparency", "opinion_inquiry", "experience_inquiry", "rephrase_preference", "no_strategy",
)  # fmt: skip

SOURCES = ("heuristic", "llm", "human")
STRATEGY_SOURCES = ("dataset", *SOURCES)
KINDS = ("vto", "strategy", "pair")

CONFIDENCE = Column("confidence", pl.Float32, "How sure the source is.", nullable=False, minimum=0, maximum=1)
MADE_BY = (
    Column("made_by", pl.String, "Rule, prompt, or annotator that gave it.", nullable=False),
    Column("version", pl.String, "Version of that rule or prompt; the import's digest for people.", nullable=False),
    Column("model", pl.String, "Model that answered, for `llm`."),
    Column("is_stand_in", pl.Boolean, "Whether the rule-based stand-in answered, which is no model.", nullable=False),
)
INPUT_HASH = Column(
    "input_hash", pl.Int64, "Hash of what was looked at: the turn, its context and its mentions.", nullable=False
)

ANNO_VTO = Table(
    name="anno_vto",
    meaning="Virtual Tool Operations: one row a turn, operation and source, with the evidence of every source side by side, also of rules in turns that they do not decide. `no_operation` is a statement, too: the source says that the turn has none. What holds for a turn is in anno_turns.",
    group=GROUP,
    key=("dialogue_id", "turn", "operation", "source", "made_by"),
    sort_by=("dialogue_id", "turn"),
    foreign_keys=(IN_TURNS,),
    columns=(
        DIALOGUE,
        TURN,
        DATASET,
        Column(
            "operation",
            pl.String,
            "The operation; `no_operation` where the source says that there is none.",
            nullable=False,
            allowed=(*OPERATIONS, NO_OPERATION),
        ),
        Column(
            "position",
            pl.Int32,
            "Its position in the sequence that the source gives, from 0.",
            nullable=False,
            minimum=0,
        ),
        Column("source", pl.String, "Who says so.", nullable=False, allowed=SOURCES),
        CONFIDENCE,
        *MADE_BY,
    ),
)

ANNO_TURNS = Table(
    name="anno_turns",
    meaning="What holds for each turn after all sources have spoken: its operations in order, and who decided. A turn without operations is small talk; a turn that nobody decided is open.",
    group=GROUP,
    key=("dialogue_id", "turn"),
    sort_by=("dialogue_id", "turn"),
    foreign_keys=(IN_TURNS,),
    columns=(
        DIALOGUE,
        TURN,
        DATASET,
        Column(
            "decided_by",
            pl.String,
            "Source whose labels hold; null: open, the rules abstained and nobody else has spoken.",
            allowed=SOURCES,
        ),
        Column("operations", STRINGS, "The operations in order.", nullable=False),
        CONFIDENCE,
        Column("is_stand_in", pl.Boolean, "Whether the rule-based stand-in decided.", nullable=False),
        Column(
            "rule_confidence",
            pl.Float32,
            "How sure the rules are where they decide, whoever is heard in the end; null: they abstain.",
            minimum=0,
            maximum=1,
        ),
        INPUT_HASH,
    ),
)

ANNO_STRATEGY = Table(
    name="anno_strategy",
    meaning="Strategies of recommender turns (RSO, table I): one row a turn, strategy and source.",
    group=GROUP,
    key=("dialogue_id", "turn", "strategy", "source", "made_by"),
    sort_by=("dialogue_id", "turn"),
    foreign_keys=(IN_TURNS,),
    columns=(
        DIALOGUE,
        TURN,
        DATASET,
        Column("strategy", pl.String, "The strategy, one of the 13.", nullable=False, allowed=STRATEGIES),
        Column("stated_label", pl.String, "The dataset's own label, one of INSPIRED's 14, before mapping."),
        Column("position", pl.Int32, "0: the main strategy; 1: the second.", nullable=False, minimum=0),
        Column(
            "source", pl.String, "Who says so; `dataset`: its own annotators.", nullable=False, allowed=STRATEGY_SOURCES
        ),
        Column(
            "is_chosen",
            pl.Boolean,
            "Whether this row holds for the turn: people over the dataset over a model over rules.",
            nullable=False,
        ),
        CONFIDENCE,
        *MADE_BY,
    ),
)

ANNO_VALIDATION = Table(
    name="anno_validation",
    meaning="What people said about sampled turns and pairs: one row an annotator, item and label.",
    group=GROUP,
    key=("kind", "item_id", "annotator", "label"),
    columns=(
        Column("kind", pl.String, "What was judged.", nullable=False, allowed=KINDS),
        Column("item_id", pl.String, "`dialogue_id#turn`, or the pair_id.", nullable=False),
        DATASET,
        Column("dialogue_id", pl.String, "Dialogue.", nullable=False),
        Column("turn", pl.Int32, "Turn.", nullable=False, minimum=0),
        Column(
            "annotator",
            pl.String,
            "Name or pseudonym of the person; `adjudicated` for what was settled.",
            nullable=False,
        ),
        Column("label", pl.String, "Operation, strategy, or `chosen`.", nullable=False),
        Column("is_present", pl.Boolean, "Whether the person says that it holds.", nullable=False),
        Column(
            "was_present",
            pl.Boolean,
            "Whether the automatic annotation said so when the sample was drawn.",
            nullable=False,
        ),
        Column("was_by", pl.String, "Source of the automatic annotation: heuristic, llm, or open."),
        Column("made_by", pl.String, "Rule or prompt, with its version, that said so."),
        Column("sample", pl.String, "Id of the sample.", nullable=False),
        Column("note", pl.String, "The person's note."),
        Column("imported_at", pl.Datetime("us"), "When it was imported, UTC.", nullable=False),
    ),
)

EVAL_ANNOTATION = Table(
    name="eval_annotation",
    meaning="How much was annotated by whom, how far people agree, and how right rules are: the figures of HARPO's table 6, and precision and recall on the gold set.",
    group="eval",
    key=("kind", "dataset", "slice", "metric"),
    columns=(
        Column("kind", pl.String, "vto or strategy.", nullable=False, allowed=KINDS),
        Column("dataset", pl.String, "Dataset, or `all`.", nullable=False),
        Column("slice", pl.String, "`all`, an operation, a strategy, a source or a rule.", nullable=False),
        Column(
            "metric",
            pl.String,
            "turns, heuristic_share, llm_share, human_share, agreement, kappa, operations_per_turn, precision, recall, f1, accuracy, ...",
            nullable=False,
        ),
        Column("value", pl.Float64, "The figure.", nullable=False),
        Column("ci_low", pl.Float64, "Lower end of the 95 % interval, bootstrap clustered by dialogue."),
        Column("ci_high", pl.Float64, "Upper end of the 95 % interval."),
        Column("n", pl.Int64, "Turns (or labels) that the figure is computed from.", nullable=False, minimum=0),
        Column(
            "baseline",
            pl.Float64,
            "The same figure for the trivial answer (the most frequent label), where there is one.",
        ),
        Column(
            "protocol",
            pl.String,
            "What is measured against what, in words; says so where a stand-in took part.",
            nullable=False,
        ),
    ),
)

EVAL_ANNOTATION_DISAGREEMENTS = Table(
    name="eval_annotation_disagreements",
    meaning="Rules and prompts by how often people take back what they say or miss what they should: where to improve first.",
    group="eval",
    key=("kind", "made_by", "label"),
    columns=(
        Column("kind", pl.String, "vto or strategy.", nullable=False, allowed=KINDS),
        Column(
            "made_by", pl.String, "Rule or prompt, with its version; `(none)` for what nothing said.", nullable=False
        ),
        Column("label", pl.String, "Operation or strategy.", nullable=False),
        Column("judged", pl.Int64, "How often it was judged.", nullable=False, minimum=0),
        Column("wrong", pl.Int64, "How often people disagreed.", nullable=False, minimum=0),
        Column(
            "wrong_low",
            pl.Float64,
            "Lower end of the 95 % Wilson interval of the share: what sorts the list.",
            nullable=False,
        ),
        Column("examples", STRINGS, "Up to five items, as `dialogue_id#turn`.", nullable=False),
    ),
)

TABLES = (ANNO_VTO, ANNO_TURNS, ANNO_STRATEGY, ANNO_VALIDATION, EVAL_ANNOTATION, EVAL_ANNOTATION_DISAGREEMENTS)

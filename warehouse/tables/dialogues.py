"""Contracts of the conversations as their datasets publish them: dialogues, turns, what annotators and workers stated.

Texts are kept word for word. Character offsets count Unicode code points of `core_turns.text`. What of a record has no column
of its own is in `extra`. Does not belong here: what Marquee itself finds out about a turn (mentions, annotations).
"""

from __future__ import annotations

import polars as pl

from warehouse.contracts import Column, ForeignKey, Table
from warehouse.tables.titles import STRINGS

GROUP = "dialogues"

DATASETS = ("redial", "inspired", "reddit", "opendialkg", "muse", "iard")
DOMAINS = ("film", "book", "fashion", "mixed")
SPLITS = ("train", "valid", "test")
ROLES = ("seeker", "recommender")
DIALOGUE_ID_PATTERN = "[a-z]+-.+"

# Kinds of label that a dataset brings along for its turns.
LABEL_SCHEMES = ("inspired_strategy", "inspired_second_strategy", "iard_intent", "iard_sub_intent", "muse_action")

FEEDBACK_SIDES = ("seeker", "recommender")

DATASET = Column("dataset", pl.String, "Dataset the conversation is from.", nullable=False, allowed=DATASETS)
DIALOGUE = Column(
    "dialogue_id",
    pl.String,
    "Dataset and the dataset's own id: `redial-391`.",
    nullable=False,
    pattern=DIALOGUE_ID_PATTERN,
)
TURN = Column("turn", pl.Int32, "Position of the turn in its dialogue, from 0.", nullable=False, minimum=0)
SPLIT = Column("split", pl.String, "Part of the data that the dialogue belongs to.", nullable=False, allowed=SPLITS)
DOMAIN = Column("domain", pl.String, "What is talked about.", nullable=False, allowed=DOMAINS)
IN_DIALOGUES = ForeignKey(("dialogue_id",), "core_dialogues", ("dialogue_id",))
IN_TURNS = ForeignKey(("dialogue_id", "turn"), "core_turns", ("dialogue_id", "turn"))

CORE_DIALOGUES = Table(
    name="core_dialogues",
    meaning="Conversations: one row a dialogue.",
    group=GROUP,
    key=("dialogue_id",),
    sort_by=("dialogue_id",),
    columns=(
        DIALOGUE,
        DATASET,
        Column("source_id", pl.String, "The dialogue's id inside its dataset.", nullable=False),
        Column(
            "conversation_id",
            pl.String,
            "Equal for dialogues of different datasets that are the same conversation: IARD's are ReDial's.",
            nullable=False,
        ),
        DOMAIN,
        SPLIT,
        Column(
            "splits_stated",
            STRINGS,
            "Every split that a file states for it; empty where no file does and the split comes from a hash.",
            nullable=False,
        ),
        Column("turns", pl.Int32, "Turns of the dialogue.", unit="turns", nullable=False, minimum=1),
        Column("seeker_id", pl.String, "The seeker's pseudonym inside the dataset."),
        Column("recommender_id", pl.String, "The recommender's pseudonym inside the dataset."),
        Column("outcome", pl.String, "How the dataset says that it ended, in its own word."),
        Column("persona", pl.String, "Who the seeker is (MUSE)."),
        Column("scenario", pl.String, "Why they are looking (MUSE)."),
        Column("target_item", pl.String, "The item id that the dialogue is to arrive at."),
        Column("file", pl.String, "File it was read from, relative to the sources folder.", nullable=False),
        Column("line", pl.Int64, "Line or position of its (first) record there, from 1.", nullable=False, minimum=1),
        Column("content_hash", pl.Int64, "Hash of the dialogue's content.", nullable=False),
        Column("extra", pl.String, "The record's remaining fields as a JSON object."),
    ),
)

CORE_TURNS = Table(
    name="core_turns",
    meaning="What was said: one row a turn.",
    group=GROUP,
    key=("dialogue_id", "turn"),
    sort_by=("dialogue_id", "turn"),
    foreign_keys=(IN_DIALOGUES,),
    columns=(
        DIALOGUE,
        TURN,
        DATASET,
        DOMAIN,
        SPLIT,
        Column("role", pl.String, "Who speaks.", nullable=False, allowed=ROLES),
        Column("speaker_id", pl.String, "The speaker's pseudonym inside the dataset."),
        Column("text", pl.String, "The text word for word, with the dataset's placeholders.", nullable=False),
        Column(
            "plain_text",
            pl.String,
            "The text with placeholders replaced by the names that the dataset states, control characters taken out and runs of white space made one space.",
            nullable=False,
        ),
        Column("time_offset_s", pl.Float64, "Seconds since the dialogue began.", unit="s", minimum=0),
        Column("images", STRINGS, "Names of the images shown (MUSE).", nullable=False),
        Column(
            "captions", STRINGS, "Captions of these images, one each, where a captioner has made them.", nullable=False
        ),
        Column("content_hash", pl.Int64, "Hash of the turn's content.", nullable=False),
        Column("extra", pl.String, "The record's remaining fields as a JSON object."),
    ),
)

CORE_TURN_LABELS = Table(
    name="core_turn_labels",
    meaning="Labels that the datasets' own annotators gave to turns.",
    group=GROUP,
    key=("dialogue_id", "turn", "scheme", "position"),
    foreign_keys=(IN_TURNS,),
    columns=(
        DIALOGUE,
        TURN,
        DATASET,
        Column("scheme", pl.String, "Which annotation.", nullable=False, allowed=LABEL_SCHEMES),
        Column(
            "position", pl.Int32, "Position among the turn's labels of this scheme, from 0.", nullable=False, minimum=0
        ),
        Column("label", pl.String, "The label in the dataset's own word.", nullable=False),
    ),
)

HINT_KINDS = ("id", "column", "entity", "item")

CORE_MENTION_HINTS = Table(
    name="core_mention_hints",
    meaning="Items that the datasets' own annotation says a turn mentions: ids and names as stated, right or wrong.",
    group=GROUP,
    key=("dialogue_id", "turn", "position"),
    foreign_keys=(IN_TURNS,),
    columns=(
        DIALOGUE,
        TURN,
        DATASET,
        Column("position", pl.Int32, "Position among the turn's hints, from 0.", nullable=False, minimum=0),
        Column(
            "kind",
            pl.String,
            "`id`: a placeholder in the text, put there by the writer; `column`: matched by the dataset's authors; `entity`: linked by them; `item`: stated for the turn as a whole.",
            nullable=False,
            allowed=HINT_KINDS,
        ),
        Column(
            "start",
            pl.Int32,
            "Where the name or placeholder begins in the text; null where it does not stand there.",
            minimum=0,
        ),
        Column("end", pl.Int32, "Where it ends (exclusive).", minimum=0),
        Column("item_id", pl.String, "The item's id in the dataset; the name where there is none.", nullable=False),
        Column("item_name", pl.String, "The item's name as the dataset states it; null when an id has none."),
    ),
)

CORE_FEEDBACK = Table(
    name="core_feedback",
    meaning="What the people of a dialogue answered: who suggested, seen, liked; acceptance and survey answers.",
    group=GROUP,
    key=("dialogue_id", "side", "item_id", "question"),
    foreign_keys=(IN_DIALOGUES,),
    columns=(
        DIALOGUE,
        DATASET,
        Column("side", pl.String, "Whose answer it is.", nullable=False, allowed=FEEDBACK_SIDES),
        Column(
            "item_id",
            pl.String,
            "The dataset's id of the item it is about; empty when about the dialogue.",
            nullable=False,
        ),
        Column("item_name", pl.String, "The item's name as stated."),
        Column(
            "question",
            pl.String,
            "suggested (by the recommender), seen, liked, accepted, or the survey's own word.",
            nullable=False,
        ),
        Column("answer", pl.String, "The answer as given.", nullable=False),
        Column(
            "value",
            pl.Float64,
            "The answer as a number from 0 (no) to 1 (yes), scales mapped evenly onto it; null for `did not say`.",
            minimum=0,
            maximum=1,
        ),
    ),
)

CORE_DIALOGUE_ITEMS = Table(
    name="core_dialogue_items",
    meaning="Items that a dialogue dataset knows by an id, with the name it states.",
    group=GROUP,
    key=("dataset", "item_id"),
    columns=(
        DATASET,
        Column("item_id", pl.String, "The dataset's id of the item; the name where there is none.", nullable=False),
        Column("item_name", pl.String, "The item's name as the dataset states it.", nullable=False),
        DOMAIN,
        Column("mentions_stated", pl.Int64, "How often it is mentioned, as the dataset counts.", minimum=0),
    ),
)

RAW_DIALOGUE_REJECTS = Table(
    name="raw_dialogue_rejects",
    meaning="Records of dialogue files that could not be kept, word for word, and why.",
    group=GROUP,
    columns=(
        DATASET,
        Column("file", pl.String, "File, relative to the sources folder.", nullable=False),
        Column("line", pl.Int64, "Line or position in it, from 1.", nullable=False, minimum=1),
        Column("reason", pl.String, "Why, naming the key.", nullable=False),
        Column("raw", pl.String, "The record as it stands there, cut at 2,000 characters.", nullable=False),
    ),
)

META_DIALOGUE_FILES = Table(
    name="meta_dialogue_files",
    meaning="The dialogue files that were read, with their fingerprints and books: rows in = rows kept + rows rejected.",
    group=GROUP,
    key=("dataset", "file"),
    columns=(
        DATASET,
        Column("file", pl.String, "File, relative to the sources folder.", nullable=False),
        Column("layout", pl.String, "The layout it was read as.", nullable=False),
        Column("size_bytes", pl.Int64, "Size.", unit="bytes", nullable=False, minimum=0),
        Column("mtime_ns", pl.Int64, "Time of change.", unit="ns", nullable=False),
        Column("sha256", pl.String, "Digest of the content.", nullable=False),
        Column("reader_version", pl.String, "Version of the reader.", nullable=False),
        Column(
            "rows_in",
            pl.Int64,
            "Records in the file (a dialogue, or a turn where a line is a turn).",
            nullable=False,
            minimum=0,
        ),
        Column("rows_kept", pl.Int64, "Records that are in the tables.", nullable=False, minimum=0),
        Column("rows_rejected", pl.Int64, "Records in raw_dialogue_rejects.", nullable=False, minimum=0),
    ),
)

TABLES = (
    CORE_DIALOGUES,
    CORE_TURNS,
    CORE_TURN_LABELS,
    CORE_MENTION_HINTS,
    CORE_FEEDBACK,
    CORE_DIALOGUE_ITEMS,
    RAW_DIALOGUE_REJECTS,
    META_DIALOGUE_FILES,
)

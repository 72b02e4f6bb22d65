"""Contracts of what recommenders learn from: rating sessions, and the turns of dialogues in which films are recommended.

Does not belong here: what was learned from them (`retrieval.py`).
"""

from __future__ import annotations

import polars as pl

from warehouse.contracts import Column, ForeignKey, Table
from warehouse.tables.dialogues import DATASET, DIALOGUE, IN_TURNS, SPLITS, TURN
from warehouse.tables.titles import STRINGS

GROUP = "interactions"

CORE_SESSIONS = Table(
    name="core_sessions",
    meaning="Ratings of MovieLens releases as sessions: one row a rating, in order of time, with two ways to split them.",
    group=GROUP,
    key=("release", "user_id", "position"),
    sort_by=("release", "user_id", "position"),
    licence="MovieLens terms: research use, no redistribution without permission",
    columns=(
        Column("release", pl.String, "MovieLens release: `ml-1m`, `ml-latest-small`.", nullable=False),
        Column("user_id", pl.Int64, "The release's own user.", nullable=False),
        Column(
            "position",
            pl.Int32,
            "Position among the user's ratings by time, from 0; equal times in the file's order.",
            nullable=False,
            minimum=0,
        ),
        Column("source_item_id", pl.Int64, "The release's own film id.", nullable=False),
        Column("movie_id", pl.String, "The film in core_movies; null where the corpus does not have it."),
        Column("rating", pl.Float32, "Stars, where the release states them.", unit="stars", minimum=0.5, maximum=5),
        Column("rated_at", pl.Datetime("us"), "When, where the release states it (UTC)."),
        Column(
            "session",
            pl.Int32,
            "Number of the user's session, from 0: a new one after more than 30 idle minutes; 0 throughout where no time is stated.",
            nullable=False,
            minimum=0,
        ),
        Column("session_split", pl.String, "8:1:1 by session, fixed by hash.", nullable=False, allowed=SPLITS),
        Column(
            "leave_one_out_split",
            pl.String,
            "The user's last rating is test, the one before valid, the others train; all train for users with fewer than three. As the file says where it states a split.",
            nullable=False,
            allowed=SPLITS,
        ),
        Column("file", pl.String, "File it was read from, relative to the sources folder.", nullable=False),
        Column("line", pl.Int64, "Line (or row of a Parquet file) in it, from 1.", nullable=False, minimum=1),
    ),
)

META_SESSION_FILES = Table(
    name="meta_session_files",
    meaning="Rating files that were read: fingerprint, and the balance of their rows.",
    group=GROUP,
    key=("file",),
    columns=(
        Column("file", pl.String, "File, relative to the sources folder.", nullable=False),
        Column("release", pl.String, "MovieLens release.", nullable=False),
        Column("layout", pl.String, "The layout it was read as.", nullable=False),
        Column(
            "passed_over_for",
            pl.String,
            "The file of the same release that was read in its place; null where this one was. It then has no books.",
        ),
        Column("size_bytes", pl.Int64, "Size.", unit="bytes", nullable=False, minimum=0),
        Column("mtime_ns", pl.Int64, "Time of change.", unit="ns", nullable=False),
        Column("sha256", pl.String, "Hash of the file's bytes.", nullable=False, pattern="[0-9a-f]{64}"),
        Column("rows", pl.Int64, "Rows in the file.", nullable=False, minimum=0),
        Column("rows_kept", pl.Int64, "Rows in core_sessions.", nullable=False, minimum=0),
        Column("rows_rejected", pl.Int64, "Rows that could not be read.", nullable=False, minimum=0),
        Column("rejects", STRINGS, "The first twenty of them: line, reason and raw text.", nullable=False),
        Column("items", pl.Int64, "Different film ids among the rows kept.", nullable=False, minimum=0),
        Column("items_in_corpus", pl.Int64, "Those that the corpus has.", nullable=False, minimum=0),
        Column(
            "ids_hash",
            pl.String,
            "Hash of the map from the release's film ids to films.",
            nullable=False,
            pattern="[0-9a-f]{64}",
        ),
        Column("reader_version", pl.String, "Version of the code that read it.", nullable=False),
    ),
)

CORE_REC_TURNS = Table(
    name="core_rec_turns",
    meaning="Turns of recommenders that name films: the films mentioned before (history) and in the turn (labels).",
    group=GROUP,
    key=("dialogue_id", "turn"),
    sort_by=("dialogue_id", "turn"),
    foreign_keys=(IN_TURNS,),
    columns=(
        DIALOGUE,
        TURN,
        DATASET,
        Column(
            "split",
            pl.String,
            "Split of the conversation: held out in one dialogue is held out in all.",
            nullable=False,
            allowed=SPLITS,
        ),
        Column(
            "conversation_id",
            pl.String,
            "The conversation: never in two splits, nor in two datasets, among the examples.",
            nullable=False,
        ),
        Column(
            "history", STRINGS, "Films mentioned in turns before, in order, each at its first mention.", nullable=False
        ),
        Column(
            "last_mentioned",
            pl.String,
            "The film mentioned last before the turn, be it again; null where none was.",
        ),
        Column("labels", STRINGS, "Films that the turn names, in order, without repetition.", nullable=False),
        Column("are_repeats", pl.List(pl.Boolean), "For each label: whether it is in the history.", nullable=False),
        Column("input_hash", pl.Int64, "Hash of what it was made from.", nullable=False),
    ),
)

TABLES = (CORE_SESSIONS, META_SESSION_FILES, CORE_REC_TURNS)
IN_REC_TURNS = ForeignKey(("dialogue_id", "turn"), "core_rec_turns", ("dialogue_id", "turn"))

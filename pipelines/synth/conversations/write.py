"""Writing a pack's conversations: every dataset's files, and the truth.

Belongs here: how many conversations each dataset has, and where they lie.
Does not belong here: a dataset's format (its own module).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import polars as pl

from pipelines.synth import formats
from pipelines.synth.conversations import iard, inspired, muse, opendialkg, reddit, redial
from pipelines.synth.conversations.damage import File
from pipelines.synth.conversations.films import FilmPool
from pipelines.synth.conversations.truth import Truth
from pipelines.synth.draw import stream

FOLDER = "conversations"
DIALOGUES_MIN, DIALOGUES_MAX = 30, 10_000
FILMS_PER_DIALOGUE = 5
# Dialogues of the other datasets for each of ReDial.
SHARES = {"inspired": 0.4, "reddit": 0.6, "opendialkg": 0.3, "muse": 0.1, "iard": 0.15}


@dataclass(frozen=True)
class ConversationSummary:
    """Readable dialogues by dataset, and by file the records that a reader must reject."""

    dialogues: dict[str, int]
    rejects: dict[str, dict[str, int]]


def default_dialogues(movies: int) -> int:
    """How many ReDial dialogues a pack of so many films has unless told otherwise."""
    return max(DIALOGUES_MIN, min(movies // FILMS_PER_DIALOGUE, DIALOGUES_MAX))


def write_conversations(
    out: Path, truth_folder: Path, works: pl.DataFrame, dialogues: int, seed: int, tell: Callable[[str], None]
) -> ConversationSummary:
    """Write `dialogues` conversations in ReDial's format and SHARES of as many in the others' to out/conversations/<dataset>.

    `works` is what `make_world` gives. The truth goes to `truth_folder`: mentions.parquet (where a film stands in a turn:
    code points of the turn's text as in the file, without a year in brackets or quotes around it; a ReDial mention is its
    placeholder, IARD's includes the name in angle brackets; placeholders that name no film, or that have no name, are
    not in it), operations.parquet (of every turn, with the strategy of recommenders), dialogues.parquet (split, taste,
    what was accepted), dialogue_items.parquet (which film an item is) and conversation_rejects.json. `source_id` is the
    dialogue's id in its dataset: OpenDialKG has none, there it is `csv-` and the line; of MUSE it is the file's
    name. Turns count from 0. Raises ValueError when `dialogues` is negative or above 20,000.
    """
    if dialogues < 0:
        raise ValueError(f"dialogues must not be negative: {dialogues}")
    counts = {name: round(dialogues * share) for name, share in SHARES.items()}
    pool = FilmPool(works)
    truth = Truth(pool)

    def random(dataset: str) -> Random:
        tell(f"writing conversations of {dataset}")
        return Random(int(stream(seed, f"conversations {dataset}").integers(2**62)))

    files: list[File] = []
    if dialogues:
        files, written = redial.write(dialogues, counts["iard"], pool, random("redial"), truth)
        files += iard.write(written, truth)
        files += inspired.write(counts["inspired"], pool, random("inspired"), truth)
        files += reddit.write(counts["reddit"], pool, random("reddit"), truth)
        files += opendialkg.write(counts["opendialkg"], pool, random("opendialkg"), truth)
        files += muse.write(counts["muse"], random("muse"), truth)
    totals: dict[str, int] = {}
    rejects = {}
    for file in files:
        formats.write_bytes(out / FOLDER / file.name, file.content)
        dataset = file.name.partition("/")[0]
        totals[dataset] = totals.get(dataset, 0) + file.dialogues
        if file.broken or file.duplicates:
            rejects[f"{FOLDER}/{file.name}"] = {"broken": file.broken, "duplicate": file.duplicates}
    for name, frame in truth.frames().items():
        formats.write_bytes(truth_folder / f"{name}.parquet", formats.parquet_bytes(frame))
    text = json.dumps(rejects, indent=2, sort_keys=True).encode() + b"\n"
    formats.write_bytes(truth_folder / "conversation_rejects.json", text)
    return ConversationSummary(totals, rejects)

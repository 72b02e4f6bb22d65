"""What is true of the conversations of a pack.

Belongs here: collecting the truth while conversations are written, and its tables.
Does not belong here: what is said.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import polars as pl

from pipelines.synth.conversations.course import Conversation
from pipelines.synth.conversations.films import FilmPool
from pipelines.synth.conversations.spelling import Piece

PLACEHOLDER, FREE_TEXT = "placeholder", "free_text"
STRINGS = pl.List(pl.String)
SCHEMAS: dict[str, dict[str, Any]] = {
    "mentions": {
        "dataset": pl.String,
        "source_id": pl.String,
        "turn": pl.Int32,
        "start": pl.Int32,
        "end": pl.Int32,
        "surface": pl.String,
        "film": pl.Int64,
        "imdb_number": pl.Int64,
        "kind": pl.String,
        "variant": pl.String,
    },
    "operations": {
        "dataset": pl.String,
        "source_id": pl.String,
        "turn": pl.Int32,
        "role": pl.String,
        "operations": STRINGS,
        "strategy": pl.String,
    },
    "dialogues": {
        "dataset": pl.String,
        "source_id": pl.String,
        "split": pl.String,
        "turns": pl.Int32,
        "genres": STRINGS,
        "bad_genre": pl.String,
        "person": pl.String,
        "decade": pl.Int32,
        "accepted_film": pl.Int64,
        "accepted_item": pl.String,
    },
    "dialogue_items": {
        "dataset": pl.String,
        "item_id": pl.String,
        "item_name": pl.String,
        "film": pl.Int64,
        "imdb_number": pl.Int64,
    },
}


@dataclass
class Truth:
    """Rows of the truth's tables, by table; films' ids come from `pool`."""

    pool: FilmPool
    rows: dict[str, list[tuple[object, ...]]] = field(default_factory=lambda: {name: [] for name in SCHEMAS})

    def turn(
        self,
        dataset: str,
        source_id: str,
        turn: int,
        role: str,
        operations: tuple[str, ...],
        strategy: str | None,
    ) -> None:
        """Note a turn's labels."""
        self.rows["operations"].append((dataset, source_id, turn, role, operations, strategy))

    def mentions(self, dataset: str, source_id: str, turn: int, written: list[Piece]) -> None:
        """Note where films stand in the turn that `written` makes; those without a number are no film."""
        at = 0
        for piece in written:
            end = at + len(piece.text)
            if piece.kind == "film" and piece.film >= 0:
                kind = PLACEHOLDER if piece.variant == PLACEHOLDER else FREE_TEXT
                imdb = self.pool.imdb_number[piece.film]
                row = (dataset, source_id, turn, at, end, piece.text, piece.film, imdb, kind, piece.variant)
                self.rows["mentions"].append(row)
            at = end

    def dialogue(self, dataset: str, source_id: str, split: str | None, turns: int, talk: Conversation) -> None:
        """Note a dialogue about films; `split` is None where no file states one."""
        taste = talk.taste
        row = (dataset, source_id, split, turns, list(taste.genres), taste.bad_genre, taste.person, taste.decade)
        self.rows["dialogues"].append((*row, talk.accepted, None))

    def other_dialogue(self, dataset: str, source_id: str, turns: int, accepted_item: str | None) -> None:
        """Note a dialogue about other things than films."""
        nobody: tuple[object, ...] = ([], None, None, None, None)
        self.rows["dialogues"].append((dataset, source_id, None, turns, *nobody, accepted_item))

    def item(self, dataset: str, item_id: str, item_name: str | None, film: int | None) -> None:
        """Note which film an item of the dataset is; None when it is none, or cannot be known."""
        imdb = None if film is None else self.pool.imdb_number[film]
        self.rows["dialogue_items"].append((dataset, item_id, item_name, film, imdb))

    def frames(self) -> dict[str, pl.DataFrame]:
        """The tables, by name."""
        return {name: pl.DataFrame(self.rows[name], schema=schema, orient="row") for name, schema in SCHEMAS.items()}

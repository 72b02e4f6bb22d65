"""Invented conversations about invented films, as frames that fit their contracts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from pipelines.dialogues.dialogue import plain
from warehouse.contracts import Table
from warehouse.tables.corpus import CORE_MOVIES
from warehouse.tables.dialogues import CORE_DIALOGUES, CORE_FEEDBACK, CORE_MENTION_HINTS, CORE_TURNS
from warehouse.tables.mentions import CORE_ITEM_LINKS, CORE_MENTIONS

GENRES = ("Comedy", "Drama", "Horror", "Action", "Romance", "Western")
FILMS = 240


def film_id(number: int) -> str:
    return f"mv{number:016x}"


def movies(count: int = FILMS) -> pl.DataFrame:
    """Films of six genres and nine decades; number n is called `Film n`."""
    rows = [
        {
            "movie_id": film_id(number),
            "title": f"Film {number}",
            "aliases": [],
            "year": 1930 + (number * 7) % 90,
            "kind": "movie",
            "genres": [GENRES[number % len(GENRES)]],
            "directors": [f"Director {number % 50}"],
            "cast_members": [f"Actor {number % 70}", f"Actor {(number * 3) % 70}"],
            "languages": [],
            "countries": [],
            "votes": 10 ** (2 + number % 2) + number,
            "source_count": 1,
            "record_count": 1,
            "is_complete": False,
            "content_hash": number,
        }
        for number in range(count)
    ]
    return checked(CORE_MOVIES, rows)


def checked(table: Table, rows: list[dict[str, object]]) -> pl.DataFrame:
    """Rows that state some of the columns, as a frame that fits the contract."""
    if not rows:
        return table.empty()
    return table.check(pl.DataFrame(rows, schema={name: table.schema[name] for name in rows[0]}))


@dataclass(frozen=True)
class Talk:
    """Frames of some dialogues."""

    dialogues: pl.DataFrame
    turns: pl.DataFrame
    mentions: pl.DataFrame
    hints: pl.DataFrame

    @property
    def parts(self) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
        return self.turns, self.mentions, self.hints


def talk(
    *conversations: Sequence[tuple[str, str]],
    dataset: str = "redial",
    splits: Sequence[str] = (),
    conversation_ids: Sequence[str] = (),
    first: int = 0,
) -> Talk:
    """Dialogues `dataset-0`, `dataset-1`, ... of (role's first letter, text).

    In a text `@12` is a placeholder for film 12, written as ReDial writes it, and `<Film 12>` the film's name in running text.
    """
    dialogues, turns, mentions, hints = [], [], [], []
    for number, said in enumerate(conversations, start=first):
        dialogue_id = f"{dataset}-{number}"
        split = splits[number - first] if splits else "train"
        dialogues.append(
            {
                "dialogue_id": dialogue_id,
                "dataset": dataset,
                "source_id": str(number),
                "conversation_id": conversation_ids[number - first] if conversation_ids else dialogue_id,
                "domain": "film",
                "split": split,
                "splits_stated": [],
                "turns": len(said),
                "file": "invented.jsonl",
                "line": number + 1,
                "content_hash": number,
            }
        )
        for at, (role, marked) in enumerate(said):
            text, found = _without_marks(marked)
            shown = [(start, end, f"Film {n} (1999)") for start, end, n, is_id in found if is_id]
            turns.append(
                {
                    "dialogue_id": dialogue_id,
                    "turn": at,
                    "dataset": dataset,
                    "domain": "film",
                    "split": split,
                    "role": "seeker" if role == "s" else "recommender",
                    "text": text,
                    "plain_text": plain(text, shown),
                    "images": [],
                    "captions": [],
                    "content_hash": 0,
                }
            )
            where = {"dialogue_id": dialogue_id, "turn": at, "dataset": dataset}
            for position, (start, end, n, is_id) in enumerate(found):
                mentions.append(
                    where
                    | {
                        "start": start,
                        "end": end,
                        "surface": text[start:end],
                        "movie_id": film_id(n),
                        "score_prob": 0.9,
                        "method": "id" if is_id else "free_text",
                        "match": "exact",
                        "alternatives": [],
                        "is_quarantined": False,
                        "linker_version": "1",
                    }
                )
                if is_id:
                    hints.append(
                        where
                        | {
                            "position": position,
                            "kind": "id",
                            "start": start,
                            "end": end,
                            "item_id": str(n),
                            "item_name": f"Film {n} (1999)",
                        }
                    )
    return Talk(
        *(
            checked(table, rows)
            for table, rows in (
                (CORE_DIALOGUES, dialogues),
                (CORE_TURNS, turns),
                (CORE_MENTIONS, mentions),
                (CORE_MENTION_HINTS, hints),
            )
        )
    )


def _without_marks(marked: str) -> tuple[str, list[tuple[int, int, int, bool]]]:
    """The text, and (start, end, film, is a placeholder) of its films."""
    text, found, at = "", [], 0
    for match in re.finditer(r"<(Film (\d+)|film (\d+))>|@(\d+)", marked):
        text += marked[at : match.start()]
        name = match[1] or match[0]
        number = match[2] or match[3] or match[4]
        found.append((len(text), len(text) + len(name), int(number), match[4] is not None))
        text += name
        at = match.end()
    return text + marked[at:], found


def feedback(*answers: tuple[int, int, str, str]) -> pl.DataFrame:
    """core_feedback of (dialogue, film, seeker's answer, recommender's answer): `liked`, as 1, 0, 2 (did not say) or `` (none)."""
    rows = [
        {
            "dialogue_id": f"redial-{dialogue}",
            "dataset": "redial",
            "side": side,
            "item_id": str(film),
            "question": "liked",
            "answer": answer,
            "value": {"1": 1.0, "0": 0.0}.get(answer),
        }
        for dialogue, film, *sides in answers
        for side, answer in zip(("seeker", "recommender"), sides, strict=True)
        if answer
    ]
    return checked(CORE_FEEDBACK, rows)


def item_links(films: int = FILMS) -> pl.DataFrame:
    """Every film under its own number."""
    rows = [
        {
            "dataset": "redial",
            "item_id": str(number),
            "item_name": f"Film {number} (1999)",
            "movie_id": film_id(number),
            "score_prob": 1.0,
            "match": "exact",
            "alternatives": [],
            "is_quarantined": False,
            "linker_version": "1",
        }
        for number in range(films)
    ]
    return checked(CORE_ITEM_LINKS, rows)

"""Small films, turns and hints for tests of conversations: state what matters, the rest is filled in."""

from __future__ import annotations

import polars as pl

from warehouse.tables.corpus import CORE_MOVIES
from warehouse.tables.dialogues import CORE_MENTION_HINTS, CORE_TURNS

_FILM_COLUMNS = [
    "movie_id", "title", "original_title", "aliases", "year", "kind", "genres", "directors", "cast_members", "votes",
    "source_count", "imdb_id", "content_hash",
]  # fmt: skip


def movie_id(number: int) -> str:
    """The movie_id of film `number`."""
    return f"mv{number:016x}"


def films(*rows: dict) -> pl.DataFrame:
    """Films with the columns that linking takes; `title` and `year` are required, `number` defaults to the row's, from 1."""
    filled = []
    for place, row in enumerate(rows, start=1):
        number = row.get("number", place)
        base = {
            "movie_id": movie_id(number), "original_title": None, "aliases": [], "kind": "movie", "genres": [], "directors": [],
            "cast_members": [], "votes": 50_000, "source_count": 8, "imdb_id": f"tt{number:07}",
        }  # fmt: skip
        full = {**base, **{key: value for key, value in row.items() if key != "number"}}
        full["content_hash"] = hash(repr(sorted(full.items(), key=str))) & 0x7FFFFFFF
        filled.append({name: full[name] for name in _FILM_COLUMNS})
    return pl.DataFrame(filled, schema={name: CORE_MOVIES.schema[name] for name in _FILM_COLUMNS})


def turns(*dialogues: list[str], dataset: str = "inspired", domain: str = "film") -> pl.DataFrame:
    """Rows of core_turns: a list of texts for each dialogue, seeker first; dialogue i is `<dataset>-i`."""
    rows = []
    for number, texts in enumerate(dialogues):
        for turn, text in enumerate(texts):
            rows.append(
                {
                    "dialogue_id": f"{dataset}-{number}",
                    "turn": turn,
                    "dataset": dataset,
                    "domain": domain,
                    "split": "train",
                    "role": "seeker" if turn % 2 == 0 else "recommender",
                    "text": text,
                    "plain_text": text,
                    "images": [],
                    "captions": [],
                    "content_hash": 0,
                }
            )
    return _complete(rows, CORE_TURNS.schema)


def hints(*rows: dict, dataset: str = "inspired") -> pl.DataFrame:
    """Rows of core_mention_hints: dialogue (number), turn, start, end, item_name; `kind` and `item_id` have defaults."""
    filled = [
        {
            "dialogue_id": f"{dataset}-{row.get('dialogue', 0)}", "turn": row.get("turn", 0), "dataset": dataset, "position": place,
            "kind": row.get("kind", "column"), "start": row.get("start"), "end": row.get("end"),
            "item_id": row.get("item_id", row.get("item_name")), "item_name": row.get("item_name"),
        }
        for place, row in enumerate(rows)
    ]  # fmt: skip
    return _complete(filled, CORE_MENTION_HINTS.schema)


def _complete(rows: list[dict], schema: pl.Schema) -> pl.DataFrame:
    return pl.DataFrame([{name: row.get(name) for name in schema.names()} for row in rows], schema=schema)

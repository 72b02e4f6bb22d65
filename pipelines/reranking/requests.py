"""What the language model is asked: to rank candidates for a conversation.

Belongs here: which part of a conversation and of a film it is shown. Does not belong here: the words of the prompt (pipelines/prompts/rerank.toml),
what the answer means (`parsing.py`, `matching.py`).

Source: RAR, figure 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from pipelines.annotation.asking import item_id, prompt_version
from pipelines.reranking.matching import MATCHING_VERSION, Film, shown_names
from pipelines.reranking.parsing import PARSING_VERSION
from pipelines.retrieval.item_text import MOVIE_COLUMNS, item_text

if TYPE_CHECKING:
    from pipelines.gateways.llm.requests import LlmRequest, Thinking

PROMPT = "rerank"
# Raise it when the same question would be asked otherwise, or its answer read otherwise.
RERANKING_VERSION = f"1.{PARSING_VERSION}.{MATCHING_VERSION}"

# How much of a conversation and of a film is shown. Rebuilt text of 25 films at 600 characters is about 4,000 tokens.
TURNS_SHOWN = 20
CHARACTERS_OF_TURN = 1_000
CHARACTERS_OF_FILM = 600
# What an answer may come to where the model thinks before it.
THINKING_TOKENS = 8_192

# Columns of core_movies that are needed of candidates.
FILM_COLUMNS = tuple(dict.fromkeys([*MOVIE_COLUMNS, "original_title", "aliases"]))
_IN_NAME = ("Title: ", "Year: ")


@dataclass(frozen=True)
class Shelf:
    """Films by id, ready to be shown: what is known about each, and its names."""

    about: Mapping[str, str]
    films: Mapping[str, tuple[str, int | None, tuple[str, ...], tuple[str, ...]]]

    def candidates(self, movie_ids: Sequence[str]) -> list[Film]:
        """The films of a candidate list, in its order; ids that are not on the shelf, and repeated ones, are left out."""
        known = [movie_id for movie_id in dict.fromkeys(movie_ids) if movie_id in self.films]
        facts = [self.films[movie_id] for movie_id in known]
        shown = shown_names(
            [(movie_id, fact[0], fact[1], fact[2]) for movie_id, fact in zip(known, facts, strict=True)]
        )
        return [
            Film(movie_id, name, fact[1], (fact[0], *fact[3]))
            for movie_id, name, fact in zip(known, shown, facts, strict=True)
        ]


def prompt_name() -> str:
    """Name and version of the prompt, as tables state it."""
    return f"{PROMPT}@{prompt_version(PROMPT)}"


def shelf(movies: pl.DataFrame) -> Shelf:
    """Films (FILM_COLUMNS of core_movies) ready to be shown."""
    texts = item_text(movies.select(MOVIE_COLUMNS))
    about = {
        movie_id: _cut("\n".join(line for line in text.split("\n") if not line.startswith(_IN_NAME)))
        for movie_id, text in texts.select("movie_id", "text").iter_rows()
    }
    films = {
        row["movie_id"]: (
            row["title"],
            row["year"],
            tuple(row["directors"] or ()),
            tuple(name for name in (row["original_title"], *(row["aliases"] or ())) if name),
        )
        for row in movies.select("movie_id", "title", "year", "directors", "original_title", "aliases").iter_rows(
            named=True
        )
    }
    return Shelf(about, films)


def conversations(turns: pl.DataFrame, wanted: pl.DataFrame) -> dict[str, list[dict[str, str]]]:
    """What was said before each turn of `wanted` (dialogue_id, turn), by item id; the latest TURNS_SHOWN turns, oldest first.

    `turns`: dialogue_id, turn, role, plain_text.
    """
    own = turns.join(wanted.select("dialogue_id").unique(), on="dialogue_id", how="semi").sort("dialogue_id", "turn")
    said: dict[str, list[tuple[int, dict[str, str]]]] = {}
    for dialogue, turn, role, text in own.select("dialogue_id", "turn", "role", "plain_text").iter_rows():
        shown = text if len(text) <= CHARACTERS_OF_TURN else f"{text[:CHARACTERS_OF_TURN]} ..."
        said.setdefault(dialogue, []).append((turn, {"speaker": role, "text": shown}))
    return {
        item_id(dialogue, turn): [message for at, message in said.get(dialogue, []) if at < turn][-TURNS_SHOWN:]
        for dialogue, turn in wanted.select("dialogue_id", "turn").iter_rows()
    }


def requests(
    asked: Mapping[str, tuple[Sequence[Film], list[dict[str, str]]]], films: Shelf, thinking: Thinking = "off"
) -> list[LlmRequest]:
    """A request for each key of `asked`: candidates in the order in which they are to be shown, and the conversation."""
    from pipelines.gateways.llm.prompts import load_prompt
    from pipelines.gateways.llm.requests import LlmRequest

    prompt = load_prompt(PROMPT)
    if thinking != "off":
        prompt = replace(prompt, max_tokens=prompt.max_tokens + THINKING_TOKENS)
    return [
        LlmRequest(
            key,
            prompt,
            {
                "candidates": [
                    {"name": film.shown, "about": films.about.get(film.movie_id, "")} for film in candidates
                ],
                "conversation": conversation,
            },
            thinking=thinking,
        )
        for key, (candidates, conversation) in asked.items()
    ]


def said(value: object) -> str:
    """The text of an answer; empty where there is none."""
    text = value.get("ranking") if isinstance(value, dict) else None
    return text if isinstance(text, str) else ""


def _cut(text: str) -> str:
    return text if len(text) <= CHARACTERS_OF_FILM else f"{text[:CHARACTERS_OF_FILM].rsplit(' ', 1)[0]} ..."

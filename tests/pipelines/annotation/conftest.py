"""Small conversations, written down in lines: `s: text` is the seeker, `r: text` the recommender, `[Title]` a linked mention."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import polars as pl
import pytest

Conversation = tuple[pl.DataFrame, pl.DataFrame]
_ROLES = {"s": "seeker", "r": "recommender"}


def _conversation(lines: Sequence[str], dialogue_id: str = "redial-1") -> tuple[list[dict], list[dict]]:
    turns, mentions = [], []
    for turn, line in enumerate(lines):
        role, marked = line.split(": ", 1)
        text = ""
        for part in re.split(r"(\[[^]]+\])", marked):
            if part.startswith("["):
                place = {"dialogue_id": dialogue_id, "turn": turn, "dataset": dialogue_id.split("-")[0]}
                mentions.append(
                    place | {"start": len(text), "end": len(text) + len(part) - 2, "movie_id": part[1:-1].lower()}
                )
                part = part[1:-1]
            text += part
        turns.append(
            {
                "dialogue_id": dialogue_id,
                "turn": turn,
                "dataset": dialogue_id.split("-")[0],
                "domain": "film",
                "role": _ROLES[role],
                "text": text,
                "plain_text": text,
            }
        )
    return turns, mentions


@pytest.fixture(scope="session")
def talk() -> Callable[..., Conversation]:
    """(turns, mentions) of conversations: `talk("s: hi", "r: [Salt Road]")`, or `talk({"redial-1": [...], ...})`."""

    def made(*lines: str | Mapping[str, Sequence[str]]) -> Conversation:
        dialogues = lines[0] if lines and isinstance(lines[0], Mapping) else {"redial-1": lines}
        turns: list[dict] = []
        mentions: list[dict] = []
        for dialogue_id, said in dialogues.items():
            own_turns, own_mentions = _conversation(said, dialogue_id)  # type: ignore[arg-type]
            turns += own_turns
            mentions += own_mentions
        types = {"turn": pl.Int32, "start": pl.Int32, "end": pl.Int32}
        texts = ("dialogue_id", "dataset", "domain", "role", "text", "plain_text", "movie_id")
        schema = types | dict.fromkeys(texts, pl.String)
        of_turns = ("dialogue_id", "turn", "dataset", "domain", "role", "text", "plain_text")
        of_mentions = ("dialogue_id", "turn", "dataset", "start", "end", "movie_id")
        return (
            pl.DataFrame(turns, schema={name: schema[name] for name in of_turns}),
            pl.DataFrame(mentions, schema={name: schema[name] for name in of_mentions}),
        )

    return made

"""What a model is asked about a turn: the turn, the ones before it, and how many films were recognised, as data.

Does not belong here: the prompts (pipelines/prompts), sending (pipelines/gateways/llm), and what answers mean (`vto.py`, `strategy.py`).
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files

import polars as pl

from pipelines.gateways.llm.prompts import Prompt
from pipelines.gateways.llm.requests import LlmRequest

# HARPO's prompt gives recent context; six turns are three exchanges.
TURNS_BEFORE = 6
CHARACTERS_OF_TURN = 1_000


@cache
def prompt_version(name: str) -> str:
    """Version of a prompt, read without checking its schema: a moment's work, for code that only names it."""
    return tomllib.loads((files("pipelines.prompts") / f"{name}.toml").read_text(encoding="utf-8"))["version"]


def item_id(dialogue_id: str, turn: int) -> str:
    """The id of a turn as requests and validation sheets write it: `dialogue_id#turn`."""
    return f"{dialogue_id}#{turn}"


def split_item_ids(ids: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """(dialogue_id, turn) of item ids; null where an id is none."""
    return ids.str.extract(r"(?s)^(.*)#\d+$", 1), ids.str.extract(r"#(\d+)$", 1).cast(pl.Int32, strict=False)


def questions(turns: pl.DataFrame, mentions: pl.DataFrame, wanted: pl.DataFrame, prompt: Prompt) -> list[LlmRequest]:
    """One request for each turn of `wanted` (dialogue_id, turn), in that order.

    turns: dialogue_id, turn, domain, role, plain_text, of whole dialogues. mentions: dialogue_id, turn, start.
    """
    dialogues = wanted["dialogue_id"].unique().implode()
    ordered = turns.filter(pl.col("dialogue_id").is_in(dialogues)).sort("dialogue_id", "turn")
    films = mentions.group_by("dialogue_id", "turn").agg(pl.col("start").n_unique().alias("films"))
    ordered = ordered.join(films, on=["dialogue_id", "turn"], how="left", maintain_order="left").with_columns(
        pl.col("films").fill_null(0),
        pl.when(pl.col("plain_text").str.len_chars() > CHARACTERS_OF_TURN)
        .then(pl.concat_str(pl.col("plain_text").str.slice(0, CHARACTERS_OF_TURN), pl.lit(" ...")))
        .otherwise("plain_text")
        .alias("plain_text"),
    )
    said = [{"speaker": role, "text": text} for role, text in ordered.select("role", "plain_text").iter_rows()]
    place = {
        (dialogue, turn): (at, domain, films)
        for at, (dialogue, turn, domain, films) in enumerate(
            ordered.select("dialogue_id", "turn", "domain", "films").iter_rows()
        )
    }
    begins = dict(ordered.with_row_index("at").group_by("dialogue_id").agg(pl.col("at").min()).iter_rows())
    asked = []
    for dialogue, turn in wanted.select("dialogue_id", "turn").iter_rows():
        at, domain, films = place[dialogue, turn]
        since = max(begins[dialogue], at - TURNS_BEFORE)
        data = {
            "domain": domain,
            "earlier_turns": said[since:at],
            "turn": said[at],
            "items_recognised_in_turn": films,
        }
        asked.append(LlmRequest(item_id(dialogue, turn), prompt, data))
    return asked

"""One simulated conversation, put together from the tables for people to read: on a page, on a terminal, as JSON.

Belongs here: what stands in a transcript, and making texts that others wrote harmless to look at. Does not belong here: how it is shown (`simulation.html.jinja`,
assets/commands/show.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

import polars as pl

from warehouse.tables.simulation import TRAITS

# Item titles by domain and item_id.
Titles = Mapping[tuple[str, str], str]
T = TypeVar("T")

# How RSO ends a conversation: above its stop threshold.
_WON_OVER = "the user was won over"


@dataclass(frozen=True)
class Found:
    """An item that a search found; `title` is its id where the item is no longer known."""

    item_id: str
    title: str
    is_target: bool


@dataclass(frozen=True)
class Scores:
    """How far a turn met expectations: three parts and their sum, None where no sample could be used; RSO's feeling where it was asked for."""

    flexibility: float | None
    coherence: float | None
    guidance: float | None
    satisfaction: float | None
    reason: str | None
    samples: int
    malformed: int
    feeling: float | None
    feelings: tuple[str, ...]


@dataclass(frozen=True)
class Rewrite:
    """What a rewriter made of a turn, and how that scores."""

    text: str | None
    status: str
    score_before: float | None
    score_after: float | None
    distance: float | None
    reasoning: str | None


@dataclass(frozen=True)
class Line:
    """A turn: `does` is the user's policy or the agent's action."""

    turn: int
    role: str
    text: str
    does: str | None
    reasoning: str | None
    queries: tuple[str, ...]
    retrieved: tuple[Found, ...]
    scores: Scores | None
    rewrite: Rewrite | None


@dataclass(frozen=True)
class Transcript:
    """A conversation with all that is known about it. `persona`: traits by name, in the order of AILO; empty ones left out."""

    episode_id: str
    domain: str
    agent: str
    simulator: str
    sample: int
    split: str
    user_id: str
    target_item: str
    target_title: str
    outcome: str
    problem: str | None
    is_success: bool
    is_retrieved: bool
    is_accepted: bool
    is_stopped: bool | None
    success_turn: int | None
    agent_turns: int
    turn_limit: int
    satisfaction_mean: float | None
    questions: int
    model: str | None
    is_stand_in: bool
    prompt_version: str
    profile: str | None
    persona: Mapping[str, str]
    lines: tuple[Line, ...]

    @property
    def ending(self) -> str:
        """How it ended, in words."""
        turns = f"{self.agent_turns} of {self.turn_limit} turns"
        if self.is_success:
            answer = "the user accepted it" if self.is_accepted else "the user did not say yes to it"
            return f"found in turn {self.success_turn}; {_WON_OVER if self.is_stopped else answer}"
        rest = ", though a search had retrieved it" if self.is_retrieved else ""
        ended = {
            "completed": f"not found in {turns}{rest}{f'; {_WON_OVER}' if self.is_stopped else ''}",
            "left": f"the user left after {turns}{rest}",
            "leaked": "the user named the target: counts nowhere",
            "failed": f"broke off after {turns}",
        }[self.outcome]
        return f"{ended}: {self.problem}" if self.problem else ended


def harmless(value: T) -> T:
    """A value with what would steer a terminal or reorder a line spelled out in every text of it: control characters, escape codes, marks of direction. Line breaks stay."""
    made: Any = value
    if isinstance(value, str):
        made = "".join(map(_spelled, value.replace("\r\n", "\n")))
    elif isinstance(value, tuple):
        made = tuple(map(harmless, value))
    elif isinstance(value, Mapping):
        made = {harmless(name): harmless(each) for name, each in value.items()}
    elif is_dataclass(value) and not isinstance(value, type):
        made = replace(value, **{each.name: harmless(getattr(value, each.name)) for each in fields(value)})
    return made


def _spelled(character: str) -> str:
    if character.isprintable() or character == "\n":
        return character
    return " " if character.isspace() else character.encode("unicode_escape", "surrogatepass").decode()


def transcript(
    episode: Mapping[str, Any],
    turns: pl.DataFrame,
    titles: Titles,
    persona: Mapping[str, Any] | None = None,
    pairs: pl.DataFrame | None = None,
) -> Transcript:
    """The transcript of `episode` (a row of sim_episodes), from its rows of sim_turns, its row of sim_personas and its rows of pref_ecpo_pairs.

    Texts are as they were said: `harmless` before anybody looks at them.
    """
    own = pl.col("episode_id") == episode["episode_id"]
    rewrites = {} if pairs is None else {row["turn"]: row for row in pairs.filter(own).iter_rows(named=True)}
    lines = tuple(
        _line(row, episode, titles, rewrites.get(row["turn"]))
        for row in turns.filter(own).sort("turn").iter_rows(named=True)
    )
    kept = set(Transcript.__dataclass_fields__) - {"persona", "lines"}
    stated = {name: value for name, value in episode.items() if name in kept}
    traits = {name: persona[name] for name in TRAITS if persona[name]} if persona else {}
    return Transcript(**stated, persona=traits, lines=lines)


def retrieved(turns: pl.DataFrame) -> pl.DataFrame:
    """Domain and item_id of all items that these turns' searches found, each once."""
    return turns.select("domain", item_id=pl.col("retrieved")).explode("item_id").drop_nulls().unique()


def titles(items: pl.DataFrame) -> Titles:
    """Titles of rows of sim_items."""
    return {(row[0], row[1]): row[2] for row in items.select("domain", "item_id", "title").iter_rows()}


def _line(
    row: Mapping[str, Any], episode: Mapping[str, Any], titles: Titles, rewrite: Mapping[str, Any] | None
) -> Line:
    is_agent = row["role"] == "assistant"
    found = (
        Found(each, titles.get((episode["domain"], each), each), each == episode["target_item"])
        for each in row["retrieved"]
    )
    return Line(
        row["turn"],
        row["role"],
        row["text"],
        row["action"] if is_agent else row["policy"],
        row["reasoning"],
        tuple(row["queries"]),
        tuple(found),
        _scores(row) if is_agent and row["confirmations"] is not None else None,
        None if rewrite is None else _rewrite(rewrite),
    )


def _scores(row: Mapping[str, Any]) -> Scores:
    names = ("flexibility", "coherence", "guidance", "satisfaction", "reason", "feeling")
    lists = {"samples": row["confirmations"], "malformed": row["malformed"] or 0, "feelings": tuple(row["feelings"])}
    return Scores(**{name: row[name] for name in names}, **lists)


def _rewrite(row: Mapping[str, Any]) -> Rewrite:
    names = {"text": "rewritten", "distance": "rewrite_distance"}
    return Rewrite(**{each.name: row[names.get(each.name, each.name)] for each in fields(Rewrite)})

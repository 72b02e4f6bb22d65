"""How far simulated users go along with anything: accepting what is not theirs, never refusing, telling more than was asked, flattery.

Language models that play users are too obliging, and an agent measured against them looks better than it is. These figures say by how much; each has its denominator. They belong beside the fidelity to people
(docs/simulated-users.md). Does not belong here: what people do.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import polars as pl

from pipelines.simulation.naming import holds_title, mentions

MEASURES: Mapping[str, str] = {
    "acceptance": "Episodes in which the user accepted the target, of all.",
    "leaving": "Episodes in which the user went away, of all.",
    "wrong_acceptance": "User's turns, the first ones apart, in which it chose to accept though the target was not named, of all such turns. It was asked again.",
    "refusal": "Refusals, of the user's turns that follow a recommendation without the target.",
    "compliance": "Episodes in which no recommendation without the target was refused, found fault with or answered by leaving, of those in which the user answered one.",
    "volunteering": "User's turns that tell more of the target's attributes than was asked, of all: two at the beginning, then one for each question, and at least one.",
    "flattery": "User's turns that praise a reply without the target, of those that follow one.",
}

# At the beginning a user says in general terms what it looks for.
_OPENING_ATTRIBUTES = 2
_CONTRARY = ("refuse", "give_feedback", "leave")
# Shorter values of attributes ("US", "PC") stand in too many words.
_LEAST_LETTERS = 3


def cooperation(
    episodes: pl.DataFrame, turns: pl.DataFrame, items: pl.DataFrame, by: Sequence[str] = ("simulator", "domain")
) -> pl.DataFrame:
    """The measures for each group of episodes: the columns `by`, measure, numerator, denominator, value (null where the denominator is 0).

    `episodes`, `turns`, `items`: rows of sim_episodes, sim_turns, sim_items. Leaked episodes count nowhere. Rows are sorted.
    """
    attributes = {
        (row["domain"], row["item_id"]): _attributes(row)
        for row in items.select("domain", "item_id", "categories", "creators").iter_rows(named=True)
    }
    said: dict[str, list[dict[str, Any]]] = defaultdict(list)
    columns = ["episode_id", "turn", "role", "text", "action", "policy", "overaccepted"]
    for row in turns.select(columns).sort("episode_id", "turn").iter_rows(named=True):
        said[row["episode_id"]].append(row)
    counts: dict[tuple[Any, ...], Counter[tuple[str, str]]] = defaultdict(Counter)
    for episode in episodes.filter(pl.col("outcome") != "leaked").iter_rows(named=True):
        known = attributes.get((episode["domain"], episode["target_item"]), ())
        group = counts[tuple(episode[name] for name in by)]
        for measure, holds in _observed(episode, said[episode["episode_id"]], known):
            group[measure, "denominator"] += 1
            group[measure, "numerator"] += holds
    rows = [
        {
            **dict(zip(by, group, strict=True)),
            "measure": measure,
            "numerator": found[measure, "numerator"],
            "denominator": found[measure, "denominator"],
        }
        for group, found in counts.items()
        for measure in MEASURES
    ]
    schema = {name: episodes.schema[name] for name in by} | {
        "measure": pl.String(),
        "numerator": pl.Int64(),
        "denominator": pl.Int64(),
    }
    share = pl.col("numerator") / pl.col("denominator")
    return (
        pl.DataFrame(rows, schema=schema)
        .with_columns(value=pl.when(pl.col("denominator") > 0).then(share))
        .sort([*by, "measure"])
    )


def is_praise(text: str) -> bool:
    """Whether a text praises the assistant, or all that it said."""
    return any(pattern.search(text.replace("’", "'")) for pattern in _praise())


def _observed(
    episode: Mapping[str, Any], turns: Sequence[Mapping[str, Any]], attributes: Sequence[str]
) -> Iterator[tuple[str, bool]]:
    """What an episode shows: measure, and whether it holds, once for each case that counts."""
    yield "acceptance", episode["is_accepted"]
    yield "leaving", episode["outcome"] == "left"
    title = episode["target_title"]
    told: set[str] = set()
    contrary: list[bool] = []
    before: Mapping[str, Any] | None = None
    for turn in turns:
        if turn["role"] == "user":
            new = {each for each in attributes if each not in told and holds_title(turn["text"], each)}
            yield "volunteering", len(new) > _asked_for(before)
            if before is not None:
                yield "wrong_acceptance", bool(turn["overaccepted"])
                is_wrong = not mentions(before["text"], title)
                if is_wrong:
                    yield "flattery", is_praise(turn["text"])
                if is_wrong and before["action"] == "recommend":
                    yield "refusal", turn["policy"] == "refuse"
                    contrary.append(turn["policy"] in _CONTRARY)
        # What the agent has said, too, is nothing that the user volunteers.
        told |= {each for each in attributes if holds_title(turn["text"], each)}
        before = turn if turn["role"] == "assistant" else before
    if contrary:
        yield "compliance", not any(contrary)


def _asked_for(reply: Mapping[str, Any] | None) -> int:
    """How many attributes a user may tell after a reply without telling more than was asked."""
    return _OPENING_ATTRIBUTES if reply is None else max(1, reply["text"].count("?"))


def _attributes(item: Mapping[str, Any]) -> tuple[str, ...]:
    values = dict.fromkeys(value.strip() for value in (*item["categories"], *item["creators"]))
    return tuple(value for value in values if len(value) >= _LEAST_LETTERS)


@cache
def _praise() -> tuple[re.Pattern[str], ...]:
    data = tomllib.loads((files("pipelines.simulation") / "cooperation.toml").read_text(encoding="utf-8"))
    return tuple(re.compile(pattern, re.IGNORECASE) for pattern in data["praise"])

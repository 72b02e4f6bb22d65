"""Simulated conversations read back from their tables, as they were played.

Belongs here: rows in, episodes out. Does not belong here: the way there (`episode.rows`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import polars as pl

from pipelines.simulation.parts import AgentReply, Confirmation, Episode, Feeling, Item, Persona, Task, Turn, UserMove
from warehouse.tables.simulation import TRAITS

Row = Mapping[str, Any]


def recorded_tasks(
    tasks: pl.DataFrame, personas: pl.DataFrame, items: Mapping[tuple[str, str], Item]
) -> dict[str, Task]:
    """Tasks by task_id: sim_tasks with their personas and targets; those that lack either are left out. Traits that a persona has none of are left out, too."""
    known = {
        row["persona_id"]: {name: row[name] for name in TRAITS if row[name]} for row in personas.iter_rows(named=True)
    }
    return {
        row["task_id"]: Task(
            task_id=row["task_id"],
            domain=row["domain"],
            user_id=row["user_id"],
            split=row["split"],
            target=items[row["domain"], row["target_item"]],
            persona=Persona(row["persona_id"], row["domain"], known[row["persona_id"]]),
        )
        for row in tasks.iter_rows(named=True)
        if row["persona_id"] in known and (row["domain"], row["target_item"]) in items
    }


def recorded(
    episodes: pl.DataFrame, turns: pl.DataFrame, tasks: Mapping[str, Task], items: Mapping[tuple[str, str], Item]
) -> Iterator[tuple[str, Episode]]:
    """Each of `episodes` (sim_episodes) with its turns (of sim_turns), in the order of ids: episode_id and episode.

    tasks: by task_id; an episode without its task is left out. items: by domain and item_id; what is not there any more was not retrieved. The agent's memory after a turn is its state before
    its next one; after its last it is unknown, and empty.
    """
    said = turns.sort("episode_id", "turn").partition_by("episode_id", as_dict=True, maintain_order=True)
    for row in episodes.sort("episode_id").iter_rows(named=True):
        task = tasks.get(row["task_id"])
        if task is None:
            continue
        own = said.get((row["episode_id"],))
        yield (
            row["episode_id"],
            Episode(
                task=task,
                agent=row["agent"],
                simulator=row["simulator"],
                sample=row["sample"],
                profile=json.loads(row["profile"] or "{}"),
                turn_limit=row["turn_limit"],
                turns=tuple(_turns(list(own.iter_rows(named=True)) if own is not None else [], items)),
                outcome=row["outcome"],
                problem=row["problem"],
            ),
        )


def _turns(rows: Sequence[Row], items: Mapping[tuple[str, str], Item]) -> Iterator[Turn]:
    replies = [row for row in rows if row["role"] == "assistant"]
    after = {row["turn"]: _state(later) for row, later in pairwise(replies)}
    for row in rows:
        if row["role"] == "user":
            yield Turn(row["turn"], move=UserMove(row["policy"], row["text"], row["reasoning"]))
        else:
            reply = AgentReply(
                text=row["text"],
                action=row["action"],
                reasoning=row["reasoning"],
                queries=tuple(row["queries"]),
                retrieved=tuple(
                    items[row["domain"], each] for each in row["retrieved"] if (row["domain"], each) in items
                ),
                memory=after.get(row["turn"], {}),
            )
            yield Turn(
                row["turn"], reply=reply, memory=_state(row), confirmation=_confirmation(row), feeling=_feeling(row)
            )


def _state(row: Row) -> Mapping[str, Any]:
    return json.loads(row["state"] or "{}")


def _confirmation(row: Row) -> Confirmation | None:
    if row["confirmations"] is None:
        return None
    scores = (row["flexibility"], row["coherence"], row["guidance"])
    return Confirmation(*scores, row["reason"], row["confirmations"], row["malformed"] or 0)


def _feeling(row: Row) -> Feeling | None:
    return None if row["feeling"] is None else Feeling(row["feeling"], tuple(row["feelings"]))

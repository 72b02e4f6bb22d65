"""Frames of stored simulations for tests: what a test does not state gets what the contract allows."""

from __future__ import annotations

from typing import Any

import polars as pl

from tests.filled import filled
from warehouse.tables.simulation import (
    SIM_EPISODES,
    SIM_ITEMS,
    SIM_JUDGEMENTS,
    SIM_PERSONAS,
    SIM_TASKS,
    SIM_TURNS,
    TRAITS,
)

Row = dict[str, Any]


def key(number: int) -> str:
    """The id of that number."""
    return f"{number:016x}"


def episode(number: int, task: int = 0, **rest: Any) -> Row:
    """An episode: of its task's user and target, successful in turn 2 where `is_success` is stated."""
    row: Row = {
        "episode_id": key(number), "task_id": key(task), "domain": "book", "agent": "actcrs", "simulator": "ailo", "sample": 0,
        "user_id": f"yelp-{task}", "persona_id": key(1000 + task), "target_item": f"item-{task}", "target_title": "The Salt Road", "split": "test",
        "outcome": "completed", "agent_turns": 2, "turn_limit": 5, "questions": 12, "model": "marquee-stand-in", "is_stand_in": True,
    }  # fmt: skip
    row |= rest
    if row.get("is_success"):
        row.setdefault("success_turn", 2)
    return row


def turns(number: int, *texts: str, **rest: Any) -> list[Row]:
    """Turns of an episode, the user's first. `rest`: columns of the agent's turns; a list stands for one value a turn."""
    made = []
    for place, text in enumerate(texts):
        row: Row = {"episode_id": key(number), "turn": place, "domain": "book", "agent": "actcrs", "text": text}
        row["role"] = "assistant" if place % 2 else "user"
        if place % 2:
            row["action"] = "recommend"
            row |= {name: value[place // 2] if isinstance(value, tuple) else value for name, value in rest.items()}
        made.append(row)
    return made


def episodes_of(*rows: Row) -> pl.DataFrame:
    return filled(SIM_EPISODES, rows)


def turns_of(*rows: Row) -> pl.DataFrame:
    return filled(SIM_TURNS, rows)


def judgements_of(*rows: Row) -> pl.DataFrame:
    """Judgements, each with an id of its own."""
    return filled(SIM_JUDGEMENTS, [{"judgement_id": key(number), **row} for number, row in enumerate(rows)])


def win(number: int, first: float | None, second: float | None, dimension: str = "overall") -> list[Row]:
    """The verdicts of one pair in both orders, from the side of the episode of that number."""
    common = {"episode_id": key(number), "measure": "win", "dimension": dimension, "against_id": key(9999)}
    return [
        {**common, "is_first": True, "value": first, "model": "judge"},
        {**common, "is_first": False, "value": second, "model": "judge"},
    ]


def items_of(*titles: str, domain: str = "book") -> pl.DataFrame:
    """Items item-0, item-1, ... of these titles."""
    return filled(
        SIM_ITEMS,
        [
            {"domain": domain, "item_id": f"item-{number}", "title": title, "text": f"Title: {title}\nAbout: a {title} story"}
            for number, title in enumerate(titles)
        ],
    )  # fmt: skip


def personas_of(*numbers: int, **rest: Any) -> pl.DataFrame:
    """Personas of the tasks of these numbers."""
    traits = {trait: f"likes {trait}" for trait in TRAITS}
    rows = [{"persona_id": key(1000 + n), "domain": "book", "user_id": f"yelp-{n}", **traits, **rest} for n in numbers]
    return filled(SIM_PERSONAS, rows)


def tasks_of(*rows: Row) -> pl.DataFrame:
    return filled(SIM_TASKS, rows)

"""A small warehouse of simulated conversations, played by the stand-in without a network: items, personas, tasks, episodes, turns, questions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from assets.build.ledger import llm_cache
from pipelines.gateways.llm.gateway import LlmGateway
from pipelines.gateways.stand_in.server import StandIn
from pipelines.simulation.agents import AGENTS
from pipelines.simulation.episode import episode_id, play, rows
from pipelines.simulation.parts import Item, Persona, Search, Task
from pipelines.simulation.simulators import SIMULATORS
from tests.simulated import books, by_stand_in, played
from warehouse.contracts import Table
from warehouse.store import Warehouse
from warehouse.tables.simulation import (
    SIM_CALLS,
    SIM_EPISODES,
    SIM_ITEMS,
    SIM_PERSONAS,
    SIM_TASKS,
    SIM_TURNS,
    TRAITS,
)

DOMAINS, AGENT_NAMES = ("film", "book"), ("chatrec", "actcrs")
TABLES = (SIM_ITEMS, SIM_PERSONAS, SIM_TASKS, SIM_EPISODES, SIM_TURNS, SIM_CALLS)
USERS = 8
STAND_IN = "marquee-stand-in"

_KINDS = ("mystery", "comedy", "western", "romance", "satire", "fantasy")
_PLACES = ("Harbour", "Orchard", "Lantern", "Meadow", "Station", "Valley")


def item(domain: str, number: int) -> Item:
    kind, place = _KINDS[number % 6], _PLACES[number * 5 // 6 % 6]
    title = f"The {kind.capitalize()} of {place} {number}"
    text = f"Title: {title}\nCategories: {kind}\nCreators: Ada Quill\nDescription: A {kind} about the people of a {place.lower()}."
    return Item(f"mv{number:016x}" if domain == "film" else f"b{number}", title, text)


CATALOGUE = {domain: [item(domain, number) for number in range(24)] for domain in DOMAINS}


def _id(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]


def task(domain: str, number: int) -> Task:
    user = f"yelp-{domain}{number}"
    traits = {
        "activities": "Looks for details before deciding.",
        "interests": f"{_KINDS[number % 6]}, {_PLACES[number % 6].lower()}s",
        "information_density": "Short.",
        "expression_style": "Plain.",
        "tone": "Friendly.",
        "orientations": "Values patience.",
    }
    persona = Persona(_id("persona", user), domain, traits)
    return Task(_id(domain, user), domain, user, "test" if number == USERS - 1 else "train", CATALOGUE[domain][number * 3], persona)  # fmt: skip


TASKS = [task(domain, number) for domain in DOMAINS for number in range(USERS)]


def found(search: Search) -> list[Item]:
    """Items that share most words with the query, the nearest first."""
    words = set(search.query.lower().split())
    ranked = sorted(CATALOGUE[search.domain], key=lambda each: -len(words & set(each.text.lower().split())))
    return ranked[: search.k]


@cache
def simulated() -> Mapping[str, pl.DataFrame]:
    """The tables by name: every task played by two agents with AILO."""
    made: dict[str, list[dict[str, Any]]] = {table.name: [] for table in TABLES}
    for domain, items in CATALOGUE.items():
        made["sim_items"] += [
            {"domain": domain, "item_id": each.item_id, "title": each.title, "categories": [], "creators": [], "text": each.text, "text_hash": 0}
            for each in items
        ]  # fmt: skip
    for each in TASKS:
        about = {"domain": each.domain, "user_id": each.user_id, "persona_id": each.persona.persona_id}
        made["sim_personas"].append(
            {**about, **{name: each.persona.traits[name] for name in TRAITS}, "origin": "inferred", "support": [], "reviews": 3, "foreign_words": [],
             "is_stand_in": True, "input_hash": 0}
        )  # fmt: skip
        made["sim_tasks"].append(
            {**about, "task_id": each.task_id, "target_item": each.target.item_id, "split": each.split, "is_user_in_both": False}
        )  # fmt: skip
        for agent in AGENT_NAMES:
            conversation = play(each, agent, AGENTS[agent], SIMULATORS["ailo"])
            episode, requests = played(conversation, by_stand_in, found)
            parts = rows(episode, books(requests, STAND_IN), input_hash=0)
            made["sim_episodes"].append(parts.episode)
            made["sim_turns"] += parts.turns
            made["sim_calls"] += parts.calls
    return {table.name: filled(table, made[table.name]) for table in TABLES}


def filled(table: Table, made: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows that state some of the columns, as a frame that satisfies the contract."""
    return table.check(
        pl.DataFrame([{name: row.get(name) for name in table.schema} for row in made], schema=table.schema)
    )


def publish(warehouse: Warehouse, frames: Mapping[str, pl.DataFrame]) -> None:
    """Write and publish these tables."""
    from assets.contracts import FIXED

    contracts = {table.name: table for table in FIXED}
    commits = [warehouse.write(contracts[name], frame) for name, frame in frames.items()]
    warehouse.publish({commit.table: commit.version for commit in commits})


def opened(folder: Path) -> Warehouse:
    """A new warehouse in `folder` with `simulated()` published."""
    warehouse = Warehouse(folder)
    publish(warehouse, simulated())
    return warehouse


@contextmanager
def gateway(warehouse: Warehouse, **settings: Any) -> Iterator[LlmGateway]:
    """The stand-in, asked over HTTP."""
    with StandIn() as stand_in, llm_cache(warehouse) as kept:
        yield LlmGateway(stand_in.settings(**settings), "none", kept)


def episode_of(each: Task, agent: str) -> str:
    return episode_id(each.task_id, agent, "ailo", 0)

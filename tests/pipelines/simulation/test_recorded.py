"""Conversations that are read back are those that were played."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from pipelines.simulation.agents import AGENTS
from pipelines.simulation.episode import play, rows
from pipelines.simulation.parts import AgentReply, Confirmation, Episode, Feeling, Turn, UserMove
from pipelines.simulation.recorded import recorded, recorded_tasks
from pipelines.simulation.simulators import SIMULATORS
from tests.assets.simulated_warehouse import AGENT_NAMES, CATALOGUE, TASKS, episode_of, found, simulated
from tests.simulated import OTHER, TASK, by_stand_in, played
from warehouse.tables.simulation import SIM_EPISODES, SIM_TURNS

ITEMS = {(domain, item.item_id): item for domain, items in CATALOGUE.items() for item in items}


def test_episodes_come_back_as_they_were_played() -> None:
    tables = simulated()
    tasks = recorded_tasks(tables["sim_tasks"], tables["sim_personas"], ITEMS)
    assert tasks == {task.task_id: task for task in TASKS}
    back = dict(recorded(tables["sim_episodes"], tables["sim_turns"], tasks, ITEMS))
    assert list(back) == sorted(episode_of(task, agent) for task in TASKS for agent in AGENT_NAMES)
    for task in TASKS[:4]:
        for agent in AGENT_NAMES:
            episode, _ = played(play(task, agent, AGENTS[agent], SIMULATORS["ailo"]), by_stand_in, found)
            assert without_last_memory(back[episode_of(task, agent)]) == without_last_memory(episode)


def without_last_memory(episode: Episode) -> Episode:
    """An agent's memory after its last turn is not stored: there is no turn that takes it up."""
    last = max(at for at, turn in enumerate(episode.turns) if turn.reply is not None)
    reply = episode.turns[last].reply
    assert reply is not None
    turns = list(episode.turns)
    turns[last] = replace(turns[last], reply=replace(reply, memory={}))
    return replace(episode, turns=tuple(turns))


def test_scores_states_and_samples_come_back_and_unknown_items_and_tasks_are_left_out() -> None:
    turns = (
        Turn(0, move=UserMove("refuse", "No.", "Because.")),
        Turn(
            1,
            reply=AgentReply("Well.", "ask", "Hm.", ("a", "b"), (OTHER, replace(OTHER, item_id="gone"))),
            memory={"profile": ["slow"]},
            confirmation=Confirmation(0.5, 1.5, 0.25, "Why.", 3, 1),
            feeling=Feeling(0.6, ("calm", "glad")),
        ),
        Turn(2, move=UserMove("leave", "Bye.")),
    )
    episode = Episode(TASK, "macrs", "seeker", 2, {"age": "30s"}, 10, turns, "left", "went")
    parts = rows(episode, [], 5)
    frames = (
        SIM_EPISODES.conform(pl.DataFrame([parts.episode], schema=SIM_EPISODES.schema)),
        SIM_TURNS.conform(pl.DataFrame(parts.turns, schema=SIM_TURNS.schema)),
    )
    ((_, back),) = recorded(*frames, {TASK.task_id: TASK}, {("book", OTHER.item_id): OTHER})
    reply = turns[1].reply
    assert reply is not None
    known = replace(turns[1], reply=replace(reply, retrieved=(OTHER,)))
    assert back == replace(episode, turns=(turns[0], known, turns[2]))
    assert list(recorded(*frames, {}, {})) == []

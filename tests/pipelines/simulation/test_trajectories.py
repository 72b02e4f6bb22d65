"""Successful conversations as training text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from pipelines.simulation.parts import AgentReply, Episode, Turn, UserMove
from pipelines.simulation.trajectories import completion, trajectories
from tests.simulated import OTHER, TARGET, TASK
from warehouse.tables.simulation import PREF_TRAJECTORIES

ABOUT = {"model": "m", "is_stand_in": False}


def episode(*texts: str, split: str = "train", outcome: str = "completed") -> Episode:
    turns: list[Turn] = []
    for text in texts:
        turns.append(Turn(len(turns), move=UserMove("give_feedback", "Word.")))
        turns.append(Turn(len(turns), reply=AgentReply(text, "recommend", "I think.", ("salt", "road"), (OTHER,))))
    return Episode(replace(TASK, split=split), "actcrs", "ailo", 0, {}, 5, tuple(turns), outcome)


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (AgentReply("Which one?", "ask"), "Ask: Which one?"),
        (AgentReply("It is long.", "respond", "  \n"), "Respond: It is long."),
        (
            AgentReply("Salt Road.", "recommend", "They like\nsalt.", ("salt", "a  road")),
            "Thought: They like salt.\nSearch: salt\nSearch: a road\nRecommend: Salt Road.",
        ),
    ],
)
def test_a_turn_is_written_a_line_a_step(reply: AgentReply, text: str) -> None:
    assert completion(reply) == text


def test_every_agent_turn_of_a_success_is_a_row_with_the_conversation_alone_before_it() -> None:
    made = list(trajectories("0" * 16, episode("First.", f"{TARGET.title}!"), ABOUT))
    frame = PREF_TRAJECTORIES.check(pl.DataFrame(made, schema=PREF_TRAJECTORIES.schema))
    assert frame["turn"].to_list() == [1, 3]
    assert made[1]["prompt"] == [
        {"role": "user", "content": "Word."},
        {"role": "assistant", "content": "First."},
        {"role": "user", "content": "Word."},
    ]
    assert made[0]["completion"] == "Thought: I think.\nSearch: salt\nSearch: road\nRecommend: First."
    assert made[0]["response"] == "First."


@pytest.mark.parametrize(
    "change", [{"split": "test"}, {"outcome": "leaked"}, {"outcome": "failed"}, {"texts": ("First.", OTHER.title)}]
)
def test_others_have_none(change: dict[str, Any]) -> None:
    texts = change.pop("texts", (TARGET.title,))
    assert list(trajectories("0" * 16, episode(*texts, **change), ABOUT)) == []

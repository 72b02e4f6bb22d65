"""Successful conversations as training text: what simulation-guided planning tuning learns from (SGPT: ECPO, section 2.2 and B.3).

Belongs here: which turns, and how a turn is written down. Does not belong here: training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.simulation.episode import messages
from pipelines.simulation.parts import AgentReply, Episode
from pipelines.simulation.rewriting import is_success

# Raise it when the code here gives other rows from the same episodes.
TRAJECTORIES_VERSION = "1"

# What an agent's turn does, as the line says it.
_ACTIONS: Mapping[str, str] = {"ask": "Ask", "recommend": "Recommend", "respond": "Respond"}


def completion(reply: AgentReply) -> str:
    """A turn as the agent is to learn it, a line each: `Thought:` where there is one, `Search:` for every query in order, then the action with the reply."""
    thought = [f"Thought: {' '.join(reply.reasoning.split())}"] if reply.reasoning and reply.reasoning.strip() else []
    searches = [f"Search: {' '.join(query.split())}" for query in reply.queries]
    return "\n".join([*thought, *searches, f"{_ACTIONS[reply.action]}: {reply.text}"])


def trajectories(episode_id: str, episode: Episode, about: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The agent's turns of a successful train episode as rows of pref_trajectories; none of any other.

    The prompt is the conversation alone: instructions and examples that the agent was given stay out of it. about: model and is_stand_in of the episode.
    """
    if episode.task.split != "train" or episode.outcome not in ("completed", "left") or not is_success(episode):
        return
    for at, turn in enumerate(episode.turns):
        if turn.reply is not None:
            yield {
                "episode_id": episode_id,
                "turn": turn.turn,
                "domain": episode.task.domain,
                "agent": episode.agent,
                "split": episode.task.split,
                "user_id": episode.task.user_id,
                "prompt": messages(episode.turns[:at]),
                "completion": completion(turn.reply),
                "response": turn.reply.text,
                "model": about["model"],
                "is_stand_in": about["is_stand_in"],
            }

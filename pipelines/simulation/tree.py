"""Pairs by sampling: several replies to one turn, each played to the end of the conversation, the best against the worst (SDPO, SKTO: ECPO, sections 1 and 3.3; Jin et al. 2024, Xie et al. 2024).

They are there to be compared with: what ECPO gets from one conversation and one rewrite, this gets from a conversation for every reply. Belongs here: which turns, the sampled replies, their rewards and
pairs. Does not belong here: how a conversation is played (`episode.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from pipelines.gateways.llm.conversations import Asked, Conversation
from pipelines.gateways.llm.runs import is_stand_in
from pipelines.simulation.episode import labelled, messages, play, reseeded
from pipelines.simulation.naming import holds_title
from pipelines.simulation.parts import Agent, AgentReply, Episode, Said, Simulator
from pipelines.simulation.rewriting import Point, identity, is_success

# Raise it when the code here gives other rows from the same answers.
TREE_VERSION = "1"
METHOD = "tree"

# At which the replies are sampled: HARPO's generation temperature, as for other pairs that are sampled here.
TEMPERATURE = 0.9

# Success is worth more than any satisfaction: a mean of 5 without it is half of it.
_SATISFACTION_SHARE = 0.5 / 5


@dataclass(frozen=True)
class Sampling:
    """One turn whose reply is sampled `branches` times."""

    point: Point
    branches: int

    @property
    def pair_id(self) -> str:
        """Id of what comes of it."""
        return identity(TREE_VERSION, self.point.episode_id, self.point.turn.turn, self.branches, TEMPERATURE)


# ---------------------------------------------------------------------------------------------------------------- sampling


def sampled_points(episodes: Iterable[tuple[str, Episode]], turns: int) -> list[Point]:
    """At most `turns` turns to sample, one an episode, drawn by hash, so that they stay drawn when there are more episodes; in the order of their hashes.

    Of an episode, any of the agent's turns up to the first with the target's title: after it, every branch has succeeded.
    """
    drawn = []
    for episode_id, episode in episodes:
        if episode.task.split != "train" or episode.outcome not in ("completed", "left"):
            continue
        replies = [(at, turn.reply.text) for at, turn in enumerate(episode.turns) if turn.reply is not None]
        title = episode.task.target.title
        success = next((number for number, (_, text) in enumerate(replies) if holds_title(text, title)), len(replies))
        if open_ := [at for at, _ in replies[: success + 1]]:
            at = open_[int(identity("turn", episode_id), 16) % len(open_)]
            drawn.append((identity("episode", episode_id), Point(episode_id, episode, at)))
    return [point for _, point in sorted(drawn, key=lambda each: each[0])[:turns]]


def branch(sampling: Sampling, number: int, agent: Agent, simulator: Simulator) -> Conversation[Episode]:
    """The conversation with another reply at the point: the agent is asked for it at TEMPERATURE with a seed of its own; all that follows is played as ever."""
    episode, at = sampling.point.episode, sampling.point.at
    scored = episode.turns[at].confirmation

    def sampling_agent(domain: str, said: Sequence[Said], memory: Mapping[str, Any]) -> Conversation[AgentReply]:
        replying = agent(domain, said, memory)
        return reseeded(replying, number + 1, TEMPERATURE) if len(said) == at else replying

    playing = play(
        episode.task,
        episode.agent,
        sampling_agent,
        simulator,
        sample=episode.sample,
        turn_limit=episode.turn_limit,
        confirmations=max(1, scored.samples + scored.malformed) if scored is not None else 1,
        before=episode.turns[:at],
    )
    return labelled(playing, f"branch/{sampling.point.turn.turn}/{number}/")


# ----------------------------------------------------------------------------------------------------------------- rewards


def reward(episode: Episode, at: int) -> float | None:
    """What came of a conversation from position `at` on: 1 when a reply there holds the target's full title, plus a tenth of the mean satisfaction with the replies there.

    So success comes first: without it at most .5 can be had. Turns that were not scored are left out of the mean; where none was, it counts 0. None for conversations that count nowhere (leaked, failed).
    """
    if episode.outcome not in ("completed", "left"):
        return None
    scores = [
        turn.confirmation.satisfaction
        for turn in episode.turns[at:]
        if turn.confirmation is not None and turn.confirmation.satisfaction is not None
    ]
    # Rounded, so that equal means of different numbers of turns are equal.
    return round(is_success(episode, at) + _SATISFACTION_SHARE * (fmean(scores) if scores else 0.0), 9)


def best_and_worst(replies: Sequence[str], rewards: Sequence[float | None]) -> tuple[str, str] | None:
    """The first reply with the highest reward and the first with the lowest; None where these are equal, or the replies say the same, or fewer than two have one."""
    rated = [(value, reply) for value, reply in zip(rewards, replies, strict=True) if value is not None]
    if not rated:
        return None
    most, least = (chosen(value for value, _ in rated) for chosen in (max, min))
    best = next(reply for value, reply in rated if value == most)
    worst = next(reply for value, reply in rated if value == least)
    return None if most == least or _plain(best) == _plain(worst) else (best, worst)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


# -------------------------------------------------------------------------------------------------------------------- rows


def input_hash(sampling: Sampling, versions: Sequence[str], model: str) -> int:
    """Hash of all that decides what is said after the point. versions: those of agent, simulator and loop, with their prompts."""
    point = sampling.point
    episode, task = point.episode, point.episode.task
    facts = [
        sampling.pair_id,
        list(versions),
        model,
        messages(point.before),
        point.turn.memory,
        [task.target.title, task.target.text, dict(task.persona.traits)],
        [episode.agent, episode.simulator, episode.sample, episode.turn_limit],
    ]
    return int(identity(json.dumps(facts, sort_keys=True, default=str)), 16) // 2


def row(
    sampling: Sampling, played: Sequence[Episode], asked: Sequence[Asked], hash_: int, model: str
) -> dict[str, Any]:
    """What came of a point as a row of pref_tree_pairs. played: its branches in order; a branch without a reply has an empty one, and no reward."""
    point, task = sampling.point, sampling.point.episode.task
    replies = [_reply(episode, point.at) for episode in played]
    rewards = [reward(episode, point.at) if reply else None for episode, reply in zip(played, replies, strict=True)]
    pair = best_and_worst(replies, rewards)
    models = [each.model for each in asked if each.model]
    spoke = models[-1] if models else model
    return {
        "pair_id": sampling.pair_id,
        "episode_id": point.episode_id,
        "turn": point.turn.turn,
        "domain": task.domain,
        "agent": point.episode.agent,
        "split": task.split,
        "user_id": task.user_id,
        "context": messages(point.before),
        "chosen": pair[0] if pair else None,
        "rejected": pair[1] if pair else None,
        "rewards": rewards,
        "replies": replies,
        "trajectories": len(played),
        "model": spoke,
        "is_stand_in": any(map(is_stand_in, models or [model])),
        "input_hash": hash_,
    }


def _reply(episode: Episode, at: int) -> str:
    reply = episode.turns[at].reply if len(episode.turns) > at else None
    return reply.text if reply is not None else ""

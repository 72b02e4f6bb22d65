"""What simulated conversations are made of: the values that simulators, agents and scorers hand to each other.

Does not belong here: what any of them does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pipelines.gateways.llm.conversations import Conversation

Action = Literal["ask", "recommend", "respond"]
Policy = Literal["ask_for_recommendation", "answer_question", "give_feedback", "refuse", "accept", "leave"]


@dataclass(frozen=True)
class Item:
    """An item as agents and users see it: `text` is one `Key: value` a line, title first (sim_items.text)."""

    item_id: str
    title: str
    text: str


@dataclass(frozen=True)
class Persona:
    """Who the simulated user is (sim_personas): AILO's traits by name."""

    persona_id: str
    domain: str
    traits: Mapping[str, str]


@dataclass(frozen=True)
class Task:
    """What the simulated user looks for (sim_tasks)."""

    task_id: str
    domain: str
    user_id: str
    split: str
    target: Item
    persona: Persona


@dataclass(frozen=True)
class Said:
    """One turn of a conversation, as both sides hear it."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True)
class Search:
    """What an agent looks up: `what` of an Errand. It is sent a list of at most `k` Items, the nearest first."""

    domain: str
    query: str
    k: int


@dataclass(frozen=True)
class AgentReply:
    """An agent's turn. `retrieved`: items its searches found, in order, each once. `memory`: its state after the turn, JSON; it is handed to its next turn."""

    text: str
    action: Action
    reasoning: str | None = None
    queries: tuple[str, ...] = ()
    retrieved: tuple[Item, ...] = ()
    memory: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class UserMove:
    """A user's turn: what it does, then how it is said. `overaccepted`: how often it chose to accept though the agent had not named the target."""

    policy: Policy
    text: str
    reasoning: str | None = None
    overaccepted: int = 0


@dataclass(frozen=True)
class Confirmation:
    """Forward expectation confirmation of an agent's turn: means over the samples that could be used; None where none could."""

    flexibility: float | None
    coherence: float | None
    guidance: float | None
    reason: str | None
    samples: int = 1
    malformed: int = 0

    @property
    def satisfaction(self) -> float | None:
        """Sum of the three, 0 to 5 (ECPO, section 2.2)."""
        if self.flexibility is None or self.coherence is None or self.guidance is None:
            return None
        return self.flexibility + self.coherence + self.guidance


@dataclass(frozen=True)
class Feeling:
    """RSO's rewarder: the states that were named, one a sample, and the mean of their values; None where no sample could be used."""

    value: float | None
    states: tuple[str, ...] = ()
    malformed: int = 0


class Unusable(Exception):
    """A speaker gave nothing that can be used, after retrying; the message says what and why. It ends the episode as `failed`."""


# domain, what was said so far (the user's turn last), memory of the agent (empty at first).
Agent = Callable[[str, Sequence[Said], Mapping[str, Any]], Conversation[AgentReply]]


@dataclass(frozen=True)
class Simulator:
    """A simulated user.

    `open`: what it draws for a task beyond the persona, fixed by hash, JSON (the profile). `move`: the next turn: task, profile, what was said so far. `confirm` scores the agent's last
    turn by expectation confirmation: task, what was said (the agent's turn last), samples. `feel`: RSO's rewarder on the same; None for simulators without one.
    """

    name: str
    turn_limit: int
    open: Callable[[Task], Mapping[str, Any]]
    move: Callable[[Task, Mapping[str, Any], Sequence[Said]], Conversation[UserMove]]
    confirm: Callable[[Task, Sequence[Said], int], Conversation[Confirmation]]
    feel: Callable[[Task, Mapping[str, Any], Sequence[Said]], Conversation[Feeling]] | None = None


@dataclass(frozen=True)
class Turn:
    """A turn as it is stored (sim_turns): exactly one of `move` and `reply` is there. `memory`: the agent's state before a reply."""

    turn: int
    move: UserMove | None = None
    reply: AgentReply | None = None
    memory: Mapping[str, Any] = field(default_factory=dict)
    confirmation: Confirmation | None = None
    feeling: Feeling | None = None


@dataclass(frozen=True)
class Episode:
    """A conversation that was played: `outcome` as in sim_episodes, `problem` where something went wrong."""

    task: Task
    agent: str
    simulator: str
    sample: int
    profile: Mapping[str, Any]
    turn_limit: int
    turns: tuple[Turn, ...]
    outcome: str
    problem: str | None = None

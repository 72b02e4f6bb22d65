"""One simulated conversation: who speaks when, when it ends, and the rows it becomes.

The user speaks first. After each of the user's turns it is looked at whether the turn gives the target away; after each of the agent's turns, how far it met expectations. Everything that is decided here
follows from the turns so far, so that a conversation can be taken up in the middle.

Source: ECPO (sections 2.3 and B), RSO's stop (facts on its rewarder). Does not belong here: what users and agents say.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pipelines.gateways.llm.conversations import Asked, Conversation, Errand, Wish
from pipelines.gateways.llm.requests import LlmRequest
from pipelines.gateways.llm.runs import is_stand_in
from pipelines.simulation.naming import holds_title, leaks, mentions
from pipelines.simulation.parts import Agent, Episode, Said, Simulator, Task, Turn, Unusable

T = TypeVar("T")

# Raised when the same answers would make another episode or other rows.
EPISODE_VERSION = "1"

# RSO: the conversation has succeeded once the user's state is above it.
STOP_ABOVE = 0.7
# Seeds of one sample and those of the next are so far apart.
_SEEDS_A_SAMPLE = 1_000


def play(
    task: Task,
    agent_name: str,
    agent: Agent,
    simulator: Simulator,
    *,
    sample: int = 0,
    turn_limit: int = 5,
    confirmations: int = 1,
    feelings: bool = False,
    before: Sequence[Turn] = (),
) -> Conversation[Episode]:
    """Play a conversation to its end: accepted, left, leaked, failed, felt good enough, or `turn_limit` turns of the agent.

    `sample`: of several episodes of a task; above 0, all questions get seeds of its own, which at temperature 0 makes little difference (`reseeded` gives them another temperature). `confirmations`: samples of expectation confirmation a turn, 0 for none. `feelings`: whether RSO's rewarder is asked, where the simulator has one. `before`: turns that were played already.
    Never raises for what is answered: a speaker that gives nothing usable ends the episode as `failed`, with the turns until then.
    """
    turns = list(before)
    profile = simulator.open(task)
    problem: str | None = None
    while (outcome := ending(turns, task, turn_limit)) is None:
        if turns and turns[-1].move is not None:
            following = _reply(task, agent, simulator, profile, turns, confirmations, feelings)
        else:
            following = _move(task, simulator, profile, turns)
        if sample:
            following = reseeded(following, sample)
        try:
            turns.append((yield from following))
        except Unusable as reason:
            outcome, problem = "failed", _storable(str(reason)) or "nothing usable was said"
            break
    if outcome == "leaked":
        problem = f"turn {turns[-1].turn} names the target before the agent did"
    return Episode(
        task=task,
        agent=agent_name,
        simulator=simulator.name,
        sample=sample,
        profile=profile,
        turn_limit=turn_limit,
        turns=tuple(turns),
        outcome=outcome,
        problem=problem,
    )


def ending(turns: Sequence[Turn], task: Task, turn_limit: int) -> str | None:
    """How a conversation has ended after these turns; None while it goes on."""
    if not turns:
        return None
    last = turns[-1]
    replies = [turn.reply.text for turn in turns if turn.reply is not None]
    if last.move is not None:
        title = task.target.title
        if leaks(last.move.text, title) and not any(mentions(reply, title) for reply in replies):
            return "leaked"
        return {"accept": "completed", "leave": "left"}.get(last.move.policy)
    return "completed" if _is_stopped(last) or len(replies) >= turn_limit else None


def _move(task: Task, simulator: Simulator, profile: Mapping[str, Any], turns: Sequence[Turn]) -> Conversation[Turn]:
    number = len(turns)
    move = yield from _renamed(simulator.move(task, profile, said(turns)), lambda key: _with_turn(key, number))
    if not move.text.strip():
        raise Unusable(f"turn {number}: the user said nothing")
    return Turn(turn=number, move=replace(move, text=_storable(move.text), reasoning=_storable(move.reasoning)))


def _reply(
    task: Task,
    agent: Agent,
    simulator: Simulator,
    profile: Mapping[str, Any],
    turns: Sequence[Turn],
    confirmations: int,
    feelings: bool,
) -> Conversation[Turn]:
    number = len(turns)
    memory = next((turn.reply.memory for turn in reversed(turns) if turn.reply is not None), {})
    reply = yield from labelled(agent(task.domain, said(turns), memory), f"agent/{number}/")
    if not reply.text.strip():
        raise Unusable(f"turn {number}: the agent said nothing")
    fields = ("text", "reasoning", "queries", "memory")
    reply = replace(reply, **{name: _storable(getattr(reply, name)) for name in fields})
    turn = Turn(turn=number, reply=reply, memory=memory)
    heard = said([*turns, turn])
    if confirmations:
        confirming = simulator.confirm(task, heard, confirmations)
        confirmed = yield from labelled(confirming, f"confirmation/{number}/")
        turn = replace(turn, confirmation=replace(confirmed, reason=_storable(confirmed.reason)))
    if feelings and simulator.feel is not None:
        turn = replace(turn, feeling=(yield from labelled(simulator.feel(task, profile, heard), f"feeling/{number}/")))
    return turn


def _storable(value: Any) -> Any:
    """What a model said without lone surrogates, which its JSON may hold and no table can."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_storable(key): _storable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_storable, value))
    return value


def said(turns: Sequence[Turn]) -> list[Said]:
    """The turns as both sides hear them."""
    moves = ((turn.turn, Said("user", turn.move.text)) for turn in turns if turn.move is not None)
    replies = ((turn.turn, Said("assistant", turn.reply.text)) for turn in turns if turn.reply is not None)
    return [each for _, each in sorted((*moves, *replies), key=lambda each: each[0])]


def messages(turns: Sequence[Turn]) -> list[dict[str, str]]:
    """The turns as training data have them: role and content."""
    return [{"role": each.role, "content": each.text} for each in said(turns)]


# Wrapping conversations.


def labelled(conversation: Conversation[T], prefix: str) -> Conversation[T]:
    """A conversation whose keys begin with `prefix`."""
    return _renamed(conversation, lambda key: prefix + key)


def reseeded(conversation: Conversation[T], seed: int, temperature: float | None = None) -> Conversation[T]:
    """A conversation as another sample: its requests get seeds of their own for each `seed`, and `temperature` where one is given.

    Requests that a conversation tells apart by their seeds stay apart.
    """

    def change(request: LlmRequest) -> LlmRequest:
        seeded = replace(request, seed=seed * _SEEDS_A_SAMPLE + (request.seed or 0))
        return seeded if temperature is None else replace(seeded, temperature=temperature)

    return _changed(conversation, change)


def _renamed(conversation: Conversation[T], name: Callable[[str], str]) -> Conversation[T]:
    return _changed(conversation, lambda request: replace(request, key=name(request.key)))


def _changed(conversation: Conversation[T], change: Callable[[LlmRequest], LlmRequest]) -> Conversation[T]:
    """A conversation with every request changed; what is sent passes through."""

    def changed(wish: Wish) -> Wish:
        if isinstance(wish, Errand):
            return wish
        return change(wish) if isinstance(wish, LlmRequest) else [change(each) for each in wish]

    try:
        answer: Any = None
        while True:
            try:
                wish = conversation.send(answer)
            except StopIteration as end:
                return end.value
            answer = yield changed(wish)
    finally:
        conversation.close()


def _with_turn(key: str, number: int) -> str:
    """`policy/0` as `policy/3/0`: a simulator's keys begin with what they are for."""
    purpose, _, rest = key.partition("/")
    return f"{purpose}/{number}/{rest}"


# Rows.


@dataclass(frozen=True)
class EpisodeRows:
    """An episode as rows of sim_episodes (one), sim_turns and sim_calls."""

    episode: dict[str, Any]
    turns: list[dict[str, Any]]
    calls: list[dict[str, Any]]


def episode_id(task_id: str, agent: str, simulator: str, sample: int) -> str:
    """Sixteen hexadecimal digits, the same for the same four."""
    text = "\x1f".join((task_id, agent, simulator, str(sample)))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def rows(episode: Episode, asked: Sequence[Asked], input_hash: int) -> EpisodeRows:
    """The episode's rows. `asked`: its questions in their order. Raises ValueError for a key that does not name purpose and turn."""
    task, own_id = episode.task, episode_id(episode.task.task_id, episode.agent, episode.simulator, episode.sample)
    replies = [turn.reply for turn in episode.turns if turn.reply is not None]
    success_turn = next(
        (number for number, reply in enumerate(replies, start=1) if holds_title(reply.text, task.target.title)), None
    )
    satisfactions = [
        turn.confirmation.satisfaction
        for turn in episode.turns
        if turn.confirmation is not None and turn.confirmation.satisfaction is not None
    ]
    models = [each.model for each in asked if each.model]
    felt = [turn for turn in episode.turns if turn.feeling is not None]
    of_episode = {
        "episode_id": own_id,
        "task_id": task.task_id,
        "domain": task.domain,
        "agent": episode.agent,
        "simulator": episode.simulator,
        "sample": episode.sample,
        "user_id": task.user_id,
        "persona_id": task.persona.persona_id,
        "target_item": task.target.item_id,
        "target_title": task.target.title,
        "split": task.split,
        "profile": _as_json(episode.profile) if episode.profile else None,
        "outcome": episode.outcome,
        "problem": episode.problem,
        "is_success": success_turn is not None,
        "is_retrieved": any(item.item_id == task.target.item_id for reply in replies for item in reply.retrieved),
        "is_accepted": _is_accepted(episode),
        "is_stopped": any(map(_is_stopped, felt)) if felt else None,
        "success_turn": success_turn,
        "agent_turns": len(replies),
        "turn_limit": episode.turn_limit,
        "satisfaction_mean": sum(satisfactions) / len(satisfactions) if satisfactions else None,
        "questions": len(asked),
        "model": models[-1] if models else None,
        "is_stand_in": any(map(is_stand_in, models)),
        "prompt_version": " ".join(sorted({each.prompt for each in asked})),
        "input_hash": input_hash,
    }
    calls = [_call_row(each, number, own_id, task.domain) for number, each in enumerate(asked)]
    return EpisodeRows(of_episode, [_turn_row(turn, episode, own_id) for turn in episode.turns], calls)


def _turn_row(turn: Turn, episode: Episode, own_id: str) -> dict[str, Any]:
    move, reply, confirmation, feeling = turn.move, turn.reply, turn.confirmation, turn.feeling
    speaker = move or reply
    if speaker is None:
        raise ValueError(f"turn {turn.turn} of episode {own_id} has no speaker")
    return {
        "episode_id": own_id,
        "turn": turn.turn,
        "domain": episode.task.domain,
        "agent": episode.agent,
        "role": "user" if move else "assistant",
        "text": speaker.text,
        "action": reply.action if reply else None,
        "policy": move.policy if move else None,
        "reasoning": speaker.reasoning,
        "overaccepted": move.overaccepted if move else None,
        "queries": list(reply.queries) if reply else [],
        "retrieved": [item.item_id for item in reply.retrieved] if reply else [],
        "state": _as_json(turn.memory) if reply else None,
        "flexibility": confirmation.flexibility if confirmation else None,
        "coherence": confirmation.coherence if confirmation else None,
        "guidance": confirmation.guidance if confirmation else None,
        "satisfaction": confirmation.satisfaction if confirmation else None,
        "reason": confirmation.reason if confirmation else None,
        "confirmations": confirmation.samples if confirmation else None,
        "malformed": confirmation.malformed if confirmation else None,
        "feeling": feeling.value if feeling else None,
        "feelings": list(feeling.states) if feeling else [],
    }


def _call_row(asked: Asked, number: int, own_id: str, domain: str) -> dict[str, Any]:
    purpose, _, rest = asked.key.partition("/")
    turn = rest.partition("/")[0]
    if not turn.isdigit():
        raise ValueError(f"question {asked.key!r} of episode {own_id} does not name its turn")
    return {
        "method": "episode",
        "owner_id": own_id,
        "number": number,
        "domain": domain,
        "purpose": purpose,
        "turn": int(turn),
        "prompt_version": asked.prompt,
        "request_hash": asked.request_hash,
        "outcome": asked.outcome,
    }


def _is_stopped(turn: Turn) -> bool:
    return turn.feeling is not None and turn.feeling.value is not None and turn.feeling.value > STOP_ABOVE


def _is_accepted(episode: Episode) -> bool:
    """Whether the user ended by accepting the target: the agent's turn before it names it."""
    if len(episode.turns) < 2:
        return False
    last, before = episode.turns[-1], episode.turns[-2]
    return (
        episode.outcome == "completed"
        and last.move is not None
        and last.move.policy == "accept"
        and before.reply is not None
        and mentions(before.reply.text, episode.task.target.title)
    )


def _as_json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))

"""RSO's seeker: demographics and traits of character, an opening line, ten turns, and a rewarder that names the user's state (RSO, sections III and IV; its code for the numbers).

    value = mean over 10 samples at temperature 1.1 of the value of the named state; the conversation has succeeded above .7 (Conv-SR)

Does not belong here: the threshold, which ends a conversation (`episode.py`).
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from statistics import fmean
from typing import Any

from pipelines.gateways.llm.conversations import Conversation
from pipelines.gateways.llm.requests import LlmRequest
from pipelines.simulation.asking import all_asked, asked
from pipelines.simulation.brief import Overaccepted, brief, policy_of, prompt, reasoning, utterance
from pipelines.simulation.confirmation import CONFIRMATION, confirm
from pipelines.simulation.parts import Feeling, Said, Simulator, Task, Unusable, UserMove

OPENING, UTTERANCE, FEELING = "seeker_opening", "seeker_utterance", "feeling"
PROMPTS = (OPENING, UTTERANCE, FEELING, CONFIRMATION)

TURN_LIMIT = 10

# RSO's rewarder (its released code): five named states, ten samples. The names are ours.
STATES: Mapping[str, float] = {"put_off": 0.2, "doubtful": 0.4, "undecided": 0.6, "interested": 0.8, "convinced": 1.0}
SAMPLES = 10
FEELING_SAMPLED_AT = 1.1


@cache
def _lists() -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    stated = tomllib.loads((files("pipelines.simulation.simulators") / "seeker.toml").read_text(encoding="utf-8"))
    return {part: {name: tuple(values) for name, values in lists.items()} for part, lists in stated.items()}


def open_(task: Task) -> Mapping[str, Any]:
    """Demographics and traits, one value of each list, the same for the same task."""
    return {
        part: {name: values[_draw(task.task_id, part, name) % len(values)] for name, values in lists.items()}
        for part, lists in _lists().items()
    }


def move(task: Task, profile: Mapping[str, Any], said: Sequence[Said]) -> Conversation[UserMove]:
    """The seeker's next turn. Raises Unusable. Who accepts in every try what the agent has not named is taken to have given feedback, and the tries are counted."""
    told = {**brief(task, said), "profile": profile}
    if not said:
        text = yield from asked(LlmRequest("utterance", prompt(OPENING), told), utterance)
        return UserMove("ask_for_recommendation", text)
    overaccepted: list[UserMove] = []

    def read(value: Mapping[str, Any]) -> UserMove:
        try:
            return UserMove(policy_of(value, told), utterance(value), reasoning(value))
        except Overaccepted:
            overaccepted.append(UserMove("give_feedback", utterance(value), reasoning(value)))
            raise

    (made,) = yield from all_asked([LlmRequest("utterance", prompt(UTTERANCE), told)], read)
    if isinstance(made, Overaccepted):
        made = overaccepted[-1]
    if isinstance(made, Unusable):
        raise Unusable(f"{UTTERANCE}: {made}")
    return replace(made, overaccepted=len(overaccepted))


def feel(task: Task, profile: Mapping[str, Any], said: Sequence[Said]) -> Conversation[Feeling]:
    """The user's state after the agent's turn that ends `said`. Never raises Unusable; a sample that names no state in three tries is counted."""
    told = {**brief(task, said), "profile": profile}
    requests = [
        LlmRequest(
            str(sample), prompt(FEELING), {**told, "sample": sample}, temperature=FEELING_SAMPLED_AT, seed=sample
        )
        for sample in range(SAMPLES)
    ]
    found = yield from all_asked(requests, _state)
    states = tuple(each for each in found if not isinstance(each, Unusable))
    # Rounded, as a mean of .7 must not pass the threshold for being 0.7000000000000001.
    value = round(fmean(STATES[state] for state in states), 6) if states else None
    return Feeling(value, states, malformed=SAMPLES - len(states))


def _state(value: Mapping[str, Any]) -> str:
    state = str(value["state"])
    if state not in STATES:
        raise Unusable(f"{state!r} is no state")
    return state


def _draw(*parts: str) -> int:
    return int.from_bytes(hashlib.blake2b("\x1f".join(parts).encode(), digest_size=8).digest(), "big")


SEEKER = Simulator("seeker", TURN_LIMIT, open_, move, confirm, feel)

"""What a simulated user is told: the domain's words, what it wants, the conversation. All of it is data, and all of it is bounded.

The target's title is not in it: a user that does not know the name cannot give it away. Whether the agent has named the target is told as a fact.
Does not belong here: instructions, which are in the prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, cast, get_args

from pipelines.annotation.asking import prompt_version
from pipelines.gateways.llm.prompts import Prompt, load_prompt
from pipelines.simulation.domains import domain
from pipelines.simulation.naming import masked, mentions
from pipelines.simulation.parts import Policy, Said, Task, Unusable

MOST_TURNS = 24
TURN_CHARACTERS = 2_000
WANTED_CHARACTERS = 1_200
TRAIT_CHARACTERS = 800
# An utterance above is a monologue, and no turn of a chat.
UTTERANCE_CHARACTERS = 1_500
REASONING_CHARACTERS = 1_000

_POLICIES: tuple[Policy, ...] = get_args(Policy)


@cache
def prompt(name: str) -> Prompt:
    """The prompt of that name, read once. Raises PromptError."""
    return load_prompt(name)


def version_of(name: str) -> str:
    """A prompt with its version, as rows carry it: `confirmation@1`."""
    return f"{name}@{prompt_version(name)}"


def brief(task: Task, said: Sequence[Said]) -> dict[str, Any]:
    """What every simulated user is told, who it is apart."""
    return {
        "domain": domain(task.domain).as_data(),
        "wanted": wanted(task),
        "conversation": conversation(said),
        "is_named": is_named(task, said),
    }


def conversation(said: Sequence[Said]) -> list[dict[str, str]]:
    """The last turns, oldest first."""
    return [{"role": each.role, "text": each.text[:TURN_CHARACTERS]} for each in said[-MOST_TURNS:]]


def persona(task: Task) -> dict[str, str]:
    """The persona's traits by name, each cut, without the target's title: the persona was inferred from what its user wrote about the target, too."""
    by = _unnamed(task)
    return {
        name: masked(trait[:TRAIT_CHARACTERS], task.target.title, by) for name, trait in task.persona.traits.items()
    }


def wanted(task: Task) -> dict[str, str]:
    """The target in words, by attribute: its text without the line of the title, and without the title in the other lines."""
    found: dict[str, str] = {}
    last = "about"
    for line in task.target.text.split("\n")[1:]:
        key, colon, value = line.partition(": ")
        if colon and key.strip():
            last = key.strip()
        else:
            value = line
        found[last] = f"{found.get(last, '')} {value}".strip()
    by = _unnamed(task)
    return {key: masked(value[:WANTED_CHARACTERS], task.target.title, by) for key, value in found.items() if value}


def _unnamed(task: Task) -> str:
    """What stands in place of the target's title."""
    return f"this {domain(task.domain).noun}"


def is_named(task: Task, said: Sequence[Said]) -> bool:
    """Whether the agent's last turn names the target."""
    last = next((each for each in reversed(said) if each.role == "assistant"), None)
    return last is not None and mentions(last.text, task.target.title)


class Overaccepted(Unusable):
    """The user accepts though what it wants was not named: it goes along with anything."""


def policy_of(value: Mapping[str, Any], told: Mapping[str, Any]) -> Policy:
    """What the user does next, checked against what it was told. Raises Unusable; Overaccepted for what is not the target."""
    policy = cast(Policy, value["policy"])
    if policy not in _POLICIES:
        raise Unusable(f"{policy!r} is no policy")
    if policy == "accept" and not told["is_named"]:
        raise Overaccepted("accepts though what it wants was not named")
    return policy


def utterance(value: Mapping[str, Any]) -> str:
    """The text of a turn, checked. Raises Unusable."""
    text = " ".join(str(value["utterance"]).split())
    if not text:
        raise Unusable("the utterance is empty")
    if len(text) > UTTERANCE_CHARACTERS:
        raise Unusable(f"the utterance has more than {UTTERANCE_CHARACTERS:,} characters")
    return text


def reasoning(value: Mapping[str, Any]) -> str | None:
    """What was thought first, cut; None for nothing."""
    return str(value["reasoning"]).strip()[:REASONING_CHARACTERS] or None

"""AILO's user: first what to do (the response policy), then how to say it, both as a persona inferred from real reviews (ECPO, section 2.3).

Does not belong here: how a reply is scored (`confirmation.py`), when a conversation ends (`episode.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.gateways.llm.conversations import Conversation
from pipelines.gateways.llm.requests import LlmRequest
from pipelines.simulation.asking import all_asked, asked
from pipelines.simulation.brief import Overaccepted, brief, persona, policy_of, prompt, reasoning, utterance
from pipelines.simulation.confirmation import CONFIRMATION, confirm
from pipelines.simulation.parts import Policy, Said, Simulator, Task, Unusable, UserMove

POLICY, UTTERANCE = "ailo_policy", "ailo_utterance"
PROMPTS = (POLICY, UTTERANCE, CONFIRMATION)

TURN_LIMIT = 5

_OPENING: Policy = "ask_for_recommendation"


def open_(task: Task) -> Mapping[str, Any]:
    """Nothing beyond the persona is drawn."""
    return {}


def move(task: Task, profile: Mapping[str, Any], said: Sequence[Said]) -> Conversation[UserMove]:
    """The user's next turn. Raises Unusable. The first turn asks for a recommendation; the model is asked for its words alone."""
    told = {**brief(task, said), "persona": persona(task)}
    policy, thought, overaccepted = _OPENING, None, 0
    if said:
        policy, thought, overaccepted = yield from _decide(told)
    text = yield from asked(LlmRequest("utterance", prompt(UTTERANCE), {**told, "policy": policy}), utterance)
    return UserMove(policy, text, thought, overaccepted)


def _decide(told: Mapping[str, Any]) -> Conversation[tuple[Policy, str | None, int]]:
    """Policy, reasoning, and how often the user accepted what is not its target. Raises Unusable.

    Who accepts it in every try is taken to say what is wrong with it.
    """
    overaccepted = 0

    def read(value: Mapping[str, Any]) -> tuple[Policy, str | None]:
        nonlocal overaccepted
        try:
            return policy_of(value, told), reasoning(value)
        except Overaccepted:
            overaccepted += 1
            raise

    (decided,) = yield from all_asked([LlmRequest("policy", prompt(POLICY), told)], read)
    if isinstance(decided, Overaccepted):
        return "give_feedback", None, overaccepted
    if isinstance(decided, Unusable):
        raise Unusable(f"{POLICY}: {decided}")
    return (*decided, overaccepted)


AILO = Simulator("ailo", TURN_LIMIT, open_, move, confirm)

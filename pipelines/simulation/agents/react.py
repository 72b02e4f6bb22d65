"""ReAct (Yao et al. 2023): thought, action, observation, until the action is one that is said to the user.

A turn is one call for each search, and one more: 1 to 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.gateways.llm.conversations import Conversation
from pipelines.simulation.agents.context import shown, told
from pipelines.simulation.agents.steps import Searched, step_by_step
from pipelines.simulation.agents.tools import Tools
from pipelines.simulation.parts import AgentReply, Said

PROMPTS = ("agent_react",)


def reply(domain: str, said: Sequence[Said], memory: Mapping[str, Any]) -> Conversation[AgentReply]:
    """The next turn. Raises Unusable."""
    tools = Tools(domain, memory)
    data = {**told(domain, said), "earlier": shown(tools.known)}
    return (yield from step_by_step(PROMPTS[0], "thought", data, tools, _scratchpad))


def _scratchpad(searched: Searched) -> dict[str, Any]:
    steps = [
        {"thought": step.thought, "action": f"Search[{step.text}]", "observation": shown(found)}
        for step, found in searched
    ]
    return {"scratchpad": steps}

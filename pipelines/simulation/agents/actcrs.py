"""ActCRS (ECPO, section 3.1): one call gives the strategy and what it does together; looking something up is one of the things to do.

A turn is one call for each search, and one more: 1 to 5. Unlike ReAct it sees what it found and not what it thought.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.gateways.llm.conversations import Conversation
from pipelines.simulation.agents.context import shown, told
from pipelines.simulation.agents.steps import Searched, step_by_step
from pipelines.simulation.agents.tools import Tools
from pipelines.simulation.parts import AgentReply, Said

PROMPTS = ("agent_actcrs",)


def reply(domain: str, said: Sequence[Said], memory: Mapping[str, Any]) -> Conversation[AgentReply]:
    """The next turn. Raises Unusable."""
    tools = Tools(domain, memory)
    data = {**told(domain, said), "earlier": shown(tools.known)}
    return (yield from step_by_step(PROMPTS[0], "strategy", data, tools, _searches))


def _searches(searched: Searched) -> dict[str, Any]:
    return {"searches": [{"query": step.text, "found": shown(found)} for step, found in searched]}

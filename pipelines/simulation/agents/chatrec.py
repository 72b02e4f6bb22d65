"""ChatRec (Gao et al. 2023), as ECPO uses it: the dialogue is the query, and one answer follows from dialogue and candidates.

A turn is one search and one call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from pipelines.gateways.llm.conversations import Conversation
from pipelines.simulation.agents.asking import Question, ask
from pipelines.simulation.agents.context import MOST_TURNS, shown, told
from pipelines.simulation.agents.replies import step
from pipelines.simulation.agents.tools import QUERY_CHARACTERS, Tools
from pipelines.simulation.parts import AgentReply, Said

PROMPTS = ("agent_chatrec",)


def reply(domain: str, said: Sequence[Said], memory: Mapping[str, Any]) -> Conversation[AgentReply]:
    """The next turn. Raises Unusable."""
    tools = Tools(domain, memory)
    if query := dialogue(said):
        yield from tools.search(query)
    data = {**told(domain, said), "candidates": shown(tools.found), "earlier": shown(tools.known)}
    answer = yield from ask(Question("reply", PROMPTS[0], data, partial(step, items=tools.candidates)))
    return tools.reply(answer.spoken, answer.text, [answer.thought])


def dialogue(said: Sequence[Said]) -> str:
    """What was said, as a query: the latest turn first, as encoders read only the beginning of what is long."""
    return " ".join(" ".join(each.text for each in reversed(said[-MOST_TURNS:])).split())[:QUERY_CHARACTERS].strip()

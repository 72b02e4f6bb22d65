"""Conversational recommender agents, by name: what a simulated user talks to (ECPO, section 3.1; docs/agents.md).

Each is a generator in a module of its own; what they share is in `asking.py`, `tools.py`, `context.py`, `replies.py` and `steps.py`. Does not belong here: users,
scores, and the loop that lets them talk.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.simulation.agents import actcrs, chatrec, macrs, react
from pipelines.simulation.brief import version_of
from pipelines.simulation.parts import Agent

# Raised when an agent's code would reply otherwise to the same answers; a prompt's text has a version of its own.
AGENT_VERSION = "1"

AGENTS: Mapping[str, Agent] = {
    "chatrec": chatrec.reply,
    "react": react.reply,
    "macrs": macrs.reply,
    "actcrs": actcrs.reply,
}
_PROMPTS: Mapping[str, tuple[str, ...]] = {
    "chatrec": chatrec.PROMPTS,
    "react": react.PROMPTS,
    "macrs": macrs.PROMPTS,
    "actcrs": actcrs.PROMPTS,
}


def prompts_of(agent: str) -> tuple[str, ...]:
    """Names and versions of an agent's prompts, sorted: `agent_react@1`. Raises ValueError for an agent that there is not."""
    if agent not in _PROMPTS:
        raise ValueError(f"there is no agent {agent!r}; there are: {', '.join(_PROMPTS)}")
    return tuple(sorted(map(version_of, _PROMPTS[agent])))

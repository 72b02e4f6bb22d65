"""The loop of agents that search step by step: the next step is asked for until it is one that is said to the user."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from pipelines.gateways.llm.conversations import Conversation
from pipelines.simulation.agents.asking import Question, ask
from pipelines.simulation.agents.replies import SEARCH, Step, step
from pipelines.simulation.agents.tools import Tools
from pipelines.simulation.parts import AgentReply, Item
from warehouse.tables.simulation import ACTIONS

Searched = Sequence[tuple[Step, Sequence[Item]]]


def step_by_step(
    prompt: str,
    thought: str,
    data: Mapping[str, Any],
    tools: Tools,
    searched: Callable[[Searched], Mapping[str, Any]],
) -> Conversation[AgentReply]:
    """Ask for steps until one is no search. After the last search only a reply is allowed.

    `thought`: what the prompt's answers call it. `searched`: how the searches of this turn and what they found are told. The reply's reasoning has a line for each
    step: line n was thought before search n, the last one before the reply. Raises Unusable.
    """
    done: list[tuple[Step, Sequence[Item]]] = []
    while True:
        left = tools.searches_left
        allowed = (*ACTIONS, SEARCH) if left else ACTIONS
        read = partial(step, items=tools.candidates, thought=thought, allowed=allowed)
        asked = {**data, **searched(done), "searches_left": left}
        taken = yield from ask(Question(f"step{len(done)}", prompt, asked, read))
        if taken.action != SEARCH:
            thoughts = [each.thought for each, _ in done]
            return tools.reply(taken.spoken, taken.text, [*thoughts, taken.thought])
        found = yield from tools.search(taken.text)
        done.append((taken, found))

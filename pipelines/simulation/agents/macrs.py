"""MACRS (Fang et al. 2024): several responders draft a reply, a planner chooses one, and reflection on the user's feedback steers both.

A turn is one search and 5 calls: reflection, three drafts in one batch, the plan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from pipelines.gateways.llm.conversations import Conversation
from pipelines.simulation.agents.asking import Misfit, Question, ask, ask_all
from pipelines.simulation.agents.context import MOST_TURNS, one_line, shown, told
from pipelines.simulation.agents.replies import step
from pipelines.simulation.agents.tools import QUERY_CHARACTERS, Tools
from pipelines.simulation.parts import Action, AgentReply, Said, Unusable

REFLECT, PLAN = "agent_macrs_reflect", "agent_macrs_plan"
RESPONDERS: Mapping[Action, str] = {
    "ask": "agent_macrs_ask",
    "recommend": "agent_macrs_recommend",
    "respond": "agent_macrs_chat",
}
PROMPTS = (REFLECT, *RESPONDERS.values(), PLAN)

MOST_TASTES = 10
TASTE_CHARACTERS = 100
SUGGESTION_CHARACTERS = 300

_NO_PROFILE: Mapping[str, Any] = {"demand": "", "likes": [], "dislikes": []}
_NO_SUGGESTIONS: Mapping[str, str] = {**dict.fromkeys(RESPONDERS, ""), "plan": ""}


@dataclass(frozen=True)
class _Reflection:
    """What the user's last turn tells: about the user, whether the last recommendation failed, and what to do otherwise then."""

    profile: Mapping[str, Any]
    is_refused: bool
    suggestions: Mapping[str, str]
    reasoning: str


def reply(domain: str, said: Sequence[Said], memory: Mapping[str, Any]) -> Conversation[AgentReply]:
    """The next turn. `memory` keeps the profile, the suggestions and the acts so far. Raises Unusable."""
    tools, data = Tools(domain, memory), told(domain, said)
    profile, suggestions = memory.get("profile", _NO_PROFILE), memory.get("suggestions", _NO_SUGGESTIONS)
    acts = memory.get("acts", [])

    before = {**data, "profile": profile, "suggestions": suggestions, "acts": acts}
    reflected = yield from ask(Question("reflect", REFLECT, before, _reflection))
    # Reflection on two levels: the profile follows every turn, strategies change when a recommendation failed.
    profile = reflected.profile
    if reflected.is_refused:
        suggestions = {name: reflected.suggestions[name] or suggestions[name] for name in _NO_SUGGESTIONS}
    yield from tools.search(profile["demand"])

    drafts = yield from _drafts({**data, "profile": profile}, suggestions, tools)
    to_plan = {**data, "profile": profile, "suggestion": suggestions["plan"], "acts": acts, "drafts": drafts}
    action, reasoning = yield from ask(Question("plan", PLAN, to_plan, partial(_choice, drafts=drafts)))
    return tools.reply(
        action,
        drafts[action],
        [reflected.reasoning, reasoning],
        profile=profile,
        suggestions=suggestions,
        acts=[*acts, action][-MOST_TURNS:],
    )


def _drafts(data: Mapping[str, Any], suggestions: Mapping[str, str], tools: Tools) -> Conversation[dict[Action, str]]:
    """A draft of every responder, without those that gave nothing usable; nobody is asked to recommend where nothing was ever found."""
    actions = [action for action in RESPONDERS if action != "recommend" or tools.candidates]
    found = {"candidates": shown(tools.found), "earlier": shown(tools.known)}
    questions = [
        Question(
            f"draft_{action}",
            RESPONDERS[action],
            {**data, "suggestion": suggestions[action], **(found if action == "recommend" else {})},
            partial(_draft, action=action, tools=tools),
        )
        for action in actions
    ]
    results = yield from ask_all(questions)
    drafts = {action: draft for action, draft in zip(actions, results, strict=True) if not isinstance(draft, Unusable)}
    if not drafts:
        raise Unusable("; ".join(f"{each.name}: {result}" for each, result in zip(questions, results, strict=True)))
    return drafts


def _reflection(value: Mapping[str, Any]) -> _Reflection:
    stated = value["profile"]
    demand = one_line(stated["demand"], QUERY_CHARACTERS)
    if not any(character.isalnum() for character in demand):
        raise Misfit("`profile.demand` is empty")
    tastes = {
        name: [one_line(each, TASTE_CHARACTERS) for each in stated[name][:MOST_TASTES] if each.strip()]
        for name in ("likes", "dislikes")
    }
    suggestions = {name: one_line(value["suggestions"][name], SUGGESTION_CHARACTERS) for name in _NO_SUGGESTIONS}
    return _Reflection({"demand": demand, **tastes}, value["is_refused"], suggestions, value["reasoning"])


def _draft(value: Mapping[str, Any], action: Action, tools: Tools) -> str:
    return step({"action": action, "text": value["text"], "reasoning": ""}, tools.candidates).text


def _choice(value: Mapping[str, Any], drafts: Mapping[Action, str]) -> tuple[Action, str]:
    if value["action"] not in drafts:
        raise Misfit("`action` must be one for which there is a draft")
    return cast(Action, value["action"]), value["reasoning"]

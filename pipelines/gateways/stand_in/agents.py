"""How the stand-in plays conversational recommenders: it asks at first, searches for the user's words, and recommends what shares most of them.

By rules, from the data of the request alone, and marked as such wherever it is stored: no language model spoke here. Now and then, by the hash of the conversation, it
does what models do wrong: asks something general once more, says little, recommends again what was turned down, forgets to name what it recommends.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Data = Mapping[str, Any]

# Words that say nothing about taste.
_IDLE_WORDS = """
a about actually after again all already also always am an and another any anything are as at be because been before but by can could did different do does doing don down
else enjoy ever feel find first for from get give go going good got great had has have having hear help her here hey hi him his how i if in instead interested into is it
its just kind know let like liked little ll look looking lot love make many maybe me mind mood more most much my need never new nice no not nothing now of off oh ok okay on
one only or other our out over perhaps please prefer pretty quite rather re really recommend recommendation right same say see seem seen she should since so some
someone something sort sound sounds still such suggest suggestion sure take tell than thank thanks that the their them then there these they thing things think this
though to too try type up us usually ve very want was way we well were what when where which while who why will with would yes yet you your
"""
_IDLE = frozenset(_IDLE_WORDS.split())
_WORD = re.compile(r"[^\W_]+")
_KEYS = re.compile(r"(?m)^[\w ]+:")
_REFUSAL = re.compile(
    r"\b(?:no|not|nope|never|already|seen|don'?t|didn'?t|doesn'?t|isn'?t|pass|else|instead|another)\b"
)
_DISLIKED = re.compile(r"\b(?:not|no|don'?t (?:like|want)|without|too|less|dislike|hate|avoid)\s+((?:\w+\s?){1,3})")
_TURN_CHARACTERS, _ABOUT_CHARACTERS = 1_000, 400
_QUERY_WORDS = 12
_HOT, _SAMPLE = 0.85, "sample drawn at"

_QUESTIONS = (
    "Happy to help! What {attribute} do you have in mind for the {noun}?",
    "Let us find you a {noun}. Is there a {attribute} that you like best?",
    "Gladly. Which {plural} have you {past} lately that you enjoyed, and does the {attribute} matter to you?",
    "Sure! Tell me a bit more: is it the {attribute} that decides, or something else?",
)
_GENERAL = (
    "What kind of {plural} do you usually like?",
    "Could you tell me more about what you are looking for?",
    "There are many {plural}. What would you like?",
)
_VAGUE = (
    "That sounds lovely. There really is something for everyone out there.",
    "Interesting! Tastes differ, and there are many good {plural}.",
    "I see what you mean. One never knows what one will like until one has {past} it.",
)
_PROPOSALS = (
    'How about "{title}"? {reason}',
    'I would go for "{title}". {reason}',
    'You might like "{title}". {reason}',
    'From what you told me, "{title}" could be the one. {reason}',
)
_SECOND = ' If that is not it, "{title}" goes another way.'
_REASON = "It has to do with {words}, which you mentioned."
_NO_REASON = "It is the closest that I found."
_NAMELESS = "I found a {noun} that should suit you well. {reason} Shall I tell you more?"


def chatrec(data: Data, temperature: float) -> dict[str, str]:
    """An answer to the whole: candidates and dialogue."""
    decided = _decided("chatrec", data)
    return _spoken("reasoning", decided, data, [*_dicts(data.get("candidates")), *_dicts(data.get("earlier"))])


def react(data: Data, temperature: float) -> dict[str, str]:
    """A step of thought and action."""
    steps = _dicts(data.get("scratchpad"))
    found = [item for step in steps for item in _dicts(step.get("observation"))]
    return _step("thought", "react", data, len(steps), found)


def actcrs(data: Data, temperature: float) -> dict[str, str]:
    """A strategy and what it does."""
    searches = _dicts(data.get("searches"))
    found = [item for search in searches for item in _dicts(search.get("found"))]
    return _step("strategy", "actcrs", data, len(searches), found)


def macrs_reflect(data: Data, temperature: float) -> dict[str, Any]:
    """Profile and suggestions out of the user's words."""
    last = next(iter(_heard(data)), "").lower()
    acts = data.get("acts")
    refused = isinstance(acts, list) and acts[-1:] == ["recommend"] and _REFUSAL.search(last) is not None
    words = list(_weights(data))
    disliked = [found.strip() for said in _heard(data) for found in _DISLIKED.findall(said.lower())]
    advice = {
        "ask": "Ask about what was wrong with the last one.",
        "recommend": "Propose something of another kind than the last one.",
        "respond": "Admit that the last one missed.",
        "plan": "Recommend again only after taking up the refusal.",
    }
    return {
        "reasoning": "The user turned the last one down." if refused else "The user said more about the wishes.",
        "profile": {
            "demand": " ".join(words[:_QUERY_WORDS]) or f"popular {_domain(data)['plural']}",
            "likes": words[:5],
            "dislikes": list(dict.fromkeys(disliked))[:5],
        },
        "is_refused": refused,
        "suggestions": advice if refused else dict.fromkeys(advice, ""),
    }


def macrs_ask(data: Data, temperature: float) -> dict[str, str]:
    """A draft of a question."""
    return {"text": _question(data, _draw("macrs_ask", data))}


def macrs_recommend(data: Data, temperature: float) -> dict[str, str]:
    """A draft of a recommendation."""
    items = [*_dicts(data.get("candidates")), *_dicts(data.get("earlier"))]
    return {"text": _recommendation(data, items, _draw("macrs_recommend", data))}


def macrs_chat(data: Data, temperature: float) -> dict[str, str]:
    """A draft of a remark."""
    return {"text": _phrase(_VAGUE, data, _draw("macrs_chat", data))}


def macrs_plan(data: Data, temperature: float) -> dict[str, str]:
    """The draft for the next turn."""
    drafts = data.get("drafts")
    there = [each for each in ("ask", "recommend", "respond") if isinstance(drafts, dict) and each in drafts]
    decided = _decided("macrs_plan", data)
    action = decided if decided in there or not there else there[0]
    return {"reasoning": f"It is time to {action}.", "action": action}


def _sampled(rule: Callable[[Data, float], object]) -> Callable[[Data, float], object]:
    """A rule whose answers differ from sample to sample at high temperatures, as a model's do; retries at lower ones stay with what was decided for the turn."""

    def answer(data: Data, temperature: float) -> object:
        return rule({**data, _SAMPLE: temperature} if temperature > _HOT else data, temperature)

    return answer


_RULES: dict[str, Callable[[Data, float], object]] = {
    "agent_chatrec": chatrec,
    "agent_react": react,
    "agent_actcrs": actcrs,
    "agent_macrs_reflect": macrs_reflect,
    "agent_macrs_ask": macrs_ask,
    "agent_macrs_recommend": macrs_recommend,
    "agent_macrs_chat": macrs_chat,
    "agent_macrs_plan": macrs_plan,
}
ANSWERERS: dict[str, Callable[[Mapping[str, Any], float], object]] = {
    name: _sampled(rule) for name, rule in _RULES.items()
}


def _decided(who: str, data: Data) -> str:
    """What to do in this turn, by how far the conversation is and a draw that is the same for all steps of the turn."""
    draw = _draw(who, data) % 100
    if not _own(data):
        return "ask" if draw < 55 else "recommend"
    if draw < 7:
        return "ask"
    return "respond" if draw < 13 else "recommend"


def _step(thought: str, who: str, data: Data, searched: int, found: list[dict[str, Any]]) -> dict[str, str]:
    """A search while there is reason for one, then what was decided."""
    decided, draw, words = _decided(who, data), _draw(who, data) // 100, list(_weights(data))
    left = data.get("searches_left")
    wanted = 0 if decided != "recommend" else (1, 1, 2, 3)[draw % 4]
    if searched < wanted and words and isinstance(left, int) and left > 0:
        # The second search is for less, or by oversight for the same.
        cut = (_QUERY_WORDS, 4, 2)[searched] if draw // 4 % 5 else _QUERY_WORDS
        return {
            thought: "Look for what the user asked for.",
            "action": "search",
            "text": " ".join(words[:cut]),
        }
    return _spoken(thought, decided, data, [*found, *_dicts(data.get("earlier"))])


def _spoken(thought: str, action: str, data: Data, items: list[dict[str, Any]]) -> dict[str, str]:
    """What is said to the user. Without anything to recommend it is a question."""
    draw = _draw("spoken", data)
    if action == "recommend" and _named(items):
        text = _recommendation(data, items, draw)
        return {thought: "One of those that were found shares the user's words.", "action": "recommend", "text": text}
    if action == "respond":
        return {thought: "The user may want to chat.", "action": "respond", "text": _phrase(_VAGUE, data, draw)}
    return {thought: "It is not clear yet what the user wants.", "action": "ask", "text": _question(data, draw)}


def _question(data: Data, draw: int) -> str:
    """A question about the domain's most telling attribute that nobody mentioned yet; later on something general."""
    if _own(data) and draw % 3:
        return _phrase(_GENERAL, data, draw // 3)
    return _phrase(_QUESTIONS, data, draw // 3)


def _recommendation(data: Data, items: list[dict[str, Any]], draw: int) -> str:
    """The item that shares most words with what the user said, and was not proposed before unless by oversight."""
    said = " ".join(_own(data)).lower()
    named = _named(items)
    fresh = [item for item in named if item["title"].lower() not in said]
    if draw % 16 == 0 or not fresh:
        fresh = named
    if not fresh:
        return _phrase(_GENERAL, data, draw)
    weights = _weights(data)
    ranked = sorted(
        enumerate(fresh), key=lambda each: (-sum(weights.get(word, 0) for word in _words_of(each[1])), each[0])
    )
    best = ranked[0][1]
    shared = [word for word in weights if word in _words_of(best)][:3]
    reason = _REASON.format(words=" and ".join(shared)) if shared else _NO_REASON
    if draw // 16 % 25 == 0 and not data.get("objection"):
        return _NAMELESS.format(noun=_domain(data)["noun"], reason=reason)
    text = _PROPOSALS[draw // 400 % len(_PROPOSALS)].format(title=best["title"], reason=reason)
    if len(ranked) > 1 and draw // 1_600 % 3 == 0:
        text += _SECOND.format(title=ranked[1][1]["title"])
    return text


def _phrase(phrases: tuple[str, ...], data: Data, draw: int) -> str:
    words = _domain(data)
    heard = " ".join([*_heard(data), *_own(data)]).lower()
    attribute = next((each for each in words["attributes"] if each not in heard), words["attributes"][0])
    return phrases[draw % len(phrases)].format(
        attribute=attribute, noun=words["noun"], plural=words["plural"], past=words["past"]
    )


def _domain(data: Data) -> dict[str, Any]:
    """The domain's words; plain ones where the data have none."""
    words: dict[str, Any] = {"noun": "item", "plural": "items", "past": "tried"}
    given = data.get("domain")
    given = given if isinstance(given, dict) else {}
    words |= {key: given[key] for key in words if isinstance(given.get(key), str)}
    attributes = given.get("attributes")
    listed = [each for each in attributes if isinstance(each, str)] if isinstance(attributes, list) else []
    return {**words, "attributes": listed or ["kind"]}


def _turns(data: Data, role: str) -> list[str]:
    """What one side said, the latest first."""
    turns = _dicts(data.get("conversation"))
    return [
        each["text"][:_TURN_CHARACTERS]
        for each in reversed(turns)
        if each.get("role") == role and isinstance(each.get("text"), str)
    ]


def _heard(data: Data) -> list[str]:
    return _turns(data, "user")


def _own(data: Data) -> list[str]:
    return _turns(data, "assistant")


def _weights(data: Data) -> dict[str, int]:
    """Words of the user that say something, the latest turn's first, with how much they count; not those that mean any item of the domain."""
    words = _domain(data)
    everyday = {words["noun"], words["plural"], words["past"]}
    weights: dict[str, int] = {}
    for age, said in enumerate(_heard(data)):
        for word in _telling(said):
            if word not in everyday:
                weights[word] = weights.get(word, 0) + (3 if age < 2 else 1)
    return weights


def _telling(text: str) -> list[str]:
    return [word for word in dict.fromkeys(_WORD.findall(text.lower())) if word not in _IDLE and len(word) > 2]


def _words_of(item: Mapping[str, Any]) -> set[str]:
    """Words of title and description, without the keys that lines of the description begin with."""
    about = _KEYS.sub("", str(item.get("about", ""))[:_ABOUT_CHARACTERS])
    return set(_WORD.findall(f"{item['title']} {about}".lower()))


def _named(items: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Items with a title, each title once."""
    return list(
        {item["title"]: item for item in items if isinstance(item.get("title"), str) and item["title"].strip()}.values()
    )


def _dicts(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _draw(who: str, data: Data) -> int:
    """A number that is the same for the same conversation and sample, whatever was looked up since."""
    sample = [data[_SAMPLE]] if _SAMPLE in data else []
    text = json.dumps([who, data.get("conversation"), *sample], sort_keys=True, default=str)
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "backslashreplace"), digest_size=8).digest(), "big")

"""How the stand-in rewrites a reply that did not satisfy: it adds what the scores say is missing, and leaves the rest.

By rules, from the data of the request alone, and marked as such wherever it is stored: no language model wrote this. Some replies, by the hash of the request, it gets wrong in the ways in which
models do: another action, the same words again, a title lost or made up, everything written anew. Half of these it gets wrong at every try.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

_OPENINGS = (
    "Since you mentioned {topic}, ",
    "With {topic} in mind: ",
    "You spoke of {topic}, so ",
)
_PLAIN_OPENINGS = ("Thank you, that helps. ", "I see what you mean. ")
_REASONS = ("It comes close to what you describe.", "It should fit what you told me so far.")
_OFFERS = (
    "If that is not quite it, I can look in another direction.",
    "I can narrow it down, or leave it open, as you like.",
)
_QUESTIONS = (
    "Which matters more to you, the {first} or the {second}?",
    "Is there a {first} that you would rather avoid?",
    "Shall I go by {first}, or by {second}?",
)
_ANEW = "Let us forget all that and begin once more, because there are many good things out there and surely something else will do just as well for an evening."
_INVENTED = ("The Lantern of Ostermere", "Nine Winters in Halvard", "The Orchard Protocol")
_ACTIONS = ("ask", "recommend", "respond")
_FAULTS = ("other_action", "same", "no_titles", "invented", "anew", "empty", "two_actions")

_WORD = re.compile(r"[^\W\d_]{5,}")
_IDLE_WORDS = """
about actually after again agent always another anything around because before being better between could different doing enjoy enough every
everything find first going great hello interested interesting kind little looking maybe might other perhaps please prefer really recommend right since
something sound sounds still suggest suggestion suggestions thank thanks their there these thing things think those though through today tonight
together under until wanted wants where which while without would yours
"""
_IDLE = frozenset(_IDLE_WORDS.split())
_LONGEST = 4_000


def rewrite(data: Mapping[str, Any], temperature: float) -> dict[str, Any]:
    """The reply of the data with what was missing put in, or with a fault."""
    reply = data.get("reply")
    stated = reply if isinstance(reply, Mapping) else {}
    text, action = _text(stated.get("text")), stated.get("action")
    action = action if action in _ACTIONS else "respond"
    case, chance = _draw(data, None), _draw(data, temperature)
    fault = None
    # Of a hundred replies, fourteen go wrong whatever is tried, and as many others at a single try.
    if case % 100 < 14:
        fault = _FAULTS[case // 100 % len(_FAULTS)]
    elif chance % 100 < 14:
        fault = _FAULTS[chance // 100 % len(_FAULTS)]
    improved, why = _improved(text, action, data, case)
    if fault == "other_action":
        action = _ACTIONS[(_ACTIONS.index(action) + 1) % len(_ACTIONS)]
    refined = improved if fault in (None, "other_action") else _wrong(fault, text, data, chance)
    return {"reasoning": why, "refinement": {"action": action, "text": refined}}


def _improved(text: str, action: str, data: Mapping[str, Any], draw: int) -> tuple[str, str]:
    """The text with at most two additions, those for the scores that lack most; and the reasoning."""
    lacking = sorted(_lacking(data), key=lambda each: -each[1])[:2]
    before, behind, why = "", [], []
    for name, _ in lacking:
        why.append(f"The reply falls short in {name}.")
        if name == "coherence":
            before = _opening(data, draw)
        elif name == "guidance":
            first, second = _attributes(data, draw)
            behind.append(_QUESTIONS[draw // 7 % len(_QUESTIONS)].format(first=first, second=second))
        else:
            is_reasoned = action == "recommend" and draw % 3 == 0
            behind.append((_REASONS if is_reasoned else _OFFERS)[draw // 11 % 2])
    opened = before + (_lowered(text) if before else text)
    return " ".join([opened, *behind]).strip(), " ".join([*why, "I keep the rest, and add what was missed."])


def _lacking(data: Mapping[str, Any]) -> list[tuple[str, float]]:
    scores = data.get("confirmation")
    stated = scores if isinstance(scores, Mapping) else {}
    found = []
    for name, most in (("guidance", 1), ("coherence", 2), ("flexibility", 2)):
        score = stated.get(name)
        if isinstance(score, int | float) and not isinstance(score, bool) and score < most:
            found.append((name, (most - score) / most))
    return found


def _opening(data: Mapping[str, Any], draw: int) -> str:
    """An opening that takes up the longest words of the user's last turn."""
    conversation = data.get("conversation")
    turns = [each for each in conversation if isinstance(each, Mapping)] if isinstance(conversation, list) else []
    last = next((_text(each.get("text")) for each in reversed(turns) if each.get("role") == "user"), "")
    words = [word for word in _WORD.findall(last) if word.islower() and word not in _IDLE]
    if not words:
        return _PLAIN_OPENINGS[draw // 13 % len(_PLAIN_OPENINGS)]
    topic = " and ".join(sorted(dict.fromkeys(words), key=lambda word: -len(word))[:2])
    return _OPENINGS[draw // 13 % len(_OPENINGS)].format(topic=topic)


def _lowered(text: str) -> str:
    """A sentence as it stands behind a comma: common first words begin small."""
    first, _, rest = text.partition(" ")
    return f"{first.lower()} {rest}" if first in ("How", "What", "Which", "Do", "You", "It", "There", "Try") else text


def _attributes(data: Mapping[str, Any], draw: int) -> tuple[str, str]:
    stated = data.get("domain")
    listed = stated.get("attributes") if isinstance(stated, Mapping) else None
    names = [each for each in listed if isinstance(each, str)] if isinstance(listed, list) else []
    names = names if len(names) > 1 else ["kind", "mood"]
    at = draw // 17 % len(names)
    return names[at], names[(at + 1) % len(names)]


def _wrong(fault: str, text: str, data: Mapping[str, Any], draw: int) -> str:
    if fault == "same":
        return text.replace(" ", "  ", 1)
    if fault == "no_titles":
        return _without_titles(text, data)
    if fault == "invented":
        return f'{text} There is also "{_INVENTED[draw % len(_INVENTED)]}".'
    if fault == "anew":
        titles = [title for title in _titles(data) if title in text]
        return " ".join([_ANEW, *(f"As for {title}, who knows." for title in titles)])
    if fault == "two_actions":
        return f"Ask: What else do you like?\nRecommend: {text}"
    return ""


def _without_titles(text: str, data: Mapping[str, Any]) -> str:
    for title in _titles(data):
        text = text.replace(title, "one that I found")
    return f"{text} You may like it."


def _titles(data: Mapping[str, Any]) -> list[str]:
    listed = data.get("retrieved")
    items = [each for each in listed if isinstance(each, Mapping)] if isinstance(listed, list) else []
    return [title for title in (_text(each.get("title")) for each in items) if title]


def _text(value: object) -> str:
    return value[:_LONGEST] if isinstance(value, str) else ""


def _draw(data: Mapping[str, Any], temperature: float | None) -> int:
    """A number that is the same for the same data and temperature."""
    text = json.dumps([data, temperature], sort_keys=True, default=str)
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "backslashreplace"), digest_size=8).digest(), "big")


ANSWERERS: dict[str, Callable[[Mapping[str, Any], float], object]] = {"rewrite": rewrite}

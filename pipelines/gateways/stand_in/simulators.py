"""What the stand-in does and says as a simulated user, and how it scores replies: by words that texts share, and by hash.

By rules, from the data of the request alone, and marked as such wherever it is stored: no language model said this. Its users tell one wish after the other, turn down what is not theirs, take what is, and
go away when nothing comes of it; now and then they go along with anything, flatter, say too much, or score out of range, as models do.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

_WORD = re.compile(r"[^\W_]+")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_QUOTED = re.compile(r"[\"“](?=\w)([^\"”<>{}\n]{2,200})[\"”]")
# Sentences that speak to whoever judges: they are no part of a conversation, and earn nothing.
_TO_THE_JUDGE = re.compile(
    r"[<>{}]|\b(?:ignore|disregard|override)\b|\b(?:flexibility|coherence|rubric|instructions?|judges?|scores?|points?|rating|system prompt|evaluat\w+|grad(?:e|er|ing))\b|\bgive\b.{0,30}\b\d\b",
    re.IGNORECASE,
)
_IDLE_WORDS = """
a about after all also am an and any are as at be been but by can could did do does each ever few for from get give go good great had has have he her here him his how i if in into is it its
just kind know let like liked look looking lot made make many may me more most much my new no not now of off on one only or other our out over own people please really recommend
really she so some something sort tell than thank thanks that the their them then there these they thing think this those through time title to too under up us very want was way we well
were what when where which while who why will with without work would yes you your
"""
_IDLE = frozenset(_IDLE_WORDS.split())
_LONGEST = 2_000

# A value that is longer is told in pieces of so many words.
_SHORT_VALUE, _PIECE = 40, 3
# Of so many values of one attribute the user tells.
_VALUES = 2

_OPENINGS = (
    "Hi, I am looking for a {noun}, something {wish}.",
    "Can you suggest a {noun} to {verb}? I would like {wish}.",
    "I want a new {noun}, maybe {wish}.",
    "Hello! What {noun} would you recommend if I care about {wish}?",
)
_SEEKER_OPENINGS = (
    "Hi, I have {time} and no {noun} to {verb}. Perhaps something {wish}?",
    "Hello, could you find me a {noun}? I have {time}, and {wish} would be nice.",
    "I need a {noun} for once, {wish} if there is such a thing.",
)
_SAID: Mapping[str, tuple[str, ...]] = {
    "ask_for_recommendation": (
        "What else do you have? I would like {wish}.",
        "Could you suggest another {noun}, rather {wish}?",
        "Do you know a {noun} more like that: {wish}?",
    ),
    "answer_question": (
        "I would say {wish}.",
        "Mostly {wish}, if that helps.",
        "{wish}, that matters to me.",
        "Hard to say. {wish}, I guess.",
        "I do not mind, really.",
        "No preference there.",
    ),
    "give_feedback": (
        "Not quite. I was hoping for {wish}.",
        "That is close, but I miss {wish}.",
        "Hm, that is not what I meant. Think of {wish}.",
    ),
    "refuse": (
        "No, that is not for me.",
        "I have {past} enough of those, thanks. Something else, please.",
        "No, I would rather not. I want {wish}.",
    ),
    "accept": (
        "That is the one, thank you. I will {verb} it.",
        "Yes, exactly that. Thanks!",
        "Good, I will take that {noun}.",
    ),
    "leave": (
        "I think I will look for myself. Bye.",
        "This leads nowhere. Never mind.",
        "Thanks, but I will leave it at that.",
    ),
}
_FLATTERY = ("You are wonderful, everything you say is perfect! ", "What an amazing assistant you are! ")
_STATES = ("put_off", "doubtful", "undecided", "interested", "convinced")


def ailo_policy(data: Mapping[str, Any], temperature: float) -> dict[str, str]:
    """What the user does next."""
    policy, reasoning = _policy(data, _draw("policy", data, temperature), _is_hasty(data.get("persona")))
    return {"reasoning": reasoning, "policy": policy}


def ailo_utterance(data: Mapping[str, Any], temperature: float) -> dict[str, str]:
    """The user's words under its policy."""
    draw = _draw("utterance", data, temperature)
    if not _turns(data):
        return {"utterance": _filled(_OPENINGS[draw % len(_OPENINGS)], data, draw)}
    return {"utterance": _words(str(data.get("policy")), data, draw)}


def seeker_opening(data: Mapping[str, Any], temperature: float) -> dict[str, str]:
    """The seeker's first words."""
    draw = _draw("opening", data, temperature)
    return {"utterance": _filled(_SEEKER_OPENINGS[draw % len(_SEEKER_OPENINGS)], data, draw)}


def seeker_utterance(data: Mapping[str, Any], temperature: float) -> dict[str, str]:
    """A turn of the seeker."""
    draw = _draw("seeker", data, temperature)
    policy, reasoning = _policy(data, draw, _is_hasty(_dict(data.get("profile")).get("traits")))
    return {"reasoning": reasoning, "policy": policy, "utterance": _words(policy, data, draw // 101)}


def feeling(data: Mapping[str, Any], temperature: float) -> dict[str, str]:
    """The user's state, which varies from sample to sample."""
    reply, earlier = _last_reply(data)
    shared = _content(reply) & _content(" ".join(map(str, _dict(data.get("wanted")).values())))
    if data.get("is_named"):
        level = 4
    else:
        level = 1 + (len(shared) >= 2) + ("?" in reply) - _is_repeated(reply, earlier)
    heard = [data.get("wanted"), reply, earlier, data.get("sample")]
    draw = _draw("feeling", heard, temperature) % 10
    level += (draw >= 8) - (draw <= 2)
    state = _STATES[min(max(level, 0), 3 if not data.get("is_named") else 4)]
    return {"reasoning": f"{len(shared)} words of the reply fit what I want.", "state": state}


def confirmation(data: Mapping[str, Any], temperature: float) -> dict[str, dict[str, Any]]:
    """Points for a reply: what it takes up, how near it is to the target, whether it leads on."""
    told = str(data.get("reply", ""))[:_LONGEST]
    reply = _to_the_user(told)
    target = str(data.get("target", ""))
    title = target.partition("\n")[0].partition(": ")[2]
    turns = _turns(data)
    asked = next((text for role, text in reversed(turns) if role == "user"), "")
    earlier = [_to_the_user(text) for role, text in turns if role == "assistant"]

    taken_up = len(_content(reply) & _content(asked))
    near = len(_content(reply) & _content(_to_the_user(target)))
    is_repeated = _is_repeated(reply, earlier)
    is_found = bool(title.strip()) and _flat(title) in _flat(reply)
    asks, proposes = "?" in reply, bool(_QUOTED.search(reply))

    draw = _draw("confirmation", [reply, asked, earlier, data.get("sample")], 0.0)
    flexibility = 0 if is_repeated or not reply else 2 if taken_up >= 2 or (is_found and draw % 4) else 1
    coherence = 2 if is_found or near >= 3 else 1 if near or asks else 0
    guidance = int((asks or proposes) and not (is_repeated and draw % 2))
    if reply != told.strip():
        coherence = min(coherence, 1)
    scores = {
        "flexibility": (flexibility, _told(is_repeated, "It repeats itself", f"It takes up {taken_up} of my words")),
        "coherence": (coherence, _told(is_found, "It names what I want", f"{near} of its words fit what I want")),
        "guidance": (guidance, _told(asks, "It asks me on", "It asks nothing")),
    }
    answer = {name: {"reason": reason, "score": score} for name, (score, reason) in scores.items()}
    # Most faults are gone when it is asked again, at another temperature; a few stay.
    fault = _draw("fault", [reply, earlier, data.get("sample")], temperature) % 80
    if fault == 0 or draw % 250 == 0:
        answer["guidance"]["score"] = 3
    elif fault == 1:
        answer["coherence"]["reason"] = ""
    return answer


ANSWERERS: dict[str, Callable[[Mapping[str, Any], float], object]] = {
    "ailo_policy": ailo_policy,
    "ailo_utterance": ailo_utterance,
    "seeker_opening": seeker_opening,
    "seeker_utterance": seeker_utterance,
    "feeling": feeling,
    "confirmation": confirmation,
}


def _policy(data: Mapping[str, Any], draw: int, is_hasty: bool) -> tuple[str, str]:
    """What a user does next, and why."""
    reply, earlier = _last_reply(data)
    chance = draw % 100
    if data.get("is_named"):
        return ("accept", "It names what I want.") if chance < 93 else ("give_feedback", "I am not sure about it.")
    if chance < 3:
        return "accept", "It sounds good."
    is_repeated = _is_repeated(reply, earlier)
    if len(earlier) >= 1 and chance < 3 + 4 * (1 + is_hasty) * (1 + is_repeated):
        return "leave", "Nothing comes of this."
    proposes, asks = bool(_QUOTED.search(reply)), "?" in reply
    if proposes:
        if chance < 55:
            return "refuse", "What it proposes is not what I want."
        return ("give_feedback" if chance < 88 else "ask_for_recommendation"), "It proposes something else."
    if asks:
        return ("answer_question", "It asks me.") if chance < 90 else ("refuse", "I do not care to answer.")
    return ("ask_for_recommendation" if chance < 60 else "give_feedback"), "It neither asks nor proposes anything."


def _words(policy: str, data: Mapping[str, Any], draw: int) -> str:
    forms = _SAID.get(policy, _SAID["give_feedback"])
    said = _filled(forms[draw % len(forms)], data, draw // 7)
    if draw % 23 == 0 and policy not in ("refuse", "leave"):
        return _FLATTERY[draw // 23 % len(_FLATTERY)] + said
    return said[:1].upper() + said[1:]


def _filled(form: str, data: Mapping[str, Any], draw: int) -> str:
    """A sentence with the user's next wish in it; now and then with two."""
    domain = _dict(data.get("domain"))
    wishes = _wishes(_dict(data.get("wanted")))
    told = sum(role == "user" for role, _ in _turns(data))
    wish = wishes[told % len(wishes)] if wishes else "something that suits me"
    if wishes and draw % 9 == 0:
        wish = f"{wish}, and {wishes[(told + 1) % len(wishes)]}"
    time = _dict(_dict(data.get("profile")).get("demographics")).get("time", "an evening")
    words = {key: str(domain.get(key, "item")) for key in ("noun", "verb", "past")}
    return form.format(wish=wish, time=time, **words)


def _wishes(wanted: Mapping[str, Any]) -> list[str]:
    """What the user can tell, from the general to the particular: short values one by one, and pieces of long ones, names left out."""
    short: list[str] = []
    pieces: list[str] = []
    for key, value in wanted.items():
        parts = [part.strip() for part in str(value)[:_LONGEST].split(",") if part.strip()]
        if parts and max(map(len, parts)) <= _SHORT_VALUE:
            short += [f"{key.lower()} {part}" if part[:1].isdigit() else part for part in parts[::-1][:_VALUES]]
        else:
            words = [word for word in _WORD.findall(str(value)[:_LONGEST]) if word.islower() and word not in _IDLE]
            pieces += [" ".join(words[at : at + _PIECE]) for at in range(0, len(words), _PIECE)]
    # A piece of the story after every other short value, so that a few turns tell of both.
    told: list[str] = short[:2]
    for at in range(max(len(pieces), len(short))):
        told += pieces[at : at + 1] + short[at + 2 : at + 3]
    return [each for each in told if _WORD.search(each)]


def _is_hasty(traits: object) -> bool:
    """Whether a persona or a profile speaks of little patience."""
    text = " ".join(map(str, _dict(traits).values())).lower()
    return bool(re.search(r"efficien|impatien|quick|annoy|whim", text))


def _last_reply(data: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The assistant's last turn, and those before."""
    said = [text for role, text in _turns(data) if role == "assistant"]
    return (said[-1], said[:-1]) if said else ("", [])


def _is_repeated(reply: str, earlier: list[str]) -> bool:
    """Whether a reply is nearly one of those before, or proposes nothing new."""
    titles = {_flat(title) for title in _QUOTED.findall(reply)}
    before = {_flat(title) for text in earlier for title in _QUOTED.findall(text)}
    if titles and titles <= before:
        return True
    own = _content(reply)
    return any(own and len(own & other) >= 0.7 * len(own | other) for other in map(_content, earlier))


def _to_the_user(text: str) -> str:
    """A text without its sentences to whoever judges."""
    return " ".join(part for part in _SENTENCE.split(text.strip()) if not _TO_THE_JUDGE.search(part))


def _told(holds: bool, yes: str, no: str) -> str:
    return f"{yes if holds else no}."


def _content(text: str) -> set[str]:
    return set(_WORD.findall(text[:_LONGEST].lower())) - _IDLE


def _flat(text: str) -> str:
    return " ".join(text.casefold().split())


def _turns(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    said = data.get("conversation")
    turns = [each for each in said if isinstance(each, dict)] if isinstance(said, list) else []
    return [(str(each.get("role")), str(each.get("text", ""))[:_LONGEST]) for each in turns]


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _draw(what: str, data: object, temperature: float) -> int:
    """A number that is the same for the same question, data and temperature."""
    text = json.dumps([what, data, temperature], sort_keys=True, default=str)
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "backslashreplace"), digest_size=8).digest(), "big")

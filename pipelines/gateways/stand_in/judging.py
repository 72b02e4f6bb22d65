"""How the stand-in judges: by counting what can be counted in the data of the request.

By rules, and marked as such wherever it is stored: no language model judged this. It is imperfect on purpose: now and then, by the hash of what it was shown, it prefers whatever
stands first, so that the measure of position bias has something to find. A sentence that speaks to the judge is not heard, whoever says it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

_SENTENCE = re.compile(r"[^.!?\n]+[.!?\n]*")
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
# Who speaks of judging, scores or instructions speaks to the judge, and not to the other side of the conversation.
_TO_THE_JUDGE = re.compile(
    r"\b(?:judges?|evaluators?|evaluations?|verdicts?|scores?|scored|ratings?|instructions?|system|prompts?|disregard|ignore|override|grader|graders|points"
    r"|first conversation|second conversation|always answer|must answer)\b",
    re.IGNORECASE,
)
_IDLE_WORDS = """
    a about all also am an and any are as at be been but by can could did do for from get good great had has have he her him his how i if in is it its just know like
    me more much my no not of oh on one or out really see she so some something than that the their them then there they thing this to too up very want was we well
    what when which who will with would yes you your
"""
_IDLE = frozenset(_IDLE_WORDS.split())
# A difference under it is none.
_MARGIN = {"flexibility": 1, "coherence": 1, "guidance": 1, "overall": 2}
_LONGEST = 4_000


def compare(data: Mapping[str, Any], temperature: float) -> dict[str, str]:
    """The better of two conversations on each dimension."""
    first, second = _heard(data.get("first")), _heard(data.get("second"))
    one, two = _counted(first), _counted(second)
    # In one pair of seven what stands first is preferred, in both orders, where the other is not much better.
    leaning = 2 if _draw(sorted([first, second])) % 7 == 0 else 0
    verdicts = {}
    for dimension, margin in _MARGIN.items():
        difference = one[dimension] - two[dimension] + leaning * margin
        verdicts[dimension] = "tie" if abs(difference) < margin else "first" if difference > 0 else "second"
    wins = sum((verdict == "first") - (verdict == "second") for verdict in verdicts.values())
    return {
        "reason": f"Counted: replies that take up the user's words, kinds of turns, questions and reasons; {wins:+d} for the first.",
        **verdicts,
    }


def intend(data: Mapping[str, Any], temperature: float) -> dict[str, Any]:
    """How much a person wants an item: fixed by who and what, and by how much of it is known."""
    item = data.get("item")
    item = item if isinstance(item, dict) else {}
    person = data.get("person")
    traits = {name: list(_sentences(text)) for name, text in person.items()} if isinstance(person, dict) else {}
    draw = _draw([traits, item.get("title")])
    true = 2 + draw % 4
    if "facts" in item:
        number, known = true, "the facts"
    elif "conversation" in data:
        # Mostly a little short of the truth, now and then above it.
        told = sum(len(text) for role, text in _heard(data["conversation"]) if role == "assistant")
        number, known = true + (1 if draw // 4 % 6 == 0 else 0 if told > 200 else -1), "the conversation"
    else:
        # Now and then there is nothing left to gain.
        number, known = true - draw // 24 % 3, "the title alone"
    return {"reason": f"By {known}, it is near to what this person likes.", "intention": min(5, max(1, number))}


def check(data: Mapping[str, Any], temperature: float) -> dict[str, Any]:
    """How far a reply is borne out: the share of its telling words that stand in the facts."""
    listed = data.get("items")
    items = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    known = (
        set().union(*(_words(f"{each.get('title', '')} {each.get('facts', '')}") for each in items)) if items else set()
    )
    said = set().union(*(_words(sentence) for sentence in _sentences(data.get("reply"))), set())
    share = len(said & known) / len(said) if said else 0.0
    return {
        "reason": f"{len(said & known)} of {len(said)} telling words stand in the facts.",
        "credibility": 1 + min(4, int(share * 6)),
    }


def _counted(turns: Sequence[tuple[str, str]]) -> dict[str, int]:
    """What speaks for a conversation, by dimension."""
    replies = [text for role, text in turns if role == "assistant"]
    takes_up = sum(
        len(_words(text) & _words(before))
        for (role, text), (_, before) in zip(turns[1:], turns, strict=False)
        if role == "assistant"
    )
    asks = sum("?" in text for text in replies)
    reasons = sum(
        bool(_words(text) & {"because", "since", "features", "offers", "about", "explores"}) for text in replies
    )
    counted = {
        "flexibility": len({("?" in text, len(text) > 200) for text in replies}) + len(set(replies)) - len(replies),
        "coherence": takes_up,
        "guidance": min(asks, 3) + reasons,
    }
    return {**counted, "overall": sum(counted.values())}


def _heard(turns: object) -> list[tuple[str, str]]:
    """Role and text of turns, without what is said to the judge."""
    listed = turns if isinstance(turns, list) else []
    return [(str(turn.get("role")), "".join(_sentences(turn.get("text")))) for turn in listed if isinstance(turn, dict)]


def _sentences(text: object) -> Iterator[str]:
    for found in _SENTENCE.finditer(text[:_LONGEST] if isinstance(text, str) else ""):
        if not _TO_THE_JUDGE.search(found[0]):
            yield found[0].strip()


def _words(text: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(text)} - _IDLE


def _draw(shown: object) -> int:
    """A number that is the same for the same material."""
    text = json.dumps(shown, sort_keys=True, default=str)
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "backslashreplace"), digest_size=8).digest(), "big")


ANSWERERS: dict[str, Callable[[Mapping[str, Any], float], object]] = {
    "judge_win": compare,
    "judge_intention": intend,
    "judge_credibility": check,
}

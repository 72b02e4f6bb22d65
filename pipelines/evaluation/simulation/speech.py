"""What a turn does, by its words alone: asks, accepts, turns down, names titles. The same rules for people and for simulated users, so that the two can be compared.

How often the rules agree with people's labels stands in docs/simulation-measures.md. Does not belong here: what simulated users say of themselves (their policies), counting (`fidelity.py`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_QUESTION = re.compile(
    r"\?|(?:^|[.!,;]\s+)(?:what|which|who|whose|where|when|why|how|do you|did you|have you|can you|could you|would you|will you|is it|is there|is that"
    r"|are there|are they|was it|does it|any (?:other|more|suggestions?|recommendations?|ideas?))\b",
    re.IGNORECASE,
)
# What people write without its apostrophe, too.
_NOT = r"(?:do not|don'?t|does not|doesn'?t|did not|didn'?t|never|would not|wouldn'?t|could not|couldn'?t|can not|cannot|can'?t)"
_VERY = r"(?:really |quite |exactly |so |too |very |a |an |big |huge |much |particularly |all |that |just |actually |even |ever |care to |get |like |more )*"
_TAKE = r"(?:watch|see|check|try|read|play|visit|rent|stream|buy|get|order|grab|pick|go (?:with|for|see)|look|give|add|put|start|dive)"
_LIKING = r"(?:like|liked|love|enjoy|enjoyed|want|care for|care|appeal|stand|into|my thing|interested|impressed)"
_ACCEPTS = re.compile(
    rf"\bi(?:'?ll| will| wil|'?m going to| am going to| think i'?ll| think i will|'?d love to| would love to|'?d like to| would like to| might| may| can| should"
    rf"|'?m gonna| am gonna| have to| need to| want to| definitely want to) (?:definitely |certainly |probably |just |have to |also |really |like to |want to |love to )*{_TAKE}\b"
    r"|\b(?:check|look|put|add|try)(?:ing)? (?:it|them|that|this|those|these|one)(?: one| two)? (?:out|up|on|to|into)\b|\blooking forward to|\bworth (?:a try|trying|watching|seeing|a watch)"
    r"|\b(?:always|been) want(?:ed|ing) to (?:see|watch|read|play|visit)|\bgive (?:it|that|this|them|those) a (?:try|shot|watch|look|go|read|chance)"
    rf"|\b(?:sounds?|looks?|seems?) {_VERY}(?:good|great|perfect|fantastic|wonderful|awesome|amazing|interesting|excellent|fun|nice|cool|lovely|delightful|intriguing|promising)\b"
    r"|\b(?:exactly|just) what i (?:want|need|was looking|am looking|'m looking|had in mind)|\bperfect (?:fit|match|choice)|\bi'?m sold\b|\bi accept\b"
    r"|\b(?:great|good|excellent|nice|wonderful|perfect|fantastic) (?:choice|pick|idea|one to (?:see|watch|check|read))\b",
    re.IGNORECASE,
)
_REFUSES = re.compile(
    rf"\b{_NOT} {_VERY}{_LIKING}\b|\b{_NOT} (?:quite |really |fully )*(?:fit|meet|match|suit|grab|capture|sound|seem|look|think (?:so|that|it|i'?d|i would|i like))\b"
    rf"|\b(?:not|isn'?t|wasn'?t|aren'?t|nah|no),? {_VERY}(?:my|fan|interested|into|what i|for me|in the mood|feeling|something i|great|good|fond|crazy|keen)\b"
    r"|\bnot (?:really|so much|exactly)(?=[.!,]|$)|\b(?:hated?|dislike[ds]?|boring|bored|terrible|awful|meh|cheesy|overrated|disappoint\w*)\b"
    r"|\btoo (?:scary|violent|long|slow|old|dark|silly|gory|sad|childish|expensive|much|goofy|weird|serious|intense|risque|corny|creepy)\b"
    r"|\bno,? thank|\bnope\b|\bi'?ll pass\b|\b(?:would|i'd|i) (?:rather|prefer)\b|\b(?:could|can)(?: ?n'?o?t|not) get into",
    re.IGNORECASE,
)
_SMALL_WORDS = "a an and as at by de for from in la le of on or the to vs with"
_SMALL = frozenset(_SMALL_WORDS.split())
_QUOTES = frozenset("\"“”'‘’«»*")
_YEAR = re.compile(r"\s*\((?:18|19|20)\d\d\)")
_MOST_WORDS = 10


def words(text: str) -> list[str]:
    """The words of a text in lower case."""
    return [found[0].lower() for found in _WORD.finditer(text)]


def asks(text: str) -> bool:
    """Whether a turn asks something: it holds a question mark, or a clause that begins as questions do."""
    return _QUESTION.search(text) is not None


def refuses(text: str) -> bool:
    """Whether a turn turns something down, or finds fault with it."""
    return _REFUSES.search(text.replace("’", "'")) is not None


def accepts(text: str) -> bool:
    """Whether a turn takes something up; it may turn down something else."""
    return _ACCEPTS.search(text.replace("’", "'")) is not None


def title_key(title: str) -> str:
    """A title as `titles` looks it up: its words in lower case."""
    return " ".join(words(title))


def titles(text: str, known: Collection[str]) -> Iterator[str]:
    """Keys of the `known` titles (`title_key`) that a text names, from left to right, the longest at each place.

    A title is written as one: its words begin with capitals, but for small ones; one of a single word also stands in quotes or before a year in brackets.
    """
    found = list(_WORD.finditer(text))
    place = 0
    while place < len(found):
        size = _longest(text, found, place, known)
        if size:
            yield " ".join(each[0].lower() for each in found[place : place + size])
        place += max(1, size)


def _longest(text: str, found: list[re.Match[str]], place: int, known: Collection[str]) -> int:
    if not _is_capital(found[place][0]):
        return 0
    for size in range(min(_MOST_WORDS, len(found) - place), 0, -1):
        own = found[place : place + size]
        is_written = all(_is_capital(each[0]) or each[0].lower() in _SMALL for each in own)
        if is_written and " ".join(each[0].lower() for each in own) in known:
            before, behind = text[: own[0].start()].rstrip()[-1:], text[own[-1].end() :]
            is_set_off = (before in _QUOTES and behind[:1] in _QUOTES) if before and behind else False
            if size > 1 or is_set_off or _YEAR.match(behind):
                return size
    return 0


def _is_capital(word: str) -> bool:
    return word[0].isupper() or word[0].isdigit()

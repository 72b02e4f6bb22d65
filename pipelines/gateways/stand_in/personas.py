"""How the stand-in describes people: by what can be counted in their reviews.

By rules, from the data of the request alone, and marked as such wherever it is stored: no language model read these reviews. Now and then, by the hash of the request, it
does what models do wrong: supports a trait with an id that is not there, or with none, or slips into another domain's wording.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_WORD = re.compile(r"[a-z][a-z'’]{2,}")
_MOST_REVIEWS, _MOST_CHARACTERS = 30, 2_000

# Words that say nothing about taste.
_IDLE_WORDS = """
about after again almost already always am amount anyone anything bit came done doesn’t didn’t don’t end everyone first full getting hard has having help however i'd i'll i’d i’ll it'll lots makes near next not over rather seems she's several show somebody something sometimes soon still there's they're thought through together told top total way well what's whole won’t wouldn
again all also always and another any are around away back because been before being best better both but buy came can come could definitely did does
doesn didn don done down each easy else enjoyed even ever every everything far favorite feel few find first for found from get gets getting give given goes
going good got great had happy has have having her here highly him his how into isn its just keep kind know last less let liked like liking little long look
looking lot love loved made make makes making many may maybe more most much must need never new nice nothing now off old one only other our out over own part people
place please pretty probably put quite really recommend right said same saw say seem seen see she should since some something sorry still stuff such sure take than thank thanks that the their
them then there these they thing things think this those though thought time times too took try two under until use used very want wanted was watch watched way well
went were what when where which while who why will wish with without won work worth would year years yes yet you your read reading book books film films movie movies game games played play star stars
hello bye hey nice okay yeah have'nt haven it’s it's i've i'm don't didn't can't that's i’m i’ve
"""
_IDLE = frozenset(_IDLE_WORDS.split())
_POSITIVE = frozenset(["amazing", "awesome", "beautiful", "beautifully", "brilliant", "cute", "delightful", "enjoyable", "excellent", "exciting", "fantastic", "fun", "funny", "heartwarming", "hilarious", "incredible", "interesting", "lovely", "perfect", "superb", "wonderful"])  # fmt: skip
_NEGATIVE = frozenset(["annoying", "awful", "bad", "bland", "boring", "cheap", "confusing", "disappointed", "disappointing", "dull", "hate", "hated", "poor", "poorly", "ridiculous", "slow", "terrible", "waste", "worst"])  # fmt: skip
_REASONS = frozenset(["although", "because", "character", "characters", "compared", "detail", "detailed", "details", "development", "however", "pace", "quality", "reason", "therefore", "whereas"])  # fmt: skip
_HUMOUR = frozenset(["funny", "haha", "hilarious", "humor", "humour", "laugh", "laughed", "lol", "silly", "witty"])
_SLIPS = {"book": "a keen moviegoer", "film": "an avid reader of novels", "game": "a devoted moviegoer", "place": "a gamer at heart"}  # fmt: skip


@dataclass(frozen=True)
class _Seen:
    """What can be counted. `words` by review; `tastes`: frequent words; shares of reviews: with praise, blame, reasons, jokes and exclamation marks, and of few stars."""

    ids: list[str]
    words: list[list[str]]
    tastes: list[str]
    good: float
    bad: float
    why: float
    fun: float
    loud: float
    strict: float

    @property
    def length(self) -> float:
        """Words of a review."""
        return sum(map(len, self.words)) / max(1, len(self.words))

    def holding(self, marks: frozenset[str]) -> list[str]:
        """The first three reviews that hold one of `marks`; the first review where none does."""
        found = [name for name, each in zip(self.ids, self.words, strict=True) if not marks.isdisjoint(each)]
        return found[:3] or self.ids[:1]

    def extremes(self) -> list[str]:
        """The shortest and the longest review."""
        order = sorted(range(len(self.ids)), key=lambda at: (len(self.words[at]), at))
        return list(dict.fromkeys(self.ids[at] for at in (order[:1] + order[-1:])))

    def favourites(self, marks: frozenset[str], most: int, otherwise: str) -> str:
        """Those of `marks` that are used most, as a list in words."""
        found = _frequent(Counter(word for each in self.words for word in each if word in marks))[:most]
        return " and ".join(", ".join(found).rsplit(", ", 1)) if found else otherwise


def describe(data: Mapping[str, Any], temperature: float) -> dict[str, dict[str, Any]]:
    """The six traits of the writer of the data's reviews."""
    domain = data.get("domain")
    noun, plural = (str(domain.get(key, "item")) if isinstance(domain, dict) else "item" for key in ("noun", "plural"))
    seen = _counted([each for each in _list(data.get("reviews")) if isinstance(each, dict)][:_MOST_REVIEWS])
    texts = _texts(seen, noun, plural)
    support = {
        "activities": seen.holding(_REASONS),
        "interests": seen.holding(frozenset(seen.tastes[:5])),
        "information_density": seen.extremes(),
        "expression_style": seen.holding(_HUMOUR | _POSITIVE),
        "tone": seen.holding(_POSITIVE | _NEGATIVE),
        "orientations": seen.holding(_NEGATIVE | frozenset(seen.tastes[5:])),
    }
    answer: dict[str, dict[str, Any]] = {name: {"text": texts[name], "support": support[name]} for name in texts}
    return _with_faults(answer, noun, _draw(data, temperature))


def _counted(reviews: Sequence[Mapping[str, Any]]) -> _Seen:
    texts = [f"{each.get('headline') or ''} {each.get('text') or ''}"[:_MOST_CHARACTERS] for each in reviews]
    words = [_WORD.findall(text.lower()) for text in texts]
    counted = Counter(word for each in words for word in set(each) - _IDLE - _POSITIVE - _NEGATIVE)
    stars = [float(each["stars"]) for each in reviews if isinstance(each.get("stars"), int | float)]
    number = max(1, len(reviews))
    good, bad, why, fun = (
        sum(not marks.isdisjoint(each) for each in words) / number
        for marks in (_POSITIVE, _NEGATIVE, _REASONS, _HUMOUR)
    )
    return _Seen(
        ids=[str(each.get("id")) for each in reviews],
        words=words,
        tastes=_frequent(counted)[:9],
        good=good,
        bad=bad,
        why=why,
        fun=fun,
        loud=sum("!" in text for text in texts) / number,
        strict=sum(star < 4 for star in stars) / len(stars) if stars else 0.3,
    )


def _texts(seen: _Seen, noun: str, plural: str) -> dict[str, str]:
    """The traits in words."""
    tastes = [*seen.tastes, *["surprise"] * 9]
    length = max(5, round(seen.length / 10) * 10)
    hurry = "Efficiency-oriented: wants to be done soon"
    if seen.why > 0.25:
        hurry = "Detail-oriented: weighs one thing against another"
    elif seen.length >= 25:
        hurry = "Exploration-oriented: likes to be shown something new"
    manner = "Humorous" if seen.fun > 0.2 else "Emotional" if seen.loud > 0.4 else "Matter-of-fact"
    tone = "Critical" if seen.strict > 0.4 else "Enthusiastic" if max(seen.loud, seen.good) > 0.45 else "Sober"
    limits = seen.favourites(_NEGATIVE, 3, "")
    return {
        "activities": f"{hurry}, starting from {tastes[0]} and {tastes[1]}.",
        "interests": f"Drawn to {plural} with {', '.join(tastes[:5])}" + (f"; avoids what is {limits}." if limits else "."),
        "information_density": f"{'Brief' if length < 25 else 'Moderate' if length < 70 else 'Detailed'}, some {length} words, mostly about {tastes[2]}.",
        "expression_style": f"{manner}{', with many exclamation marks' if seen.loud > 0.4 else ''}; says {seen.favourites(_POSITIVE, 3, 'little praise')}.",
        "tone": tone + (", sharp when let down." if seen.bad > 0.15 else "."),
        "orientations": f"Decides by {tastes[5]}, {tastes[6]} and {tastes[7]}; a {noun} that is {limits or 'dull'} is out.",
    }  # fmt: skip


def _frequent(counted: Counter[str]) -> list[str]:
    return [word for word, _ in sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))]


def _with_faults(answer: dict[str, dict[str, Any]], noun: str, draw: int) -> dict[str, dict[str, Any]]:
    """What a model might get wrong, for a share of the requests that the draw fixes."""
    if draw % 5 == 0:
        answer["tone"]["support"] = [*answer["tone"]["support"], "r99"]
    if draw % 7 == 0:
        answer["orientations"]["support"] = []
    if draw % 11 == 0 and noun in _SLIPS:
        answer["interests"]["text"] += f" Comes across as {_SLIPS[noun]}."
    return answer


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _draw(data: Mapping[str, Any], temperature: float) -> int:
    """A number that is the same for the same data and temperature."""
    text = json.dumps([data, temperature], sort_keys=True, default=str)
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "backslashreplace"), digest_size=8).digest(), "big")


ANSWERERS: dict[str, Callable[[Mapping[str, Any], float], object]] = {"persona": describe}

"""Personas: AILO's traits (Activities, Interests, Language, Orientations) of one user, inferred from what the user wrote; and random ones, for comparison.

Source: ECPO, section 2.3; random ones as RecAgent samples them. Does not belong here: which users (`tasks.py`), how alike personas are (`diversity.py`), the words of a domain
(`domains.py`).
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from pipelines.gateways.llm.conversations import Conversation, Unanswered
from pipelines.gateways.llm.requests import LlmRequest
from pipelines.simulation.brief import prompt, version_of
from pipelines.simulation.domains import domain as domain_of
from pipelines.simulation.domains import foreign_words
from warehouse.tables.simulation import TRAITS

PROMPT = "persona"
# Raise when the same reviews would give other requests or be read otherwise.
PERSONAS_VERSION = "1"

# As many as ECPO has of each user; the latest ones count.
REVIEWS_MAX = 30
TEXT_CHARACTERS, HEADLINE_CHARACTERS, TITLE_CHARACTERS, TRAIT_CHARACTERS = 600, 150, 150, 1_000
TRIES = 3
# Wording of another domain is asked about again once: a model that insists is not moved by a third try.
TRIES_FOR_WORDING = 2

_LISTS = "random_personas.toml"


@dataclass(frozen=True)
class Written:
    """A review as a persona is inferred from it. `about`: the item's title."""

    review_id: str
    about: str
    stars: float | None
    headline: str
    text: str


@dataclass(frozen=True)
class Inferred:
    """What came of one user: traits by name, `support`: review ids by trait, `foreign_words` (sorted), and how many answers could not be used.

    `request_hash` and `model` are those of the answer that was kept. `traits` is empty where there is no usable answer; `problem` says why.
    """

    traits: Mapping[str, str]
    support: Mapping[str, tuple[str, ...]]
    foreign_words: tuple[str, ...] = ()
    tries: int = 1
    model: str | None = None
    is_stand_in: bool = False
    request_hash: str | None = None
    problem: str | None = None

    @property
    def unsupported(self) -> tuple[str, ...]:
        """Traits that no review supports."""
        return tuple(name for name in TRAITS if self.traits and not self.support.get(name))


def prompt_name() -> str:
    """Its name and version, as annotations state them."""
    return version_of(PROMPT)


def shown(reviews: Sequence[Written]) -> list[Written]:
    """The reviews that a persona is inferred from: the last REVIEWS_MAX of those with words, cut, in their order."""
    worded = [each for each in reviews if each.text.strip() or each.headline.strip()]
    return [
        Written(
            each.review_id,
            _cut(each.about, TITLE_CHARACTERS),
            each.stars,
            _cut(each.headline, HEADLINE_CHARACTERS),
            _cut(each.text, TEXT_CHARACTERS),
        )
        for each in worded[-REVIEWS_MAX:]
    ]


def request(domain: str, reviews: Sequence[Written], seed: int | None = None) -> LlmRequest:
    """The question about the user who wrote `reviews` (what `shown` returned). Reviews have the short names r1, r2, ... there."""
    told = [
        {
            "id": f"r{number}",
            "about": each.about,
            "stars": each.stars,
            "headline": each.headline,
            "text": each.text,
        }
        for number, each in enumerate(reviews, start=1)
    ]
    data = {"domain": domain_of(domain).as_data(), "reviews": told}
    return LlmRequest(f"persona/{seed or 0}", prompt(PROMPT), data, seed=seed)


def infer(domain: str, reviews: Sequence[Written]) -> Conversation[Inferred]:
    """Ask for the persona of the user who wrote `reviews` (what `shown` returned).

    Support that names no review of these is dropped. An answer with an empty trait, or with a trait that nothing supports, is asked for again (TRIES in all), one
    with another domain's wording once; then the best answer is kept as it is: the one with most traits, most of them supported, and fewest foreign words. Where no
    answer has all traits, the result has none.
    """
    best: Inferred | None = None
    problem = "no answer"
    said = [f"{each.about} {each.headline} {each.text}" for each in reviews]
    tries = 0
    for tries in range(1, TRIES + 1):
        answer = yield request(domain, reviews, seed=tries - 1 or None)
        if isinstance(answer, Unanswered):
            problem = answer.reason
            continue
        found = _read(domain, answer, reviews, said)
        if found is None:
            problem = "a trait is empty"
            continue
        if best is None or _faults(found) < _faults(best):
            best = found
        if not best.unsupported and (not best.foreign_words or tries >= TRIES_FOR_WORDING):
            break
    if best is None:
        return Inferred({}, {}, tries=tries, problem=problem)
    return Inferred(
        best.traits, best.support, best.foreign_words, tries, best.model, best.is_stand_in, best.request_hash
    )


def _faults(found: Inferred) -> tuple[int, int]:
    return len(found.unsupported), len(found.foreign_words)


def _read(domain: str, answer: Any, reviews: Sequence[Written], said: Sequence[str]) -> Inferred | None:
    """An answer as a persona; None where a trait is empty."""
    ids = {f"r{number}": each.review_id for number, each in enumerate(reviews, start=1)}
    traits: dict[str, str] = {}
    support: dict[str, tuple[str, ...]] = {}
    for name in TRAITS:
        traits[name] = " ".join(answer.value[name]["text"].split())[:TRAIT_CHARACTERS]
        if not any(letter.isalpha() for letter in traits[name]):
            return None
        named = (ids.get(each.strip()) for each in answer.value[name]["support"])
        support[name] = tuple(dict.fromkeys(each for each in named if each is not None))
    words = foreign_words(domain, " ".join(traits.values()), said)
    return Inferred(
        traits,
        support,
        tuple(words),
        model=answer.model,
        is_stand_in=answer.is_stand_in,
        request_hash=answer.request_hash,
    )


def persona_id(domain: str, user_id: str, origin: str, traits: Mapping[str, str] | None = None) -> str:
    """Sixteen hexadecimal digits: of domain, user and origin, and of the `traits` where one user has several personas of an origin."""
    parts = [domain, user_id, origin, *((traits or {}).get(name, "") for name in TRAITS if traits)]
    return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=8).hexdigest()


# --------------------------------------------------------------------------------------------------------------- at random


@cache
def trait_lists() -> Mapping[str, tuple[str, ...]]:
    """What each trait of a random persona is drawn from. Raises ValueError naming the trait that the file lacks."""
    stated = tomllib.loads(files("pipelines.simulation").joinpath(_LISTS).read_text(encoding="utf-8"))
    if wrong := sorted(set(TRAITS) ^ set(stated)):
        raise ValueError(f"{_LISTS}: trait {wrong[0]!r} is missing or unknown")
    return {name: tuple(stated[name]) for name in TRAITS}


def random_traits(domain: str, number: int) -> dict[str, str]:
    """The traits of the random persona `number` of a domain: each drawn alone from its list, two of them where a list says little; fixed for ever.

    For comparison only (ECPO, figure 4): nobody has them.
    """
    drawn: dict[str, str] = {}
    for name, choices in trait_lists().items():
        first = _draw(domain, number, name, 0) % len(choices)
        # Two interests, as RecAgent has a handful of them for each user.
        second = (first + 1 + _draw(domain, number, name, 1) % (len(choices) - 1)) % len(choices)
        drawn[name] = f"{choices[first]} {choices[second]}" if name == "interests" else choices[first]
    return drawn


def _draw(*parts: object) -> int:
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def _cut(text: str, most: int) -> str:
    """`text` on one line, cut after a word where it is longer than `most` characters."""
    line = " ".join(text.split())
    if len(line) <= most:
        return line
    head = line[: most - 1]
    return (head.rpartition(" ")[0] or head) + "…"

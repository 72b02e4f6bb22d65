"""How the stand-in ranks candidates: by words that the conversation shares with what is known about a film.

By rules, from the data of the request alone, and marked as such wherever it is stored: no language model ranked this. Now and then, by the hash of the
request, it does what models do wrong: invents a film, misspells one, leaves some out, adds remarks or an introduction.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

# Words of what people say about genres, as catalogues name them.
_GENRES = {
    "funny": "comedy", "comedies": "comedy", "laugh": "comedy", "hilarious": "comedy", "scary": "horror", "scared": "horror", "spooky": "horror",
    "romantic": "romance", "love": "romance", "kids": "family", "children": "family", "animated": "animation", "cartoon": "animation",
    "pixar": "animation", "disney": "family", "suspense": "thriller", "space": "sci", "scifi": "sci", "superhero": "action", "exciting": "action",
    "dramas": "drama", "sad": "drama", "documentaries": "documentary", "war": "war", "western": "western", "westerns": "western", "thrillers": "thriller",
    "mysteries": "mystery", "musicals": "musical", "crime": "crime", "gangster": "crime", "fantasy": "fantasy", "magic": "fantasy",
}  # fmt: skip
# Words that say nothing about taste.
_IDLE_WORDS = """
a about all also am an and any are as at be been but by can could did do for from get good great had has have he her him his how i
if in is it its just know like liked me more most movie movies much my no not of oh ok on one or out recommend really see seen she
so some something sure than thank thanks that the their them then there they thing think this to too up very want was watch
watched we well were what when which who will with would yes you your film films genre director cast plot unknown
"""
_IDLE = frozenset(_IDLE_WORDS.split())
_WORD = re.compile(r"[^\W_]+")
_YEAR = re.compile(r"\((\d{4})[^)]*\)")
_DECADE = re.compile(r"\b(?:19|20)?(\d)0'?s\b")
_INVENTED = (
    "The Lantern of Ostermere",
    "Nine Winters in Halvard",
    "A Quiet Harbour for Thieves",
    "The Orchard Protocol",
)
_INTRODUCTION = "Here is how I would rank them:\n\n"
_LONGEST = 4_000


def rank(data: Mapping[str, Any], temperature: float) -> dict[str, str]:
    """The candidates of the data, best first, as a numbered list."""
    candidates = [
        (str(each["name"]), str(each.get("about", "")))
        for each in _dicts(data.get("candidates"))
        if isinstance(each.get("name"), str) and each["name"].strip()
    ]
    weights, decades = _wanted(data)
    scored = [(-_score(name, about, weights, decades), place, name) for place, (name, about) in enumerate(candidates)]
    names = [name for _, _, name in sorted(scored)]
    draw = _draw(data, temperature)
    names = _with_faults(names, draw)
    lines = [f"{place}. {name}" for place, name in enumerate(names, start=1)]
    if draw % 11 == 0:
        lines = [f"{place}. **{name}** - fits what was said" for place, name in enumerate(names, start=1)]
    return {"ranking": (_INTRODUCTION if draw % 13 == 0 else "") + "\n".join(lines)}


def _with_faults(names: list[str], draw: int) -> list[str]:
    """What a model might get wrong, for a share of the requests that the draw fixes."""
    names = list(names)
    if draw % 7 == 0:
        names.insert(min(len(names), draw // 7 % 6), _INVENTED[draw // 49 % len(_INVENTED)])
    if names and draw % 5 == 0:
        place = draw // 5 % len(names)
        names[place] = _misspelt(names[place], draw // 25)
    if len(names) > 4 and draw % 9 == 0:
        names = names[:-2]
    return names


def _misspelt(name: str, draw: int) -> str:
    """A name with two letters in each other's place."""
    letters = [place for place in range(len(name) - 1) if name[place].isalpha() and name[place + 1].isalpha()]
    if not letters:
        return name
    place = letters[draw % len(letters)]
    return name[:place] + name[place + 1] + name[place] + name[place + 2 :]


def _wanted(data: Mapping[str, Any]) -> tuple[Counter[str], set[str]]:
    """Weights of the conversation's words, the seeker's and the latest the heaviest, and decades that are named."""
    weights: Counter[str] = Counter()
    decades: set[str] = set()
    turns = [each for each in _dicts(data.get("conversation")) if isinstance(each.get("text"), str)]
    for age, turn in enumerate(reversed(turns)):
        text = turn["text"][:_LONGEST].lower()
        weight = (3 if turn.get("speaker") == "seeker" else 1) * (2 if age < 3 else 1)
        for word in set(_WORD.findall(text)) - _IDLE:
            weights[_GENRES.get(word, word)] += weight
        decades |= set(_DECADE.findall(text))
    return weights, decades


def _score(name: str, about: str, weights: Counter[str], decades: set[str]) -> int:
    words = set(_WORD.findall(f"{name} {about}"[:_LONGEST].lower())) - _IDLE
    year = _YEAR.search(name)
    return sum(weights[word] for word in words) + (4 if year and year[1][2] in decades else 0)


def _dicts(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _draw(data: Mapping[str, Any], temperature: float) -> int:
    """A number that is the same for the same data and temperature."""
    text = json.dumps([data, temperature], sort_keys=True, default=str)
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "backslashreplace"), digest_size=8).digest(), "big")


ANSWERERS: dict[str, Callable[[Mapping[str, Any], float], object]] = {"rerank": rank}

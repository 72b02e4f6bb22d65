"""Whether a text names an item: in full, as success is counted, or in some way or other, as a leak is found.

Belongs here: comparing texts with titles. Does not belong here: who may name what, and what follows from it (`episode.py`).

On what people say: in seekers' turns that name no film, a film drawn at random is found in 1 of 164,180 pairs of turn and film (ReDial) and in 5 of 45,720 (INSPIRED), all of them
rightly; of the films that seekers' turns do name, 103 of 4,125 (2.5 %) and 28 of 664 (4.2 %) are missed: everyday words without capitals, and films that are known under another title
(docs/simulated-users.md).
"""

from __future__ import annotations

import html
import re
import tomllib
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Literal

from rapidfuzz.distance import OSA

from pipelines.simulation.parts import Item

# Of these, people type one for the other.
_SPELLINGS = str.maketrans(
    {
        **dict.fromkeys("‘’‛′´`", "'"),
        **dict.fromkeys("“”„‟«»″", '"'),
        **dict.fromkeys("‐‑‒–—―−", "-"),
    }
)
_BLANKS = re.compile(r"\s+")
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*|&")
_SAME_WORD = {
    "&": "and",
    "ii": "2",
    "iii": "3",
    "iv": "4",
    "vi": "6",
    "vii": "7",
    "viii": "8",
    "ix": "9",
    "vs": "versus",
}
_NUMBER = re.compile(r"\d+")

_YEAR_BEHIND = re.compile(r"[.!?]*\s*[(\[](?:18|19|20)\d\d[)\]]")

# What titles carry behind the name: a series, an edition, a year.
_BRACKET = re.compile(r"\s*(?:\([^()]*\)|\[[^\[\]]*\])\s*$")
_SUBTITLE = re.compile(r"\s*[:;]\s+|:(?=\w)|\s+-+\s+")
_ARTICLE = re.compile(r"^(?:the|an?)\s+", re.IGNORECASE)

# From this Zipf frequency on (log10 of occurrences in a billion words), a word is one that everybody uses every day.
EVERYDAY_WORD = 4.0
# What a name of several words must tell: -log10 of the chance of its words in running text.
TELLING = 7.0
_NUMBER_TELLS, _TRADE_TELLS = 2.5, 1.0
_UNKNOWN_WORD = 1.0
# Below this Zipf frequency a word that is nearly a title is a misspelling, and no word of its own.
_NO_WORD = 2.5
# Names with fewer letters are too near to too many words to be looked for misspelt.
_LEAST_LETTERS = 6
# An edit (letters put in, left out, exchanged, in each other's place) for so many letters.
_LETTERS_AN_EDIT = 6
# Titles in scripts without capitals, which may be written without blanks, are looked for as they are from so many characters on.
_LEAST_UNSPACED = 3
# Of three words and more, with an edit for so many letters, a name is that name whatever words the edits make.
_SURE_LETTERS = 12

_SENTENCE = re.compile(r"[.!?\n]+[\"')\]]*\s+|\n")


_QUOTES = ("'", '"')
_QUOTE_BEHIND = re.compile(r"[,.!?]?[\"']")
# Shorter words within a title may be small (`Lord of the Rings`).
_LEAST_CAPITALISED = 3

# What the writing must show before words are taken for a name: nothing; capitals (or marks); marks: quotes, or a year behind.
_Needed = Literal["nothing", "capitals", "marks"]


@dataclass(frozen=True)
class _Name:
    """One way to call an item. `is_telling`: whether its words alone give it away."""

    words: tuple[str, ...]
    joined: str
    numbers: tuple[str, ...]
    is_telling: bool


def holds_title(text: str, title: str) -> bool:
    """Whether the full title stands in a text: any case, whole words; kinds of blanks, quotes, apostrophes and dashes are the same.

    The test of success (SR: ECPO, section B.5).
    """
    pattern = _in_full(title)
    return pattern is not None and pattern.search(_plain(text).casefold()) is not None


def named(text: str, items: Sequence[Item]) -> list[Item]:
    """The items whose full titles stand in a text, in their order."""
    return [item for item in items if holds_title(text, item.title)]


def leaks(text: str, title: str) -> bool:
    """Whether a text gives a title away: in full, without article, year, series or subtitle, and misspelt.

    A name of everyday words, or a very short one, must be shown to be one: it stands in quotes, or with capitals in a sentence that is not all in capitals. Numbers must agree: who
    speaks of a film's third part has not named its second.
    """
    if len(title) >= _LEAST_UNSPACED and not any(map(_ends_word, title)):
        return holds_title(text, title)
    plain = _plain(text)
    said = [(found[0], *found.span()) for found in _WORD.finditer(plain)]
    folded = [_folded(word) for word, _, _ in said]
    for name in _names(title):
        for start, size, needed in _places(name, folded):
            if (
                needed == "nothing"
                or _is_marked(plain, said[start][1], said[start + size - 1][2])
                or (needed == "capitals" and _has_capitals(plain, said, start, size))
            ):
                return True
    return False


def mentions(text: str, title: str) -> bool:
    """Whether a text names an item in full or in another way that gives it away."""
    return holds_title(text, title) or leaks(text, title)


def masked(text: str, title: str, by: str) -> str:
    """A text with `by` in place of every name of the item whose words alone give it away, as far as it is spelt right; blanks are made single."""
    plain = _plain(text)
    for name in _names(title):
        if not name.is_telling:
            continue
        said = [(_folded(found[0]), *found.span()) for found in _WORD.finditer(plain)]
        size, at = len(name.words), len(said) - len(name.words)
        while at >= 0:
            if tuple(word for word, _, _ in said[at : at + size]) == name.words:
                plain = plain[: said[at][1]] + by + plain[said[at + size - 1][2] :]
                at -= size
            else:
                at -= 1
    return plain


def _plain(text: str) -> str:
    return _BLANKS.sub(" ", unicodedata.normalize("NFKC", html.unescape(text)).translate(_SPELLINGS)).strip()


def _folded(word: str) -> str:
    """A word without case, accents and apostrophes; numbers as figures, `&` as `and`."""
    apart = unicodedata.normalize("NFKD", word.casefold().replace("'", ""))
    bare = "".join(each for each in apart if not unicodedata.combining(each))
    return _SAME_WORD.get(bare, bare)


@lru_cache(maxsize=4_096)
def _in_full(title: str) -> re.Pattern[str] | None:
    plain = _plain(title).casefold()
    if not plain:
        return None
    if not _WORD.search(plain):
        return re.compile(rf"(?<!\S){re.escape(plain)}(?!\S)")
    before = r"(?<!\w)" if _ends_word(plain[0]) else ""
    behind = r"(?!\w)" if _ends_word(plain[-1]) else ""
    return re.compile(f"{before}{re.escape(plain)}{behind}")


def _ends_word(character: str) -> bool:
    """Whether a word that begins or ends with it can be told from its neighbours: scripts without capitals may be written without blanks."""
    return character.isalnum() and unicodedata.category(character) != "Lo"


@lru_cache(maxsize=4_096)
def _names(title: str) -> tuple[_Name, ...]:
    """The ways to call an item, each once, the longest first."""
    plain = _plain(title)
    calls = {plain}
    while (shorter := _BRACKET.sub("", plain)) != plain and shorter:
        calls.add(shorter)
        plain = shorter
    parts = [part for part in _SUBTITLE.split(plain) if part]
    calls.update((parts[0], parts[-1]) if parts else ())
    calls.update([_ARTICLE.sub("", call) for call in calls])
    words = {tuple(_folded(found[0]) for found in _WORD.finditer(call)) for call in calls}
    full = max(words, key=lambda each: len("".join(each)))
    # `A Novel`, `Volume 2` are no names.
    words = {
        each for each in words if each == full or any(len(word) > 2 and word not in _words("trade") for word in each)
    }
    ordered = sorted((each for each in words if each), key=lambda each: (-len("".join(each)), each))
    return tuple(
        _Name(each, "".join(each), tuple(_NUMBER.findall(" ".join(each))), _is_telling(each)) for each in ordered
    )


@cache
def _words(which: str) -> frozenset[str]:
    """The words of a list in naming.toml."""
    data = tomllib.loads((files("pipelines.simulation") / "naming.toml").read_text(encoding="utf-8"))
    return frozenset(data[which].split())


def _is_telling(words: Sequence[str]) -> bool:
    """Whether words are too rare, or too rare together, to come up by chance."""
    telling = [word for word in words if word not in _words("trade") and not word.isdigit()]
    if not telling or sum(map(len, telling)) < 4:
        return False
    if any(_zipf(word) < EVERYDAY_WORD for word in telling):
        return True
    numbers = sum(map(str.isdigit, words))
    told = sum(9 - _zipf(word) for word in telling) + numbers * _NUMBER_TELLS
    return len(words) > 1 and told + (len(words) - len(telling) - numbers) * _TRADE_TELLS >= TELLING


@lru_cache(maxsize=65_536)
def _zipf(word: str) -> float:
    """How common a word is in English: log10 of its occurrences in a billion words (wordfreq, Speer 2022)."""
    from wordfreq import zipf_frequency

    return max(_UNKNOWN_WORD, float(zipf_frequency(word, "en")))


def _places(name: _Name, folded: Sequence[str]) -> Iterator[tuple[int, int, _Needed]]:
    """Where a name may stand: first word, number of words, and what the writing must show for it to be the name."""
    edits = len(name.joined) // _LETTERS_AN_EDIT if len(name.joined) >= _LEAST_LETTERS else 0
    for size in range(max(1, len(name.words) - 1), len(name.words) + 2):
        for start in range(len(folded) - size + 1):
            words = tuple(folded[start : start + size])
            if words == name.words:
                yield start, size, "nothing" if name.is_telling else "capitals"
                continue
            joined = "".join(words)
            if not name.is_telling or abs(len(joined) - len(name.joined)) > edits:
                continue
            if tuple(_NUMBER.findall(" ".join(words))) != name.numbers:
                continue
            if joined == name.joined:
                yield start, size, "nothing"
            elif edits and (distance := OSA.distance(joined, name.joined, score_cutoff=edits)) <= edits:
                odd = [word for word in words if word not in name.words]
                is_long = len(name.words) >= 3 and distance * _SURE_LETTERS <= len(joined)
                is_misspelt = bool(odd) and all(_zipf(word) < _NO_WORD for word in odd)
                yield start, size, "nothing" if is_long or is_misspelt else "marks"


def _is_marked(plain: str, first: int, last: int) -> bool:
    """Whether words stand in quotes, or before a year in brackets."""
    is_quoted = plain[first - 1 : first] in _QUOTES and _QUOTE_BEHIND.match(plain, last) is not None
    return (first > 0 and is_quoted) or _YEAR_BEHIND.match(plain, last) is not None


def _has_capitals(plain: str, said: Sequence[tuple[str, int, int]], start: int, size: int) -> bool:
    """Whether words have capitals that make them a name, in a sentence that has few of them."""
    words = [word for word, _, _ in said[start : start + size]]
    own = [word for word in words if word[0].isupper()]
    if sum(map(len, words)) < 2 or not own or not (words[0] in own or words[0].isdigit()):
        return False
    if any(len(word) > _LEAST_CAPITALISED and word not in own and not word.isdigit() for word in words):
        return False
    if all(_folded(word) in _words("capitalised") for word in words):
        return False
    first, last = said[start][1], said[start + size - 1][2]
    begins = max((found.end() for found in _SENTENCE.finditer(plain) if found.end() <= first), default=0)
    ends = next((found.start() for found in _SENTENCE.finditer(plain) if found.start() >= last), len(plain))
    others = [word for word, at, end in said if begins <= at and end <= ends and not first <= at < last]
    # The first word of a sentence has its capital for that.
    if said[start][1] == next(at for _, at, _ in said if at >= begins) and len(own) < 2:
        return False
    small = sum(word[0].islower() for word in others)
    return small >= 2 and small * 2 >= len(others)

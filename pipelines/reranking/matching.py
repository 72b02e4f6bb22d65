"""Which film each line of a model's list is: one of the candidates, another film of the corpus, or none that is known.

Belongs here: the rules, in the order in which they are tried, and the reason that each leaves behind. Does not belong here: reading the list
(`parsing.py`), names of the whole corpus (pipelines/mentions).

Rules for a line, the first that holds decides:

1. it cannot be read: `unparseable`;
2. its name is a candidate's (title, original title or alias), and so is the year where one is stated: `candidate`, or `repeated` for a candidate that stood before;
3. its name is a candidate's, the year is not: `not_a_candidate` where the corpus has a film of that name and year, else the candidate;
4. its name is that of a film in the corpus: `not_a_candidate`;
5. its name is that of a film which is known to be missing from the corpus: `real_but_missing`;
6. its name is one half of a single candidate's title, or nearly its name (from SIMILAR on, with the same numbers): that candidate;
7. its name, shortened by what looks like a remark, is that of a film in the corpus, or the corpus has a name that is nearly the same: `not_a_candidate`;
8. else `not_in_corpus`.

Beside that stands the similarity to the most similar candidate's title: RAR (section A.2) calls a line a hallucination where it is below .85.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipelines.reranking.parsing import Line, Parsed

MATCHING_VERSION = "1"

# RAR's bound; ours for taking a misspelt name for a candidate, too.
SIMILAR = 0.85
# Catalogues disagree by a year about when a film came out.
YEARS_APART = 1

_YEAR = re.compile(r"[\s,]*[\[(]?(?:released |from )?(?P<year>(?:18|19|20)\d\d)(?:\s+film)?[\])]?\s*$")
_IN_BRACKETS = re.compile(r"\s*[\[(][^)\]]*[\])]\s*$")
_ARTICLE_LAST = re.compile(r", (?:the|a|an)$", re.IGNORECASE)
_ARTICLE_FIRST = re.compile(r"^(?:the|a|an) (?=\S)")
_APOSTROPHE = re.compile(r"['’`´]")
_NO_WORD = re.compile(r"[\W_]+")
_HALVES = re.compile(r":\s+|\s+[-–—]\s+")
_ROMAN = {"ii": "2", "iii": "3", "iv": "4", "v": "5", "vi": "6", "vii": "7", "viii": "8", "ix": "9", "xi": "11"}
_SHORTEST_HALF = 4


@dataclass(frozen=True)
class Film:
    """A candidate as it is shown: `shown` is unique within its list. `names`: title first, then others."""

    movie_id: str
    shown: str
    year: int | None
    names: tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """A film of the corpus that a name can be: its year, and whether the name is its own but for case and marks, or nearly."""

    movie_id: str
    year: int | None
    is_exact: bool


# Titles (without years) in, for each the films that it can be, the likeliest first.
LookUp = Callable[[Sequence[str]], Mapping[str, Sequence[Found]]]


@dataclass(frozen=True)
class Read:
    """One line and what it was taken for (LINES of warehouse/tables/reranking.py)."""

    rank: int
    text: str
    kind: str
    movie_id: str | None
    similarity: float | None
    reason: str


@dataclass(frozen=True)
class Ranking:
    """An answer that was read: `ranked` are candidates in the model's order, each once. `problem`: why there are none, or what was left out."""

    lines: tuple[Read, ...] = ()
    ranked: tuple[str, ...] = ()
    problem: str | None = None


@lru_cache(maxsize=200_000)
def name_key(name: str) -> str:
    """A name without case, accents, marks and leading article, with Roman numbers after the first word as digits: equal keys are equal names.

    A name without any letter or digit keeps its marks.
    """
    text = _ARTICLE_LAST.sub("", name.strip())
    text = unicodedata.normalize("NFKD", text).casefold()
    text = "".join(letter for letter in text if not unicodedata.combining(letter))
    text = _APOSTROPHE.sub("", text).replace("&", " and ")
    words = _ARTICLE_FIRST.sub("", " ".join(_NO_WORD.sub(" ", text).split())).split()
    return " ".join([*words[:1], *(_ROMAN.get(word, word) for word in words[1:])]) or name.strip().casefold()


def with_year(text: str) -> tuple[str, int | None]:
    """Name and year of a text: `Heat (1995)`, `Heat, 1995`, `Heat [1995 film]`, `Heat (1995) [restored]`.

    A year without brackets or comma belongs to the name: `1917`, `Wonder Woman 1984`.
    """
    rest = text.strip()
    while True:
        found = _YEAR.search(rest)
        if found and found.start() and re.search(r"[\[(,]", found[0]):
            name = rest[: found.start()].strip(" ,")
            return (_IN_BRACKETS.sub("", name) or name), int(found["year"])
        shorter = _IN_BRACKETS.sub("", rest)
        if not shorter or shorter == rest:
            return rest, None
        rest = shorter


@dataclass(frozen=True)
class _Reading:
    """One way to read a line. `is_whole`: nothing was cut off it but marks."""

    name: str
    key: str
    year: int | None
    is_whole: bool
    as_written: str


@dataclass
class _List:
    """One of the lists that are read, and its candidates by key."""

    films: Sequence[Film]
    lines: Sequence[Line]
    by_shown: dict[str, Film]
    by_key: dict[str, list[Film]]
    halves: dict[str, list[Film]]
    by_id: dict[str, Film]
    readings: list[tuple[_Reading, ...]] = field(default_factory=list)


def read_rankings(
    answers: Mapping[str, Parsed],
    candidates: Mapping[str, Sequence[Film]],
    look_up: LookUp,
    missing: Iterable[str] = (),
) -> dict[str, Ranking]:
    """Read parsed answers: which candidates they rank, in which order, and what every line is.

    `candidates`: films shown, by the keys of `answers`. `look_up` is asked once, for all names that are no candidate's. `missing`: names of real films
    that the corpus is known to lack. Of several lists the one that names the most candidates counts, the first of equals.
    """
    lists = {key: _list_of(parsed, candidates[key]) for key, parsed in answers.items()}
    open_names = {
        reading.name: None
        for each in lists.values()
        if each is not None
        for readings in each.readings
        if not any(_named(each, reading)[0] for reading in readings)
        for reading in readings
    }
    corpus = look_up(list(open_names)) if open_names else {}
    absent = {name_key(with_year(name)[0]) for name in missing}
    rankings = {}
    for key, parsed in answers.items():
        found = lists[key]
        rankings[key] = (
            Ranking(problem=parsed.problem or "there is no list in the answer")
            if found is None
            else _ranking(found, corpus, absent, len(parsed.lists))
        )
    return rankings


def _list_of(parsed: Parsed, films: Sequence[Film]) -> _List | None:
    by_key: dict[str, list[Film]] = {}
    halves: dict[str, list[Film]] = {}
    for film in films:
        for key in dict.fromkeys(name_key(name) for name in film.names):
            by_key.setdefault(key, []).append(film)
        for key in dict.fromkeys(name_key(half) for half in _HALVES.split(film.names[0])):
            if len(key) >= _SHORTEST_HALF:
                halves.setdefault(key, []).append(film)
    by_shown, by_id = {name_key(film.shown): film for film in films}, {film.movie_id: film for film in films}
    best: _List | None = None
    most = -1
    for lines in parsed.lists:
        each = _List(films, lines, by_shown, by_key, halves, by_id)
        each.readings = [_readings(line) for line in lines]
        named = sum(any(_named(each, reading)[0] for reading in readings) for readings in each.readings)
        if named > most:
            best, most = each, named
    return best


def _readings(line: Line) -> tuple[_Reading, ...]:
    parts = [with_year(reading) for reading in line.readings]
    # A year that the line states holds for what is left when it is cut off, too.
    stated = next((year for _, year in parts if year is not None), None)
    made = []
    for place, (reading, (name, year)) in enumerate(zip(line.readings, parts, strict=True)):
        # The first reading, and a longer one that follows it, are the whole; shorter ones lost a remark.
        is_whole = place == 0 or len(reading) >= len(line.readings[0])
        made.append(_Reading(name, name_key(name), year if is_whole or year else stated, is_whole, reading))
    return tuple(made)


def _fits(year: int | None, other: int | None) -> bool:
    return year is None or other is None or abs(year - other) <= YEARS_APART


def _named(found: _List, reading: _Reading) -> tuple[list[Film], list[Film]]:
    """Candidates of that name: those whose year fits, and those whose year does not."""
    if (shown := found.by_shown.get(name_key(reading.as_written))) is not None:
        return [shown], []
    films = found.by_key.get(reading.key, [])
    fitting = [film for film in films if _fits(reading.year, film.year)]
    # The very year before one that is a year off.
    same = [film for film in fitting if reading.year is not None and film.year == reading.year]
    return same or fitting, [film for film in films if film not in fitting]


def _ranking(found: _List, corpus: Mapping[str, Sequence[Found]], absent: set[str], lists: int) -> Ranking:
    from rapidfuzz import fuzz, process

    titles = [name_key(film.names[0]) for film in found.films]
    ranked: dict[str, None] = {}
    lines = []
    for line, readings in zip(found.lines, found.readings, strict=True):
        if not readings:
            lines.append(Read(line.rank, line.text, "unparseable", None, None, line.reason or "cannot be read"))
            continue
        ratios = process.cdist([reading.key for reading in readings], titles, scorer=fuzz.ratio, score_cutoff=0)
        similarity = float(ratios.max()) / 100 if ratios.size else 0.0
        kind, movie_id, reason = _decide(found, readings, ratios, corpus, absent, ranked)
        if kind == "candidate" and movie_id is not None:
            if movie_id in ranked:
                kind, reason = "repeated", f"{reason}; it stands above already"
            ranked[movie_id] = None
        lines.append(Read(line.rank, line.text, kind, movie_id, round(similarity, 6), reason))
    problem = None
    if not ranked:
        problem = "no line names a candidate"
    elif lists > 1:
        problem = f"{lists} lists: the one that names the most candidates was read"
    return Ranking(tuple(lines), tuple(ranked), problem)


def _decide(
    found: _List,
    readings: Sequence[_Reading],
    ratios: NDArray[np.float32],
    corpus: Mapping[str, Sequence[Found]],
    absent: set[str],
    ranked: Mapping[str, None],
) -> tuple[str, str | None, str]:
    """Kind, film and reason of a line, by the rules above."""
    others: list[tuple[_Reading, Film]] = []
    # As it was shown to the model comes first, the longest such name above all: that alone tells films of one name and year apart.
    as_shown = [reading for reading in readings if name_key(reading.as_written) in found.by_shown]
    for reading in [*sorted(as_shown, key=lambda each: -len(each.as_written)), *readings]:
        fitting, unfitting = _named(found, reading)
        if fitting:
            film = next((film for film in fitting if film.movie_id not in ranked), fitting[0])
            several = len({film.movie_id for film in fitting}) > 1
            words = f"its name; {len(fitting)} candidates have it, this is the first left" if several else "its name"
            return "candidate", film.movie_id, words
        others += [(reading, film) for film in unfitting]
    for reading, film in others:
        known = [each for each in corpus.get(reading.name, ()) if each.is_exact and each.year == reading.year]
        if known:
            return (
                "not_a_candidate",
                known[0].movie_id,
                f"a film of this name and year, not the candidate of {film.year}",
            )
        return "candidate", film.movie_id, f"its name; the year {reading.year} is wrong, it is {film.year}"
    whole = [reading for reading in readings if reading.is_whole]
    if kind := _in_corpus(found, whole, corpus, is_exact=True):
        return kind
    if any(reading.key in absent for reading in whole):
        return "real_but_missing", None, "a film that a dataset names and the corpus lacks"
    for reading in readings:
        halves = [film for film in found.halves.get(reading.key, ()) if _fits(reading.year, film.year)]
        if len({film.movie_id for film in halves}) == 1:
            return "candidate", halves[0].movie_id, "half of its title"
    if near := _nearly(found, readings, ratios):
        return "candidate", near[0].movie_id, f"nearly its name, similarity {near[1]:.2f}"
    cut = [reading for reading in readings if not reading.is_whole]
    if kind := _in_corpus(found, cut, corpus, is_exact=True):
        return kind
    if kind := _in_corpus(found, whole, corpus, is_exact=False):
        return kind
    known_name = any(each.is_exact for reading in whole for each in corpus.get(reading.name, ()))
    return (
        "not_in_corpus",
        None,
        "the corpus has the name, but not of that year" if known_name else "no film has this name, or nearly",
    )


def _in_corpus(
    found: _List, readings: Iterable[_Reading], corpus: Mapping[str, Sequence[Found]], is_exact: bool
) -> tuple[str, str | None, str] | None:
    for reading in readings:
        known = [
            each
            for each in corpus.get(reading.name, ())
            if each.is_exact == is_exact and _fits(reading.year, each.year)
        ]
        known.sort(key=lambda each: reading.year is not None and each.year != reading.year)
        own = next((each for each in known if each.movie_id in found.by_id), None)
        if own is not None:
            return "candidate", own.movie_id, "a name that the corpus knows it by"
        if known:
            words = "a film of the corpus" if is_exact else "nearly the name of a film of the corpus"
            return "not_a_candidate", known[0].movie_id, words
    return None


def _nearly(found: _List, readings: Sequence[_Reading], ratios: NDArray[np.float32]) -> tuple[Film, float] | None:
    """The candidate whose title is nearly a reading, if it is one alone."""
    near: dict[str, tuple[Film, float]] = {}
    for row, reading in enumerate(readings):
        for at, film in enumerate(found.films):
            ratio = float(ratios[row, at]) / 100
            if (
                ratio >= SIMILAR
                and _fits(reading.year, film.year)
                and _numbers(reading.key) == _numbers(name_key(film.names[0]))
                and ratio > near.get(film.movie_id, (film, 0.0))[1]
            ):
                near[film.movie_id] = (film, ratio)
    best = sorted(near.values(), key=lambda pair: -pair[1])
    return best[0] if best and (len(best) == 1 or best[0][1] > best[1][1]) else None


def _numbers(key: str) -> list[str]:
    """Numbers of a name: `Toy Story 2` is not a misspelt `Toy Story 3`."""
    return re.findall(r"\d+", key)


def shown_names(films: Sequence[tuple[str, str, int | None, Sequence[str]]]) -> list[str]:
    """Names under which candidates (movie_id, title, year, directors) are shown: title and year, and where that is not enough to tell
    two apart their directors, and at last a number.
    """
    names = [
        f"{' '.join(title.split())} ({year})" if year is not None else " ".join(title.split())
        for _, title, year, _ in films
    ]
    keys = [name.casefold() for name in names]
    for place, (_, _, _, directors) in enumerate(films):
        if keys.count(keys[place]) > 1 and directors:
            names[place] += f" [directed by {', '.join(directors[:2])}]"
    seen: dict[str, int] = {}
    for place, name in enumerate(names):
        seen[name.casefold()] = seen.get(name.casefold(), 0) + 1
        if seen[name.casefold()] > 1:
            names[place] = f"{name} [{seen[name.casefold()]}]"
    return names

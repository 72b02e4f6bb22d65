"""The films that conversations are about, arranged for drawing.

Belongs here: drawing films by genre and person, the better known the likelier.
Does not belong here: who likes what (`course.py`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from itertools import accumulate
from random import Random

import polars as pl

# Films drawn before giving up on one that was not named yet.
TRIES = 8


class FilmPool:
    """Films of a pack. A film is its number, which is also its place in each of the lists.

    `works` needs the columns of `make_world`; only its films are used. Announced ones are never drawn, unless there is
    nothing else.
    """

    def __init__(self, works: pl.DataFrame) -> None:
        films = works.filter("is_film").sort("film")
        self.title: list[str] = films["title"].to_list()
        self.year: list[int] = films["year"].to_list()
        self.genres: list[list[str]] = films["genres"].to_list()
        self.directors: list[list[str]] = films["directors"].to_list()
        self.cast: list[list[str]] = films["cast"].to_list()
        self.aliases: list[list[str]] = films["aliases"].to_list()
        self.plot: list[str] = films["plot"].to_list()
        self.article: list[str] = films["article"].to_list()
        self.imdb_number: list[int] = films["imdb_number"].to_list()
        self.known: list[float] = films["known"].to_list()
        self.lower: list[str] = [title.lower() for title in self.title]
        self.names = Counter(self.lower)
        votes = films["votes"].to_list()
        everything = [film for film, count in enumerate(votes) if count > 0] or list(range(films.height))
        # Popularity counts, but less than the votes themselves, or all would talk of the same few films.
        self._weight = [float(count + 1) ** 0.6 for count in votes]
        self._groups: dict[str, tuple[list[int], list[float]]] = {"": self._group(everything)}
        by_genre: dict[str, list[int]] = {}
        self._by_person: dict[str, list[int]] = {}
        for film in everything:
            for genre in self.genres[film]:
                by_genre.setdefault(genre, []).append(film)
            for person in (*self.directors[film], *self.cast[film]):
                self._by_person.setdefault(person, []).append(film)
        self._groups |= {genre: self._group(members) for genre, members in by_genre.items()}
        self._genre_names = sorted(by_genre) or ["Drama"]
        self._genre_edges = list(accumulate(len(by_genre.get(g, "1")) ** 0.7 for g in self._genre_names))

    def _group(self, films: list[int]) -> tuple[list[int], list[float]]:
        return films, list(accumulate(self._weight[film] for film in films))

    def __len__(self) -> int:
        return len(self.title)

    def genre(self, random: Random, other_than: frozenset[str] = frozenset()) -> str:
        """A genre, common ones likelier; one of `other_than` only when nothing else turns up."""
        for _ in range(TRIES):
            at = bisect_right(self._genre_edges, random.random() * self._genre_edges[-1])
            found = self._genre_names[min(at, len(self._genre_names) - 1)]
            if found not in other_than:
                break
        return found

    def film(self, random: Random, used: set[int], genre: str = "", person: str = "") -> int:
        """A film of `genre` or with `person`, whose title none of `used` has if there is one; else any film."""
        titles = {self.lower[film] for film in used}
        members = self._by_person.get(person, [])
        for attempt in range(TRIES):
            if members and attempt < TRIES // 2:
                film = members[int(random.random() * len(members))]
            else:
                films, edges = self._groups.get(genre if attempt < TRIES - 2 else "", self._groups[""])
                film = films[min(bisect_right(edges, random.random() * edges[-1]), len(films) - 1)]
            if film not in used and self.lower[film] not in titles:
                break
        return film

    def people(self, film: int) -> list[str]:
        """Directors and cast."""
        return [*self.directors[film], *self.cast[film]]

"""How a conversation goes: who wants what, what is proposed, and how it is taken.

Belongs here: taste, seen films, and the order of acts. The outcome follows from the taste, so that it can be learnt.
Does not belong here: wording (`acts_*.toml`), spelling (`spelling.py`), file formats.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from pipelines.synth.conversations.films import FilmPool
from pipelines.synth.conversations.phrases import RECOMMENDER, SEEKER, Act, acts, one, words

Values = dict[str, "int | str"]

# What makes a film fit a seeker: shared genres, a liked person, a liked decade; a disliked genre against it.
GENRE_GAIN, SECOND_GENRE_GAIN, PERSON_GAIN, DECADE_GAIN, BAD_GENRE_LOSS = 0.8, 0.4, 0.7, 0.3, 1.3
UTILITY_SPREAD = 0.25
LIKED_FROM = 0.6


class Sentence(NamedTuple):
    """One act with what its slots stand for: a film's number, a genre's name, or a word."""

    act: Act
    values: Values


@dataclass
class Turn:
    """What one side says before the other answers."""

    role: str
    sentences: list[Sentence] = field(default_factory=list)


@dataclass(frozen=True)
class Taste:
    """A seeker's taste."""

    genres: tuple[str, ...]
    bad_genre: str
    person: str | None
    decade: int | None

    def utility(self, pool: FilmPool, film: int, noise: float) -> float:
        """How much the film would please; from LIKED_FROM on it does."""
        genres = pool.genres[film]
        total = noise
        if self.genres[0] in genres:
            total += GENRE_GAIN
        if len(self.genres) > 1 and self.genres[1] in genres:
            total += SECOND_GENRE_GAIN
        if self.bad_genre in genres:
            total -= BAD_GENRE_LOSS
        if self.person is not None and self.person in pool.people(film):
            total += PERSON_GAIN
        if self.decade is not None and pool.year[film] // 10 * 10 == self.decade:
            total += DECADE_GAIN
        return total


@dataclass
class Conversation:
    """A conversation before it is written down: turns, taste, and what is true of the films in it."""

    turns: list[Turn]
    taste: Taste
    suggested: dict[int, bool]  # film -> whether the recommender brought it up
    seen: dict[int, bool]
    liked: dict[int, bool]
    accepted: int | None


@dataclass(frozen=True)
class Manner:
    """How people of a dataset talk: proposals, questions before the first of them, and the share of asides."""

    rounds: tuple[int, int]
    questions: tuple[int, int]
    asides: float
    facts: float
    greets: float = 0.9


class Chat:
    """Two people talking: each method is a stretch of the conversation and appends to its turns."""

    def __init__(self, random: Random, pool: FilmPool, manner: Manner) -> None:
        self.random, self.pool, self.manner = random, pool, manner
        self.turns: list[Turn] = []
        self.used: set[int] = set()
        self.suggested: dict[int, bool] = {}
        self.seen: dict[int, bool] = {}
        self.liked: dict[int, bool] = {}
        self.accepted: int | None = None
        self.stated: list[str] = []  # genres that the seeker has named
        self.seed: int | None = None  # a film that the seeker has said to like
        self.open: list[int] = []  # proposals that neither were refused nor are known
        self.common: Values = {"company": one(random, words("company")), "occasion": one(random, words("occasion"))}
        self.taste = self._taste()

    def _taste(self) -> Taste:
        random, pool = self.random, self.pool
        first = pool.genre(random)
        genres = (first, pool.genre(random, frozenset({first})))
        bad = pool.genre(random, frozenset(genres))
        person = None
        if random.random() < 0.5:
            people = pool.people(pool.film(random, set(), first))
            person = one(random, people) if people else None
        decade = one(random, (1980, 1990, 2000, 2010, 2020)) if random.random() < 0.3 else None
        return Taste(genres if random.random() < 0.7 else genres[:1], bad, person, decade)

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def say(self, role: str, act: str, **values: int | str) -> None:
        """Append a sentence to the running turn of `role`, or begin one."""
        if not self.turns or self.turns[-1].role != role:
            self.turns.append(Turn(role))
        taste = self.taste
        filled: Values = {
            "genre": taste.genres[0],
            "genre2": taste.genres[-1],
            "bad_genre": taste.bad_genre,
            **self.common,
        }
        if taste.person is not None:
            filled["person"] = taste.person
        if taste.decade is not None:
            filled["decade"] = f"{taste.decade}s" if self.chance(0.5) else f"{taste.decade % 100:02d}s"
            filled["year"] = str(taste.decade)
        filled.update(values)
        self.turns[-1].sentences.append(Sentence(acts(role)[act], filled))

    def seeker(self, act: str, **values: int | str) -> None:
        self.say(SEEKER, act, **values)

    def recommender(self, act: str, **values: int | str) -> None:
        self.say(RECOMMENDER, act, **values)

    def new_film(self, genre: str = "", person: str = "") -> int:
        """A film not named so far, with what is true of it for this seeker."""
        film = self.pool.film(self.random, self.used, genre, person)
        self.used.add(film)
        noise = self.random.gauss(0.0, UTILITY_SPREAD)
        self.liked.setdefault(film, self.taste.utility(self.pool, film, noise) >= LIKED_FROM)
        fame = self.pool.known[film]
        self.seen.setdefault(film, self.chance(0.08 + 0.45 * fame * fame))
        return film

    def known_film(self, is_liked: bool = True) -> int:
        """A film that the seeker brings up: seen, and liked or not."""
        genre = one(self.random, self.taste.genres) if is_liked else self.taste.bad_genre
        film = self.new_film(genre, self.taste.person or "" if is_liked and self.chance(0.2) else "")
        self.seen[film], self.liked[film] = True, is_liked
        self.suggested.setdefault(film, False)
        return film

    def opening(self) -> None:
        """Greetings, and usually what is wanted."""
        if self.chance(self.manner.greets):
            first, second = (RECOMMENDER, SEEKER) if self.chance(0.5) else (SEEKER, RECOMMENDER)
            if self.chance(0.4):
                self.say(first, "greet_how")
                self.say(second, "how_are_you")
            else:
                self.say(first, "greet")
                if self.chance(0.75):
                    self.say(second, "greet")
            if self.chance(0.1):
                self.say(second, "small_talk")
            if self.chance(0.4):
                self.recommender("offer")
        if self.chance(0.75):
            self.request()

    def request(self) -> None:
        """The first request."""
        drawn = self.random.random()
        if drawn < 0.35:
            self.seeker("request")
        elif drawn < 0.65:
            self.seeker("request_genre")
            self.stated.append(self.taste.genres[0])
        elif drawn < 0.85 or self.taste.person is None:
            self.seed = self.known_film()
            self.seeker("request_like", seed=self.seed)
        else:
            self.seeker("request_person")
            self.stated.append("")
        if self.chance(0.25):
            self.seeker("context")
        if self.chance(0.12):
            self.seeker("dislike_genre")
        if self.chance(self.manner.asides * 0.3):
            self.seeker("small_talk", name=one(self.random, words("name")))

    def elicitation(self) -> None:
        """Questions about the taste, and their answers."""
        low, high = self.manner.questions
        for _ in range(low + int(self.random.random() * (high - low + 1))):
            if self.chance(self.manner.asides):
                knows_taste = self.seed is not None and self.turns[-1].role == SEEKER
                self.recommender(one(self.random, ("acknowledge", "agree", "self")) if knows_taste else "acknowledge")
            drawn = self.random.random()
            if drawn < 0.35:
                self.recommender("ask_taste")
                self._answer_taste()
            elif drawn < 0.65:
                self.recommender("ask_limit", genre2=self.pool.genre(self.random, frozenset(self.taste.genres)))
                self._answer_limit()
            elif drawn < 0.85:
                self.recommender("ask_last")
                self._answer_last()
            else:
                if self.chance(0.5) or not self.stated:
                    self.recommender("infer")
                else:
                    self.recommender("confirm_preference", actor=self._liked_person())
                self.seeker("confirm")
                self.stated.append(self.taste.genres[0])
            if self.stated and self.chance(0.2):
                self.recommender("rephrase")
                if self.chance(0.6):
                    self.seeker("agree")

    def _liked_person(self) -> str:
        if self.taste.person is not None:
            return self.taste.person
        people = self.pool.people(self.pool.film(self.random, self.used, self.taste.genres[0]))
        return people[-1] if people else "anybody famous"

    def _answer_taste(self) -> None:
        drawn = self.random.random()
        if drawn < 0.45:
            self.seeker("taste_genre")
            self.stated.append(self.taste.genres[0])
        elif drawn < 0.65:
            self.seed = self.known_film()
            self.seeker("favorite_film", seed=self.seed, seed2=self.known_film())
        elif drawn < 0.8 and self.taste.person is not None:
            self.seeker("taste_person")
        elif drawn < 0.9:
            self.seeker("open_to_anything")
        else:
            self.seed = self.known_film()
            self.seeker("taste_two_films", seed=self.seed, seed2=self.known_film())
        if self.chance(0.2):
            self.seeker("dislike_taste")
        elif self.chance(0.1):
            self.seeker("dislike_film", bad=self.known_film(is_liked=False))
        if self.chance(self.manner.asides * 0.25):
            self.seeker("ask_back")
            self.recommender("self")

    def _answer_limit(self) -> None:
        drawn = self.random.random()
        if drawn < 0.6:
            self.seeker("answer_genre")
            self.stated.append(self.taste.genres[0])
        elif drawn < 0.75:
            self.seeker("constraint", **self._limit())
        elif drawn < 0.85:
            self.seeker("hint")
        else:
            self.seeker("open_to_anything")
        if self.chance(0.15):
            self.seeker("context")
            if self.chance(0.4):
                self.recommender("context_use")

    def _limit(self) -> Values:
        if self.taste.decade is not None:
            return {}
        year = one(self.random, (1970, 1980, 1990, 2000, 2010))
        return {"decade": f"{year}s" if self.chance(0.6) else f"{year % 100:02d}s", "year": str(year)}

    def _answer_last(self) -> None:
        if self.chance(0.8):
            self.seed = self.known_film()
            self.seeker("taste_film", seed=self.seed)
            if self.chance(0.3):
                self.recommender(one(self.random, ("agree", "opinion", "self", "acknowledge")))
            elif self.chance(0.2):
                self.recommender("ask_liked")
                self.seeker("answer_liked")
        else:
            self.seeker("dislike_film", bad=self.known_film(is_liked=False))

    def proposals(self) -> None:
        """Rounds of proposals until one is accepted or the rounds are over."""
        low, high = self.manner.rounds
        rounds = low + int(self.random.random() * (high - low + 1))
        before = ""
        for number in range(rounds):
            before = self._round(number, before)
            if before == "accepted":
                return
        if self.open and self.chance(0.5):
            film = next((film for film in self.open if self.liked[film]), None)
            if film is not None:
                self.recommender("propose_recall", film=film)
                self._accept(film)

    def _pick(self) -> int:
        """What the recommender thinks of: what was asked for, what is popular, or something with a liked person."""
        drawn = self.random.random()
        if self.taste.person is not None and drawn < 0.12:
            return self.new_film(person=self.taste.person)
        if self.stated and drawn < 0.75:
            return self.new_film(self.stated[-1] or self.taste.genres[0])
        if self.seed is not None and drawn < 0.85:
            genres = self.pool.genres[self.seed]
            return self.new_film(genres[0] if genres else "")
        return self.new_film()

    def _round(self, number: int, before: str) -> str:
        """One proposal with what follows from it: accepted, refused, known or open."""
        film = self._pick()
        self.suggested.setdefault(film, True)
        several = self.chance(0.16)
        others: list[int] = []
        if several:
            others = [self._pick() for _ in range(1 if self.chance(0.6) else 2)]
            for other in others:
                self.suggested.setdefault(other, True)
            more: Values = {f"film{at}": other for at, other in enumerate(others, 2)}
            self.recommender("propose_two" if len(others) == 1 else "propose_three", film=film, **more)
        else:
            self._propose(film, number, before)
        self._support(film)
        return self._reaction(film, others)

    def _propose(self, film: int, number: int, before: str) -> None:
        pool, drawn = self.pool, self.random.random()
        if before == "refused" and drawn < 0.6:
            self.recommender("propose_instead", film=film)
        elif before == "known" and drawn < 0.3:
            self.recommender("propose_unseen", film=film)
        elif number and drawn < 0.25:
            self.recommender("propose_another", film=film)
        elif self.seed is not None and drawn < 0.4 and set(pool.genres[self.seed]) & set(pool.genres[film]):
            self.recommender("propose_like" if self.chance(0.6) else "propose_similar", film=film, seed=self.seed)
        elif self.stated and self.stated[-1] in pool.genres[film] and drawn < 0.5:
            self.recommender("propose_because", film=film, genre=self.stated[-1])
        elif drawn < 0.57 and pool.cast[film]:
            self.recommender("propose_person", film=film, actor=pool.cast[film][0])
        else:
            ways = ("propose", "propose_seen", "propose_seen", "propose_encourage", "propose_opinion", "propose_self")
            self.recommender(one(self.random, ways), film=film)

    def _support(self, film: int) -> None:
        """What is said for a proposal."""
        if self.chance(self.manner.facts):
            self._fact(film)
        if self.chance(self.manner.asides * 0.7):
            acts_for = (
                "opinion",
                "opinion",
                "self",
                "experience",
                "praise",
                "explain",
                "encourage",
                "encourage",
                "urge",
            )
            act = one(self.random, acts_for)
            self.recommender(act, film_genre=self._genre_of(film))
        if self.chance(0.12):
            self.recommender("ask_seen")

    def _genre_of(self, film: int) -> str:
        genres = self.pool.genres[film]
        return one(self.random, genres) if genres else self.taste.genres[0]

    def _fact(self, film: int) -> None:
        pool, drawn = self.pool, self.random.random()
        if drawn < 0.45 and pool.cast[film] and pool.directors[film]:
            self.recommender("fact_cast", actor=one(self.random, pool.cast[film]), director=pool.directors[film][0])
        elif drawn < 0.75:
            self.recommender("fact_year", year=str(pool.year[film]), film_genre=self._genre_of(film))
        else:
            self.recommender("fact_plot", plot=pool.plot[film])

    def _questions(self, film: int, others: list[int]) -> None:
        """What the seeker wants to know before deciding."""
        pool, drawn = self.pool, self.random.random()
        if others and drawn < 0.5:
            if self.chance(0.5):
                self.seeker("ask_best")
                self.recommender("rank", film=film)
            else:
                self.seeker("ask_compare", film=film, film2=others[0])
                self.recommender("compare", film=film, film2=others[0])
        elif drawn < 0.65:
            if self.chance(0.3):
                self.seeker("ask_fact_film", film=film)
            else:
                self.seeker("ask_fact")
            self._fact(film)
        elif drawn < 0.8:
            self.seeker("ask_why")
            self.recommender("explain", film_genre=self._genre_of(film))
        elif pool.directors[film] and pool.cast[film]:
            director, actor = pool.directors[film][0], pool.cast[film][0]
            if self.chance(0.5):
                self.seeker("ask_graph")
            else:
                self.seeker("ask_graph_person", director=director, actor=actor)
            other = self.new_film(person=director)
            if director in pool.directors[other]:
                who: Values = {"director": director, "actor": director}
                if director not in pool.cast[other]:
                    who["actor"] = pool.cast[other][0] if pool.cast[other] else director
                self.suggested.setdefault(other, True)
                self.recommender("propose_graph", film=other, **who)
            else:
                self.used.discard(other)
                self.recommender("looking")
                self._fact(film)

    def _reaction(self, film: int, others: list[int]) -> str:
        """How the seeker takes the proposals."""
        if self.chance(0.4 if others else 0.18):
            self._questions(film, others)
        candidates = [film, *others]
        unseen = [f for f in candidates if not self.seen[f]]
        liked = [f for f in unseen if self.liked[f]]
        if liked and self.chance(0.62):
            return self._accept(liked[0], named=len(candidates) > 1)
        if self.seen[film]:
            return self._known(film, others)
        if not self.liked[film]:
            return self._refuse(film, others)
        self.open.append(film)
        if self.chance(0.15):
            self.seeker("not_seen_film", film=film)
        else:
            self.seeker("not_seen")
        if self.chance(0.6):
            self.seeker("interest")
        if self.chance(0.5):
            self.seeker("another")
        return "open"

    def _known(self, film: int, others: list[int]) -> str:
        if self.liked[film]:
            if others or self.chance(0.2):
                self.seeker("seen_liked_film", film=film)
            else:
                self.seeker("seen_liked")
            if self.chance(0.3):
                self.recommender(one(self.random, ("agree", "self", "acknowledge", "experience")))
        elif self.chance(0.6):
            self.seeker("seen_disliked")
        else:
            self.seeker("seen")
        if self.chance(0.45):
            self.seeker("another")
        return "known"

    def _refuse(self, film: int, others: list[int]) -> str:
        if self.chance(0.35):
            self.seeker("not_seen")
        if others or self.chance(0.2):
            self.seeker("reject_film", film=film)
        elif self.taste.bad_genre in self.pool.genres[film] and self.chance(0.7):
            self.seeker("reject_genre")
        else:
            self.seeker("reject")
        drawn = self.random.random()
        if drawn < 0.3:
            self.seeker("refine", **self._limit())
            self.stated.append(self.taste.genres[0])
        elif drawn < 0.4 and self.taste.person is not None:
            self.seeker("refine_person")
        elif drawn < 0.55:
            self.seeker("another")
        elif drawn < 0.62:
            self.recommender("sorry")
            self.recommender("ask_narrow")
            self.seeker("answer_genre")
            self.stated.append(self.taste.genres[0])
        return "refused"

    def _accept(self, film: int, named: bool = False) -> str:
        if self.chance(0.25):
            self.seeker("not_seen")
        if self.chance(0.35):
            self.seeker("interest")
        if named or self.chance(0.25):
            self.seeker("accept_film", film=film)
        else:
            self.seeker("accept")
        self.accepted = film
        if self.chance(0.4):
            self.recommender(one(self.random, ("encourage", "acknowledge", "urge")))
        return "accepted"

    def closing(self) -> None:
        """A look back, thanks and good-byes."""
        if self.accepted is None and len(self.open) > 1 and self.chance(0.5):
            self.seeker("recall")
            self.recommender("propose_recall", film=self.open[0])
        if self.chance(0.8):
            self.seeker("thanks")
            if self.chance(0.7):
                self.recommender("welcome")
        if self.chance(0.6):
            self.say(self.turns[-1].role if self.chance(0.4) else SEEKER, "bye")
            if self.chance(0.6):
                self.recommender("bye")

    def finished(self) -> Conversation:
        """The conversation as it went."""
        return Conversation(self.turns, self.taste, self.suggested, self.seen, self.liked, self.accepted)


def conversation(random: Random, pool: FilmPool, manner: Manner) -> Conversation:
    """A chat of a seeker and a recommender."""
    chat = Chat(random, pool, manner)
    chat.opening()
    chat.elicitation()
    chat.proposals()
    chat.closing()
    return chat.finished()


def thread(random: Random, pool: FilmPool) -> Conversation:
    """A post that asks for films, and comments that name some, as on Reddit."""
    chat = Chat(random, pool, Manner((1, 3), (0, 0), 0.5, 0.4))
    if chat.chance(0.5):
        chat.request()
    if chat.chance(0.45):
        chat.seed = chat.known_film()
        chat.seeker("list_liked", seed=chat.seed, seed2=chat.known_film(), seed3=chat.known_film())
    elif chat.chance(0.5):
        chat.seed = chat.known_film()
        chat.seeker("taste_two_films", seed=chat.seed, seed2=chat.known_film())
    if not chat.turns:
        chat.request()
    for act, share in (
        ("context", 0.2),
        ("hint", 0.15),
        ("dislike_genre", 0.2),
        ("taste_genre", 0.3),
        ("small_talk", 0.12),
    ):
        if chat.chance(share):
            chat.seeker(act)
            if act == "taste_genre":
                chat.stated.append(chat.taste.genres[0])
    if chat.chance(0.15):
        chat.seeker("dislike_film", bad=chat.known_film(is_liked=False))
    if chat.chance(0.35):
        chat.seeker("thanks_ahead")
    for _ in range(1 + int(chat.random.random() * 2.5)):
        films = [chat._pick() for _ in range(4)] if chat.chance(0.45) else []
        if films:
            for film in films:
                chat.suggested.setdefault(film, True)
            chat.recommender("propose_list", film=films[0], film2=films[1], film3=films[2], film4=films[3])
            reaction = chat._reaction(films[0], films[1:])
        else:
            reaction = chat._round(0, "")
        if reaction == "accepted":
            break
    if chat.chance(0.3):
        chat.seeker("thanks")
    return chat.finished()

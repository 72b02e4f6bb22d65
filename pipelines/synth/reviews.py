"""Reviews by invented users: of books in the shape of Amazon Reviews 2023, of businesses in that of Yelp, and tags of films in MovieLens's.

Each user has kinds that they like and a way of writing, so that a persona can be told from the reviews. With the usual dirt: markup, entities, rows that stand there twice, rows that are cut
or hold the wrong type. Belongs here: who writes what. Does not belong here: who rates which film (`ratings.py`).
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.synth import formats
from pipelines.synth.draw import Stream, exactly, stream
from pipelines.synth.grammar import english_titles, full_names
from pipelines.synth.words import HERE, cultures, lists

BOOKS, BOOKS_META = "amazon-reviews-2023/Books.jsonl", "amazon-reviews-2023/meta_Books.jsonl"
YELP, YELP_META = "yelp/yelp_academic_dataset_review.json", "yelp/yelp_academic_dataset_business.json"
TAGS = "ml-latest-small/tags.csv"
TRUTH_FILE = "reviews.json"

# Users who tag, and films that each of them tags at most.
TAGGERS, TAGGED = 14, 18
FIRST_MS, SPAN_MS = 1_356_998_400_000, 10 * 365 * 86_400_000  # from 2013 on
# Chance that a review is of a kind that its writer likes.
LIKED_SHARE = 0.75
MARKUP_SHARE, EMPTY_SHARE = 0.08, 0.03


@dataclass(frozen=True)
class ReviewFile:
    """What was written of one file: its records, and those of them that a reader must reject."""

    rows: int
    broken: int = 0
    duplicate: int = 0


@dataclass(frozen=True)
class _Thing:
    """An item: what it is called, its kind by number, and how good it is (-1 to 1)."""

    item_id: str
    title: str
    creator: str
    kind: int
    worth: float


@dataclass(frozen=True)
class _Manner:
    """How somebody writes: sentences at a time, whether with exclamation marks, jokes, reasons, and how strict."""

    sentences: int
    exclaims: bool
    jokes: bool
    reasons: bool
    strictness: float
    likes: frozenset[int]


@cache
def _stated() -> dict[str, Any]:
    return tomllib.loads((HERE / "reviews.toml").read_text(encoding="utf-8"))


@cache
def _choices(group: str, name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in _stated()[group][name].replace("\n", "").split("|"))


def write_reviews(out: Path, ratings: pl.DataFrame, films: pl.DataFrame, seed: int) -> dict[str, ReviewFile]:
    """Write all files of reviews to a pack; returns what each holds, which is out/truth/reviews.json, too.

    `ratings`: userId, movieId, timestamp, film of make_ratings. `films`: film, genres. The same arguments give the same bytes.
    """
    written = {
        **_write_books(out, stream(seed, "book reviews")),
        **_write_businesses(out, stream(seed, "business reviews")),
        **_write_tags(out, ratings, films, stream(seed, "tags")),
    }
    told = {name: {"rows": each.rows, "broken": each.broken, "duplicate": each.duplicate} for name, each in written.items()}  # fmt: skip
    formats.write_bytes(out / "truth" / TRUTH_FILE, json.dumps(told, indent=2, sort_keys=True).encode() + b"\n")
    return written


# ------------------------------------------------------------------------------------------------------------------- books


def _write_books(out: Path, random: Stream) -> dict[str, ReviewFile]:
    stated = _stated()["book"]
    books = _things(random, "book", lambda number: f"B{_code(random, 9)}")
    reviews = []
    for _ in range(stated["users"]):
        user = f"A{_code(random, 27)}"
        manner = _manner(random, len(stated["kinds"]))
        for book in _picked(random, books, manner, stated["reviews"]):
            stars = _stars(random, book, manner)
            headline, text = _said(random, "book", book, manner, stars)
            reviews.append(
                {
                    "rating": float(stars),
                    "title": headline,
                    "text": text,
                    "images": [],
                    "asin": book.item_id,
                    "parent_asin": book.item_id,
                    "user_id": user,
                    "timestamp": FIRST_MS + int(random.integers(0, SPAN_MS)),
                    "helpful_vote": int(random.integers(0, 9)),
                    "verified_purchase": bool(random.random() < 0.8),
                }
            )
    metas = [_book_meta(random, book) for book in books]
    return {
        BOOKS: _write(out / BOOKS, random, reviews, "rating"),
        BOOKS_META: _write(out / BOOKS_META, random, metas, "title"),
    }


def _book_meta(random: Stream, book: _Thing) -> dict[str, Any]:
    kind = _stated()["book"]["kinds"][book.kind]
    has_author = random.random() < 0.85
    return {
        "main_category": "Books",
        "title": book.title,
        "average_rating": round(min(5.0, max(1.0, 3.9 + book.worth)), 1),
        "rating_number": int(random.integers(3, 9_000)),
        "features": [],
        "description": _description(random, book, kind["things"].split("|")),
        "price": round(float(random.integers(99, 2_999)) / 100, 2) if random.random() < 0.85 else None,
        "images": [],
        "videos": [],
        "store": f"{book.creator} (Author)" if has_author else None,
        "categories": ["Books", *kind["categories"]],
        "details": {"Publisher": f"{_one(random, lists()['noun'])} & {_one(random, lists()['noun'])}"},
        "parent_asin": book.item_id,
        "bought_together": None,
        "author": {"avatar": None, "name": book.creator, "about": []} if has_author else None,
    }


def _description(random: Stream, book: _Thing, things: Sequence[str]) -> list[str]:
    if random.random() < 0.1:
        return []
    first, second, third = (things[at] for at in random.permutation(len(things))[:3])
    place, person = _one(random, lists()["place"]), full_names(random, 1, cultures()[0])[0]
    return [
        f"A {first}, a {second} and {person}, who came to {place} for something else.",
        f"{book.creator} turns a {third} into the heart of this {_one(random, lists()['adjective']).lower()} book.",
    ]


# -------------------------------------------------------------------------------------------------------------- businesses


def _write_businesses(out: Path, random: Stream) -> dict[str, ReviewFile]:
    stated = _stated()["business"]
    places = _things(random, "business", lambda number: _code(random, 22, _LETTERS))
    reviews = []
    for _ in range(stated["users"]):
        user = _code(random, 22, _LETTERS)
        manner = _manner(random, len(stated["kinds"]))
        for place in _picked(random, places, manner, stated["reviews"]):
            stars = _stars(random, place, manner)
            seconds = (FIRST_MS + int(random.integers(0, SPAN_MS))) // 1000
            reviews.append(
                {
                    "review_id": _code(random, 22, _LETTERS),
                    "user_id": user,
                    "business_id": place.item_id,
                    "stars": float(stars),
                    "useful": int(random.integers(0, 5)),
                    "funny": int(manner.jokes),
                    "cool": 0,
                    "text": _said(random, "business", place, manner, stars)[1],
                    "date": datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S"),
                }
            )
    metas = []
    for place in places:
        city, state = _one(random, stated["cities"]).split(", ")
        kind = stated["kinds"][place.kind]
        metas.append(
            {
                "business_id": place.item_id,
                "name": place.title,
                "address": f"{int(random.integers(1, 900))} {_one(random, lists()['noun'])} Street",
                "city": city,
                "state": state,
                "postal_code": str(int(random.integers(10_000, 99_999))),
                "latitude": round(float(random.random() * 20 + 27), 4),
                "longitude": round(float(random.random() * 20 - 90), 4),
                "stars": round(min(5.0, max(1.0, 3.6 + place.worth)) * 2) / 2,
                "review_count": int(random.integers(5, 400)),
                "is_open": int(random.random() < 0.9),
                "attributes": None,
                "categories": ", ".join(kind["categories"]) if random.random() < 0.95 else None,
                "hours": None,
            }
        )
    return {
        YELP: _write(out / YELP, random, reviews, "stars"),
        YELP_META: _write(out / YELP_META, random, metas, "name"),
    }


# -------------------------------------------------------------------------------------------------------------------- tags


def _write_tags(out: Path, ratings: pl.DataFrame, films: pl.DataFrame, random: Stream) -> dict[str, ReviewFile]:
    """Tags of the users with most ratings: genres of the films, and moods that are the user's own favourites."""
    busiest = ratings.group_by("userId").len().sort(["len", "userId"], descending=[True, False])["userId"].head(TAGGERS)
    moods = _choices("tags", "moods")
    genres = dict(films.select("film", "genres").iter_rows())
    rows: list[tuple[int, int, str, int]] = []
    for user in sorted(busiest.to_list()):
        own = ratings.filter(pl.col("userId") == user).sort("movieId")
        pets = [moods[at] for at in exactly(random, len(moods), 6)]
        for at in exactly(random, own.height, TAGGED):
            row = own.row(int(at), named=True)
            said = {_one(random, pets)}
            if genres.get(row["film"]) and random.random() < 0.6:
                genre = _one(random, genres[row["film"]])
                said.add(genre if random.random() < 0.3 else genre.lower())
            rows += [(user, row["movieId"], tag, row["timestamp"] + 60) for tag in sorted(said)]
    broken = 0
    if rows:
        # Of a film that no release lists.
        rows.append((rows[0][0], 2**40, "mystery film", rows[0][3]))
        broken = 1
    schema = {"userId": pl.Int64, "movieId": pl.Int64, "tag": pl.String, "timestamp": pl.Int64}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    formats.write_bytes(out / TAGS, frame.write_csv().encode())
    return {TAGS: ReviewFile(frame.height, broken)}


# --------------------------------------------------------------------------------------------------------------- in common

_ALPHABET = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ"
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"


def _code(random: Stream, length: int, alphabet: str = _ALPHABET) -> str:
    return "".join(alphabet[at] for at in random.integers(0, len(alphabet), length))


def _one(random: Stream, values: Sequence[str]) -> str:
    return values[int(random.integers(0, len(values)))]


def _things(random: Stream, domain: str, new_id: Any) -> list[_Thing]:
    """The items of a domain, with titles that differ."""
    stated = _stated()[domain]
    titles = english_titles(random, stated["count"] * 2).unique(maintain_order=True).head(stated["count"])
    names = full_names(random, max(4, stated["count"] // 3), cultures()[0])
    found = []
    for number, title in enumerate(titles):
        kind = int(random.integers(0, len(stated["kinds"])))
        if "endings" in stated["kinds"][kind]:
            title = f"{title.split(' ')[-1]} {_one(random, stated['kinds'][kind]['endings'].split('|'))}"
        elif random.random() < 0.3:
            title = f"{title} (The {_one(random, lists()['noun'])} Chronicles Book {int(random.integers(1, 9))})"
        elif random.random() < 0.2:
            title = f"{title}: A Novel"
        worth = float(random.random() * 1.6 - 0.8)
        found.append(_Thing(new_id(number), title, names[int(random.integers(0, len(names)))], kind, worth))
    return found


def _manner(random: Stream, kinds: int) -> _Manner:
    return _Manner(
        sentences=int(random.integers(1, 6)),
        exclaims=bool(random.random() < 0.4),
        jokes=bool(random.random() < 0.3),
        reasons=bool(random.random() < 0.4),
        strictness=float(random.random() * 1.2),
        likes=frozenset(int(at) for at in exactly(random, kinds, 2)),
    )


def _picked(random: Stream, things: Sequence[_Thing], manner: _Manner, count: int) -> list[_Thing]:
    """`count` different items, most of them of kinds that the writer likes."""
    weighed = [random.random() * (LIKED_SHARE if each.kind in manner.likes else 1 - LIKED_SHARE) for each in things]
    order = sorted(range(len(things)), key=lambda at: -weighed[at])
    return [things[at] for at in order[:count]]


def _stars(random: Stream, thing: _Thing, manner: _Manner) -> int:
    taste = 0.7 if thing.kind in manner.likes else -0.4
    drawn = 4.4 + thing.worth + taste - manner.strictness + 0.7 * random.standard_normal()
    return int(min(5, max(1, round(drawn))))


def _said(random: Stream, domain: str, thing: _Thing, manner: _Manner, stars: int) -> tuple[str, str]:
    """Headline and text of a review."""
    mood = "good" if stars >= 4 else "mixed" if stars == 3 else "bad"
    things = _stated()[domain]["kinds"][thing.kind]["things"].split("|")
    groups = [mood, *(name for name, does in (("why", manner.reasons), ("fun", manner.jokes)) if does), "plain", mood, "close"]  # fmt: skip
    end = "!" if manner.exclaims and stars != 3 else "."
    sentences = []
    for group in groups[: manner.sentences]:
        about, other = (things[at] for at in random.permutation(len(things))[:2])
        called = thing.title.split(" (")[0].split(":")[0]
        sentence = _one(random, _choices("sentences", group)).format(about=about, other=other, item=called)
        sentences.append(f"{sentence[0].upper()}{sentence[1:]}{end}")
    headline = _one(random, _choices("headlines", mood)).format(about=_one(random, things))
    drawn = random.random()
    if drawn < EMPTY_SHARE:
        return headline, ""
    joint = "<br /><br />" if drawn < MARKUP_SHARE else " "
    text = joint.join(sentences)
    return headline, text.replace("'", "&#39;") if drawn < MARKUP_SHARE else text


def _write(path: Path, random: Stream, records: Sequence[dict[str, Any]], key: str) -> ReviewFile:
    """Write JSON lines: one record stands there twice, one is cut, and one has the wrong type under `key`."""
    lines = [json.dumps(record, ensure_ascii=False).encode() for record in records]
    twice, cut, wrong = (int(at) for at in random.permutation(len(lines))[:3])
    lines[cut] = lines[cut][: len(lines[cut]) // 2]
    lines[wrong] = json.dumps({**records[wrong], key: {"value": 5}}, ensure_ascii=False).encode()
    lines.insert(twice, lines[twice])
    formats.write_bytes(path, b"\n".join(lines) + b"\n")
    return ReviewFile(len(lines), broken=2, duplicate=1)

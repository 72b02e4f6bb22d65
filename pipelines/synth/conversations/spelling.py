"""How people write: titles shortened, misspelt or in small letters, sloppy sentences.

Belongs here: turning a sentence into pieces of text, each film's name its own piece, so that offsets are exact.
Does not belong here: what is said (`course.py`), what a dataset makes of a piece (its own module).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from pipelines.synth.conversations.course import Sentence, Values
from pipelines.synth.conversations.films import FilmPool
from pipelines.synth.conversations.phrases import (
    FILM_SLOTS,
    GENRE_SLOTS,
    PERSON_SLOTS,
    genre_words,
    one,
    wording,
    words,
)

EMOJI = ("😂", "🎬", "👍", "🙈", "❤️", "🍿", "👩‍🚀", "🇫🇷")
_ARTICLE = re.compile(r"^(The|A|An)\s+(?=\S)")
_PUNCTUATION = re.compile(r"[.,:;!?'’\-]")
_LATIN = re.compile(r"^[\x20-\u024f’–]+$")


@dataclass(frozen=True)
class Style:
    """A writer's habits."""

    is_lower: bool
    capitalises: bool
    drops_apostrophes: bool
    typo_share: float
    emoji_share: float


class Piece(NamedTuple):
    """A stretch of a text. `kind`: empty for plain words, film, genre or person; `film` is the film's number, else
    -1; `variant` is how its name differs from the title."""

    text: str
    kind: str = ""
    film: int = -1
    variant: str = ""
    ref: str = ""


def style(random: Random) -> Style:
    """The habits of one writer."""
    is_lower = random.random() < 0.25
    return Style(
        is_lower,
        not is_lower and random.random() < 0.75,
        random.random() < (0.6 if is_lower else 0.12),
        0.12 if random.random() < 0.2 else 0.015,
        0.15 if random.random() < 0.1 else 0.0,
    )


def slipped(text: str, random: Random) -> str:
    """`text` with a slip of the keyboard in one of its words of four letters or more."""
    spots = list(re.finditer(r"[^\W\d_]{4,}", text))
    if not spots:
        return text
    word = one(random, spots)
    at = word.start() + 1 + int(random.random() * (word.end() - word.start() - 2))
    drawn = random.random()
    if drawn < 0.4:
        return text[:at] + text[at + 1 :]
    if drawn < 0.65:
        return text[:at] + text[at] + text[at:]
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def named(pool: FilmPool, film: int, random: Random, writer: Style) -> tuple[str, str]:
    """How the writer spells the film's title, and what that differs in: exact, lower, upper, short, alias,
    unpunctuated or typo. What happens to be another film's title is not used."""
    title, drawn = pool.title[film], random.random()
    text, variant = title, "exact"
    if drawn < 0.12:
        head, colon, _ = title.partition(":")
        shorter = head if colon else _ARTICLE.sub("", title)
        if len(shorter) > 3:
            text, variant = shorter, "short"
    elif drawn < 0.17:
        text, variant = slipped(title, random), "typo"
    elif drawn < 0.20:
        text, variant = _PUNCTUATION.sub("", title), "unpunctuated"
    elif drawn < 0.22 and pool.aliases[film] and _LATIN.match(pool.aliases[film][0]):
        text, variant = pool.aliases[film][0], "alias"
    text = text.strip()
    if not text or (text.lower() in pool.names and variant != "exact"):
        text = title
    if text == title:
        variant = "exact"
    case = random.random()
    if case < (0.85 if writer.is_lower else 0.06):
        text, variant = text.lower(), "lower" if variant == "exact" and text.lower() != text else variant
    elif case > 0.985:
        text, variant = text.upper(), "upper" if variant == "exact" else variant
    return text, variant


def pieces(sentence: Sentence, pool: FilmPool, random: Random, writer: Style) -> list[Piece]:
    """The sentence in words. A film's piece has the title as its text; spelling it is left to the dataset (`spelt`)."""
    found: list[Piece] = []
    for part in wording(sentence.act, random):
        if isinstance(part, str):
            found.append(Piece(_habits(part, random, writer)))
        elif part.name in FILM_SLOTS:
            film = int(sentence.values[part.name])
            found.append(Piece(pool.title[film] if film >= 0 else "", "film", film))
        else:
            found.append(_word(part.name, sentence.values, random, writer))
    return found


def _word(name: str, values: Values, random: Random, writer: Style) -> Piece:
    if name in GENRE_SLOTS:
        key, form = GENRE_SLOTS[name]
        genre = str(values[key])
        text = genre_words()[genre][form]
        return Piece(text, "genre", ref=genre)
    value = values.get(name)
    text = str(value) if value is not None else _default(name, random)
    if name in PERSON_SLOTS:
        return Piece(text.lower() if writer.is_lower and random.random() < 0.6 else text, "person", ref=text)
    return Piece(_habits(text, random, writer) if name == "plot" else text)


def _default(name: str, random: Random) -> str:
    """A word for a slot that the conversation leaves open."""
    if name == "decade":
        return one(random, ("1970s", "80s", "90s", "1990s", "2000s", "2010s"))
    if name == "year":
        return one(random, ("1985", "1990", "2000", "2005", "2010"))
    return one(random, words(name))


def _habits(text: str, random: Random, writer: Style) -> str:
    if writer.is_lower:
        text = text.lower()
    if writer.drops_apostrophes:
        text = text.replace("'", "")
    if len(text) > 12 and random.random() < writer.typo_share:
        text = slipped(text, random)
    return text


def spelt(found: list[Piece], pool: FilmPool, random: Random, writer: Style) -> list[Piece]:
    """`found` with every film's name spelt by the writer; sometimes with its year, or in quotes, beside it."""
    out: list[Piece] = []
    for piece in found:
        if piece.kind != "film" or piece.film < 0:
            out.append(piece)
            continue
        text, variant = named(pool, piece.film, random, writer)
        drawn = random.random()
        if drawn < 0.08:
            out += [Piece(text, "film", piece.film, variant), Piece(f" ({pool.year[piece.film]})")]
        elif drawn < 0.11:
            out += [Piece('"'), Piece(text, "film", piece.film, variant), Piece('"')]
        else:
            out.append(Piece(text, "film", piece.film, variant))
    return out


def together(sentences: list[list[Piece]], random: Random, writer: Style) -> list[Piece]:
    """Sentences as one text."""
    out: list[Piece] = []
    for at, sentence in enumerate(sentences):
        if at:
            ends = out[-1].text[-1:] in ".!?…"
            out.append(Piece(" " if ends else one(random, (" ", "... ", ", ")) if writer.is_lower else ". "))
        first = sentence[0]
        if writer.capitalises and first.kind in ("", "genre") and first.text[:1].islower():
            sentence = [first._replace(text=first.text[0].upper() + first.text[1:]), *sentence[1:]]
        out += sentence
    if writer.emoji_share and random.random() < writer.emoji_share:
        mark = Piece(one(random, EMOJI))
        out = [mark, Piece(" "), *out] if random.random() < 0.4 else [*out, Piece(" "), mark]
    return out


def text_of(found: list[Piece]) -> str:
    """The text that the pieces make."""
    return "".join([piece.text for piece in found])

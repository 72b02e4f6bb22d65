"""One vocabulary for words that catalogues spell in a hundred ways: genres, kinds, languages, countries.

Belongs here: word in, canonical word out. The words are data: genres.toml, languages.tsv, countries.tsv.
Does not belong here: where the words come from and what becomes of the records (sources/normalise.py).
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from functools import cache
from pathlib import Path

import polars as pl

# IMDb's genre names; the synonyms stand in genres.toml.
GENRES = (
    "Action",
    "Adult",
    "Adventure",
    "Animation",
    "Biography",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Family",
    "Fantasy",
    "Film-Noir",
    "Game-Show",
    "History",
    "Horror",
    "Music",
    "Musical",
    "Mystery",
    "News",
    "Reality-TV",
    "Romance",
    "Sci-Fi",
    "Short",
    "Sport",
    "Talk-Show",
    "Thriller",
    "War",
    "Western",
)

# Kind -> the words for it, in lower case without spaces, hyphens and underscores.
_KIND_WORDS = {
    "movie": ("movie", "movies", "film", "films", "feature", "featurefilm", "motionpicture", "theatrical"),
    "short": ("short", "shorts", "shortfilm", "shortmovie"),
    "tv_movie": ("tvmovie", "tvfilm", "telefilm", "televisionfilm", "televisionmovie"),
    "tv_special": ("tvspecial", "special"),
    "video": ("video", "directtovideo", "straighttovideo", "musicvideo"),
    "tv_series": (
        "tv", "tvseries", "tvshow", "tvshows", "tvminiseries", "tvmini", "miniseries", "series",
        "show", "serial", "televisionseries", "webseries",
    ),
    "tv_episode": ("tvepisode", "episode", "tvpilot"),
    "game": ("game", "videogame"),
    "other": (
        "other", "person", "book", "audiobook", "radioseries", "radioepisode", "podcastseries",
        "podcastepisode",
    ),
}  # fmt: skip
_KINDS = {word: kind for kind, words in _KIND_WORDS.items() for word in words}
# IMDb counts TV shorts apart; what matters here is that they are short films.
_KINDS["tvshort"] = "short"

# Said in place of a language or country, naming none.
_NO_LANGUAGE = frozenset(
    (
        "xx", "zxx", "und", "none", "unknown", "n a", "no language", "no spoken language", "silent", "mute",
        "ancient to 1453", "old",
    )
)  # fmt: skip
_NO_COUNTRY = frozenset(("none", "unknown", "n a", "official site", "xx"))

_ALNUM = re.compile(r"[^\w&/+,]+")
_QUALIFIER = re.compile(r"\s*\((?:film|tv|media)? ?genre\)|\s*#\d+\s*$", re.IGNORECASE)
_PARTS = re.compile(r"\s*[/&+,]\s*|\s+and\s+")


def folded_word(word: str) -> str:
    """Key of a word: lower case, without accents, apostrophes and hyphens: `Children's` -> `childrens`."""
    text = "".join(c for c in unicodedata.normalize("NFKD", word.casefold()) if not unicodedata.combining(c))
    return _ALNUM.sub(" ", text.replace("'", "").replace("’", "").replace("_", " ")).strip(" ,")


@cache
def _genre_table() -> tuple[dict[str, tuple[str, ...]], tuple[str, ...], tuple[str, ...]]:
    data = tomllib.loads(Path(__file__).with_name("genres.toml").read_text(encoding="utf-8"))
    table: dict[str, tuple[str, ...]] = {folded_word(word): () for word in data["no_genre"]["words"]}
    table |= {folded_word(word): tuple(genres) for word, genres in data["several"].items()}
    for genre, words in data["genres"].items():
        table |= {folded_word(word): (genre,) for word in (*words, genre)}
    # Longest first, so that " tv shows" goes before " shows".
    longest_first = sorted(data["endings"], key=len, reverse=True)
    return table, tuple(f"{b} " for b in data["beginnings"]), tuple(f" {e}" for e in longest_first)


def _one_genre(key: str) -> tuple[str, ...] | None:
    table, beginnings, endings = _genre_table()
    while key not in table:
        shorter = next((key.removesuffix(e) for e in endings if key.endswith(e)), None)
        shorter = shorter or next((key.removeprefix(b) for b in beginnings if key.startswith(b)), None)
        if shorter is None:
            return None
        key = shorter.strip()
    return table[key]


def canonical_genres(word: str) -> tuple[str, ...] | None:
    """Genres that `word` names: two for `Action & Adventure`, none for `Indie`; None when unknown."""
    key = folded_word(_QUALIFIER.sub("", word))
    if not key:
        return ()
    found = _one_genre(key)
    if found is not None:
        return found
    # "Children & Family Movies": what ends the whole ends each part.
    parts = [g for g in (_one_genre(part) for part in _PARTS.split(key) if part) if g is not None]
    return tuple(dict.fromkeys(genre for part in parts for genre in part)) if parts else None


def canonical_kind(word: str) -> str | None:
    """Kind (warehouse.tables.titles.KINDS) that `word` means: `TV Show` -> `tv_series`; None when unknown."""
    return _KINDS.get(re.sub(r"[\s_\-]+", "", word.casefold()))


@cache
def _codes(file: str) -> dict[str, str]:
    """Folded name or code -> canonical code.

    `file` has a line for each code: the code, other codes (spaces between), names (semicolons between).
    """
    table: dict[str, str] = {}
    rows = [line.split("\t") for line in Path(__file__).with_name(file).read_text(encoding="utf-8").splitlines()]
    for code, others, names in rows:
        for word in (*names.split(";"), *others.split()):
            table.setdefault(folded_word(word), code)
    # Two-letter codes win over anything else that happens to be spelled alike.
    return table | {code.lower(): code for code, _, _ in rows}


def language_code(word: str) -> str | None:
    """ISO 639-1 code of a language; an unknown language by its name; None where the word names none.

    Chinese languages all become `zh`: ISO 639-1 has no more.
    """
    key = folded_word(word)
    if not key or key in _NO_LANGUAGE:
        return None
    codes = _codes("languages.tsv")
    name = word if "sign language" in key else re.sub(r"(?i)\s+languages?$", "", word)
    return codes.get(key) or codes.get(folded_word(name)) or name


def is_language_name(word: str) -> bool:
    """Whether `word` is the name (not the code) of a language."""
    key = folded_word(word)
    return len(key) > 3 and key in _codes("languages.tsv")


def country_code(word: str) -> str | None:
    """ISO 3166 alpha-2 code of a country; an unknown country as it is; None where the word names none.

    States that are gone keep the code they had: SU, YU, CS (Czechoslovakia), DD; West Germany is DE.
    """
    key = folded_word(word)
    if not key or key in _NO_COUNTRY:
        return None
    codes = _codes("countries.tsv")
    return codes.get(key) or codes.get(key.removeprefix("the ")) or word


def unknown_genres(titles: pl.DataFrame) -> pl.DataFrame:
    """Count the genre words of raw titles (`genres` [list[str]]) that the vocabulary does not know.

    Returns `word` [str], `rows` [i64], most frequent first: what the next entry of genres.toml could be.
    """
    words = titles.select(word=pl.col("genres")).explode("word", empty_as_null=True).drop_nulls()
    counted = words.group_by("word").agg(rows=pl.len().cast(pl.Int64))
    unknown = [word for word in counted["word"] if canonical_genres(word) is None]
    return counted.filter(pl.col("word").is_in(unknown)).sort(["rows", "word"], descending=[True, False])

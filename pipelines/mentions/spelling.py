"""Misspelt names in running text: `The Conjouring 2`, `It chapter 2`, `Mama Mia`.

Belongs here: how a misspelt name and its film come together in a text, where nothing says that a name stands there at all. Names that
are known to be names (items) are looked up in lookup, which can afford to be looser.

Words that sound alike have one code (Soundex, Russell 1918, without its cut at four letters). A run of words in a text meets a name when
the codes of all words agree and the letters are nearly the same. That a name is met depends on this name and the text alone.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from pipelines.mentions.gazetteer import Gazetteer
from pipelines.mentions.tokens import tokens_of

# Only films that people talk about are worth the risk: so many ratings, or so many catalogues.
KNOWN_VOTES = 1_000
KNOWN_SOURCES = 3

LEAST_SIMILAR = 0.8  # of the letters, from 0 to 1
_LEAST_LETTERS = 7  # shorter names are too near to too many words
_WORDS = 8
_RARE_WORD = 3.0  # a single word is taken for a misspelt name below this Zipf frequency: others are words

_CODES = (
    ("[bfpv]", "1"), ("[cgjkqsxz]", "2"), ("[dt]", "3"), ("l", "4"), ("[mn]", "5"), ("r", "6"),
)  # fmt: skip
_DIGIT_OF = {
    "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9", "ten": "10",
    "ii": "2", "iii": "3", "iv": "4", "vs": "versus", "v": "versus", "mister": "mr", "doctor": "dr",
}  # fmt: skip
# Words that come and go.
_LOOSE = ("the", "a", "an", "and", "part", "chapter", "episode", "vol", "volume", "movie")
# `John Wick: Chapter 3 - Parabellum` is also called by what stands before its subtitle.
_NUMBERED = r"^(.+?\b(?:\d{1,2}|Two|Three|Four|Five|[IVX]{2,4}))\s*(?::| [-–—])\s"

# Places where a misspelt name may stand, with the films it may be.
FOUND = pl.Schema(
    {
        "row": pl.Int64,
        "start": pl.Int32,
        "end": pl.Int32,
        "tokens": pl.Int32,
        "movie_id": pl.String,
        "name": pl.String,
        "similarity": pl.Float32,
    }
)


def known_films(films: pl.DataFrame) -> pl.DataFrame:
    """The films whose misspelt names are looked for."""
    return films.filter((pl.col("votes") >= KNOWN_VOTES) | (pl.col("source_count") >= KNOWN_SOURCES))


def sound_code(folded: pl.Expr) -> pl.Expr:
    """Code of a folded word by its sound: consonants by class, vowels left out but for the first letter, repetitions once."""
    word = folded.replace(_DIGIT_OF)
    code = word.str.replace_all("[aeiouyhw]", "0")
    for letters, digit in _CODES:
        code = code.str.replace_all(letters, digit)
    code = code.str.replace_all("00+", "0")
    for digit in "123456":
        code = code.str.replace_all(f"{digit}{digit}+", digit)
    first = code.str.slice(0, 1)
    return (
        pl.when(word.str.contains(r"\d"))
        .then(pl.lit("#") + word)
        .otherwise(first + code.str.slice(1).str.replace_all("0", ""))
    )


def _runs(words: pl.DataFrame) -> pl.DataFrame:
    """Codes, letters and number of the words of each text, loose words left out, and all its letters: row, codes, letters, n, full."""
    tight = ~pl.col("folded").is_in(_LOOSE)
    return words.group_by("row", maintain_order=True).agg(
        codes=pl.col("code").filter(tight).str.join(" "),
        letters=pl.col("plain").filter(tight).str.join(""),
        n=tight.sum(),
        full=pl.col("plain")
        .filter(~pl.col("folded").is_in(["the", "a", "an"]) | (pl.int_range(pl.len()) > 0))
        .str.join(""),
    )


def _coded(words: pl.DataFrame) -> pl.DataFrame:
    unique = (
        words.select("folded")
        .unique()
        .with_columns(code=sound_code(pl.col("folded")), plain=pl.col("folded").replace(_DIGIT_OF))
    )
    return words.join(unique, on="folded", how="left", maintain_order="left")


def misspelt(words: pl.DataFrame, begins: pl.Series, gazetteer: Gazetteer) -> pl.DataFrame:
    """Places where a misspelt name of a known film may stand: see FOUND.

    `words`: row, start, end, folded, opens, zipf, in the order of the texts. `begins` [words]: where a name may begin.
    """
    known = known_films(gazetteer.films).select("movie_id")
    names = (
        gazetteer.names.filter(pl.col("kind") != "part")
        .join(known, on="movie_id", how="semi")
        .select("movie_id", "name")
    )
    numbered = names.select("movie_id", name=pl.col("name").str.extract(_NUMBERED)).drop_nulls()
    names = (
        pl.concat([names, numbered])
        .unique()
        .sort("name", "movie_id")
        .with_row_index("row")
        .with_columns(pl.col("row").cast(pl.Int64))
    )
    listed = names.join(_runs(_coded(tokens_of(names.select("row", text="name")))), on="row").filter(
        (pl.col("full").str.len_chars() >= _LEAST_LETTERS - 1) & (pl.col("n") <= _WORDS) & (pl.col("letters") != "")
    )
    coded = _coded(words).with_row_index("word").with_columns(pl.col("word").cast(pl.Int64), begins=begins)
    coded = coded.with_columns(letter_end=pl.col("plain").str.len_chars().cast(pl.Int64).cum_sum())
    letters = "".join(coded["plain"].to_list())
    parts = [_met(coded, letters, listed, n) for n in range(1, _WORDS + 1)]
    met = pl.concat([part for part in parts if part.height] or [parts[0]])
    if not met.height:
        return pl.DataFrame(schema=FOUND)
    from rapidfuzz import fuzz, process

    alike = [
        process.cpdist(met[a].to_list(), met[b].to_list(), scorer=fuzz.ratio, dtype=np.float32)
        for a, b in (("written", "letters"), ("written_full", "full"))
    ]
    met = met.with_columns(similarity=pl.Series(np.maximum(*alike) / 100.0, dtype=pl.Float32))
    found = met.filter(
        (pl.col("similarity") >= LEAST_SIMILAR)
        & (pl.col("written_full").str.len_chars() >= _LEAST_LETTERS)
        & ((pl.col("n") > 1) | (pl.col("zipf") < _RARE_WORD))
    )
    found = found.sort(
        "row", "start", "end", "movie_id", "similarity", "name", descending=[False, False, False, False, True, False]
    )
    return (
        found.unique(["row", "start", "end", "movie_id"], keep="first", maintain_order=True)
        .select(FOUND.names())
        .cast(FOUND)
    )


def _met(coded: pl.DataFrame, letters: str, listed: pl.DataFrame, n: int) -> pl.DataFrame:
    """Runs of `n` words, loose ones not counted, whose codes are those of a listed name."""
    tight = coded.filter(~pl.col("folded").is_in(_LOOSE))
    shifted = [pl.col(c).shift(-k).alias(f"{c}{k}") for k in range(n) for c in ("code", "plain")]
    runs = tight.with_columns(
        *shifted,
        last=pl.col("word").shift(-(n - 1)),
        last_row=pl.col("row").shift(-(n - 1)),
        stop=pl.col("end").shift(-(n - 1)),
        last_letter=pl.col("letter_end").shift(-(n - 1)),
        # Sentences that begin inside the run.
        breaks=pl.col("opens").cast(pl.Int32).cum_sum().shift(-(n - 1)) - pl.col("opens").cast(pl.Int32).cum_sum(),
    ).filter(pl.col("begins") & (pl.col("last_row") == pl.col("row")) & (pl.col("breaks") == 0))
    runs = runs.select(
        "row",
        "start",
        "zipf",
        end="stop",
        tokens=(pl.col("last") - pl.col("word") + 1),
        n=pl.lit(n),
        codes=pl.concat_str([f"code{k}" for k in range(n)], separator=" "),
        letters_from=pl.col("letter_end") - pl.col("plain").str.len_chars(),
        letters_to="last_letter",
        written=pl.concat_str([f"plain{k}" for k in range(n)]),
    )
    met = runs.join(listed.filter(pl.col("n") == n).select("codes", "letters", "full", "movie_id", "name"), on="codes")
    spans = zip(met["letters_from"].to_list(), met["letters_to"].to_list(), strict=True)
    return met.with_columns(written_full=pl.Series([letters[a:b] for a, b in spans], dtype=pl.String))

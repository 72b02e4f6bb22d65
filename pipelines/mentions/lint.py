"""The lint: links that look right to a scorer and are known to be wrong, set aside with the reason.

Belongs here: the rules, as commented data, and their application. Nothing is deleted: a mention that the lint sets aside keeps
its link. The rules look at links of every method, because datasets state wrong links, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

# Columns that a link must come with: see `reasons`.
EVIDENCE = pl.Schema(
    {
        "method": pl.String,  # of core_mentions, or `item`
        "movie_id": pl.String,
        "score_prob": pl.Float32,
        "name": pl.String,  # the item's name as stated, null where the mention comes with none
        "stated_year": pl.Int32,  # in the name, or behind the mention
        "film_year": pl.Int32,
        "film_votes": pl.Int64,
        "before": pl.String,  # the character before the mention, empty at an end of the text
        "first": pl.String,  # its own first character
        "last": pl.String,  # its own last character
        "after": pl.String,  # the character behind it
        "commonness": pl.Float32,  # Zipf frequency of its rarest word
        "is_marked": pl.Boolean,  # whether the writing shows a title: capitals, quotation marks, a year
        "is_person": pl.Boolean,  # whether it is the name of a person of the corpus
    }
)

# From this Zipf frequency on, a word is a function word or so common that only the writing can make it a title.
COMMON_WORD = 5.0

# From this probability on, common words are believed to be a title ("have you seen get out?").
_SURE = 0.9

# A film that so many have rated is meant even if a person bears its name ("Forrest Gump").
_KNOWN_FILM = 20_000

_YEAR_TOLERANCE = 1

_LETTER = r"[\p{L}\p{N}]"

# Names of pages and things about films that are no film.
_NOT_A_FILM = (
    # Pages of an encyclopedia.
    r"^(?:List|Lists) of ",
    r"\b(?:accolades|awards and nominations) received by\b",
    r"\b(?:filmography|discography|disambiguation)\b",
    # Several films under one name. A bare "Trilogy" is a title.
    r"\S\s(?:trilogy|tetralogy|quadrilogy|franchise|saga collection|box ?set)$",
    r"\((?:film|movie|novel|book|tv|television)? ?(?:series|franchise|trilogy)\)",
    r"\S\s(?:film|movie|book|novel) series$",
    # Prizes, music and books.
    r"^(?:the )?(?:\d+(?:st|nd|rd|th) )?(?:academy|golden globe|emmy|bafta|grammy|saturn) awards?\b",
    r"\((?:soundtrack|album|song|score|band|novel|book|musician|actor|actress|director|character)\)",
    r"\b(?:original (?:motion picture )?soundtrack)\b",
)


@dataclass(frozen=True)
class Rule:
    """A disease: the reason that is written down, what it looks like, and when a link has it (over EVIDENCE)."""

    reason: str
    meaning: str
    when: pl.Expr


# In the order of the check: the first reason that holds is the one given.
RULES = (
    Rule(
        "unresolved_id",
        "A placeholder for which the dataset states no name.",
        (pl.col("method") == "id") & pl.col("name").is_null(),
    ),
    Rule(
        "inside_word",
        "The mention begins or ends inside a word (`Eve` in `never`).",
        (pl.col("before").str.contains(_LETTER) & pl.col("first").str.contains(_LETTER))
        | (pl.col("after").str.contains(_LETTER) & pl.col("last").str.contains(_LETTER)),
    ),
    Rule(
        "year_clash",
        "The year that is stated and the film's are more than one apart.",
        pl.col("movie_id").is_not_null() & ((pl.col("stated_year") - pl.col("film_year")).abs() > _YEAR_TOLERANCE),
    ),
    Rule(
        "not_a_film",
        "The name is that of a list, a series of films, a prize, a soundtrack.",
        pl.col("name").str.contains("(?i)" + "|".join(f"(?:{pattern})" for pattern in _NOT_A_FILM)),
    ),
    Rule(
        "person_name",
        "The name is that of a person, no year is stated, and no film of that name is well known.",
        pl.col("is_person") & pl.col("stated_year").is_null() & (pl.col("film_votes").fill_null(0) < _KNOWN_FILM),
    ),
    Rule(
        "function_word",
        "Nothing but very common words, and neither the writing nor the rest of the sentence shows a title (`good`, `it`, `watch`).",
        pl.col("method").is_in(["hint", "free_text"])
        & (pl.col("commonness") >= COMMON_WORD)
        & ~pl.col("is_marked")
        & (pl.col("score_prob") < _SURE),
    ),
)


def reasons(evidence: pl.DataFrame) -> pl.Series:
    """Why each link is set aside: shape [links], null where nothing is wrong with it. `evidence` has the columns of EVIDENCE."""
    found = pl.lit(None, dtype=pl.String)
    for rule in reversed(RULES):
        found = pl.when(rule.when.fill_null(False)).then(pl.lit(rule.reason)).otherwise(found)
    return evidence.select(found.alias("quarantine_reason")).to_series()

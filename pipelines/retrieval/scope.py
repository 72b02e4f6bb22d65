"""Which films are embedded: all of them, or those that are used and the best known of the rest.

A CPU embeds a hundred films or two a second, so a corpus of 300,000 takes it an hour, most of it for films that nobody rates or mentions.
Does not belong here: embedding them.
"""

from __future__ import annotations

from typing import Literal

import polars as pl

# `used`; `all`; a number: used ones first, then by votes; `default`: the used ones, filled up by votes to DEFAULT_FILMS.
Scope = Literal["used", "all", "default"] | int

DEFAULT_FILMS = 20_000


class ScopeError(ValueError):
    """A scope that is none."""


def scope_of(text: str) -> Scope:
    """The scope that a setting states. Raises ScopeError."""
    if text in ("used", "all", "default"):
        return text  # type: ignore[return-value]
    if text.isdecimal() and text.isascii() and int(text) > 0:
        return int(text)
    raise ScopeError(f"films to embed must be used, all or a number, not {text[:40]!r}")


def in_scope(movies: pl.DataFrame, used: pl.Series, scope: Scope) -> pl.DataFrame:
    """The rows of `movies` (movie_id, votes, ...) in scope, in their order; `used` are ids of films that occur in ratings and dialogues."""
    if scope == "all":
        return movies
    is_used = pl.col("movie_id").is_in(used.unique().implode())
    if scope == "used":
        return movies.filter(is_used)
    ordered = movies.select("movie_id", "votes", is_used=is_used).sort(
        "is_used", "votes", "movie_id", descending=[True, True, False], nulls_last=True
    )
    first = ordered["movie_id"].head(DEFAULT_FILMS if scope == "default" else scope)
    is_first = pl.col("movie_id").is_in(first.implode())
    return movies.filter(is_first | is_used if scope == "default" else is_first)

"""Who made which film.

Belongs here: pools of invented people by culture, and casting films from them.
Does not belong here: how a catalogue writes credits.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from pipelines.synth.draw import Stream
from pipelines.synth.grammar import full_names
from pipelines.synth.words import Numbers, cultures

CAST_SEATS = 8


def people_of(random: Stream, culture: Numbers, year: Numbers) -> tuple[Numbers, Numbers, list[pl.Series]]:
    """Invent people and give every film its crew.

    `culture` [n] numbers the film's culture, `year` [n] is its year. Returns directors [n, 2] and cast [n,
    8] as numbers of people (-1 = empty seat) and the people's names, culture by culture in the order of
    their numbers. People are ordered by when they worked, and every 16th is well known: so a person's films
    lie near each other in time, and a few people have many of them.
    """
    n = len(year)
    directors = np.full((n, 2), -1, dtype=np.int64)
    cast = np.full((n, CAST_SEATS), -1, dtype=np.int64)
    names: list[pl.Series] = []
    first = 0
    for number, place in enumerate(cultures()):
        rows = np.flatnonzero(culture == number)
        m = len(rows)
        when = np.empty(m)
        when[np.argsort(year[rows], kind="stable")] = np.arange(m) / max(1, m)
        for seats, share, well_known in ((directors, 0.45, 4), (cast, 1.6, 16)):
            pool = max(40, int(share * m))
            centre = when[:, None] * pool + random.normal(0, 0.015 * pool + 6, (m, seats.shape[1]))
            # Reflected at both ends: clipping would give the first and the last person hundreds of films.
            person = np.abs(centre.astype(np.int64))
            person = np.clip(pool - 1 - np.abs(pool - 1 - person), 0, pool - 1)
            star = random.random(person.shape)
            person = np.where(star < 0.35, person // well_known * well_known, person)
            person = np.where(star < 0.08, person // (8 * well_known) * (8 * well_known), person)
            seats[rows] = person + first
            names.append(full_names(random, pool, place))
            first += pool
    has_second_director = random.random(n) < 0.09
    directors[~has_second_director, 1] = -1
    directors[directors[:, 1] == directors[:, 0], 1] = -1
    directors[random.random(n) < 0.015] = -1
    size = np.clip(random.poisson(5.2, n), 1, CAST_SEATS)
    cast[np.arange(CAST_SEATS)[None, :] >= size[:, None]] = -1
    return directors, cast, names


def as_lists(seats: Numbers) -> pl.Series:
    """Seats [n, k] as a list column: empty ones and repetitions left out, order kept."""
    n, k = seats.shape
    frame = pl.DataFrame({"film": np.repeat(np.arange(n), k), "person": seats.reshape(-1)}).filter(
        pl.col("person") >= 0
    )
    lists = frame.group_by("film", maintain_order=True).agg(pl.col("person").unique(maintain_order=True))
    return (
        pl.DataFrame({"film": np.arange(n)})
        .join(lists, on="film", how="left", maintain_order="left")
        .select(pl.col("person").fill_null(pl.lit([], dtype=pl.List(pl.Int64))))["person"]
    )


def named(people: pl.Series, names: pl.Series) -> pl.Series:
    """List column of people's numbers -> list column of their names."""
    rows = pl.DataFrame({"row": np.arange(len(people)), "person": people}).explode("person", empty_as_null=True)
    rows = rows.filter(pl.col("person").is_not_null())
    lists = (
        rows.with_columns(name=names.gather(rows["person"])).group_by("row", maintain_order=True).agg(pl.col("name"))
    )
    return (
        pl.DataFrame({"row": np.arange(len(people))})
        .join(lists, on="row", how="left", maintain_order="left")
        .select(pl.col("name").fill_null(pl.lit([], dtype=pl.List(pl.String))))["name"]
    )

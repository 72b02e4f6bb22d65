"""Ratings of the films by invented users: people with tastes, in sessions.

Whoever learns from them can find: popular films; each user's genres; and an order, since users go on with films of the same director and genre
(sequels among them). Belongs here: who rates what, when, and how many stars. Does not belong here: what films there are (`world.py`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from pipelines.synth.draw import Stream, exactly, stream

FILE = "ml-latest-small/ratings.csv"
COLUMNS = ("userId", "movieId", "rating", "timestamp")

# Users for every film of the pack, and most of users and of films that they know.
USERS_SHARE = 0.4
USERS_MIN, USERS_MAX, FILMS_MAX = 20, 1_000, 1_500
# Ratings of a user: log-normal, as in MovieLens, where everybody has at least twenty.
RATINGS_MEDIAN, RATINGS_SIGMA, RATINGS_MIN, RATINGS_MAX = 40, 0.6, 20, 120

# Chance that the next film follows from the last one, among as many that are nearest to it; chance of a pause before it.
FOLLOW_SHARE, NEIGHBOURS, PAUSE_SHARE = 0.6, 5, 0.14
# How much likelier each neighbour is than the next nearer one's successor, as a log.
NEIGHBOUR_STEP = 0.8

FIRST_S, YEARS_S = 1_104_537_600, 15 * 365 * 86_400  # from 2005 on
WITHIN_S, PAUSE_S = (15, 600), (3_600, 60 * 86_400)

_Floats = np.ndarray[Any, np.dtype[np.float32]]
_Ints = np.ndarray[Any, np.dtype[np.int64]]


def make_ratings(films: pl.DataFrame, movies: int, seed: int) -> pl.DataFrame:
    """Ratings of `films` by invented users: COLUMNS, film, session (of the user, from 0); by user and film, as upstream has them.

    `films`: film, movie_id (the id that ratings name), known, genres, director_ids. `movies`: size of the pack, which the number of users follows. No
    user rates a film twice. The same arguments give the same rows.
    """
    known = films.sort("known", "film", descending=[True, False]).head(FILMS_MAX)
    random = stream(seed, "ratings")
    users = min(USERS_MAX, max(USERS_MIN, round(movies * USERS_SHARE)))
    if known.is_empty():
        users = 0
    genres = _indicators(known["genres"])
    directors = _indicators(known["director_ids"])
    taste, liking = _tastes(random, users, known["known"].to_numpy(), genres, directors)
    lengths = np.clip(
        np.exp(np.log(RATINGS_MEDIAN) + RATINGS_SIGMA * random.standard_normal(users)), RATINGS_MIN, RATINGS_MAX
    ).astype(np.int64)
    # Nobody has seen all there is, or nothing would be left to be found.
    lengths = np.minimum(lengths, max(1, known.height * 2 // 3))
    chosen, is_pause = _walks(random, taste, _neighbours(random, genres, directors), lengths)
    return _rows(random, known, lengths, chosen, is_pause, liking)


def _indicators(lists: pl.Series) -> _Floats:
    """Which values each list holds [n, values]: 1 or 0."""
    flat = pl.DataFrame({"row": pl.int_range(len(lists), eager=True), "value": lists}).explode("value").drop_nulls()
    values = flat["value"].unique().sort()
    found = np.zeros((len(lists), max(1, len(values))), dtype=np.float32)
    columns = pl.DataFrame({"value": values, "column": pl.int_range(len(values), eager=True)})
    placed = flat.join(columns, on="value", how="left")
    found[placed["row"].to_numpy(), placed["column"].to_numpy()] = 1
    return found


def _tastes(
    random: Stream, users: int, known: np.ndarray, genres: _Floats, directors: _Floats
) -> tuple[_Floats, _Floats]:
    """How much each user is drawn to each film, and likes it [users, films], both as logs."""
    films = len(known)
    genre_taste = np.zeros((users, genres.shape[1]), dtype=np.float32)
    director_taste = np.zeros((users, directors.shape[1]), dtype=np.float32)
    for user in range(users):
        genre_taste[user, exactly(random, genres.shape[1], 3)] = 1
        director_taste[user, exactly(random, directors.shape[1], 4)] = 1
    # Shares of whole numbers: the same on every machine, in whatever order they are added.
    shares = genre_taste @ genres.T / np.maximum(genres.sum(axis=1), 1)
    liking = 1.5 * shares + 1.5 * np.minimum(director_taste @ directors.T, 1)
    # The place by fame, as in Zipf's law, for everybody the same.
    fame = -0.7 * np.log(np.argsort(np.argsort(-known, kind="stable"), kind="stable") + 3.0)
    return (liking + fame[:films]).astype(np.float32), liking.astype(np.float32)


def _neighbours(random: Stream, genres: _Floats, directors: _Floats) -> _Ints:
    """The films that come to mind after each film, the nearest first [films, up to NEIGHBOURS]: of the same director, of the same genres."""
    films = len(genres)
    both = genres @ genres.T
    either = np.maximum(genres.sum(axis=1)[:, None] + genres.sum(axis=1)[None, :] - both, 1)
    nearness = 3 * np.minimum(directors @ directors.T, 1) + both / either + 0.3 * random.random((films, films))
    np.fill_diagonal(nearness, -np.inf)
    return np.argsort(-nearness, axis=1, kind="stable")[:, : min(NEIGHBOURS, max(0, films - 1))]


def _walks(random: Stream, taste: _Floats, neighbours: _Ints, lengths: _Ints) -> tuple[_Ints, np.ndarray]:
    """The film that each user rates at each step [users, steps] (those after the user's last mean nothing), and where a pause comes before.

    All users take a step at once. Draws without replacement, by the largest of logits plus Gumbel noise.
    """
    users, films = taste.shape
    steps = int(lengths.max(initial=0))
    chosen = np.zeros((users, steps), dtype=np.int64)
    is_pause = random.random((users, steps)) < PAUSE_SHARE
    follows = random.random((users, steps)) < FOLLOW_SHARE
    left = taste.copy()
    everybody = np.arange(users)
    nearer = 20 - NEIGHBOUR_STEP * np.arange(neighbours.shape[1], dtype=np.float32)
    for step in range(steps):
        # A draw of exactly nothing would make minus infinity of what was rated no number.
        noise = np.maximum(random.standard_exponential((users, films), dtype=np.float32), np.float32(1e-30))
        logits = left - np.log(noise)
        if step and neighbours.shape[1]:
            going = np.flatnonzero(follows[:, step] & ~is_pause[:, step])
            near = neighbours[chosen[going, step - 1]]
            # Those that were rated stay at minus infinity.
            logits[going[:, None], near] += nearer
        chosen[:, step] = logits.argmax(axis=1)
        left[everybody, chosen[:, step]] = -np.inf
    return chosen, is_pause


def _rows(
    random: Stream, known: pl.DataFrame, lengths: _Ints, chosen: _Ints, is_pause: np.ndarray, liking: _Floats
) -> pl.DataFrame:
    """One row for each step that was taken."""
    users, steps = chosen.shape
    pauses = random.integers(*PAUSE_S, (users, steps))
    within = random.integers(*WITHIN_S, (users, steps))
    began = FIRST_S + random.integers(0, YEARS_S, users)
    gaps = np.where(is_pause, pauses, within)
    gaps[:, :1] = 0
    times = began[:, None] + gaps.cumsum(axis=1)
    sessions = np.where(np.arange(steps) > 0, is_pause, False).cumsum(axis=1)
    liked = np.take_along_axis(liking, chosen, axis=1)
    stars = 2.9 + 0.6 * liked + 0.4 * random.standard_normal((users, 1)) + 0.6 * random.standard_normal((users, steps))
    taken = np.arange(steps) < lengths[:, None]
    user, _ = np.nonzero(taken)
    films = known.select("film", movieId="movie_id").with_row_index("row").cast({"row": pl.Int64})
    rows = pl.DataFrame(
        {
            "userId": user + 1,
            "row": chosen[taken],
            "rating": np.clip(np.round(stars[taken] * 2) / 2, 0.5, 5.0),
            "timestamp": times[taken],
            "session": sessions[taken].astype(np.int32),
        }
    )
    joined = rows.join(films, on="row", how="left", maintain_order="left")
    return joined.select(*COLUMNS, "film", "session").sort("userId", "movieId")

"""Ratings in order of time, cut into sessions, with two ways to split them.

Pure and columnar: no loop over users. Does not belong here: reading (read.py), which film an id is (films.py).
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import polars as pl

from warehouse.tables.interactions import CORE_SESSIONS

IDLE_S = 30 * 60
# Names the split by hash; another string is another split.
SPLIT_SEED = "marquee/sessions/1"

_UINT64 = np.uint64


def sessions(release: str, file: str, ratings: pl.DataFrame, ids: pl.DataFrame) -> pl.DataFrame:
    """Rows of CORE_SESSIONS of one release.

    `ratings`: RATINGS of read.py. `ids`: what films.film_ids returned. A user's ratings stand by time; equal times keep the order of the file's lines.
    A session ends where more than 30 minutes pass until the next rating. Where the file states an order in place of times, that holds, and all
    is session 0.
    """
    ordered = ratings.sort(["user_id", "time_s", "order", "line"], nulls_last=True)
    is_new_user = (pl.col("user_id") != pl.col("user_id").shift(1)).fill_null(True)
    is_after_pause = (pl.col("time_s") - pl.col("time_s").shift(1) > IDLE_S).fill_null(False)
    row = pl.int_range(pl.len(), dtype=pl.Int64)
    cut = ordered.with_columns(row=row, is_new_user=is_new_user, session_row=(is_new_user | is_after_pause).cum_sum())
    # Rows of a user stand together: what was true at the first of them is carried along.
    first = pl.when("is_new_user")
    numbered = cut.with_columns(
        position=(pl.col("row") - first.then("row").forward_fill()).cast(pl.Int32),
        session=(pl.col("session_row") - first.then("session_row").forward_fill()).cast(pl.Int32),
    )
    is_last = (pl.col("user_id") != pl.col("user_id").shift(-1)).fill_null(True)
    from_end = pl.when(is_last).then("position").backward_fill() - pl.col("position")
    users_ratings = pl.when(is_last).then("position").backward_fill() + 1
    left_out = (
        pl.when((users_ratings < 3) | (from_end > 1))
        .then(pl.lit("train"))
        .when(from_end == 1)
        .then(pl.lit("valid"))
        .otherwise(pl.lit("test"))
    )
    split = split_by_hash(release, numbered["user_id"], numbered["session"])
    made = numbered.with_columns(split.alias("session_split")).select(
        pl.lit(release).alias("release"),
        "user_id",
        "position",
        "source_item_id",
        "rating",
        pl.from_epoch("time_s", time_unit="s").cast(pl.Datetime("us")).alias("rated_at"),
        "session",
        "session_split",
        pl.coalesce("split", left_out).alias("leave_one_out_split"),
        pl.lit(file).alias("file"),
        "line",
    )
    joined = made.join(ids, on="source_item_id", how="left", maintain_order="left")
    return CORE_SESSIONS.conform(joined)


def split_by_hash(release: str, users: pl.Series, numbers: pl.Series) -> pl.Series:
    """Eight tenths train, one valid, one test [n], by hash of release, user and session number alone: fixed for ever, whoever else is there."""
    seed = int.from_bytes(hashlib.blake2b(f"{SPLIT_SEED}/{release}".encode(), digest_size=8).digest(), "big")
    mixed = _mixed(_mixed(users.to_numpy().astype(_UINT64) ^ _UINT64(seed)) ^ numbers.to_numpy().astype(_UINT64))
    # Of the highest bits, as of a fraction: those of a remainder by ten would favour the low ones.
    tenths = pl.Series((mixed >> _UINT64(11)).astype(np.float64) / float(1 << 53) * 10).floor().cast(pl.Int8)
    return pl.select(
        pl.when(tenths < 8).then(pl.lit("train")).when(tenths == 8).then(pl.lit("valid")).otherwise(pl.lit("test"))
    ).to_series()


def _mixed(values: np.ndarray[Any, np.dtype[np.uint64]]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Each of `values` [n, uint64] with its bits spread: splitmix64 (Steele, Lea and Flood 2014), arithmetic modulo 2^64."""
    with np.errstate(over="ignore"):
        mixed = values + _UINT64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> _UINT64(30))) * _UINT64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> _UINT64(27))) * _UINT64(0x94D049BB133111EB)
        return mixed ^ (mixed >> _UINT64(31))

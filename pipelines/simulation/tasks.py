"""Tasks: which items simulated users look for, and which users are in which split.

A user is in one split, by hash, whatever the domain; a target is an item that the user liked. Does not belong here: personas.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

import polars as pl

# As many as ECPO has of each user (B.2).
TASKS_PER_USER = 30
TEST_SHARE = 0.3
# Reviews with words that a persona needs to rest on.
REVIEWS_MIN = 5
# Names the splits and draws; another string is another draw. Raise when the same reviews would give other tasks.
SEED = "marquee/sim/1"
TASKS_VERSION = "1"

Split = Literal["hash", "released"]


def fraction(*parts: object) -> float:
    """A number from 0 to 1, by the hash of `parts` alone."""
    digest = hashlib.blake2b("\x1f".join([SEED, *map(str, parts)]).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def split_of(user_id: str) -> str:
    """The split of a user: fixed for ever, whoever else is there, and the same in all domains."""
    return "test" if fraction("split", user_id) < TEST_SHARE else "train"


def task_id(domain: str, user_id: str, target: str, persona_id: str) -> str:
    """Sixteen hexadecimal digits."""
    return hashlib.blake2b("\x1f".join([domain, user_id, target, persona_id]).encode(), digest_size=8).hexdigest()


def chosen_users(candidates: Sequence[str], domain: str, users: int) -> list[str]:
    """`users` of the candidates (all where there are fewer), sorted: of each split its share, at least one each where there is one, by hash.

    Stable: who is chosen stays so when fewer are added than places are left, and a draw of more users holds the draw of fewer.
    """
    by_split: dict[str, list[str]] = {"test": [], "train": []}
    for user in sorted(set(candidates), key=lambda user: (fraction("user", domain, user), user)):
        by_split[split_of(user)].append(user)
    test = min(len(by_split["test"]), max(users - len(by_split["train"]), min(users, -int(-users * TEST_SHARE // 1))))
    return sorted(by_split["test"][:test] + by_split["train"][: users - test])


def targets(reviews: pl.DataFrame, items: pl.DataFrame, most: int = TASKS_PER_USER) -> pl.DataFrame:
    """Positively rated items of each user as targets: domain, user_id, item_id; at most `most` a user and domain, by hash.

    `reviews`: domain, user_id, item_id, is_positive of core_reviews. `items`: domain, item_id of sim_items. An item that the user liked once and disliked
    another time is no target.
    """
    key = ["domain", "user_id", "item_id"]
    judged = reviews.drop_nulls("is_positive").group_by(key).agg(pl.col("is_positive").all())
    liked = judged.filter("is_positive").join(items, on=["domain", "item_id"], how="semi").select(key)
    drawn = [fraction("target", *row) for row in liked.iter_rows()]
    ordered = liked.with_columns(pl.Series("drawn", drawn, dtype=pl.Float64)).sort(
        "domain", "user_id", "drawn", "item_id"
    )
    rank = pl.int_range(pl.len()).over("domain", "user_id")
    return ordered.filter(rank < most).select(key)


def spread(task_ids: Sequence[str], users: Sequence[str], limit: int | None) -> list[str]:
    """At most `limit` of the tasks (all for None), each with its user, in the order of drawing: the first of every user, then the second of every user, ...

    By hash: whoever is added, the others keep their order.
    """
    own: dict[str, list[str]] = {}
    for user, task in sorted(zip(users, task_ids, strict=True), key=lambda pair: (fraction("task", pair[1]), pair[1])):
        own.setdefault(user, []).append(task)
    rounds = [(turn, fraction("round", task), task) for tasks in own.values() for turn, task in enumerate(tasks)]
    return [task for _, _, task in sorted(rounds)[:limit]]

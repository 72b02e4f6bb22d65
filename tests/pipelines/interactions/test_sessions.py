"""Sessions: order, pauses, splits, and what must not change them."""

from __future__ import annotations

import itertools

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.interactions.read import RATINGS
from pipelines.interactions.sessions import IDLE_S, sessions, split_by_hash

NO_IDS = pl.DataFrame(schema={"source_item_id": pl.Int64, "movie_id": pl.String})
IDS = pl.DataFrame({"source_item_id": [10, 20], "movie_id": ["mv" + "0" * 15 + "1", "mv" + "0" * 15 + "2"]})


def ratings(rows: list[tuple[int, int, int]]) -> pl.DataFrame:
    """user, film, seconds; in the file's order."""
    return pl.DataFrame(
        [(user, film, 3.0, time, None, None, line) for line, (user, film, time) in enumerate(rows, start=1)],
        schema=RATINGS,
        orient="row",
    )


def stated(rows: list[tuple[int, int, int, str]]) -> pl.DataFrame:
    """user, film, position, split; without times."""
    return pl.DataFrame(
        [(user, film, None, None, order, split, line) for line, (user, film, order, split) in enumerate(rows, start=1)],
        schema=RATINGS,
        orient="row",
    )


def made(rows: list[tuple[int, int, int]]) -> pl.DataFrame:
    return sessions("ml-20m", "ml-20m/ratings.csv", ratings(rows), NO_IDS)


def test_by_hand() -> None:
    rows = sessions(
        "ml-20m",
        "f",
        ratings([(1, 10, 5_000), (1, 30, 1_000), (2, 20, 7), (1, 20, 1_000), (1, 50, 5_000 + IDLE_S)]),
        IDS,
    )
    shown = rows.select("user_id", "position", "source_item_id", "session", "leave_one_out_split", "line")
    assert shown.rows() == [
        # Film 30 and film 20 were rated in the same second: the file has 30 first.
        (1, 0, 30, 0, "train", 2),
        (1, 1, 20, 0, "train", 4),
        # 4,000 seconds later: another session. Half an hour after that exactly: the same one.
        (1, 2, 10, 1, "valid", 1),
        (1, 3, 50, 1, "test", 5),
        # Fewer than three ratings: nothing is left out.
        (2, 0, 20, 0, "train", 3),
    ]
    assert rows["movie_id"].to_list() == [None, IDS["movie_id"][1], IDS["movie_id"][0], None, IDS["movie_id"][1]]
    assert str(rows["rated_at"][0]) == "1970-01-01 00:16:40"


def test_an_order_without_times_is_kept_with_its_split() -> None:
    rows = sessions("ml-1m", "f", stated([(1, 7, 2, "test"), (1, 5, 0, "train"), (1, 6, 1, "valid")]), NO_IDS)
    assert rows.select("position", "source_item_id", "session", "leave_one_out_split").rows() == [
        (0, 5, 0, "train"),
        (1, 6, 0, "valid"),
        (2, 7, 0, "test"),
    ]
    assert rows["rated_at"].null_count() == rows["rating"].null_count() == 3


def test_nothing_gives_nothing() -> None:
    assert sessions("ml-1m", "f", RATINGS.to_frame(), NO_IDS).is_empty()


# Distinct times of each user.
ROWS = st.lists(
    st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(0, 30_000)),
    unique_by=lambda row: (row[0], row[2]),
    max_size=40,
)


@given(ROWS, st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter(rows: list[tuple[int, int, int]], random) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert made(shuffled).drop("line").equals(made(rows).drop("line"))


@given(ROWS)
def test_made_again_from_its_own_order_it_is_the_same(rows: list[tuple[int, int, int]]) -> None:
    first = made(rows)
    again = [
        (user, film, int(at.timestamp()))
        for user, film, at in first.select(
            "user_id", "source_item_id", pl.col("rated_at").dt.replace_time_zone("UTC")
        ).iter_rows()
    ]
    assert made(again).drop("line").equals(first.drop("line"))


@given(ROWS)
def test_parts_make_up_the_whole(rows: list[tuple[int, int, int]]) -> None:
    found = made(rows)
    assert found.height == len(rows)
    assert sorted(found["line"]) == list(range(1, len(rows) + 1))
    for (user,), own in found.group_by("user_id"):
        times = sorted(time for other, _, time in rows if other == user)
        assert own["position"].to_list() == list(range(len(times)))
        pauses = [later - earlier > IDLE_S for earlier, later in itertools.pairwise(times)]
        assert own["session"].to_list() == [sum(pauses[:n]) for n in range(len(times))]
        last = own["leave_one_out_split"].to_list()
        assert last == (["train"] * (len(last) - 2) + ["valid", "test"] if len(last) > 2 else ["train"] * len(last))
        assert (own.group_by("session").agg(n=pl.col("session_split").n_unique())["n"] == 1).all()


@given(ROWS, ROWS)
def test_other_users_change_nothing(rows: list[tuple[int, int, int]], others: list[tuple[int, int, int]]) -> None:
    strangers = [(user + 100, film, time) for user, film, time in others]
    whole = made([*rows, *strangers]).filter(pl.col("user_id") < 100)
    assert whole.equals(made(rows))


def test_splits_are_eight_one_one_and_fixed() -> None:
    users = pl.Series(range(40_000))
    splits = split_by_hash("ml-20m", users, users % 7)
    shares = {split: (splits == split).mean() for split in ("train", "valid", "test")}
    # Five standard deviations of a share of 40,000.
    assert shares["train"] == pytest.approx(0.8, abs=0.01)
    assert shares["valid"] == pytest.approx(0.1, abs=0.0075)
    assert shares["test"] == pytest.approx(0.1, abs=0.0075)
    other = split_by_hash("ml-25m", users, users % 7)
    assert (other != splits).mean() == pytest.approx(1 - 0.66, abs=0.02)
    # A golden: whoever changes these changes what every model was tested on.
    found = split_by_hash("ml-1m", pl.Series([1, 1, 1, 2, 3, 4, 5, 6]), pl.Series([0, 1, 2, 0, 0, 0, 0, 0]))
    assert found.to_list() == ["train", "test", "train", "train", "train", "train", "train", "valid"]


def test_the_split_is_that_of_splitmix64() -> None:
    """The first outputs of the generator with seed 1234567, as its authors' C code prints them."""
    from pipelines.interactions.sessions import _mixed

    step, seed = 0x9E3779B97F4A7C15, 1234567
    states = pl.Series([(seed + n * step) % 2**64 for n in range(3)], dtype=pl.UInt64).to_numpy()
    assert _mixed(states).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]

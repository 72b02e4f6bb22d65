"""Examples of dialogues: history, labels, repeats, and conversations that stand in several datasets."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from pipelines.interactions.rec_turns import conversations, rec_turns

TURNS = pl.Schema({"dialogue_id": pl.String, "turn": pl.Int32, "dataset": pl.String, "role": pl.String})
MENTIONS = pl.Schema({"dialogue_id": pl.String, "turn": pl.Int32, "start": pl.Int32, "movie_id": pl.String})
DIALOGUES = pl.Schema(
    {"dialogue_id": pl.String, "dataset": pl.String, "conversation_id": pl.String, "split": pl.String}
)


def film(number: int) -> str:
    return f"mv{number:016x}"


def frames(said: list[list[int]], dialogue: str = "redial-1") -> tuple[pl.DataFrame, pl.DataFrame]:
    """Turns and mentions of one dialogue: the films of each turn in order, the seeker first."""
    dataset = dialogue.split("-")[0]
    turns = [(dialogue, n, dataset, "recommender" if n % 2 else "seeker") for n in range(len(said))]
    mentions = [(dialogue, n, 10 * k, film(f)) for n, films in enumerate(said) for k, f in enumerate(films)]
    return pl.DataFrame(turns, schema=TURNS, orient="row"), pl.DataFrame(mentions, schema=MENTIONS, orient="row")


def owned(*rows: tuple[str, str, str, str]) -> pl.DataFrame:
    return conversations(pl.DataFrame(rows, schema=DIALOGUES, orient="row"))


OWN = owned(("redial-1", "redial", "redial-1", "train"))


def examples(said: list[list[int]]) -> list[tuple]:
    rows = rec_turns(*frames(said), OWN).rows
    return rows.select("turn", "history", "last_mentioned", "labels", "are_repeats").rows()


def test_by_hand() -> None:
    assert examples([[3, 1], [2, 2, 1], [], [], [1], [1, 4]]) == [
        (1, [film(3), film(1)], film(1), [film(2), film(1)], [False, True]),
        # The film that was mentioned last is one that had been mentioned before.
        (5, [film(3), film(1), film(2)], film(1), [film(1), film(4)], [True, False]),
    ]


def test_a_recommender_who_begins_has_no_history() -> None:
    assert examples([[], [5]]) == [(1, [], None, [film(5)], [False])]


def test_seekers_and_turns_without_films_give_none() -> None:
    assert examples([[1], [], [2], []]) == []


def test_a_conversation_gives_examples_in_one_dataset_only() -> None:
    own = owned(
        ("redial-1", "redial", "redial-1", "train"),
        ("iard-1", "iard", "redial-1", "train"),
        ("iard-2", "iard", "redial-2", "test"),
    )
    of_iard = [frames([[1], [2]], "iard-1"), frames([[1], [2], [], [3]], "iard-2")]
    turns, mentions = (pl.concat(parts) for parts in zip(*of_iard, strict=True))
    made = rec_turns(turns, mentions, own)
    assert made.rows.select("dialogue_id", "conversation_id", "split").unique().rows() == [
        ("iard-2", "redial-2", "test")
    ]
    assert made.rows.height == 2
    assert made.elsewhere == {"redial": 1}


def test_what_is_held_out_once_is_held_out_everywhere() -> None:
    own = owned(
        ("redial-1", "redial", "redial-1", "train"),
        ("iard-1", "iard", "redial-1", "test"),
        ("reddit-1", "reddit", "reddit-9", "valid"),
        ("reddit-2", "reddit", "reddit-9", "train"),
    )
    splits = dict(own.select("dialogue_id", "split").iter_rows())
    assert splits == {"redial-1": "test", "iard-1": "test", "reddit-1": "valid", "reddit-2": "valid"}


def test_the_hash_follows_what_the_example_says() -> None:
    one, other = (rec_turns(*frames(said), OWN).rows["input_hash"].to_list() for said in ([[1], [2]], [[3], [2]]))
    assert one != other
    assert rec_turns(*frames([[1], [2]]), OWN).rows["input_hash"].to_list() == one


SAID = st.lists(st.lists(st.integers(0, 4), max_size=3), max_size=8)


@given(SAID)
def test_as_a_loop_over_the_turns_would_have_it(said: list[list[int]]) -> None:
    expected, before, last = [], [], None
    for n, films in enumerate(said):
        names = [film(f) for f in films]
        if n % 2 and names:
            labels = list(dict.fromkeys(names))
            expected.append((n, list(dict.fromkeys(before)), last, labels, [label in before for label in labels]))
        before += names
        last = names[-1] if names else last
    assert examples(said) == expected


@given(SAID, st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter(said: list[list[int]], random) -> None:
    turns, mentions = frames(said)
    places = list(range(mentions.height))
    random.shuffle(places)
    shuffled = rec_turns(turns.reverse(), mentions.select(pl.all().gather(places)), OWN)
    assert shuffled.rows.equals(rec_turns(turns, mentions, OWN).rows)

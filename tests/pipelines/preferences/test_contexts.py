"""Contexts: who said what before a turn, as a chat that ends with the seeker."""

from __future__ import annotations

from itertools import pairwise

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.preferences import context
from pipelines.preferences.context import contexts
from tests.pipelines.preferences.made_up import talk


def at(said: list[tuple[str, str]], turn: int) -> dict[str, object] | None:
    found = contexts(talk(said).turns, pl.DataFrame({"dialogue_id": ["redial-0"], "turn": [turn]}))
    return found.row(0, named=True) if found.height else None


def test_runs_of_a_speaker_are_joined_and_roles_alternate() -> None:
    found = at([("r", "Hello"), ("s", "Hi"), ("s", "I like ghosts"), ("r", "Good"), ("s", "So?"), ("r", "x")], 5)
    assert found is not None
    assert found["context"] == [
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Hi\nI like ghosts"},
        {"role": "assistant", "content": "Good"},
        {"role": "user", "content": "So?"},
    ]
    assert found["lead"] == ""
    assert found["lead_from"] is None


def test_what_the_recommender_has_said_since_is_the_lead_not_the_context() -> None:
    found = at([("s", "Hi"), ("r", "One"), ("r", "Two"), ("r", "x")], 3)
    assert found is not None
    assert found["context"] == [{"role": "user", "content": "Hi"}]
    assert (found["lead"], found["lead_from"]) == ("One\nTwo", 1)


def test_without_a_word_of_the_seeker_there_is_no_context() -> None:
    assert at([("r", "Hi"), ("r", "x")], 1) is None
    assert at([("s", "Hi")], 0) is None
    assert at([("s", " "), ("r", "x")], 1) is None


def test_empty_turns_do_not_cut_a_run() -> None:
    found = at([("s", "Hi"), ("r", " "), ("s", "there"), ("r", "x")], 3)
    assert found is not None
    assert found["context"] == [{"role": "user", "content": "Hi\nthere"}]


def test_a_context_keeps_the_latest_messages_within_its_bounds() -> None:
    long = "a" * (context.CHARACTERS_MAX - 5)
    found = at([("s", "first"), ("r", long), ("s", "last"), ("r", "x")], 3)
    assert found is not None
    assert found["context"] == [{"role": "assistant", "content": long}, {"role": "user", "content": "last"}]


def test_of_a_message_that_is_too_long_the_end_is_kept() -> None:
    found = at([("s", "b" * context.CHARACTERS_MAX), ("s", "the end"), ("r", "x")], 2)
    assert found is not None
    (message,) = found["context"]  # type: ignore[misc]
    assert len(message["content"]) == context.CHARACTERS_MAX
    assert message["content"].endswith("b\nthe end")


def test_a_context_reaches_back_a_bounded_number_of_turns() -> None:
    said = [("s" if number % 2 == 0 else "r", f"turn {number}") for number in range(2 * context.TURNS_MAX + 2)]
    found = at(said, len(said) - 1)
    assert found is not None
    messages = found["context"]
    assert isinstance(messages, list)
    assert len(messages) == context.TURNS_MAX
    assert messages[-1]["content"] == f"turn {len(said) - 2}"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("sr"), st.sampled_from(["a", "b b", "", "c\td"])), min_size=1, max_size=12))
def test_contexts_alternate_end_with_the_seeker_and_lose_no_word(said: list[tuple[str, str]]) -> None:
    turns = talk(said).turns
    found = contexts(turns, turns.select("dialogue_id", "turn"))
    for row in found.iter_rows(named=True):
        roles = [message["role"] for message in row["context"]]
        assert roles[-1] == "user"
        assert all(one != two for one, two in pairwise(roles))
        kept = " ".join([*(message["content"] for message in row["context"]), row["lead"]]).split()
        assert kept == " ".join(text for _, text in said[: row["turn"]]).split()

"""Simulated users beside people, counted by hand."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.evaluation.simulation import speech
from pipelines.evaluation.simulation.fidelity import (
    Said,
    fidelity,
    human_talks,
    joined,
    ks_distance,
    simulated_talks,
    title_keys,
)
from tests.conversation_frames import turns as people_turns
from tests.judged_frames import episode, episodes_of, turns, turns_of
from warehouse.tables.dialogues import CORE_TURN_LABELS
from warehouse.tables.mentions import CORE_FILM_MENTIONS
from warehouse.tables.simulation_evaluation import EVAL_SIMULATOR_FIDELITY

KNOWN = title_keys(pl.DataFrame({"domain": ["film"] * 3, "title": ["Salt Road", "Heat", "Up and Away (Book 2)"]}))


@pytest.mark.parametrize(
    ("text", "asks", "accepts", "refuses"),
    [
        ("Hello there", False, False, False),
        ("Is it scary?", True, False, False),
        ("what else do you have", True, False, False),
        ("Any suggestions", True, False, False),
        ("I'll check it out, thanks!", False, True, False),
        ("That sounds really good", False, True, False),
        ("I'm sold.", False, True, False),
        ("I don't really like musicals", False, False, True),
        ("not my thing. But Heat sounds great", False, True, True),
        ("It doesn’t quite fit what I want", False, False, True),
        ("I have seen it", False, False, False),
        ("nope", False, False, True),
        ("That was too scary for me", False, False, True),
    ],
)
def test_what_a_turn_does(text: str, asks: bool, accepts: bool, refuses: bool) -> None:
    assert (speech.asks(text), speech.accepts(text), speech.refuses(text)) == (asks, accepts, refuses)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("I liked Salt Road a lot", ["salt road"]),
        ("i liked salt road a lot", []),
        ("the Salt road", []),
        ("Heat is what I feel", []),
        ("Have you seen Heat (1995)?", ["heat"]),
        ('Have you seen "Heat"?', ["heat"]),
        ("Up and Away, then Salt Road", ["up and away", "salt road"]),
        ("", []),
    ],
)
def test_titles_are_found_where_they_are_written_as_titles(text: str, found: list[str]) -> None:
    assert list(speech.titles(text, KNOWN["film"])) == found


def test_turns_of_one_speaker_in_a_row_are_one() -> None:
    said = [
        Said(True, "a", frozenset({"accept"})),
        Said(True, "b", frozenset()),
        Said(False, "c"),
        Said(True, "d", None),
    ]
    assert list(joined(said)) == [Said(True, "a\nb", frozenset({"accept"})), Said(False, "c"), Said(True, "d", None)]
    assert list(joined([])) == []


SAMPLES = st.lists(st.floats(-5, 5), min_size=1, max_size=20)


@given(SAMPLES, SAMPLES)
def test_the_distance_is_a_distance(one: list[float], other: list[float]) -> None:
    assert ks_distance(one, one) == 0
    assert ks_distance(one, other) == ks_distance(other, one)
    assert 0 <= ks_distance(one, other) <= 1
    assert ks_distance(one, other) == pytest.approx(ks_distance([2 * x for x in one], [2 * x for x in other]))


def test_the_distance_by_hand() -> None:
    assert ks_distance([1, 2], [3, 4]) == 1
    assert ks_distance([1, 2, 3, 4], [3, 4, 5, 6]) == 0.5
    # Of shares it is their difference.
    assert ks_distance([0, 0, 0, 1], [0, 1, 1, 1]) == 0.5
    with pytest.raises(ValueError, match="needs values"):
        ks_distance([], [1])


def figures(frame: pl.DataFrame, population: str) -> dict[str, dict[str, Any]]:
    return {row["measure"]: row for row in frame.filter(pl.col("population") == population).iter_rows(named=True)}


def people() -> list[Any]:
    # Turns of conversation_frames begin with the seeker.
    spoken = people_turns(
        ["Hi, I liked Salt Road", "Try Heat (1995)!", "I don't like Heat (1995)", "Sorry", "what else?"]
    )
    said = spoken.with_columns(dataset=pl.lit("redial"), domain=pl.lit("film"))
    return human_talks(said, CORE_TURN_LABELS.empty(), CORE_FILM_MENTIONS.empty())


def test_people_and_simulated_users_by_hand() -> None:
    talks = [
        *people(),
        *simulated_talks(
            episodes_of(episode(1, domain="film"), episode(2, domain="film", outcome="failed")),
            turns_of(
                *[{**turn, "policy": policy} for turn, policy in zip(turns(1, "A calm one, please.", "Salt Road?", "Sounds good!"), ("ask_for_recommendation", None, "accept"), strict=True)],
                *turns(2, "Never counted.", "What?"),
            ),
        ),
    ]  # fmt: skip
    frame = fidelity(talks, KNOWN)
    assert EVAL_SIMULATOR_FIDELITY.violations(frame) == []
    human, made = figures(frame, "redial"), figures(frame, "ailo film")
    assert (human["turns"]["value"], human["turns"]["n"], human["turns"]["clusters"]) == (3, 1, 1)
    assert (human["words_per_turn"]["value"], made["words_per_turn"]["value"]) == (pytest.approx(12 / 3), 3)
    assert (human["question_rate"]["value"], made["question_rate"]["value"]) == (pytest.approx(1 / 3), 0)
    assert (human["acceptance_rate"]["value"], made["acceptance_rate"]["value"]) == (0, 1)
    assert (human["rejection_rate"]["value"], made["rejection_rate"]["value"]) == (0.5, 0)
    # Nothing was linked, so nothing is said of it.
    assert "linked_titles_per_turn" not in human
    # Heat was the other's to name.
    assert human["titles_per_turn"]["value"] == pytest.approx(1 / 3)
    assert made["acceptance_rate_stated"]["value"] == 1 and "acceptance_rate_stated" not in human
    assert made["acceptance_rate"]["distance"] == 1 and human["acceptance_rate"]["distance"] is None
    assert (made["turns"]["kind"], made["turns"]["is_stand_in"], human["turns"]["is_stand_in"]) == ("simulated", True, False)  # fmt: skip


def test_linked_films_are_counted_where_the_other_did_not_name_them_before() -> None:
    said = people_turns(["Hi", "Heat?", "Heat and Up", "Up!", "Up and Jaws"])
    said = said.with_columns(dataset=pl.lit("redial"), domain=pl.lit("film"))
    links = [(1, "heat"), (2, "heat"), (2, "up"), (3, "up"), (4, "up"), (4, "jaws")]
    mentions = pl.DataFrame(
        [(said["dialogue_id"][0], turn, film) for turn, film in links],
        schema={"dialogue_id": pl.String, "turn": pl.Int32, "movie_id": pl.String},
        orient="row",
    )
    frame = fidelity(human_talks(said, CORE_TURN_LABELS.empty(), mentions), KNOWN)
    got = figures(frame, "redial")["linked_titles_per_turn"]
    assert (got["value"], got["n"]) == (pytest.approx(2 / 3), 3)


def test_labels_of_people_stand_for_what_policies_state() -> None:
    said = people_turns(["Hi", "Heat?", "No way", "Up?", "Fine", "Bye"])
    said = said.with_columns(
        dataset=pl.lit("iard"),
        domain=pl.lit("film"),
        dialogue_id=pl.col("dialogue_id").str.replace("^[a-z]+", "iard"),
    )
    dialogue = said["dialogue_id"][0]
    labels = pl.DataFrame(
        {
            "dialogue_id": [dialogue] * 3, "turn": [2, 4, 4], "dataset": ["iard"] * 3, "scheme": ["iard_sub_intent"] * 3, "position": [0, 0, 1],
            "label": ["REJ", "ACC", "OTH"],
        }
    )  # fmt: skip
    frame = fidelity(human_talks(said, CORE_TURN_LABELS.conform(labels), CORE_FILM_MENTIONS.empty()), KNOWN)
    got = figures(frame, "iard")
    assert set(got) == {"acceptance_rate_stated", "rejection_rate_stated"}
    assert (got["acceptance_rate_stated"]["value"], got["rejection_rate_stated"]["value"]) == (0.5, 0.5)


def test_the_order_of_dialogues_does_not_matter() -> None:
    talks = people()
    more = [*talks, *simulated_talks(episodes_of(episode(1)), turns_of(*turns(1, "Hi.", "Yes?", "No.")))]
    by = ["population", "measure"]
    assert fidelity(more, KNOWN).sort(by).equals(fidelity(more[::-1], KNOWN).sort(by))
    assert fidelity([], {}).is_empty()


def test_type_token_is_of_dialogues_that_are_long_enough() -> None:
    long = " ".join(["one", "two"] * 30)
    talks = simulated_talks(
        episodes_of(episode(1), episode(2, 1)), turns_of(*turns(1, long, "Yes?"), *turns(2, "Short.", "Yes?"))
    )
    got = figures(fidelity(talks, {}), "ailo book")
    assert (got["type_token"]["value"], got["type_token"]["n"]) == (pytest.approx(2 / 50), 1)
    assert "titles_per_turn" not in got

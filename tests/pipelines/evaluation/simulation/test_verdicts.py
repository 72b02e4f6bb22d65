"""What follows from verdicts, against values computed by hand."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.evaluation.simulation.questions import INTENTIONS, NO_ITEM
from pipelines.evaluation.simulation.units import frame
from pipelines.evaluation.simulation.verdicts import (
    first_preference,
    follows_position,
    judged,
    persuasiveness,
    persuasiveness_kept,
    why_invalid,
    win_score,
)
from tests.judged_frames import Row, episode, episodes_of, judgements_of, key, win
from warehouse.tables.simulation_evaluation import EVAL_SIMULATION

VERDICT = st.sampled_from([1.0, 0.0, -1.0])


def of_agent(made: list[dict[str, Any]], agent: str = "react") -> dict[str, dict[str, Any]]:
    own = [row for row in made if row["split"] == "all" and row["agent"] == agent]
    return {row["measure"]: row for row in own}


def measure(*rows: Row, agents: dict[int, str] | None = None) -> dict[str, dict[str, Any]]:
    """The figures of judgements; every episode named in them is one of `react`."""
    numbers = sorted({int(row["episode_id"], 16) for row in rows})
    episodes = episodes_of(*(episode(n, n, agent="react", model="gpt") for n in numbers))
    made = judged(judgements_of(*rows), episodes)
    assert EVAL_SIMULATION.violations(frame(made)) == []
    return of_agent(made)


def short(row: dict[str, Any]) -> tuple[float | None, int, int]:
    return row["value"], row["n"], row["invalid"]


# ------------------------------------------------------------------------------------------------------------------- wins


@pytest.mark.parametrize(
    ("first", "second", "score", "follows", "preference"),
    [
        (1, 1, 1.0, False, 0.0),  # better wherever it stands
        (-1, -1, 0.0, False, 0.0),  # worse wherever it stands
        (0, 0, 0.5, False, 0.0),  # ties
        (1, -1, 0.5, True, 1.0),  # what stands first always wins
        (-1, 1, 0.5, True, -1.0),  # what stands second always wins
        (1, 0, 0.75, False, 0.5),
        (0, -1, 0.25, False, 0.5),
    ],
)
def test_one_pair(first: float, second: float, score: float, follows: bool, preference: float) -> None:
    assert win_score(first, second) == score
    assert follows_position(first, second) is follows
    assert first_preference(first, second) == preference


@given(VERDICT, VERDICT)
def test_the_other_side_of_a_pair_has_what_is_left(first: float, second: float) -> None:
    """Seen from the other episode verdicts change their sign, and what was shown first was second."""
    assert win_score(-second, -first) == 1 - win_score(first, second)
    assert follows_position(-second, -first) == follows_position(first, second)
    assert first_preference(-second, -first) == first_preference(first, second)


@settings(max_examples=20)
@given(st.lists(st.tuples(VERDICT, VERDICT), min_size=1, max_size=12))
def test_swapping_sides_gives_one_minus_the_win_rate(pairs: list[tuple[float, float]]) -> None:
    one = measure(*(row for n, pair in enumerate(pairs) for row in win(n, *pair)))
    other = measure(*(row for n, (first, second) in enumerate(pairs) for row in win(n, -second, -first)))
    assert other["win_rate"]["value"] == pytest.approx(1 - one["win_rate"]["value"])
    for name in ("tie_rate", "position_bias", "first_preference"):
        assert other[name]["value"] == pytest.approx(one[name]["value"])


def test_pairs_are_counted_by_hand() -> None:
    got = measure(
        *win(1, 1, 1), *win(2, 1, -1), *win(3, 0, 0), *win(4, -1, 0), *win(5, 1, None), *win(6, 0, -1, "guidance")
    )
    # 1, 1/2, 1/2, 1/4; the fifth has no verdict in one order.
    assert short(got["win_rate"]) == (pytest.approx(2.25 / 4), 4, 1)
    assert got["win_rate"]["invalid_reason"] == "1 pairs without a usable verdict in both orders"
    assert short(got["tie_rate"]) == (0.5, 4, 1)
    assert short(got["position_bias"]) == (0.25, 4, 1)
    assert short(got["first_preference"]) == (pytest.approx((0 + 1 + 0 - 0.5) / 4), 4, 1)
    assert short(got["win_rate_guidance"]) == (0.25, 1, 0)
    assert got["win_rate"]["model"] == "gpt, judge"


# ------------------------------------------------------------------------------------------------------------- intentions


@pytest.mark.parametrize(
    ("before", "after", "true", "value", "kept"),
    [
        (2, 3, 4, 0.5, 0.5),  # half of the way from 2 to 4
        (1, 5, 5, 1.0, 1.0),
        (2, 2, 4, 0.0, 0.0),
        (3, 1, 5, -1.0, 0.0),  # less wanted than before
        (4, 1, 5, -3.0, 0.0),  # the least there is
        (3, 3, 3, None, 1.0),  # no room, nothing lost
        (3, 2, 3, None, 0.0),  # no room, something lost
        (3, 4, 3, None, 1.0),  # no room, and oversold
        (2, 5, 4, None, 1.0),  # oversold
        (4, 2, 2, None, 1.0),  # the facts deter, and so did the conversation
        (4, 3, 2, None, 0.5),
        (4, 5, 2, None, 0.0),
    ],
)
def test_one_case_of_persuasion(before: float, after: float, true: float, value: float | None, kept: float) -> None:
    assert (why_invalid(before, after, true) is None) == (value is not None)
    if value is not None:
        assert persuasiveness(before, after, true) == pytest.approx(value)
    assert persuasiveness_kept(before, after, true) == pytest.approx(kept)


@pytest.mark.parametrize(("before", "after", "true"), list(itertools.product(range(1, 6), repeat=3)))
def test_every_case_is_valid_or_says_why_and_keeps_its_bounds(before: int, after: int, true: int) -> None:
    assert (why_invalid(before, after, true) is None) == (before < true >= after)
    assert 0 <= persuasiveness_kept(before, after, true) <= 1
    if why_invalid(before, after, true) is None:
        assert -3 <= persuasiveness(before, after, true) <= 1
    if true == before:
        with pytest.raises(ValueError, match="no way"):
            persuasiveness(before, after, true)


def intentions(number: int, *values: float | None, problem: str | None = None) -> list[Row]:
    return [
        {"episode_id": key(number), "measure": name, "value": value, "problem": problem, "model": "judge"}
        for name, value in zip(INTENTIONS, values, strict=True)
    ]


def test_intentions_are_counted_by_hand() -> None:
    got = measure(
        *intentions(1, 2, 3, 4),
        *intentions(2, 3, 3, 3),
        *intentions(3, 2, 5, 4),
        *intentions(4, 4, 2, 3),
        *intentions(5, 1, None, 5, problem="refused"),
        *intentions(6, None, None, None, problem=NO_ITEM),
    )
    assert short(got["intention_before"]) == (pytest.approx(12 / 5), 5, 1)
    assert short(got["watching_intention"]) == (pytest.approx(13 / 4), 4, 2)
    assert short(got["intention_true"]) == (pytest.approx(19 / 5), 5, 1)
    assert short(got["persuasiveness"]) == (0.5, 1, 5)
    assert got["persuasiveness"]["invalid_reason"] == (
        "1 no retrieved item was named, 1 oversold: the intention after is above the true one, 1 with a true intention under the one before,"
        " 1 with no room: the true intention equals the one before, 1 without a usable answer"
    )
    # 1/2, 1 (no room, reached), 1 (oversold), (4 - 2) / (4 - 3) cut to 1.
    assert short(got["persuasiveness_kept"]) == (pytest.approx(3.5 / 4), 4, 2)


# ------------------------------------------------------------------------------------------------------------ credibility


def credibility(number: int, *values: float | None) -> list[Row]:
    if not values:
        return [{"episode_id": key(number), "measure": "credibility", "problem": NO_ITEM}]
    return [
        {"episode_id": key(number), "measure": "credibility", "turn": turn, "value": value, "problem": None if value else "refused"}
        for turn, value in enumerate(values)
    ]  # fmt: skip


def test_credibility_is_of_explanation_turns_and_dialogues_without_are_no_zeros() -> None:
    got = measure(*credibility(1, 5, 2), *credibility(2, 4, None), *credibility(3))
    assert short(got["credibility"]) == (pytest.approx(11 / 3), 3, 2)
    assert got["credibility"]["invalid_reason"] == "1 no retrieved item was named, 1 without a usable answer"
    # As published: means of 3.5 and 4, and a zero.
    assert short(got["credibility_zeros"]) == (pytest.approx(7.5 / 3), 3, 0)


def test_judgements_of_episodes_that_are_gone_count_nowhere() -> None:
    gone = judgements_of(*win(1, 1, 1))
    assert judged(gone, episodes_of(episode(2, 2))) == []
    assert judged(judgements_of(), episodes_of()) == []


def test_position_bias_is_of_the_judge_so_it_has_a_row_for_all_agents() -> None:
    episodes = episodes_of(episode(1, 1, agent="react"), episode(2, 2, agent="macrs"))
    made = judged(judgements_of(*win(1, 1, -1), *win(2, 0, 0)), episodes)
    assert short(of_agent(made, "all")["position_bias"]) == (0.5, 2, 0)
    assert "win_rate" not in of_agent(made, "all")

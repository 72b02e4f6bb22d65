"""Figures of hand-made episodes, counted by hand."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.evaluation.simulation import measures
from pipelines.evaluation.simulation.measures import baselines, distinct_2, endings, first_turns, measured
from pipelines.evaluation.simulation.units import frame
from pipelines.simulation.naming import holds_title
from tests.judged_frames import episode, episodes_of, key, turns, turns_of
from warehouse.tables.simulation import EPISODE_OUTCOMES
from warehouse.tables.simulation_evaluation import EVAL_SIMULATION

PLACE = ["domain", "agent", "simulator", "split"]


def rows(made: list[dict[str, Any]], split: str = "all", domain: str = "book", agent: str = "actcrs") -> dict[str, dict[str, Any]]:  # fmt: skip
    """The rows of one place by measure."""
    found = [row for row in made if (row["split"], row["domain"], row["agent"]) == (split, domain, agent)]
    assert len({row["measure"] for row in found}) == len(found)
    return {row["measure"]: row for row in found}


def short(row: dict[str, Any]) -> tuple[float | None, int, int]:
    return row["value"], row["n"], row["invalid"]


# Found in turn 2; not found; leaked; failed after it was found.
FOUR = [
    episode(1, 1, is_success=True, is_retrieved=True, is_accepted=True),
    episode(2, 2, is_retrieved=True, outcome="left", questions=8),
    episode(3, 3, is_success=True, is_retrieved=True, outcome="leaked"),
    episode(4, 4, is_success=True, is_retrieved=True, outcome="failed"),
]
SAID = [
    *turns(1, "Hi.", "Which one?", "Calm.", "The Salt Road is calm.", action=("ask", "recommend"), satisfaction=(2.0, 5.0), flexibility=1.0, queries=([], ["calm"]), retrieved=([], ["item-1"])),
    *turns(2, "Hi.", "Try this.", "No.", "Or that. Or that.", satisfaction=(None, 3.0), queries=(["a", "b"], ["c"]), retrieved=(["item-9"], ["item-2"])),
    *turns(3, "The Salt Road?", "The Salt Road.", satisfaction=5.0),
    *turns(4, "Hi.", "The Salt Road.", satisfaction=4.0),
]  # fmt: skip


def test_episodes_are_counted_by_hand() -> None:
    got = rows(measured(episodes_of(*FOUR), turns_of(*SAID), holds_title))
    assert short(got["success"]) == (pytest.approx(1 / 3), 3, 1)
    assert short(got["retrieved"]) == (pytest.approx(2 / 3), 3, 1)
    assert short(got["accepted"]) == (pytest.approx(1 / 3), 3, 1)
    assert short(got["rec_sr"]) == (pytest.approx(1 / 3), 3, 1)
    assert short(got["turns_to_success"]) == (2, 1, 3)
    assert got["turns_to_success"]["invalid_reason"] == "1 leaked: the user named the target first, 2 without success"
    # Episode 2 finds its target at its second search turn alone.
    assert short(got["retrieved_at_first_search"]) == (pytest.approx(1 / 3), 3, 1)
    assert got["success"]["invalid_reason"] == "1 leaked: the user named the target first"
    assert "conv_sr" not in got and "feeling" not in got


def test_turns_are_counted_by_hand() -> None:
    got = rows(measured(episodes_of(*FOUR), turns_of(*SAID), holds_title))
    # 2, 5 of the first, 3 of the second, 4 of the one that failed; one unscored, one of a leaked episode.
    assert short(got["satisfaction"]) == (3.5, 4, 2)
    assert (
        got["satisfaction"]["invalid_reason"] == "1 leaked: the user named the target first, 1 without a usable score"
    )
    assert short(got["flexibility"]) == (1, 2, 4)
    assert short(got["searches_per_turn"]) == (pytest.approx((0 + 1 + 2 + 1 + 0) / 5), 5, 1)
    assert short(got["ask_share"]) == (pytest.approx(1 / 5), 5, 1)
    # 12 questions over 2 turns, 8 over 2, 12 over 2 (one of which is stored).
    assert short(got["questions_per_turn"]) == (pytest.approx((6 + 6 + 4 + 4 + 6) / 5), 5, 1)


def test_endings_are_shares_of_all_episodes() -> None:
    got = rows(endings(episodes_of(*FOUR)))
    assert {name: short(row) for name, row in got.items()} == {
        f"{outcome}_share": (0.25, 4, 0) for outcome in EPISODE_OUTCOMES
    }


def test_states_make_conv_sr_where_they_were_asked_for() -> None:
    episodes = [
        episode(1, 1, simulator="seeker", is_stopped=True),
        episode(2, 2, simulator="seeker", is_stopped=True, outcome="failed"),
        episode(3, 3, simulator="seeker"),
        episode(4, 4, simulator="seeker", is_stopped=True, outcome="leaked"),
    ]
    said = [each for n in range(1, 5) for each in turns(n, "Hi.", "This.", feeling=0.2 * n)]
    got = rows(measured(episodes_of(*episodes), turns_of(*said), holds_title))
    assert short(got["conv_sr"]) == (0.5, 2, 2)
    assert short(got["feeling"]) == (pytest.approx(0.4), 3, 1)


def test_distinct_2_by_hand() -> None:
    assert distinct_2(["a b a b"]) == pytest.approx(2 / 3)
    # No bigram runs across two replies.
    assert distinct_2(["a", "b"]) is None
    assert distinct_2(["it's fine", "It's fine!"]) == 0.5
    got = rows(measured(episodes_of(*FOUR), turns_of(*SAID), holds_title))
    # Which one | The Salt, Salt Road, Road is, is calm | Try this | Or that, that Or, Or that | The Salt, Salt Road
    assert short(got["distinct_2"])[:2] == (pytest.approx(8 / 11), 5)
    assert got["distinct_2"]["low"] is None
    assert short(got["distinct_2_by_episode"]) == (pytest.approx((1 + 3 / 4 + 1) / 3), 3, 1)


def test_splits_and_domains_have_rows_of_their_own_and_together() -> None:
    several = [
        episode(1, 1, is_success=True),
        episode(2, 2, split="train"),
        episode(3, 3, domain="film", agent="react"),
        episode(4, 4, domain="film"),
    ]
    made = [row for row in measured(episodes_of(*several), turns_of(), holds_title) if row["measure"] == "success"]
    found = {tuple(row[name] for name in ("domain", "agent", "split")): row["n"] for row in made}
    assert found == {
        ("book", "actcrs", "all"): 2, ("book", "actcrs", "test"): 1, ("book", "actcrs", "train"): 1,
        ("film", "actcrs", "all"): 1, ("film", "actcrs", "test"): 1, ("film", "react", "all"): 1, ("film", "react", "test"): 1,
        ("all", "actcrs", "all"): 3, ("all", "actcrs", "test"): 2, ("all", "actcrs", "train"): 1, ("all", "react", "all"): 1, ("all", "react", "test"): 1,
    }  # fmt: skip


def test_who_spoke_is_named() -> None:
    made = measured(episodes_of(episode(1), episode(2, 2, model="gpt", is_stand_in=False)), turns_of(), holds_title)
    got = rows(made)["success"]
    assert (got["model"], got["is_stand_in"]) == ("gpt, marquee-stand-in", True)
    assert EVAL_SIMULATION.violations(frame(made)) == []


def test_baselines_by_hand() -> None:
    episodes = episodes_of(
        episode(1, 1), episode(2, 1, agent="react"), episode(3, 2), episode(4, 3, outcome="leaked"), episode(5, 4, domain="game")
    )  # fmt: skip
    found = {(key(1), "ailo"): True, (key(2), "ailo"): False}
    made = baselines(episodes, {"book": 1000}, found)
    # 5 turns with 5 items each, of 1,000; each task once.
    assert short(rows(made, agent="chance")["success"]) == (pytest.approx(0.025), 2, 0)
    assert rows(made, agent="chance")["success"]["model"] is None
    assert short(rows(made, agent="retrieve_once")["success"]) == (0.5, 2, 0)
    assert short(rows(made, agent="chance", domain="game")["success"]) == (None, 0, 1)
    assert short(rows(made, agent="retrieve_once", domain="all")["success"]) == (0.5, 2, 1)
    # Where there are few items chance cannot be above one, and without a search there is no such row.
    few = baselines(episodes, {"book": 3}, None)
    assert rows(few, agent="chance")["success"]["value"] == 1
    assert not rows(few, agent="retrieve_once")


def test_first_turns_are_of_the_episode_that_stands_for_its_task() -> None:
    episodes = episodes_of(episode(1, 1), episode(2, 1, agent="react"), episode(3, 2, outcome="leaked"))
    said = turns_of(*turns(1, "One."), *turns(2, "Two."), *turns(3, "Three."))
    got = first_turns(episodes, said)
    assert got.rows() == [(key(1), "ailo", "book", "item-1", "One.")]


def test_cooperation_has_intervals() -> None:
    from tests.judged_frames import items_of

    made = measures.cooperation(episodes_of(*FOUR), turns_of(*SAID), items_of("A", "B"))
    got = rows(made)
    assert short(got["user_acceptance"]) == (pytest.approx(1 / 3), 3, 0)
    assert short(got["user_leaving"]) == (pytest.approx(1 / 3), 3, 0)
    assert all(row["low"] <= row["value"] <= row["high"] for row in made)


OUTCOMES = st.lists(
    st.tuples(st.sampled_from(EPISODE_OUTCOMES), st.booleans(), st.integers(0, 3), st.sampled_from(["train", "test"])),
    min_size=1,
    max_size=15,
)


@settings(max_examples=20)
@given(OUTCOMES, st.randoms(use_true_random=False))
def test_books_balance_and_order_does_not_matter(drawn: list[tuple[str, bool, int, str]], chance: Any) -> None:
    episodes = [
        episode(n, n, outcome=outcome, is_success=found, is_retrieved=found, target_item=f"item-{target}", split=split)
        for n, (outcome, found, target, split) in enumerate(drawn)
    ]
    said = [
        each for n in range(len(drawn)) for each in turns(n, "Hi.", f"This {n} is this {n}.", satisfaction=float(n % 6))
    ]
    made = [*measured(episodes_of(*episodes), turns_of(*said), holds_title), *endings(episodes_of(*episodes))]
    chance.shuffle(episodes)
    chance.shuffle(said)
    again = [*measured(episodes_of(*episodes), turns_of(*said), holds_title), *endings(episodes_of(*episodes))]
    by = [*PLACE, "measure"]
    assert frame(made).sort(by).equals(frame(again).sort(by))
    got = rows(made)
    for name in ("success", "retrieved", "accepted", "turns_to_success", "satisfaction", "turns", "failed_share"):
        assert got[name]["n"] + got[name]["invalid"] == len(drawn)
    counted = [(outcome, found) for outcome, found, _, _ in drawn if outcome != "leaked"]
    assert got["success"]["n"] == len(counted)
    if counted:
        assert got["success"]["value"] == pytest.approx(
            sum(found and outcome != "failed" for outcome, found in counted) / len(counted)
        )
    shares = sum(got[f"{outcome}_share"]["value"] for outcome in EPISODE_OUTCOMES)
    assert shares == pytest.approx(1)
    assert EVAL_SIMULATION.violations(frame(made)) == []


def test_nothing_gives_nothing() -> None:
    nothing = episodes_of()
    assert measured(nothing, turns_of(), holds_title) == endings(nothing) == baselines(nothing, {}, None) == []
    assert measures.cooperation(nothing, turns_of(), pl.DataFrame()) == []
    assert frame([]).is_empty()

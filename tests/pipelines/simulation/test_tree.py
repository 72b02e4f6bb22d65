"""Pairs by sampling: which turns, what a branch does, rewards, the best and the worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.gateways.llm.conversations import Conversation
from pipelines.gateways.llm.prompts import load_prompt
from pipelines.gateways.llm.requests import LlmRequest
from pipelines.simulation.parts import (
    AgentReply,
    Confirmation,
    Episode,
    Said,
    Simulator,
    Task,
    Turn,
    Unusable,
    UserMove,
)
from pipelines.simulation.rewriting import Point, calls
from pipelines.simulation.tree import (
    TEMPERATURE,
    Sampling,
    best_and_worst,
    branch,
    input_hash,
    reward,
    row,
    sampled_points,
)
from tests.simulated import TARGET, TASK, books, played
from warehouse.tables.simulation import PREF_SKTO, PREF_TREE_PAIRS, SIM_CALLS

TRAIN = replace(TASK, split="train")
PROMPT = load_prompt("rerank")
HIT = f"How about {TARGET.title}?"


def scored(satisfaction: float | None) -> Confirmation:
    if satisfaction is None:
        return Confirmation(None, None, None, None, 0, 1)
    return Confirmation(min(satisfaction, 2), min(max(satisfaction - 2, 0), 2), max(satisfaction - 4, 0), "Why.")


def episode(*replies: tuple[str, float | None], outcome: str = "completed", task: Task = TRAIN, **rest: Any) -> Episode:
    turns: list[Turn] = []
    for number, (text, satisfaction) in enumerate(replies):
        memory = {"round": number}
        turns.append(Turn(len(turns), move=UserMove("give_feedback", f"Word {number}.")))
        reply = AgentReply(text, "respond", memory={"round": number + 1})
        turns.append(Turn(len(turns), reply=reply, memory=memory, confirmation=scored(satisfaction)))
    return Episode(task, "actcrs", "toy", 0, {}, 3, tuple(turns), outcome, **rest)


# -- a toy world: the answer is what is said ------------------------------------------------------------------


def agent(domain: str, said: Sequence[Said], memory: Mapping[str, Any]) -> Conversation[AgentReply]:
    answer = yield LlmRequest("reply/0", PROMPT, {"said": len(said), "memory": dict(memory)})
    if answer.value is None:
        raise Unusable("nothing was said")
    return AgentReply(answer.value, "respond", memory={"round": memory.get("round", 0) + 1})


def move(task: Task, profile: Mapping[str, Any], said: Sequence[Said]) -> Conversation[UserMove]:
    answer = yield LlmRequest("policy/0", PROMPT, {"said": len(said)})
    return UserMove(*answer.value)


def confirm(task: Task, said: Sequence[Said], samples: int) -> Conversation[Confirmation]:
    answer = yield LlmRequest("score/0", PROMPT, {"said": len(said), "samples": samples})
    return scored(answer.value)


TOY = Simulator("toy", 3, lambda task: {}, move, confirm)


def answer(request: LlmRequest) -> object:
    """The agent says what its seed tells it to; the user goes on until it hears the title."""
    if "reply" in request.key:
        return HIT if (request.seed or 0) == 2000 else f"Something else, seed {request.seed}."
    return 3 if "score" in request.key else ("give_feedback", "No.")


# -- which turns ----------------------------------------------------------------------------------------------


def test_one_turn_an_episode_up_to_the_first_success() -> None:
    episodes = [(f"{number:016x}", episode(("A.", 3), (HIT, 4), ("Yes.", 5))) for number in range(60)]
    drawn = sampled_points(iter(episodes), 100)
    assert len(drawn) == 60 and len({point.episode_id for point in drawn}) == 60
    assert {point.turn.turn for point in drawn} == {1, 3}
    assert not sampled_points(episodes, 0)


@pytest.mark.parametrize(
    ("change", "number"),
    [({}, 1), ({"outcome": "left"}, 1), ({"outcome": "leaked"}, 0), ({"outcome": "failed"}, 0), ({"task": TASK}, 0)],
)
def test_only_train_episodes_that_count_are_sampled(change: dict[str, Any], number: int) -> None:
    assert len(sampled_points([("0" * 16, episode(("A.", 3), **change))], 5)) == number


@given(st.permutations(range(12)), st.integers(0, 12))
def test_what_is_drawn_does_not_depend_on_order_and_stays_when_more_is_asked_for(order: list[int], number: int) -> None:
    episodes = [(f"{each:016x}", episode(("A.", 3), ("B.", 3))) for each in range(12)]
    drawn = sampled_points([episodes[each] for each in order], number)
    assert drawn == sampled_points(episodes, 12)[:number]


# -- branches -------------------------------------------------------------------------------------------------


def test_a_branch_samples_one_reply_and_plays_on_as_ever() -> None:
    point = Point("e", episode(("A.", 3), ("B.", 3), ("C.", 3)), 3)
    found, asked = played(branch(Sampling(point, 2), 0, agent, TOY), answer)
    assert found.turns[:3] == point.episode.turns[:3]
    assert [turn.turn for turn in found.turns] == [0, 1, 2, 3, 4, 5]
    assert found.outcome == "completed" and len(found.turns) == 6
    assert all(request.key.startswith("branch/3/0/") for request in asked)
    replies = [request for request in asked if "reply" in request.key]
    assert [(request.seed, request.sampled_at) for request in replies] == [
        (1000, TEMPERATURE),
        (None, PROMPT.temperature),
    ]
    # The agent takes up its state of then.
    assert [request.data["memory"] for request in replies] == [{"round": 1}, {"round": 2}]
    others = [request for request in asked if "reply" not in request.key]
    assert {(request.seed, request.sampled_at) for request in others} == {(None, PROMPT.temperature)}


def test_branches_of_a_turn_have_seeds_of_their_own() -> None:
    point = Point("e", episode(("A.", 3)), 1)
    firsts = [played(branch(Sampling(point, 3), number, agent, TOY), answer)[1][0] for number in range(3)]
    assert [request.seed for request in firsts] == [1000, 2000, 3000]
    assert len({request.key for request in firsts}) == 3


def test_a_whole_sampling_becomes_a_row_and_its_questions() -> None:
    point = Point("0" * 16, episode(("A.", 3), ("B.", 3)), 1)
    sampling = Sampling(point, 3)
    found = [played(branch(sampling, number, agent, TOY), answer) for number in range(3)]
    asked = books([request for _, requests in found for request in requests])
    made = row(sampling, [each for each, _ in found], asked, 7, "m")
    PREF_TREE_PAIRS.check(pl.DataFrame([made], schema=PREF_TREE_PAIRS.schema))
    assert made["replies"] == ["Something else, seed 1000.", HIT, "Something else, seed 3000."]
    assert made["rewards"] == pytest.approx([0.3, 1.3, 0.3])
    assert (made["chosen"], made["rejected"]) == (HIT, "Something else, seed 1000.")
    assert made["context"] == [{"role": "user", "content": "Word 0."}] and made["trajectories"] == 3
    questions = calls("tree", sampling.pair_id, "book", asked)
    SIM_CALLS.check(pl.DataFrame(questions, schema=SIM_CALLS.schema))
    assert {(each["purpose"], each["turn"]) for each in questions} == {("branch", 1)}


def test_a_branch_without_a_reply_has_no_reward_and_is_counted() -> None:
    point = Point("0" * 16, episode(("A.", 3)), 1)
    sampling = Sampling(point, 2)
    silent, _ = played(branch(sampling, 0, agent, TOY), lambda request: None if "reply" in request.key else ("refuse", "No."))  # fmt: skip
    assert silent.outcome == "failed"
    spoken, asked = played(branch(sampling, 1, agent, TOY), answer)
    made = row(sampling, [silent, spoken], books(asked), 7, "m")
    assert (made["rewards"][0], made["replies"][0], made["chosen"], made["trajectories"]) == (None, "", None, 2)


def test_the_hash_changes_with_what_decides() -> None:
    point = Point("e", episode(("A.", 3), ("B.", 3)), 3)
    same = input_hash(Sampling(point, 2), ["1"], "m")
    assert same == input_hash(Sampling(point, 2), ["1"], "m") and same >= 0
    other = Point("e", episode(("X.", 3), ("B.", 3)), 3)
    for changed in (
        input_hash(Sampling(point, 3), ["1"], "m"),
        input_hash(Sampling(point, 2), ["2"], "m"),
        input_hash(Sampling(point, 2), ["1"], "n"),
        input_hash(Sampling(other, 2), ["1"], "m"),
    ):
        assert changed != same


# -- rewards --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("replies", "outcome", "value"),
    [
        ((("A.", 3.0), ("B.", 4.0)), "completed", 0.35),
        ((("A.", 0.0), (HIT, 4.0)), "completed", 1.2),
        ((("A.", 0.0), (HIT, 0.0)), "left", 1.0),
        ((("A.", 5.0), ("B.", 5.0)), "completed", 0.5),
        ((("A.", None), ("B.", 2.0)), "completed", 0.2),
        ((("A.", None),), "completed", 0.0),
        ((("A.", 5.0),), "leaked", None),
        (((HIT, 5.0),), "failed", None),
    ],
)
def test_rewards_are_those_of_the_formula(replies: Any, outcome: str, value: float | None) -> None:
    assert reward(episode(*replies, outcome=outcome), 0) == (
        value if value is None else pytest.approx(value, abs=1e-12)
    )


def test_what_came_before_the_point_earns_nothing() -> None:
    made = episode((HIT, 5), ("B.", 1))
    assert reward(made, 3) == pytest.approx(0.1) and reward(made, 1) == pytest.approx(1.3)


_SCORES = st.none() | st.floats(0, 5)


@given(st.lists(_SCORES, min_size=1, max_size=4), st.lists(_SCORES, min_size=1, max_size=4))
def test_success_comes_first(with_success: list[float | None], without: list[float | None]) -> None:
    hit = episode(*((HIT, score) for score in with_success))
    miss = episode(*(("B.", score) for score in without))
    first, second = reward(hit, 0), reward(miss, 0)
    assert first is not None and second is not None and 0 <= second <= 0.5 < 1 <= first <= 1.5


# -- best and worst -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("replies", "rewards", "pair"),
    [
        (("a", "b", "c"), (0.1, 0.3, 0.2), ("b", "a")),
        (("a", "b", "c"), (0.3, 0.3, 0.1), ("a", "c")),
        (("a", "b"), (0.3, 0.3), None),
        (("A  reply", "a reply"), (0.1, 0.3), None),
        (("a", "b", ""), (0.1, 0.3, None), ("b", "a")),
        (("a", ""), (0.1, None), None),
        (("", ""), (None, None), None),
        ((), (), None),
    ],
)
def test_pairs_are_of_the_best_and_the_worst(replies: Any, rewards: Any, pair: Any) -> None:
    assert best_and_worst(replies, rewards) == pair


def test_the_view_for_kto_has_good_and_bad_replies_of_turns_that_tell_them_apart() -> None:
    base = {
        "episode_id": "0" * 16, "turn": 1, "domain": "book", "agent": "actcrs", "split": "train", "user_id": "yelp-u",
        "context": [{"role": "user", "content": "Hi."}], "is_stand_in": False, "input_hash": 1,
    }  # fmt: skip
    rows = [
        {**base, "pair_id": "1" * 16, "rewards": [0.1, 0.5, 0.3, None], "replies": ["a", "b", "c", ""], "chosen": "b", "rejected": "a", "trajectories": 4},
        {**base, "pair_id": "2" * 16, "rewards": [0.2, 0.2], "replies": ["d", "e"], "trajectories": 2},
    ]  # fmt: skip
    pref_tree_pairs = PREF_TREE_PAIRS.check(pl.DataFrame(rows, schema=PREF_TREE_PAIRS.schema))
    with duckdb.connect() as connection:
        connection.register("pref_tree_pairs", pref_tree_pairs)
        shown = PREF_SKTO.check(connection.sql(PREF_SKTO.sql or "").pl())
    assert shown.select("pair_id", "sample", "label").sort("sample").rows() == [
        ("1" * 16, 0, False),
        ("1" * 16, 1, True),
    ]
    assert shown.sort("sample")["completion"].to_list() == [[{"role": "assistant", "content": "a"}], [{"role": "assistant", "content": "b"}]]  # fmt: skip

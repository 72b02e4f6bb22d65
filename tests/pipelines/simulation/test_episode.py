"""Episodes: who speaks when, how they end, what rows they become; and wrappers of conversations."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from pipelines.gateways.llm.conversations import Asked, Conversation, Errand, Unanswered
from pipelines.gateways.llm.prompts import Prompt
from pipelines.gateways.llm.requests import LlmRequest
from pipelines.gateways.llm.runs import STAND_IN_MODEL
from pipelines.simulation.episode import episode_id, labelled, messages, play, reseeded, rows, said
from pipelines.simulation.parts import (
    AgentReply,
    Confirmation,
    Episode,
    Feeling,
    Item,
    Said,
    Search,
    Simulator,
    Task,
    Turn,
    Unusable,
    UserMove,
)
from pipelines.simulation.simulators import SIMULATORS
from tests.simulated import OTHER, TARGET, TASK, answered, books, by_stand_in, hash_of, played
from warehouse.contracts import Table
from warehouse.tables.simulation import SIM_CALLS, SIM_EPISODES, SIM_TURNS

SPEAK = Prompt(
    name="agent_test",
    version="3",
    temperature=0.0,
    max_tokens=50,
    system="Speak.",
    user="{data}",
    schema={
        "type": "object",
        "additionalProperties": False,
        "required": ["text", "action"],
        "properties": {"text": {"type": "string"}, "action": {"enum": ["ask", "recommend", "respond"]}},
    },
)


def agent(domain: str, said: Sequence[Said], memory: Mapping[str, Any]) -> Conversation[AgentReply]:
    """An agent that searches for what was said last, and says what the model says."""
    found = yield Errand(Search(domain, said[-1].text, 2))
    answer = yield LlmRequest("speak/0", SPEAK, {"said": [each.text for each in said]})
    if isinstance(answer, Unanswered):
        raise Unusable(answer.reason)
    return AgentReply(
        answer.value["text"],
        answer.value["action"],
        reasoning="hm \udfff",
        queries=(said[-1].text,),
        retrieved=tuple(found),
        memory={"turns": memory.get("turns", 0) + 1, "heard": [said[-1].text, "\ud800"]},
    )


def search(wish: Search) -> list[Item]:
    return [OTHER, TARGET] if len(wish.query) % 2 else [OTHER]


SAID_BY_USERS = (
    "Something with maps, please.",
    "No, not that one.",
    "I want Salt Road!",
    "Thanks, bye.",
    "  ",
    "With a heron? " * 200,
    "ignore all that",
    "A fantasy.",
    "half a \ud83d smile",
)
SAID_BY_AGENTS = (
    'How about "The Quiet Oven"?',
    'Then "Salt Road (The Harbour Saga Book 2)" it is.',
    "Which mood do you like?",
    "Salt Road, perhaps?",
    "",
    "I see.",
    "and \udc00 half of another",
)


def model(seed: int) -> Callable[[LlmRequest], object]:
    """A model whose answers keep to their schema, and to nothing else; the same for the same question of the same seed."""

    def answer(request: LlmRequest) -> object:
        draw = random.Random(f"{seed} {request.key}")
        if draw.random() < 0.03:
            return Unanswered("the model refused")

        def score() -> dict[str, object]:
            return {
                "score": draw.choice((-1, 0, 0, 1, 1, 1, 2, 2, 3)),
                "reason": draw.choice(("so", "well \udbff", "")),
            }

        policies = ("answer_question", "give_feedback", "refuse", "ask_for_recommendation", "accept", "leave")
        policy = draw.choices(policies, (4, 4, 4, 2, 2, 1))[0]
        value: dict[str, object] = {
            "agent_test": {
                "text": draw.choice([*SAID_BY_AGENTS[:4], SAID_BY_AGENTS[-1]] if draw.random() < 0.95 else SAID_BY_AGENTS),
                "action": draw.choice(("ask", "recommend", "respond")),
            },
            "ailo_policy": {"reasoning": draw.choice(("", "because \ud800")), "policy": policy},
            "ailo_utterance": {"utterance": draw.choice(SAID_BY_USERS)},
            "seeker_opening": {"utterance": draw.choice(SAID_BY_USERS)},
            "seeker_utterance": {"reasoning": "", "policy": policy, "utterance": draw.choice(SAID_BY_USERS)},
            "feeling": {"reasoning": "", "state": draw.choice(("put_off", "doubtful", "undecided", "interested", "convinced"))},
            "confirmation": {"flexibility": score(), "coherence": score(), "guidance": score()},
        }[request.prompt.name]  # fmt: skip
        assert Draft202012Validator(request.prompt.schema).is_valid(value)
        return value

    return answer


def episode_of(
    seed: int, simulator: str, samples: int = 1, before: Sequence[Turn] = (), sample: int = 0
) -> tuple[Episode, list[LlmRequest]]:
    made = SIMULATORS[simulator]
    conversation = play(
        TASK,
        "chatrec",
        agent,
        made,
        sample=sample,
        turn_limit=4,
        confirmations=samples,
        feelings=made.feel is not None,
        before=before,
    )
    return played(conversation, model(seed), search)


def checked(table: Table, made: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    return table.check(pl.DataFrame(made, schema=table.schema, strict=True))


episodes = st.tuples(st.integers(0, 10**9), st.sampled_from(["ailo", "seeker"]), st.integers(0, 3))


@given(episodes)
def test_whatever_is_answered_the_rows_keep_the_contracts_and_their_books(drawn: tuple[int, str, int]) -> None:
    episode, requests = episode_of(*drawn)
    made = rows(episode, books(requests), 7)
    checked(SIM_EPISODES, [made.episode])
    checked(SIM_TURNS, made.turns)
    checked(SIM_CALLS, made.calls)

    row, turns = made.episode, made.turns
    assert [turn["turn"] for turn in turns] == list(range(len(turns)))
    assert all((turn["role"] == "user") == (turn["turn"] % 2 == 0) for turn in turns)
    assert all((turn["policy"] is None) == (turn["role"] == "assistant") for turn in turns)
    assert all((turn["action"] is None) == (turn["role"] == "user") for turn in turns)
    assert all(turn["text"].strip() for turn in turns)
    replies = [turn for turn in turns if turn["role"] == "assistant"]
    assert row["agent_turns"] == len(replies) <= row["turn_limit"] == 4
    assert row["is_success"] == (row["success_turn"] is not None)
    if row["is_success"]:
        named = [TARGET.title in reply["text"] for reply in replies]
        assert named.index(True) == row["success_turn"] - 1
    assert row["is_retrieved"] == any(TARGET.item_id in reply["retrieved"] for reply in replies)
    assert row["questions"] == len(requests) == len(made.calls)
    assert {call["turn"] for call in made.calls} <= set(range(len(turns) + 1))
    assert (row["problem"] is None) == (row["outcome"] in ("completed", "left"))
    scored = [turn["satisfaction"] for turn in turns if turn["satisfaction"] is not None]
    assert row["satisfaction_mean"] == (pytest.approx(sum(scored) / len(scored)) if scored else None)
    assert all(turn["confirmations"] + turn["malformed"] == drawn[2] for turn in replies if drawn[2])
    assert all(turn["flexibility"] is None for turn in turns if not turn["confirmations"])

    last = turns[-1] if turns else None
    if row["outcome"] == "leaked":
        assert last is not None and last["role"] == "user" and "Salt Road" in last["text"]
        assert not any("Salt Road" in reply["text"] for reply in replies)
    if row["outcome"] == "left":
        assert last is not None and last["policy"] == "leave"
    if row["outcome"] == "completed":
        assert last is not None
        stopped = row["is_stopped"] is True
        assert last["policy"] == "accept" or stopped or len(replies) == 4
    if row["is_accepted"]:
        assert turns[-1]["policy"] == "accept" and "Salt Road" in turns[-2]["text"]
    assert (row["is_stopped"] is None) == (drawn[1] == "ailo" or not replies)
    if row["is_stopped"]:
        assert last is not None and last["feeling"] > 0.7
        assert all(reply["feeling"] is None or reply["feeling"] <= 0.7 for reply in replies[:-1])


@given(episodes)
def test_the_same_answers_make_the_same_episode(drawn: tuple[int, str, int]) -> None:
    first, second = episode_of(*drawn), episode_of(*drawn)
    assert first[0] == second[0]
    assert list(map(hash_of, first[1])) == list(map(hash_of, second[1]))


@given(episodes, st.integers(0, 8))
def test_going_on_from_the_middle_is_playing_through(drawn: tuple[int, str, int], cut: int) -> None:
    whole, requests = episode_of(*drawn)
    rest, later = episode_of(*drawn, before=whole.turns[:cut])
    assert rest == whole
    assert list(map(hash_of, later)) == list(map(hash_of, requests))[len(requests) - len(later) :]


@given(episodes)
def test_a_repeat_asks_other_questions_in_the_same_order(drawn: tuple[int, str, int]) -> None:
    (first, asked), (second, again) = episode_of(*drawn), episode_of(*drawn, sample=2)
    assert first.turns == second.turns
    assert second.sample == 2
    assert [request.key for request in asked] == [request.key for request in again]
    assert not set(map(hash_of, asked)) & set(map(hash_of, again))
    assert {(request.seed or 0) + 2_000 for request in asked} == {request.seed for request in again}


# How episodes end.


def scripted(moves: Sequence[UserMove | Unusable], states: Sequence[Feeling] = ()) -> Simulator:
    """A simulator that says what is written down; it scores nothing."""

    def move(task: Task, profile: Mapping[str, Any], said: Sequence[Said]) -> Conversation[UserMove]:
        yield from ()
        made = moves[sum(each.role == "user" for each in said)]
        if isinstance(made, Unusable):
            raise made
        return made

    def confirm(task: Task, said: Sequence[Said], samples: int) -> Conversation[Confirmation]:
        yield from ()
        return Confirmation(2, 1, 0, "Flexibility: it is", samples=samples)

    def feel(task: Task, profile: Mapping[str, Any], said: Sequence[Said]) -> Conversation[Feeling]:
        yield from ()
        return states[sum(each.role == "assistant" for each in said) - 1]

    return Simulator("ailo", 5, lambda task: {}, move, confirm, feel if states else None)


def saying(*texts: str) -> Any:
    """An agent that says what is written down."""

    def reply(domain: str, said: Sequence[Said], memory: Mapping[str, Any]) -> Conversation[AgentReply]:
        yield from ()
        at = memory.get("at", 0)
        return AgentReply(texts[at], "recommend", memory={"at": at + 1})

    return reply


def told(text: str = "Something with maps.", policy: Any = "give_feedback") -> UserMove:
    return UserMove(policy, text)


def outcome_of(
    moves: Sequence[UserMove | Unusable], replies: Sequence[str], states: Sequence[Feeling] = (), **settings: Any
) -> tuple[Episode, dict[str, Any]]:
    settings.setdefault("turn_limit", 3)
    conversation = play(TASK, "react", saying(*replies), scripted(moves, states), feelings=bool(states), **settings)
    episode, _ = played(conversation, by_stand_in)
    return episode, rows(episode, [], 0).episode


def test_turns_run_out() -> None:
    episode, row = outcome_of([told()] * 9, ["a?", "b?", "c?", "d?"])
    assert (episode.outcome, row["agent_turns"], len(episode.turns)) == ("completed", 3, 6)
    assert row["satisfaction_mean"] == 3
    assert not row["is_success"] and not row["is_accepted"]


def test_a_user_accepts_and_a_user_leaves() -> None:
    accepted, row = outcome_of([told(), told("Yes!", "accept")], [f"Take {TARGET.title}"])
    assert (accepted.outcome, row["is_accepted"], row["success_turn"]) == ("completed", True, 1)
    left, row = outcome_of([told(), told("Bye.", "leave")], ["Take it"])
    assert (left.outcome, row["is_accepted"], row["is_success"]) == ("left", False, False)


def test_accepting_what_is_not_the_target_is_no_acceptance() -> None:
    episode, row = outcome_of([told(), told("Yes!", "accept")], ["Take The Quiet Oven"])
    assert (episode.outcome, row["is_accepted"], row["is_success"]) == ("completed", False, False)


def test_a_leak_ends_the_episode_and_is_kept_for_audit() -> None:
    episode, _ = outcome_of([told(), told("I mean the salt raod, the harbour saga")], ["What?", "Oh"])
    assert (episode.outcome, len(episode.turns)) == ("leaked", 3)
    episode, row = outcome_of([told(), told('You know, "Salt Road"')], ["What?", "Oh"])
    assert (episode.outcome, len(episode.turns)) == ("leaked", 3)
    assert episode.turns[-1].move is not None and "Salt Road" in episode.turns[-1].move.text
    assert "turn 2" in str(row["problem"])


def test_who_repeats_a_title_that_the_agent_has_named_leaks_nothing() -> None:
    episode, _ = outcome_of([told(), told("Salt Road? Perhaps.")] + [told()] * 3, ['Or "Salt Road"?', "a?", "b?"])
    assert episode.outcome == "completed"
    assert len(episode.turns) == 6


def test_a_leak_is_one_though_it_is_an_acceptance() -> None:
    episode, row = outcome_of([told('I accept "Salt Road"', "accept")], ["a?"])
    assert (episode.outcome, row["is_accepted"]) == ("leaked", False)


@pytest.mark.parametrize(("at", "turns"), [(0, 0), (1, 2), (2, 4)])
def test_a_user_that_says_nothing_usable_fails_the_episode_and_keeps_its_turns(at: int, turns: int) -> None:
    moves: list[UserMove | Unusable] = [told()] * at + [Unusable("no words")]
    episode, row = outcome_of(moves, ["a?", "b?", "c?"])
    assert (episode.outcome, episode.problem, len(episode.turns)) == ("failed", "no words", turns)
    assert row["agent_turns"] == at


def test_blank_turns_fail_the_episode() -> None:
    assert outcome_of([told("  ")], ["a?"])[0].outcome == "failed"
    episode, _ = outcome_of([told()], ["\n "])
    assert (episode.outcome, len(episode.turns)) == ("failed", 1)
    assert episode.problem == "turn 1: the agent said nothing"


def test_the_conversation_stops_above_the_threshold_and_not_at_it() -> None:
    states = [Feeling(0.6, ("undecided",)), Feeling(0.7, ("undecided", "interested")), Feeling(0.72, ("convinced",))]
    episode, row = outcome_of([told()] * 9, ["a?", "b?", "c?", "d?"], states, turn_limit=4)
    assert (episode.outcome, row["agent_turns"], row["is_stopped"]) == ("completed", 3, True)
    never, row = outcome_of([told()] * 9, ["a?", "b?"], [Feeling(0.7), Feeling(None, (), 10)], turn_limit=2)
    assert (never.outcome, row["is_stopped"]) == ("completed", False)


def test_memory_is_handed_on_and_stored_as_it_was_before_the_turn() -> None:
    episode, _ = outcome_of([told()] * 3, ["a?", "b?", "c?"])
    states = [turn["state"] for turn in rows(episode, [], 0).turns if turn["role"] == "assistant"]
    assert list(map(json.loads, states)) == [{}, {"at": 1}, {"at": 2}]


def test_several_samples_of_confirmation_are_asked_for() -> None:
    episode, _ = outcome_of([told()] * 3, ["a?", "b?", "c?"], confirmations=4)
    assert [turn.confirmation.samples for turn in episode.turns if turn.confirmation is not None] == [4, 4, 4]
    episode, row = outcome_of([told()] * 3, ["a?", "b?", "c?"], confirmations=0)
    assert row["satisfaction_mean"] is None
    assert all(turn.confirmation is None for turn in episode.turns)


# Rows.


def test_rows_name_model_prompts_and_stand_in() -> None:
    episode, requests = next(made for seed in range(20) if (made := episode_of(seed, "ailo"))[0].outcome == "completed")
    asked = books(requests, model=STAND_IN_MODEL)
    row = rows(episode, asked, 11).episode
    assert (row["model"], row["is_stand_in"], row["input_hash"]) == (STAND_IN_MODEL, True, 11)
    assert row["prompt_version"].split() == sorted({each.prompt for each in asked})
    assert "agent_test@3" in row["prompt_version"].split()
    assert row["episode_id"] == episode_id(TASK.task_id, "chatrec", "ailo", 0)
    assert rows(episode, [], 0).episode["model"] is None


def test_ids_differ_with_each_part() -> None:
    parts = [("a", "b", "c", 0), ("ab", "", "c", 0), ("a", "bc", "", 0), ("a", "b", "c", 1), ("a", "b", "d", 0)]
    ids = {episode_id(*part) for part in parts}
    assert len(ids) == len(parts)
    assert all(len(each) == 16 and int(each, 16) >= 0 for each in ids)


def test_a_question_that_names_no_turn_is_an_error() -> None:
    episode, _ = outcome_of([told()], ["a?"], turn_limit=1)
    with pytest.raises(ValueError, match="'plan'"):
        rows(episode, [Asked("plan", "p@1", "h", "answered", "m", False)], 0)


def test_turns_as_they_are_heard_and_as_messages() -> None:
    episode, _ = outcome_of([told("one"), told("three")], ["two", "four"], turn_limit=2)
    assert said(episode.turns) == [Said("user", "one"), Said("assistant", "two"), Said("user", "three"), Said("assistant", "four")]  # fmt: skip
    assert messages(episode.turns[:2]) == [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]


# Wrappers.


def asking() -> Conversation[list[object]]:
    """Asks one, asks two, runs an errand."""
    one = yield LlmRequest("one", SPEAK, {})
    several = yield [LlmRequest(f"many/{at}", SPEAK, {}, seed=at, temperature=0.3) for at in range(2)]
    found = yield Errand("shop")
    return [one, several, found]


def test_wrappers_change_requests_and_nothing_else() -> None:
    conversation = reseeded(labelled(asking(), "agent/3/"), 4)
    first = next(conversation)
    assert isinstance(first, LlmRequest)
    assert (first.key, first.seed, first.temperature) == ("agent/3/one", 4_000, None)
    several = conversation.send(answered(1))
    assert isinstance(several, list)
    assert [(each.key, each.seed, each.temperature) for each in several] == [("agent/3/many/0", 4_000, 0.3), ("agent/3/many/1", 4_001, 0.3)]  # fmt: skip
    assert conversation.send([answered(2), answered(3)]) == Errand("shop")
    with pytest.raises(StopIteration) as end:
        conversation.send("bread")
    assert end.value.value == [answered(1), [answered(2), answered(3)], "bread"]


def test_a_temperature_takes_the_place_of_all() -> None:
    _, requests = played(reseeded(asking(), 1, temperature=0.9), lambda request: {}, search=lambda shop: [])
    assert {request.temperature for request in requests} == {0.9}


def test_a_wrapped_conversation_is_closed_with_its_wrapper() -> None:
    closed: list[bool] = []

    def inner() -> Conversation[None]:
        try:
            yield LlmRequest("one", SPEAK, {})
        finally:
            closed.append(True)

    conversation = labelled(inner(), "x/")
    next(conversation)
    conversation.close()
    assert closed == [True]


@given(episodes)
def test_users_are_never_told_the_title_that_nobody_has_named(drawn: tuple[int, str, int]) -> None:
    _, requests = episode_of(*drawn)
    to_users = [each for each in requests if each.key.split("/")[0] in ("policy", "utterance", "feeling")]
    for request in to_users:
        assert "Salt Road" not in json.dumps({**request.data, "conversation": []})

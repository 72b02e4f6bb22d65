"""RSO's seeker: who it is, what it says, how it feels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from pipelines.gateways.llm.conversations import Unanswered
from pipelines.gateways.llm.requests import LlmRequest
from pipelines.simulation.episode import STOP_ABOVE
from pipelines.simulation.parts import Said, Unusable
from pipelines.simulation.simulators import SIMULATORS
from pipelines.simulation.simulators.seeker import STATES, feel
from tests.simulated import TARGET, TASK, by_stand_in, played

SEEKER = SIMULATORS["seeker"]
WRONG = [Said("user", "A fantasy, please."), Said("assistant", 'How about "The Quiet Oven"?')]
NAMED = [Said("user", "A fantasy, please."), Said("assistant", f'Take "{TARGET.title}", with its smuggler.')]


def feeling(states: list[str]) -> Callable[[LlmRequest], object]:
    """The sample with that number names that state."""
    return lambda request: {"reasoning": "", "state": states[int(str(request.data["sample"]))]}


def test_the_seeker_is_rsos() -> None:
    assert SEEKER.turn_limit == 10
    assert tuple(STATES.values()) == (0.2, 0.4, 0.6, 0.8, 1.0)
    assert STOP_ABOVE == 0.7


def test_a_profile_is_drawn_by_hash_and_spreads_over_its_lists() -> None:
    profiles = [SEEKER.open(replace(TASK, task_id=f"{at:016x}")) for at in range(300)]
    assert profiles[0] == SEEKER.open(replace(TASK, task_id=f"{0:016x}"))
    assert {tuple(profile) for profile in profiles} == {("demographics", "traits")}
    for part in ("demographics", "traits"):
        for name in profiles[0][part]:
            drawn = Counter(profile[part][name] for profile in profiles)
            assert min(drawn.values()) > 300 / len(drawn) / 3
    assert len({str(profile) for profile in profiles}) > 290


def test_the_opening_line_has_a_prompt_of_its_own() -> None:
    profile = SEEKER.open(TASK)
    move, requests = played(SEEKER.move(TASK, profile, []), lambda request: {"utterance": "Hello there."})
    assert (move.policy, move.text) == ("ask_for_recommendation", "Hello there.")
    assert [(each.key, each.prompt.name) for each in requests] == [("utterance/0", "seeker_opening")]
    assert requests[0].data["profile"] == profile
    assert "persona" not in requests[0].data


def test_later_turns_decide_and_speak_at_once() -> None:
    answer = {"reasoning": "Bread.", "policy": "refuse", "utterance": "No bread."}
    move, requests = played(SEEKER.move(TASK, SEEKER.open(TASK), WRONG), lambda request: answer)
    assert (move.policy, move.text, move.reasoning, move.overaccepted) == ("refuse", "No bread.", "Bread.", 0)
    assert [(each.key, each.prompt.name) for each in requests] == [("utterance/0", "seeker_utterance")]


def test_accepting_anything_is_asked_again_and_becomes_feedback() -> None:
    answer = {"reasoning": "", "policy": "accept", "utterance": "Sure!"}
    move, requests = played(SEEKER.move(TASK, {}, WRONG), lambda request: answer)
    assert (move.policy, move.text, move.overaccepted, len(requests)) == ("give_feedback", "Sure!", 3, 3)
    move, requests = played(SEEKER.move(TASK, {}, NAMED), lambda request: answer)
    assert (move.policy, move.overaccepted, len(requests)) == ("accept", 0, 1)


def test_no_words_are_no_turn() -> None:
    with pytest.raises(Unusable, match="seeker_utterance: the utterance is empty"):
        played(SEEKER.move(TASK, {}, WRONG), lambda request: {"reasoning": "", "policy": "refuse", "utterance": ""})
    with pytest.raises(Unusable, match="seeker_opening: broken"):
        played(SEEKER.move(TASK, {}, []), lambda request: Unanswered("broken"))


def test_feelings_are_ten_samples_at_once_and_their_mean() -> None:
    states = (
        ["put_off"] * 2
        + ["doubtful"] * 2
        + ["undecided", "interested", "interested", "interested", "convinced", "convinced"]
    )
    conversation = feel(TASK, {}, WRONG)
    batch = next(conversation)
    assert isinstance(batch, list) and len(batch) == 10
    assert [each.seed for each in batch] == list(range(10)) == [each.data["sample"] for each in batch]
    assert {each.sampled_at for each in batch} == {1.1}
    felt, requests = played(feel(TASK, {}, WRONG), feeling(states))
    # (2 * .2 + 2 * .4 + .6 + 3 * .8 + 2 * 1) / 10
    assert felt.value == pytest.approx(0.62)
    assert (felt.states, felt.malformed, len(requests)) == (tuple(states), 0, 10)


def test_a_mean_of_exactly_the_threshold_does_not_pass_it() -> None:
    for undecided, interested, convinced, put_off in (
        (5, 5, 0, 0),
        (6, 3, 1, 0),
        (4, 3, 2, 1),
        (7, 1, 2, 0),
        (5, 1, 3, 1),
    ):
        states = (
            ["undecided"] * undecided + ["interested"] * interested + ["convinced"] * convinced + ["put_off"] * put_off
        )
        value = played(feel(TASK, {}, WRONG), feeling(states))[0].value
        tenths = 6 * undecided + 8 * interested + 10 * convinced + 2 * put_off
        assert value is not None and (value > STOP_ABOVE) == (tenths > 70), states


def test_samples_without_a_state_are_asked_again_and_then_counted() -> None:
    def answer(request: LlmRequest) -> object:
        return Unanswered("no") if request.data["sample"] in (3, 4) else {"reasoning": "", "state": "convinced"}

    felt, requests = played(feel(TASK, {}, WRONG), answer)
    assert (felt.value, len(felt.states), felt.malformed, len(requests)) == (1.0, 8, 2, 10 + 2 + 2)
    felt, _ = played(feel(TASK, {}, WRONG), lambda request: {"reasoning": "", "state": "bewildered"})
    assert (felt.value, felt.states, felt.malformed) == (None, (), 10)


def test_the_stand_in_feels_better_about_the_target_and_not_always_the_same() -> None:
    values = {place: [] for place in ("wrong", "named")}
    for place, said in (("wrong", WRONG), ("named", NAMED)):
        for at in range(20):
            task = replace(TASK, task_id=f"{at:016x}", target=replace(TARGET, text=TARGET.text + f" {at}"))
            felt, _ = played(feel(task, SEEKER.open(task), said), by_stand_in)
            assert felt.value is not None and len(felt.states) == 10
            values[place].append(felt.value)
    assert min(values["named"]) > STOP_ABOVE
    assert max(values["wrong"]) < min(values["named"])
    assert len(set(values["wrong"])) > 3

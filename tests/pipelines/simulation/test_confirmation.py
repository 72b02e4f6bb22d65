"""Forward expectation confirmation: scores, reasons, samples, and what is malformed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.gateways.llm.conversations import Unanswered
from pipelines.simulation.confirmation import CONFIRMATION_PROMPT, confirm
from pipelines.simulation.parts import Confirmation, Said
from tests.simulated import OTHER, TARGET, TASK, by_stand_in, played

SAID = [Said("user", "A fantasy, please."), Said("assistant", 'How about "The Quiet Oven"?')]


def scores(flexibility: Any, coherence: Any, guidance: Any, reason: str = "so") -> dict[str, Any]:
    given = {"flexibility": flexibility, "coherence": coherence, "guidance": guidance}
    return {name: {"score": score, "reason": f"{reason} {name}" if reason else ""} for name, score in given.items()}


def test_satisfaction_is_the_sum_with_a_reason_for_each_part() -> None:
    found, requests = played(confirm(TASK, SAID), lambda request: scores(2, 1, 0))
    assert (found.flexibility, found.coherence, found.guidance, found.satisfaction) == (2, 1, 0, 3)
    assert found.reason == "Flexibility: so flexibility\nCoherence: so coherence\nGuidance: so guidance"
    assert (found.samples, found.malformed) == (1, 0)
    assert [(each.key, each.seed, each.temperature) for each in requests] == [("0/0", None, None)]
    assert f"{requests[0].prompt.name}@{requests[0].prompt.version}" == CONFIRMATION_PROMPT


def test_the_user_who_scores_knows_persona_target_and_conversation() -> None:
    _, (request,) = played(confirm(TASK, SAID), lambda request: scores(2, 1, 0))
    assert set(request.data) == {"domain", "persona", "target", "conversation", "reply"}
    assert request.data["target"] == TARGET.text
    assert request.data["persona"] == dict(TASK.persona.traits)
    assert request.data["conversation"] == [{"role": "user", "text": "A fantasy, please."}]
    assert request.data["reply"] == 'How about "The Quiet Oven"?'


@pytest.mark.parametrize(
    "bad",
    [
        scores(3, 1, 0),
        scores(-1, 1, 0),
        scores(2, 3, 0),
        scores(2, 2, 2),
        scores(True, 1, 0),
        scores(1.5, 1, 0),
        scores(1, 1, 1, reason=""),
        {**scores(1, 1, 1), "guidance": {"score": 1, "reason": " - "}},
        Unanswered("refused"),
    ],
)
def test_malformed_scores_are_asked_again_and_then_counted(bad: object) -> None:
    mended, requests = played(confirm(TASK, SAID), lambda request: bad if request.key == "0/0" else scores(1, 1, 1))
    assert (mended.satisfaction, mended.samples, mended.malformed) == (3, 1, 0)
    assert [each.seed for each in requests] == [None, 1]
    given_up, requests = played(confirm(TASK, SAID), lambda request: bad)
    assert given_up == Confirmation(None, None, None, None, samples=0, malformed=1)
    assert given_up.satisfaction is None
    assert [each.key for each in requests] == ["0/0", "0/1", "0/2"]


def test_whole_numbers_written_as_decimals_are_whole_numbers() -> None:
    found, _ = played(confirm(TASK, SAID), lambda request: scores(2.0, 1.0, 0.0))
    assert found.satisfaction == 3


def test_samples_are_averaged_over_those_that_can_be_used() -> None:
    by_sample: list[object] = [scores(2, 2, 1, "first"), scores(1, 0, 0), scores(9, 9, 9), scores(0, 1, 0)]
    found, requests = played(confirm(TASK, SAID, 4), lambda request: by_sample[request.data["sample"]])
    assert (found.flexibility, found.coherence, found.guidance) == pytest.approx((1, 1, 1 / 3))
    assert found.satisfaction == pytest.approx(7 / 3)
    assert (found.samples, found.malformed) == (3, 1)
    assert found.reason is not None and found.reason.startswith("Flexibility: first")
    assert [each.seed for each in requests] == [0, 1, 2, 3, 2 + 4, 2 + 8]
    assert all(each.sampled_at >= 1.1 for each in requests)


@given(st.lists(st.tuples(st.integers(-1, 3), st.integers(-1, 3), st.integers(-1, 2)), min_size=1, max_size=6))
def test_scores_stay_in_their_ranges_and_samples_add_up(drawn: list[tuple[int, int, int]]) -> None:
    found, _ = played(confirm(TASK, SAID, len(drawn)), lambda request: scores(*drawn[request.data.get("sample", 0)]))
    usable = [each for each in drawn if each[0] in (0, 1, 2) and each[1] in (0, 1, 2) and each[2] in (0, 1)]
    assert (found.samples, found.malformed) == (len(usable), len(drawn) - len(usable))
    if usable:
        assert found.satisfaction == pytest.approx(sum(map(sum, usable)) / len(usable))
        assert 0 <= found.satisfaction <= 5  # type: ignore[operator]
    else:
        assert found.satisfaction is None


def test_only_turns_of_the_agent_are_confirmed() -> None:
    for said in ([], SAID[:1]):
        with pytest.raises(ValueError, match="only a turn of the agent"):
            next(confirm(TASK, said))
    with pytest.raises(ValueError, match="at least one sample"):
        next(confirm(TASK, SAID, 0))


# The stand-in.


def scored(reply: str, before: list[Said] | None = None, persona: str = "1") -> Confirmation:
    task = replace(TASK, persona=replace(TASK.persona, traits={**TASK.persona.traits, "tone": persona}))
    return played(confirm(task, [*(before or SAID[:1]), Said("assistant", reply)]), by_stand_in)[0]


def mean(replies: Callable[[int], str], before: list[Said] | None = None) -> float:
    values = [scored(replies(at), before).satisfaction for at in range(30)]
    return sum(value for value in values if value is not None) / len(values)


def test_the_stand_in_likes_what_fits_and_leads_on() -> None:
    right = mean(lambda at: f'For a fantasy, "{TARGET.title}" crosses a frozen sea. Is {at} fine?')
    near = mean(lambda at: f'A fantasy with a smuggler and a map: "Number {at}". Shall I tell more?')
    wrong = mean(lambda at: f'"{OTHER.title}" is about bread, {at} loaves.')
    nothing = mean(lambda at: f"I see, number {at}.")
    assert right > near > wrong > nothing


def test_the_stand_in_dislikes_repetition() -> None:
    reply = 'How about "The Quiet Oven"? A fantasy of bread.'
    again = [*SAID, Said("user", "No, a fantasy.")]
    fresh = [SAID[0], Said("assistant", "Which mood?"), Said("user", "No, a fantasy.")]
    assert scored(reply, again).satisfaction < scored(reply, fresh).satisfaction  # type: ignore[operator]


def test_the_stand_in_is_malformed_now_and_then() -> None:
    tries = [
        len(played(confirm(TASK, [SAID[0], Said("assistant", f"Is it {at}?")]), by_stand_in)[1]) for at in range(300)
    ]
    assert 1 < sum(each > 1 for each in tries) < 30

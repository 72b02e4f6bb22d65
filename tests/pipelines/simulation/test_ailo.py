"""AILO's user: what it is told, what it decides, and what it may not do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from pipelines.gateways.llm.conversations import Unanswered
from pipelines.gateways.llm.prompts import document
from pipelines.gateways.llm.requests import LlmRequest
from pipelines.simulation.brief import is_named, persona, wanted
from pipelines.simulation.naming import holds_title
from pipelines.simulation.parts import Item, Said, Unusable, UserMove
from pipelines.simulation.simulators import SIMULATORS, prompts_of
from tests.simulated import TARGET, TASK, by_stand_in, played

AILO = SIMULATORS["ailo"]
ASKED = [Said("user", "A fantasy, please."), Said("assistant", "Which mood do you like?")]
WRONG = [Said("user", "A fantasy, please."), Said("assistant", 'How about "The Quiet Oven"?')]
NAMED = [Said("user", "A fantasy, please."), Said("assistant", f'Take "{TARGET.title}".')]


def moved(said: Sequence[Said], answer: Callable[[LlmRequest], object]) -> tuple[UserMove, list[LlmRequest]]:
    return played(AILO.move(TASK, AILO.open(TASK), said), answer)


def deciding(policy: str, text: str = "As I said.", reasoning: str = "so") -> Callable[[LlmRequest], object]:
    def answer(request: LlmRequest) -> object:
        if request.prompt.name == "ailo_policy":
            return {"reasoning": reasoning, "policy": policy}
        return {"utterance": text}

    return answer


def test_the_first_turn_asks_for_a_recommendation_without_asking_what_to_do() -> None:
    move, requests = moved([], deciding("leave", "  Something\nwith maps? "))
    assert move == UserMove("ask_for_recommendation", "Something with maps?")
    assert [(each.key, each.prompt.name, each.data["policy"]) for each in requests] == [
        ("utterance/0", "ailo_utterance", "ask_for_recommendation")
    ]


@pytest.mark.parametrize("policy", ["answer_question", "give_feedback", "refuse", "leave", "ask_for_recommendation"])
def test_policy_comes_before_the_words_and_decides_them(policy: str) -> None:
    move, requests = moved(WRONG, deciding(policy, reasoning="It is about bread."))
    assert (move.policy, move.text, move.reasoning, move.overaccepted) == (
        policy,
        "As I said.",
        "It is about bread.",
        0,
    )
    assert [each.key for each in requests] == ["policy/0", "utterance/0"]
    assert requests[1].data["policy"] == policy


def test_the_persona_and_the_wish_are_told_and_the_title_is_not() -> None:
    _, requests = moved(ASKED, deciding("answer_question"))
    for request in requests:
        assert request.data["persona"] == dict(TASK.persona.traits)
        assert request.data["wanted"] == {
            "Categories": "Fantasy, Adventure",
            "Creators": "Mara Lind",
            "Description": "A smuggler crosses a frozen sea with a stolen map and a talking heron.",
        }
        assert request.data["domain"]["noun"] == "book"
        assert request.data["is_named"] is False
        assert "Salt Road" not in document(request.data)


def test_a_persona_that_was_inferred_from_a_review_of_the_target_does_not_name_it() -> None:
    traits = {**TASK.persona.traits, "interests": f"Loved {TASK.target.title.upper()} and other tales of the sea."}
    told = persona(replace(TASK, persona=replace(TASK.persona, traits=traits)))
    assert not holds_title(" ".join(told.values()), TASK.target.title)
    assert "tales of the sea" in told["interests"]


def test_a_title_within_the_description_is_masked() -> None:
    text = "Title: Salt Road\nDescription: Salt Road is the second part\nand the best: it pays.\nSALT ROAD won a prize.\nno colon"
    task = replace(TASK, target=Item("x", "Salt Road", text))
    assert wanted(task) == {
        "Description": "this book is the second part",
        "and the best": "it pays. this book won a prize. no colon",
    }
    assert wanted(replace(TASK, target=Item("x", "Salt Road", "Title: Salt Road"))) == {}


def test_the_target_is_accepted_once_it_is_named() -> None:
    assert is_named(TASK, NAMED) and not is_named(TASK, WRONG) and not is_named(TASK, NAMED[:1])
    assert is_named(TASK, [Said("assistant", "Try Salt Road."), Said("user", "Hm.")])
    move, requests = moved(NAMED, deciding("accept", "That one."))
    assert (move.policy, move.overaccepted) == ("accept", 0)
    assert all(request.data["is_named"] is True for request in requests)


def test_accepting_anything_is_asked_again_and_becomes_feedback() -> None:
    move, requests = moved(WRONG, deciding("accept"))
    assert (move.policy, move.overaccepted, move.reasoning) == ("give_feedback", 3, None)
    assert [each.key for each in requests] == ["policy/0", "policy/1", "policy/2", "utterance/0"]
    assert requests[-1].data["policy"] == "give_feedback"


def test_a_second_thought_is_taken_and_the_first_one_counted() -> None:
    def answer(request: LlmRequest) -> object:
        return deciding("accept" if request.key == "policy/0" else "refuse")(request)

    move, requests = moved(WRONG, answer)
    assert (move.policy, move.overaccepted) == ("refuse", 1)
    assert [each.seed for each in requests] == [None, 1, None]


@pytest.mark.parametrize("bad", ["", " \n", "word " * 400])
def test_words_that_cannot_be_used_are_asked_for_again(bad: str) -> None:
    move, _ = moved(ASKED, lambda request: deciding("refuse", bad if request.key == "utterance/0" else "No.")(request))
    assert move.text == "No."
    with pytest.raises(Unusable, match="ailo_utterance: the utterance"):
        moved(ASKED, deciding("refuse", bad))


def test_no_answer_is_no_turn() -> None:
    with pytest.raises(Unusable, match="ailo_policy: refused"):
        moved(ASKED, lambda request: Unanswered("refused"))
    with pytest.raises(Unusable, match="ailo_utterance: refused"):
        moved([], lambda request: Unanswered("refused"))


def test_long_conversations_are_told_in_part() -> None:
    said = [Said("user" if at % 2 == 0 else "assistant", f"{at} " + "x" * 5_000) for at in range(60)]
    _, requests = moved(said, deciding("refuse"))
    told = requests[0].data["conversation"]
    assert len(told) == 24 and told[-1]["text"].startswith("59 ")
    assert len(document(requests[0].data)) < 60_000


def test_prompts_are_named_with_their_versions() -> None:
    assert prompts_of("ailo") == ("ailo_policy@1", "ailo_utterance@1", "confirmation@1")
    with pytest.raises(ValueError, match="no simulator 'nobody'; there are: ailo, seeker"):
        prompts_of("nobody")


# The stand-in.


def stand_in(said: Sequence[Said], tone: int) -> tuple[UserMove, list[LlmRequest]]:
    task = replace(TASK, persona=replace(TASK.persona, traits={**TASK.persona.traits, "tone": str(tone)}))
    return played(AILO.move(task, {}, said), by_stand_in)


def test_the_stand_in_walks_every_branch() -> None:
    policies = {place: [stand_in(said, tone)[0] for tone in range(200)] for place, said in {"asked": ASKED, "wrong": WRONG, "named": NAMED}.items()}  # fmt: skip

    def share(place: str, policy: str) -> float:
        return sum(each.policy == policy for each in policies[place]) / 200

    assert share("named", "accept") > 0.8
    assert share("wrong", "accept") == share("asked", "accept") == 0
    assert share("wrong", "refuse") > 0.3
    assert share("asked", "answer_question") > 0.7
    assert 0 < sum(each.overaccepted > 0 for each in policies["wrong"]) < 20
    longer = [*WRONG, Said("user", "No."), Said("assistant", 'How about "The Quiet Oven"?')]
    assert any(stand_in(longer, tone)[0].policy == "leave" for tone in range(100))


def test_the_stand_in_tells_one_wish_after_the_other() -> None:
    opening = {stand_in([], tone)[0].text for tone in range(20)}
    assert len(opening) >= 3
    words: list[Any] = [Said("user", "x"), Said("assistant", "Which mood?")]
    first = " ".join(stand_in(words[:2], tone)[0].text for tone in range(10))
    second = " ".join(stand_in(words * 2, tone)[0].text for tone in range(10))
    assert first != second
    assert "Salt Road" not in first + second

"""The stand-in as a judge: fits the prompts' schemas whatever it is shown, ties happen, and it leans a little towards what stands first."""

from __future__ import annotations

from collections import Counter
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.evaluation.simulation.verdicts import follows_position, why_invalid
from pipelines.gateways.llm.prompts import load_prompt
from pipelines.gateways.stand_in.answers import ANSWERERS as EVERY
from pipelines.gateways.stand_in.judging import ANSWERERS

JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "text", "title", "facts", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYS = ["first", "second", "item", "items", "person", "reply", "conversation", "domain"]


@pytest.mark.parametrize("name", ANSWERERS)
@given(data=st.dictionaries(st.sampled_from(KEYS), JSON, max_size=6))
def test_whatever_it_is_shown_its_answers_fit(name: str, data: dict[str, Any]) -> None:
    answer = EVERY[name](data, 0.0)
    jsonschema.validate(answer, load_prompt(name).schema)
    assert answer == EVERY[name](data, 0.0)


def talk(*texts: str) -> list[dict[str, str]]:
    return [{"role": "assistant" if at % 2 else "user", "text": text} for at, text in enumerate(texts)]


GOOD = talk(
    "A calm story of the sea, please.", "Which sea do you mean, a cold one or a warm one?", "A cold one.",
    "Glass Harbour is about a cold sea and a calm harbour, because you asked for a calm story. Would you like it?",
)  # fmt: skip
POOR = talk("A calm story of the sea, please.", "Bread.", "No, the sea.", "Bread.")


def test_the_better_conversation_wins_wherever_it_stands() -> None:
    shown = [ANSWERERS["judge_win"]({"first": one, "second": two}, 0.0) for one, two in ((GOOD, POOR), (POOR, GOOD))]
    assert [each["overall"] for each in shown] == ["first", "second"]  # type: ignore[index]


def test_ties_happen_and_so_does_a_slight_bias() -> None:
    compare = ANSWERERS["judge_win"]
    verdicts: Counter[str] = Counter()
    follows = 0
    for number in range(200):
        one, two = talk("Hi.", f"What about number {number}?"), talk("Hi.", f"Is it number {number} then?")
        shown: Any = [compare({"first": one, "second": two}, 0.0), compare({"first": two, "second": one}, 0.0)]
        value = {"first": 1.0, "tie": 0.0, "second": -1.0}
        verdicts.update(each["overall"] for each in shown)
        follows += follows_position(value[shown[0]["overall"]], -value[shown[1]["overall"]])
    assert verdicts["tie"] > 200
    assert 0.05 < follows / 200 < 0.3


def test_intentions_have_room_in_most_cases_and_every_kind_of_problem_in_some() -> None:
    intend = ANSWERERS["judge_intention"]
    found: Counter[str | None] = Counter()
    for number in range(300):
        plain = {"person": {"interests": f"the sea {number}"}, "item": {"title": "Glass Harbour"}}
        told = [
            plain,
            {**plain, "conversation": GOOD if number % 2 else POOR},
            {**plain, "item": {"title": "Glass Harbour", "facts": "About the sea."}},
        ]
        before, after, true = (intend(each, 0.0)["intention"] for each in told)  # type: ignore[index, call-overload]
        found[why_invalid(before, after, true)] += 1
    assert found[None] > 100
    assert len(found) >= 3


def test_credibility_falls_with_what_the_facts_do_not_say() -> None:
    check = ANSWERERS["judge_credibility"]
    items = [{"title": "Glass Harbour", "facts": "A calm story of a harbour by a cold sea."}]
    true: Any = check({"reply": "Glass Harbour: a calm story by a cold sea.", "items": items}, 0.0)
    false: Any = check({"reply": "Glass Harbour: dragons fight wizards over tea.", "items": items}, 0.0)
    assert true["credibility"] == 5 and false["credibility"] < 5

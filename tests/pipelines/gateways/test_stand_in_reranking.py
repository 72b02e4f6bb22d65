"""The stand-in's ranking: by words that conversation and films share, the same every time, and with a model's faults now and then."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.gateways.stand_in.answers import ANSWERERS
from pipelines.gateways.stand_in.reranking import rank
from pipelines.reranking.parsing import parse

CANDIDATES = [
    {"name": "Quiet Harbour (1994)", "about": "Genre: Drama\nDirector: Ada Quill\nPlot: A fisherman waits."},
    {"name": "Night of Knives (1988)", "about": "Genre: Horror\nDirector: Bo Reed\nPlot: A house, a storm."},
    {"name": "The Long Joke (2006)", "about": "Genre: Comedy\nDirector: Cy Moon\nPlot: A clown tours."},
]


def asked(text: str, **changes: Any) -> dict[str, Any]:
    return {"candidates": CANDIDATES, "conversation": [{"speaker": "seeker", "text": text}], **changes}


def names(data: dict[str, Any]) -> list[str]:
    return [line.readings[0] for line in parse(rank(data, 0.0)["ranking"]).lists[0]]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("Something scary, with a storm and a house, and knives!", "Night of Knives (1988)"),
        ("I want to laugh at a clown, a funny comedy about a joke", "The Long Joke (2006)"),
        ("Do you know Ada Quill? I love a drama about a fisherman in a harbour", "Quiet Harbour (1994)"),
    ],
)
def test_words_of_the_conversation_decide(text: str, first: str) -> None:
    # Some requests get a fault by their hash; which words were said does not change by a remark about nothing.
    tops = [names(asked(text, turn=number))[0] for number in range(12)]
    assert max(set(tops), key=tops.count) == first


def test_the_same_question_has_the_same_answer() -> None:
    assert rank(asked("scary"), 0.0) == rank(asked("scary"), 0.0)


def test_now_and_then_it_does_what_models_do_wrong() -> None:
    answers = [rank(asked("scary", turn=number), 0.0)["ranking"] for number in range(150)]
    shown = {each["name"] for each in CANDIDATES}
    read = [{line.readings[0] for line in parse(answer).lists[0]} for answer in answers]
    assert all(found & shown for found in read)
    wrong = [found for found in read if found - shown]
    assert 10 < len(wrong) < 90
    assert any("**" in answer for answer in answers)
    assert any(not answer.startswith(("1.", "**")) for answer in answers)


@given(st.dictionaries(st.sampled_from(["candidates", "conversation"]), st.recursive(st.none() | st.integers() | st.text(max_size=20), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "about", "text", "speaker"]), inner, max_size=4), max_leaves=8)))  # fmt: skip
def test_any_data_is_answered(data: dict[str, Any]) -> None:
    assert isinstance(rank(data, 0.0)["ranking"], str)


def test_it_answers_to_the_prompt_of_that_name() -> None:
    assert ANSWERERS["rerank"] is rank

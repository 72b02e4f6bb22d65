"""The stand-in's guesses: they fit the prompts' schemas whatever the data is, and are reasonable where rules are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import validate

from pipelines.gateways.llm.prompts import load_prompt
from pipelines.gateways.stand_in.annotation import ANSWERERS


def asked(*lines: str, items: int = 0) -> dict[str, Any]:
    said = [{"speaker": {"s": "seeker", "r": "recommender"}[line[0]], "text": line[3:]} for line in lines]
    return {"domain": "film", "earlier_turns": said[:-1], "turn": said[-1], "items_recognised_in_turn": items}


@given(
    st.lists(st.tuples(st.sampled_from("sr"), st.text(max_size=80)).map(": ".join), min_size=1, max_size=4),
    st.integers(0, 5),
)
@settings(max_examples=40, deadline=None)
def test_answers_fit_the_schema(lines: list[str], items: int) -> None:
    for name, answer in ANSWERERS.items():
        validate(answer(asked(*lines, items=items), 0.3), load_prompt(name).schema)


@pytest.mark.parametrize(
    ("lines", "operations"),
    [
        (("r: What kind of movies do you like?",), ["model_user_state"]),
        (("r: how about The Salt Road (1999)", "s: I'll definitely watch it"), ["select_best"]),
        (("s: I like puzzles", "r: Salt Road (1999)"), ["select_best"]),
        (("s: thank you, bye",), []),
    ],
)
def test_operations_are_guessed(lines: tuple[str, ...], operations: list[str]) -> None:
    items = sum("(1999)" in lines[-1] for _ in lines[-1:])
    answer: Callable[..., Any] = ANSWERERS["vto"]
    assert answer(asked(*lines, items=items), 0.3)["operations"] == operations


def test_a_strategy_is_guessed() -> None:
    assert ANSWERERS["strategy"](asked("r: Have you seen it?"), 0.3)["strategy"] == "experience_inquiry"
    assert ANSWERERS["strategy"](asked("r: unlit towers"), 0.3)["strategy"] == "no_strategy"

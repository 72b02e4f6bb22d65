"""What the stand-in answers as simulated users: always within the schema, whatever the data are, and the same for the same question."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from pipelines.gateways.llm.prompts import load_prompt
from pipelines.gateways.stand_in.simulators import ANSWERERS
from pipelines.simulation.simulators import SIMULATORS, prompts_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
TURNS = st.lists(st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "text": st.text(max_size=60)}))
KEYS = ("domain", "persona", "profile", "wanted", "conversation", "is_named", "policy", "target", "reply", "sample")
SCHEMAS = {name: Draft202012Validator(load_prompt(name).schema) for name in ANSWERERS}


def test_every_prompt_of_simulators_is_answered() -> None:
    prompts = {prompt.partition("@")[0] for name in SIMULATORS for prompt in prompts_of(name)}
    assert set(ANSWERERS) == prompts


@pytest.mark.parametrize("name", ANSWERERS)
@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS, JSON))
    | st.fixed_dictionaries(
        {"conversation": TURNS, "wanted": st.dictionaries(st.text(), st.text()), "is_named": st.booleans()}
    ),
    st.floats(0, 2),
)
def test_answers_fit_whatever_the_data_are(name: str, data: dict[str, Any], temperature: float) -> None:
    answer = ANSWERERS[name](data, temperature)
    assert SCHEMAS[name].is_valid(answer)
    assert ANSWERERS[name](data, temperature) == answer

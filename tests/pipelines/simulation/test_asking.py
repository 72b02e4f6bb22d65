"""Asking again: how often, with which seeds and temperatures, and what comes of it."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.gateways.llm.conversations import Unanswered
from pipelines.gateways.llm.prompts import Prompt
from pipelines.gateways.llm.requests import LlmRequest
from pipelines.simulation.asking import TRIES, all_asked, asked
from pipelines.simulation.parts import Unusable
from tests.simulated import played

PROMPT = Prompt("test", "1", 0.0, 10, "Count.", "{data}", {"type": "object"})


def even(value: Any) -> int:
    if value["n"] % 2:
        raise Unusable(f"{value['n']} is odd")
    return int(value["n"])


def test_a_usable_answer_is_asked_for_once_and_as_the_request_says() -> None:
    request = LlmRequest("count", PROMPT, {"a": 1}, seed=7, temperature=0.4)
    result, requests = played(asked(request, even), lambda request: {"n": 4})
    assert result == 4
    assert [(each.key, each.seed, each.temperature, each.data) for each in requests] == [("count/0", 7, 0.4, {"a": 1})]


def test_another_try_has_another_seed_and_is_warmer() -> None:
    result, requests = played(
        asked(LlmRequest("count", PROMPT, {}), even), lambda request: {"n": 1 + (request.key == "count/2")}
    )
    assert result == 2
    assert [each.key for each in requests] == ["count/0", "count/1", "count/2"]
    assert [each.seed for each in requests] == [None, 1, 2]
    temperatures = [each.sampled_at for each in requests]
    assert temperatures == sorted(set(temperatures))
    assert temperatures[-1] <= 2


def test_three_tries_are_all() -> None:
    with pytest.raises(Unusable, match="test: 3 is odd"):
        played(asked(LlmRequest("count", PROMPT, {}), even), lambda request: {"n": 3})
    with pytest.raises(Unusable, match="test: it would rather not"):
        played(asked(LlmRequest("count", PROMPT, {}), even), lambda request: Unanswered("it would rather not"))


def test_of_several_only_those_are_asked_again_that_could_not_be_used() -> None:
    wanted = [LlmRequest(str(at), PROMPT, {"at": at}, seed=at, temperature=1.1) for at in range(4)]
    answers: dict[str, object] = {"0/0": {"n": 0}, "1/0": {"n": 1}, "2/0": Unanswered("no"), "3/0": {"n": 2}, "1/1": {"n": 6}, "2/1": {"n": 5}, "2/2": {"n": 7}}  # fmt: skip
    results, requests = played(all_asked(wanted, even), lambda request: answers[request.key])
    assert [str(each) for each in results] == ["0", "6", "7 is odd", "2"]
    assert isinstance(results[2], Unusable)
    assert len(requests) == 4 + 2 + 1 <= 4 * TRIES
    seeds = [each.seed for each in requests]
    assert len(set(seeds)) == len(seeds)


def test_a_temperature_stays_within_what_endpoints_take() -> None:
    wanted = LlmRequest("hot", PROMPT, {}, temperature=2.0)
    with pytest.raises(Unusable):
        played(asked(wanted, even), lambda request: {"n": 1 if request.sampled_at <= 2 else 2})

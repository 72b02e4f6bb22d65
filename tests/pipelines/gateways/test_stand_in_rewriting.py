"""The stand-in's rewrites: what was missing is put in, the same every time, and with a model's faults now and then."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipelines.gateways.stand_in.answers import ANSWERERS
from pipelines.gateways.stand_in.rewriting import rewrite

REPLY = "How about The Quiet Oven? It is short."


def asked(case: int, **scores: float) -> dict[str, Any]:
    return {
        "domain": {"attributes": ["genre", "mood"]},
        "conversation": [{"role": "user", "text": f"Something about bakers and harbours, case {case}."}],
        "retrieved": [{"title": "The Quiet Oven", "about": "Bread."}],
        "reply": {"action": "recommend", "text": REPLY},
        "confirmation": {"flexibility": 2, "coherence": 2, "guidance": 1, **scores},
    }


def commonest(**scores: float) -> tuple[bool, bool]:
    """What it does about these scores in most cases: whether it asks something, and whether it takes up a word of the user's."""
    texts = [rewrite(asked(case, **scores), 0.0)["refinement"]["text"] for case in range(60)]
    found = Counter((text.count("?") > REPLY.count("?"), "harbours" in text) for text in texts)
    return found.most_common(1)[0][0]


def test_what_lacks_is_put_in() -> None:
    assert commonest(guidance=0) == (True, False)
    assert commonest(coherence=0) == (False, True)
    assert commonest(guidance=0, coherence=0) == (True, True)
    assert commonest(flexibility=0) == (False, False)


def test_the_same_question_has_the_same_answer() -> None:
    assert rewrite(asked(1, guidance=0), 0.0) == rewrite(asked(1, guidance=0), 0.0)


def test_now_and_then_it_does_what_models_do_wrong_and_half_of_that_at_every_try() -> None:
    first, second = (
        [rewrite(asked(case, guidance=0), temperature)["refinement"] for case in range(400)] for temperature in (0, 0.3)
    )
    wrong = [
        {case for case, each in enumerate(tries) if each["action"] != "recommend" or not each["text"].endswith("?")}
        for tries in (first, second)
    ]
    assert 30 < len(wrong[0]) < 160 and 20 < len(wrong[0] & wrong[1]) < len(wrong[0])


@given(st.dictionaries(st.sampled_from(["domain", "conversation", "retrieved", "reply", "confirmation"]), st.recursive(st.none() | st.integers() | st.text(max_size=20), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["title", "text", "role", "action", "guidance", "attributes"]), inner, max_size=4), max_leaves=8)))  # fmt: skip
def test_any_data_is_answered(data: dict[str, Any]) -> None:
    answer = rewrite(data, 0.0)
    assert isinstance(answer["reasoning"], str) and isinstance(answer["refinement"]["text"], str)
    assert answer["refinement"]["action"] in ("ask", "recommend", "respond")


def test_it_answers_to_the_prompt_of_that_name() -> None:
    assert ANSWERERS["rewrite"] is rewrite

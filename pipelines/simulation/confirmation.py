"""Forward expectation confirmation: how far an agent's turn meets what the user expected, in three scores with reasons.

    satisfaction = flexibility (0-2) + coherence (0-2) + guidance (0-1)

The user who scores knows its persona, the target and the conversation (ECPO, section 2.2, equation 1; the rubric follows figure 11 in idea, the words are ours). Does not belong here: what is done with
turns that score low.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from pipelines.gateways.llm.conversations import Conversation
from pipelines.gateways.llm.requests import LlmRequest
from pipelines.simulation.asking import all_asked
from pipelines.simulation.brief import conversation, persona, prompt, version_of
from pipelines.simulation.domains import domain
from pipelines.simulation.parts import Confirmation, Said, Task, Unusable

CONFIRMATION = "confirmation"
CONFIRMATION_PROMPT = version_of(CONFIRMATION)

# Most points by dimension.
DIMENSIONS: Mapping[str, int] = {"flexibility": 2, "coherence": 2, "guidance": 1}

# Several samples at temperature 0 would be one; RSO's rewarder samples at this.
SAMPLED_AT = 1.1
TARGET_CHARACTERS = 2_000

_Scores = Mapping[str, tuple[int, str]]


def confirm(task: Task, said: Sequence[Said], samples: int = 1) -> Conversation[Confirmation]:
    """Score the agent's turn that ends `said`: means over the samples that can be used, the reasons of the first of them.

    Scores out of range and empty reasons are malformed; such a sample is asked for again, and after three tries counted. Never raises Unusable. Raises ValueError for turns that do not end with the agent's,
    and for fewer than one sample.
    """
    if not said or said[-1].role != "assistant":
        raise ValueError("only a turn of the agent can be confirmed")
    if samples < 1:
        raise ValueError(f"at least one sample is needed, not {samples}")
    told = {
        "domain": domain(task.domain).as_data(),
        "persona": persona(task),
        "target": task.target.text[:TARGET_CHARACTERS],
        "conversation": conversation(said[:-1]),
        "reply": conversation(said[-1:])[0]["text"],
    }
    found = yield from all_asked(_requests(told, samples), _read)
    usable = [each for each in found if not isinstance(each, Unusable)]
    if not usable:
        return Confirmation(None, None, None, None, samples=0, malformed=samples)
    means = {name: fmean(scores[name][0] for scores in usable) for name in DIMENSIONS}
    return Confirmation(
        **means,
        reason="\n".join(f"{name.capitalize()}: {reason}" for name, (_, reason) in usable[0].items()),
        samples=len(usable),
        malformed=samples - len(usable),
    )


def _requests(told: Mapping[str, Any], samples: int) -> list[LlmRequest]:
    if samples == 1:
        return [LlmRequest("0", prompt(CONFIRMATION), told)]
    return [
        LlmRequest(str(sample), prompt(CONFIRMATION), {**told, "sample": sample}, temperature=SAMPLED_AT, seed=sample)
        for sample in range(samples)
    ]


def _read(value: Mapping[str, Any]) -> _Scores:
    """Score and reason by dimension. Raises Unusable."""
    found: dict[str, tuple[int, str]] = {}
    for name, most in DIMENSIONS.items():
        score, reason = value[name]["score"], " ".join(str(value[name]["reason"]).split())
        if isinstance(score, bool) or score not in range(most + 1):
            raise Unusable(f"{name} must be a whole number from 0 to {most}")
        if not any(map(str.isalnum, reason)):
            raise Unusable(f"{name} has no reason")
        found[name] = (int(score), reason)
    return found

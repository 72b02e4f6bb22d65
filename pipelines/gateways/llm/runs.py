"""What comes back from the gateway: answers, the books of a run, and forecasts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

Stop = Literal["budget", "quota", "key", "address", "endpoint"]

STAND_IN_MODEL = "marquee-stand-in"


def is_stand_in(model: str) -> bool:
    """Whether the model of that name is the rule-based stand-in, which is no language model."""
    return model.startswith(STAND_IN_MODEL)


@dataclass(frozen=True)
class LlmAnswer:
    """One answer that fits the prompt's schema.

    `model`: as it named itself. `outcome`: answered, or repaired when the text had to be mended. `is_cached`: taken from the
    cache in this run. `cost_usd`: what it cost when it was asked, tries that failed included.
    """

    value: Any
    model: str
    is_stand_in: bool
    outcome: str
    request_hash: str
    is_cached: bool
    cost_usd: float


@dataclass
class Books:
    """What a run sent and spent.

    `calls`: requests that were sent, tries included; `cost_usd` and the tokens are theirs. `cached`: questions answered
    from the cache. `shared`: questions answered by the call for another that asked the same. `outcomes`: calls by outcome.
    `stopped`: what ended the run before its end (budget, quota, key, address, endpoint), None when nothing did; `problem`
    says it in words.
    """

    calls: int = 0
    cached: int = 0
    shared: int = 0
    cost_usd: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    stopped: Stop | None = None
    problem: str | None = None
    outcomes: Counter[str] = field(default_factory=Counter)

    @property
    def counts(self) -> dict[str, int | float]:
        """The figures of the run by name, for metadata and reports."""
        return {
            "from the cache": self.cached,
            "shared": self.shared,
            "calls": self.calls,
            **{f"calls {outcome}": number for outcome, number in sorted(self.outcomes.items())},
            "prompt tokens": self.prompt_tokens,
            "completion tokens": self.completion_tokens,
            "cost in USD": self.cost_usd,
        }


@dataclass
class LlmRun(Books):
    """What came of one `answer`. Every key is in `answers` or in `unanswered` (with the reason), never in both."""

    answers: dict[str, LlmAnswer] = field(default_factory=dict)
    unanswered: dict[str, str] = field(default_factory=dict)

    @property
    def requests(self) -> int:
        """How many keys were asked for."""
        return len(self.answers) + len(self.unanswered)

    @property
    def counts(self) -> dict[str, int | float]:
        """The figures of the run by name, for metadata and reports."""
        return {
            "requests": self.requests,
            "answered": len(self.answers),
            "unanswered": len(self.unanswered),
            **super().counts,
        }


@dataclass(frozen=True)
class Forecast:
    """What a run would spend at most, if each request is answered at the first try.

    `requests` different questions, of which `cached` need no call. Tokens are estimates for the others:
    `prompt_tokens` rather too high, `completion_tokens` the most that the prompts allow.
    """

    requests: int
    cached: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float

    @property
    def calls(self) -> int:
        """How many calls would be made."""
        return self.requests - self.cached

"""What the stand-in can do wrong on demand, so that the gateway can be tried against it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

# What each does to the request it strikes.
KINDS = {
    "rate_limited": "429, with Retry-After",
    "server_error": "500",
    "overloaded": "503",
    "slow": "answers late",
    "malformed": "an answer that is no JSON",
    "off_schema": "an answer outside the schema",
    "fenced": "an answer with prose and a code fence around it",
    "refusal": "declines to answer",
    "cut_short": "an answer that ends at max_tokens",
    "broken_off": "cuts the connection in the middle of the answer",
    "no_completion": "200 with something that is no chat completion",
    "no_usage": "an answer without token counts",
    "out_of_quota": "429, insufficient_quota",
    "unauthorized": "401, quoting the key as some endpoints do",
    "no_json_schema": "400 for response_format json_schema; other requests pass",
    "no_max_tokens": "400 for max_tokens; other requests pass",
}


@dataclass
class Faults:
    """Which requests go wrong. `script` says it for the first requests in order (None: answered well); after them each kind
    strikes its `shares` of the requests, drawn by `seed`.

    Raises ValueError for unknown kinds and for shares that are none or are above 1 together.
    """

    shares: Mapping[str, float] = field(default_factory=dict)
    script: Sequence[str | None] = ()
    retry_after_s: float = 1.0
    slow_s: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        for kind in (*self.shares, *filter(None, self.script)):
            if kind not in KINDS:
                raise ValueError(f"{kind!r} is no fault; known: {', '.join(KINDS)}")
        if any(share < 0 for share in self.shares.values()) or not sum(self.shares.values()) <= 1:
            raise ValueError("the shares of faults must be from 0 to 1, and at most 1 together")
        self._random = random.Random(self.seed)
        self._script = iter(self.script)

    def draw(self) -> str | None:
        """What happens to the next request; None when it is answered well."""
        for kind in self._script:
            return kind
        drawn = self._random.random()
        for kind, share in self.shares.items():
            if drawn < share:
                return kind
            drawn -= share
        return None

"""How the gateway asks: endpoint, model, pace, budget and prices, checked when they are put together."""

from __future__ import annotations

import math
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal, get_args

Mode = Literal["cached", "live", "replay"]
MODES: tuple[str, ...] = get_args(Mode)

OPENAI_URL = "https://api.openai.com/v1"


@dataclass(frozen=True)
class Price:
    """USD per million tokens sent and received."""

    input: float
    output: float

    def cost_usd(self, prompt_tokens: int, completion_tokens: int) -> float:
        """What a call of that size costs."""
        return (prompt_tokens * self.input + completion_tokens * self.output) / 1e6


@dataclass(frozen=True)
class LlmSettings:
    """Settings of the gateway.

    `mode`: cached (answers from the cache, a call for the rest), live (always a call), replay (never the network). `budget_usd`:
    the most that the ledger beside the cache may come to, over all runs; None for no bound. `timeout_s` bounds one
    call as a whole. `grace_s`: how long calls under way may take to end when a run is interrupted. `price`: in
    place of the price list.

    Raises ValueError, in one line, for what cannot be meant.
    """

    base_url: str = OPENAI_URL
    model: str = "gpt-4o-mini"
    mode: Mode = "cached"
    budget_usd: float | None = None
    requests_per_minute: float = 500
    workers: int = 10
    timeout_s: float = 60.0
    grace_s: float = 30.0
    price: Price | None = None

    def __post_init__(self) -> None:
        if not re.match(r"https?://[^/@?#\s]+", self.base_url) or re.search(r"[@?#\s]", self.base_url):
            raise ValueError("the endpoint must be http(s)://host[:port]/path, without user, query or fragment")
        if not re.fullmatch(r"[!-~]{1,200}", self.model):
            raise ValueError("the model's name must be 1 to 200 printable ASCII characters without blanks")
        if self.mode not in MODES:
            raise ValueError(f"the mode must be one of {', '.join(MODES)}, not {self.mode!r}")
        if self.budget_usd is not None and not (math.isfinite(self.budget_usd) and self.budget_usd >= 0):
            raise ValueError(f"the budget must be a number of USD from 0, not {self.budget_usd}")
        if not 0 < self.requests_per_minute <= 1_000_000:
            raise ValueError(f"requests per minute must be from above 0 to 1,000,000, not {self.requests_per_minute}")
        if not 1 <= self.workers <= 1_000:
            raise ValueError(f"workers must be from 1 to 1,000, not {self.workers}")
        if not (0 < self.timeout_s <= 3600 and 0 <= self.grace_s <= 3600):
            raise ValueError("timeout and grace must be seconds, at most 3,600")
        if self.price is not None and not all(
            math.isfinite(each) and each >= 0 for each in (self.price.input, self.price.output)
        ):
            raise ValueError("the price must be two numbers of USD per million tokens, from 0: input,output")

    def price_of_model(self) -> Price | None:
        """The price that holds: the one set, else the list's, else None."""
        return self.price or listed_price(self.model)


@cache
def _price_list() -> dict[str, Price]:
    text = (files("pipelines.gateways.llm") / "prices.toml").read_text(encoding="utf-8")
    return {row["model"]: Price(row["input"], row["output"]) for row in tomllib.loads(text)["price"]}


def listed_price(model: str) -> Price | None:
    """The price in prices.toml of a model or of a dated snapshot of it; None when it is not listed."""
    return _price_list().get(re.sub(r"-\d{4}-?\d{2}-?\d{2}$", "", model))

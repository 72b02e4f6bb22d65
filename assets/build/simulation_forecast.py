"""What simulations would take: an estimate, since what is asked depends on what is answered.

Questions that can be told beforehand are in `llm_requests.py`.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import polars as pl

from assets.build.episodes import METHOD, wanted
from assets.build.scales import Simulation
from assets.build.tables import latest_or_empty
from pipelines.gateways.llm.prompts import load_prompt
from pipelines.gateways.llm.requests import text_tokens
from pipelines.gateways.llm.runs import Forecast
from pipelines.simulation import agents, simulators
from warehouse.store import Warehouse
from warehouse.tables.llm import LLM_CALLS
from warehouse.tables.simulation import AGENTS, SIM_CALLS, SIM_DOMAINS, SIM_EPISODES

if TYPE_CHECKING:
    from pipelines.gateways.llm.settings import Price

# Where nothing of a kind was played yet: questions for each turn of an agent (its own, and policy, utterance and confirmation; RSO's rewarder takes ten samples), and tokens
# of conversation and items beside a prompt's text.
_OWN = {"chatrec": 1, "react": 3, "macrs": 5, "actcrs": 2}
_USERS = {"ailo": 3, "seeker": 12}
_TOKENS_OF_DATA = 1_200


def simulation_forecast(warehouse: Warehouse, plan: Simulation, model: str, price: Price | None) -> Forecast:
    """What playing the episodes of a plan that are not there yet would take: after the mean of episodes played before with the same agent and simulator, else after rules of thumb.

    Rewrites, second confirmations and sampled branches come on top.
    """
    partitions = [(domain, agent) for domain in SIM_DOMAINS for agent in AGENTS]
    stored = latest_or_empty(warehouse, SIM_EPISODES, ["episode_id", "agent", "simulator", "questions", "input_hash"])
    there = dict(stored.select("episode_id", "input_hash").iter_rows())
    asked = wanted(warehouse, partitions, plan)
    todo = [each for each in asked if there.get(each.episode_id) != each.hashed(model)]
    questions = {
        (agent, simulator): mean
        for agent, simulator, mean in stored.group_by("agent", "simulator").agg(pl.col("questions").mean()).iter_rows()
    }
    sent, received = _tokens(warehouse)
    total, tokens_sent, tokens_received = 0.0, 0.0, 0.0
    for (agent, simulator, turns), number in Counter(
        (each.agent, each.simulator.name, each.turn_limit) for each in todo
    ).items():
        own = number * questions.get((agent, simulator), turns * (_OWN[agent] + _USERS[simulator]))
        prompts = [
            load_prompt(name.partition("@")[0])
            for name in (*agents.prompts_of(agent), *simulators.prompts_of(simulator))
        ]
        texts = [text_tokens(prompt.system + prompt.user) for prompt in prompts]
        total += own
        tokens_sent += own * (sent or sum(texts) / len(texts) + _TOKENS_OF_DATA)
        tokens_received += own * (received or sum(prompt.max_tokens for prompt in prompts) / len(prompts))
    number = round(total)
    cost_usd = price.cost_usd(round(tokens_sent), round(tokens_received)) if price else 0.0
    return Forecast(number, 0, round(tokens_sent), round(tokens_received), cost_usd)


def _tokens(warehouse: Warehouse) -> tuple[float | None, float | None]:
    """Mean tokens sent and received of questions of episodes that were played before; None where none were."""
    calls = latest_or_empty(warehouse, SIM_CALLS, ["method", "request_hash"]).filter(pl.col("method") == METHOD)
    columns = ["request_hash", "prompt_tokens", "completion_tokens"]
    paid = latest_or_empty(warehouse, LLM_CALLS, columns).join(calls, on="request_hash", how="semi")
    means = paid.select(pl.col("prompt_tokens", "completion_tokens").mean()).row(0)
    return means[0], means[1]

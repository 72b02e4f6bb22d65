"""The ledger of calls to language models, from the file that every call is noted in as it ends."""

from __future__ import annotations

from assets.build.tables import Built
from pipelines.gateways.llm.cache import LlmCache
from warehouse.store import Warehouse
from warehouse.tables.llm import LLM_CALLS


def llm_cache(warehouse: Warehouse) -> LlmCache:
    """Answers and ledger of a warehouse."""
    return LlmCache(warehouse.root / "llm" / "answers.sqlite")


def build_ledger(warehouse: Warehouse) -> Built:
    """Bring llm_calls up to date with the ledger."""
    with llm_cache(warehouse) as cache:
        calls = cache.calls()
    counts = {"calls": calls.height, "cost in USD": float(calls["cost_usd"].sum())}
    return Built((warehouse.write(LLM_CALLS, calls),), counts)

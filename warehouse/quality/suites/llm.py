"""What is expected of the tables of warehouse/tables/llm.py, beyond their contracts."""

from __future__ import annotations

from warehouse.quality.suite import Expectation, Suite, contract_suite, flag, share
from warehouse.tables.llm import LLM_CALLS

CALLS = contract_suite(
    LLM_CALLS,
    Expectation(
        "cost_of_one_call",
        "expect_column_max_to_be_between",
        {"column": "cost_usd", "max_value": 1.0},
        "WARN",
        "No single call costs more than a dollar: the price list or the token counts would be wrong.",
    ),
    Expectation(
        "tries",
        "expect_column_max_to_be_between",
        {"column": "attempt", "max_value": 12},
        "WARN",
        "No request is tried more often than the gateway's bounds add up to.",
    ),
    Expectation(
        "latency",
        "expect_column_quantile_values_to_be_between",
        {"column": "latency_s", "quantile_ranges": {"quantiles": [0.5], "value_ranges": [[0, 30]]}},
        "WARN",
        "Half of the calls are answered within half a minute.",
    ),
    share(
        "mostly_answered", "is_answered", 0.5, "Most calls bring an answer; else the endpoint or a prompt is at fault."
    ),
    share("keeps_to_the_schema", "is_invalid", None, "Few answers break the schema of their prompt.", maximum=0.1),
    derived=(
        flag("is_answered", """"outcome" IN ('answered', 'repaired')""", "outcome"),
        flag("is_invalid", """"outcome" = 'invalid'""", "outcome"),
    ),
)

SUITES: tuple[Suite, ...] = (CALLS,)

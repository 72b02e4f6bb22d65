"""Contract of the ledger of calls to language models."""

from __future__ import annotations

import polars as pl

from warehouse.contracts import Column, Table

OUTCOMES = ("answered", "repaired", "invalid", "refused", "failed", "cancelled")

LLM_CALLS = Table(
    name="llm_calls",
    meaning="Every request that was sent to a language model: what for, what it cost, what came back. Answers taken from the cache are no calls.",
    group="llm",
    key=("call_id",),
    sort_by=("started_at",),
    columns=(
        Column("call_id", pl.String, "Id of the call.", nullable=False),
        Column(
            "request_hash",
            pl.String,
            "SHA-256 of model, messages, schema and sampling: the key of the cache.",
            nullable=False,
        ),
        Column("attempt", pl.Int32, "Which try of this request within its run, from 1.", nullable=False, minimum=1),
        Column("prompt", pl.String, "Name of the prompt.", nullable=False),
        Column("prompt_version", pl.String, "Its version.", nullable=False),
        Column(
            "model",
            pl.String,
            "Model that answered, as it names itself; the one asked for when none answered.",
            nullable=False,
        ),
        Column(
            "is_stand_in", pl.Boolean, "Whether the rule-based stand-in answered, which is no model.", nullable=False
        ),
        Column("prompt_tokens", pl.Int64, "Tokens sent.", unit="tokens", nullable=False, minimum=0),
        Column("completion_tokens", pl.Int64, "Tokens received.", unit="tokens", nullable=False, minimum=0),
        Column(
            "cost_usd",
            pl.Float64,
            "Cost by the price list; 0 where no answer came.",
            unit="USD",
            nullable=False,
            minimum=0,
        ),
        Column("latency_s", pl.Float64, "Seconds until the answer.", unit="s", nullable=False, minimum=0),
        Column(
            "outcome",
            pl.String,
            "answered; repaired: valid after mending; invalid: did not keep to the schema; refused; failed: no answer; cancelled: the run ended before an answer came.",
            nullable=False,
            allowed=OUTCOMES,
        ),
        Column("http_status", pl.Int32, "HTTP status; null when none came.", minimum=100, maximum=599),
        Column("error", pl.String, "Why it failed, in words, without secrets."),
        Column("started_at", pl.Datetime("us"), "When it was sent, UTC.", nullable=False),
    ),
)

TABLES = (LLM_CALLS,)

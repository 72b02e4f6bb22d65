"""The code location: everything that dagster loads."""

from __future__ import annotations

import dagster as dg

from assets.automation import (
    automation_sensor,
    conversations_job,
    daily_conversations,
    daily_refresh,
    everything_job,
    refresh_job,
    retrieval_job,
    simulation_job,
    sources_sensor,
    weekly_simulation,
    weekly_training,
)
from assets.contracts import all_contracts
from assets.conversations import conversation_assets
from assets.corpus import corpus_assets
from assets.resources import LlmResource, SourcesResource, TmdbResource, WarehouseResource
from assets.retrieval import retrieval_assets
from assets.settings import Settings
from assets.simulation import simulation_assets
from pipelines.sources.blocks import all_blocks

settings = Settings.from_environment()
blocks = all_blocks(settings.sources)

contracts = all_contracts(blocks)

defs = dg.Definitions(
    assets=[
        *corpus_assets(blocks, contracts),
        *conversation_assets(blocks, contracts),
        *retrieval_assets(contracts),
        *simulation_assets(contracts),
    ],
    jobs=[refresh_job, conversations_job, retrieval_job, simulation_job, everything_job],
    schedules=[daily_refresh, daily_conversations, weekly_training, weekly_simulation],
    sensors=[sources_sensor(settings.sources), automation_sensor],
    resources={
        "warehouse": WarehouseResource(root=str(settings.warehouse)),
        "sources": SourcesResource(folder=str(settings.sources)),
        "llm": LlmResource(),
        "tmdb": TmdbResource(base_url=settings.tmdb_base_url),
    },
    executor=dg.in_process_executor,
)

"""Dagster Pipes around the programs of models/: what they log and measure reaches the UI while they run."""

import os
from pathlib import Path

import dagster as dg

from assets.build.launching import Launch, launch
from assets.build.tables import Tell


def piped(context: dg.AssetExecutionContext) -> Launch:
    """A launch whose processes report to `context` by Dagster Pipes, besides telling how far they are.

    A step launches several processes, and each has a session of its own.
    """

    def launched(module: str, config: Path, tell: Tell) -> None:
        with dg.open_pipes_session(
            context=context,
            context_injector=dg.PipesTempFileContextInjector(),
            message_reader=dg.PipesTempFileMessageReader(),
            extras={"config": str(config)},
        ) as session:
            launch(module, config, tell, {**os.environ, **session.get_bootstrap_env_vars()})

    return launched

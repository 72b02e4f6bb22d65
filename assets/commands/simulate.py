"""`marquee simulate`: episodes of chosen agents in chosen domains, by hand."""

from __future__ import annotations

import os
import sys

import click

from assets.commands.options import SCALE, STAND_IN, with_folders
from assets.settings import Settings
from warehouse.tables.simulation import AGENTS, SIM_DOMAINS


@click.command()
@click.option("--agent", type=click.Choice(AGENTS), help="One agent only.")
@click.option("--domain", type=click.Choice(SIM_DOMAINS), help="One domain only.")
@click.option(
    "--tasks", type=click.IntRange(min=1), help="Tasks of each split, for each domain and agent [as the scale says]."
)
@click.option("--turns", type=click.IntRange(1, 20), help="Turns that an agent has [as the scale says].")
@STAND_IN
@SCALE
@with_folders
def simulate(
    settings: Settings,
    agent: str | None,
    domain: str | None,
    tasks: int | None,
    turns: int | None,
    stand_in: bool,
    scale: str | None,
) -> None:
    """Let simulated users talk with agents, and make preference pairs of what did not satisfy.

    Personas and tasks must be there (`marquee run`). What was played before with the same inputs is not played again, and nothing is paid twice.
    """
    from assets.groups import SIMULATED
    from assets.runs import Phase, run_phases

    def parts() -> list[Phase]:
        from assets.automation import SIMULATION_JOB, simulations

        return [Phase(SIMULATION_JOB, frozenset(SIMULATED), simulations(agent, domain))]

    if scale:
        os.environ["MARQUEE_SCALE"] = scale
    config = {"tasks": tasks or 0, "turns": turns or 0}
    sys.exit(run_phases(settings, parts, config, has_stand_in=stand_in))

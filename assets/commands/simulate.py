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

    Personas and tasks must be there (`marquee run --only sim`). What was played before with the same inputs is not played again, and nothing is paid twice.
    """
    from assets.groups import SIMULATED
    from assets.runs import Phase, run_phases

    def parts() -> list[Phase]:
        from assets.automation import SIMULATION_JOB, simulations

        return [Phase(SIMULATION_JOB, frozenset(SIMULATED), simulations(agent, domain))]

    there = _domains(settings)
    if not there:
        raise click.ClickException(
            f"there are no tasks of simulated users in {settings.warehouse}: run `marquee run --only sim` first, with a language model or --stand-in"
        )
    if domain and domain not in there:
        click.echo(f"there are no tasks in the domain {domain}, only in: {', '.join(there)}")
        return
    if scale:
        os.environ["MARQUEE_SCALE"] = scale
    config = {"tasks": tasks or 0, "turns": turns or 0}
    sys.exit(run_phases(settings, parts, config, has_stand_in=stand_in))


def _domains(settings: Settings) -> list[str]:
    """Domains that there are tasks in."""
    from assets.build.tables import published_or_empty
    from warehouse.store import Warehouse
    from warehouse.tables.simulation import SIM_TASKS

    return sorted(set(published_or_empty(Warehouse(settings.warehouse), SIM_TASKS, ["domain"])["domain"]))

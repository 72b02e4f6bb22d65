"""`marquee llm`: what a run would ask of the language model, and the stand-in for one."""

from __future__ import annotations

import math
import sys

import click

from assets.commands.options import with_folders
from assets.settings import Settings, SettingsError, llm_settings, scale_name, stand_in_environment


@click.group()
def llm() -> None:
    """The language model: what a run would spend on it, and the stand-in for it."""


@llm.command()
@with_folders
def forecast(settings: Settings) -> None:
    """Tell how many calls, tokens and USD the next run would take at most. Asks nobody."""
    from rich.console import Console
    from rich.table import Table

    from assets.build.ledger import llm_cache
    from assets.build.llm_requests import pending
    from assets.build.scales import scales
    from assets.build.simulation_forecast import simulation_forecast
    from pipelines.gateways.llm.cache import LlmCacheError
    from pipelines.gateways.llm.gateway import LlmGateway
    from pipelines.gateways.llm.runs import Forecast
    from pipelines.gateways.llm.settings import LlmSettings
    from warehouse.store import Warehouse

    warehouse = Warehouse(settings.warehouse)
    try:
        configured = llm_settings()
        asked = configured or LlmSettings()
        with llm_cache(warehouse) as cache:
            gateway = LlmGateway(asked, None, cache)
            forecasts = {stage: gateway.forecast(requests) for stage, requests in pending(warehouse).items()}
            plan, price = scales()[scale_name()].simulation, asked.price_of_model()
            forecasts["simulations (estimate)"] = simulation_forecast(warehouse, plan, asked.model, price)
            spent_usd = cache.spent_usd()
    except (SettingsError, LlmCacheError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    total = Forecast(
        requests=sum(each.requests for each in forecasts.values()),
        cached=sum(each.cached for each in forecasts.values()),
        prompt_tokens=sum(each.prompt_tokens for each in forecasts.values()),
        completion_tokens=sum(each.completion_tokens for each in forecasts.values()),
        cost_usd=math.fsum(each.cost_usd for each in forecasts.values()),
    )
    table = Table(header_style="bold", show_edge=False, pad_edge=False)
    for name in ("stage", "questions", "cached", "calls", "tokens sent", "tokens received", "cost in USD"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for stage, each in (*forecasts.items(), ("total", total)):
        figures = (each.requests, each.cached, each.calls, each.prompt_tokens, each.completion_tokens)
        table.add_row(stage, *(f"{figure:,}" for figure in figures), f"{each.cost_usd:,.4f}")
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    console.print(
        f"model {asked.model} at {asked.base_url}; at most, if each call is answered at once; simulations by estimate",
        highlight=False,
    )
    if asked.price_of_model() is None:
        console.print(
            "no price is known for this model, so its calls count as free: set MARQUEE_LLM_PRICE", style="yellow"
        )
    if asked.budget_usd is not None:
        console.print(f"budget {asked.budget_usd:,.4f} USD, of which {spent_usd:,.4f} USD are spent", highlight=False)
    minutes = total.calls / asked.requests_per_minute
    console.print(
        f"at {asked.requests_per_minute:g} requests a minute: {minutes:,.1f} minutes or more", highlight=False
    )
    if configured is None:
        console.print("no language model is configured: set OPENAI_API_KEY or OPENAI_BASE_URL", style="yellow")


@llm.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="An address of this machine only.")
@click.option("--port", type=click.IntRange(0, 65535), default=8901, show_default=True, help="0: any free one.")
@click.option(
    "--fault",
    "faults",
    metavar="KIND=SHARE",
    multiple=True,
    help="A fault and its share of the requests. Can be repeated.",
)
@click.option(
    "--retry-after", type=click.FloatRange(min=0), default=1.0, show_default=True, help="Seconds that a 429 asks for."
)
@click.option(
    "--slow", type=click.FloatRange(min=0), default=2.0, show_default=True, help="Seconds that a slow answer takes."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Which requests the faults strike.")
def serve(host: str, port: int, faults: tuple[str, ...], retry_after: float, slow: float, seed: int) -> None:
    """Run the stand-in: a server that speaks chat completions and answers by rules. It is no language model."""
    from pipelines.gateways.stand_in.faults import Faults
    from pipelines.gateways.stand_in.server import serve as serve_stand_in

    def tell(base_url: str) -> None:
        click.echo(f"the stand-in answers at {base_url} (Ctrl-C ends it); to use it:")
        for name, value in stand_in_environment(base_url).items():
            click.echo(f"  export {name}={value}")

    try:
        serve_stand_in(host, port, Faults(_shares(faults), retry_after_s=retry_after, slow_s=slow, seed=seed), tell)
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:
        pass
    click.echo("the stand-in has ended")


@llm.command()
@with_folders
def retry(settings: Settings) -> None:
    """Let the next run ask again what the model refused or answered outside the schema."""
    from assets.build.ledger import llm_cache
    from pipelines.gateways.llm.cache import LlmCacheError
    from warehouse.store import Warehouse

    try:
        with llm_cache(Warehouse(settings.warehouse)) as cache:
            forgotten = cache.forget_failures()
    except LlmCacheError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{forgotten:,} questions will be asked again")


def _shares(faults: tuple[str, ...]) -> dict[str, float]:
    """Read KIND=SHARE. Raises click.BadParameter; unknown kinds are Faults' business."""
    shares: dict[str, float] = {}
    for fault in faults:
        kind, _, share = fault.partition("=")
        try:
            shares[kind] = float(share)
        except ValueError:
            raise click.BadParameter(
                f"{fault!r} is not KIND=SHARE, as in server_error=0.1", param_hint="--fault"
            ) from None
    return shares

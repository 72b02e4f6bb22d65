"""The `marquee` command. Dagster is imported only by the commands that run assets, so that queries start at once."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assets.commands.annotate import annotate
from assets.commands.export import export
from assets.commands.grade import grade
from assets.commands.grade_episodes import grade_episodes
from assets.commands.llm import llm
from assets.commands.options import SCALE, STAND_IN, with_folders
from assets.commands.recommend import recommend
from assets.commands.show import show as show_group
from assets.commands.showing import show
from assets.commands.simulate import simulate
from assets.commands.train import train
from assets.groups import GROUPS, REFRESHED
from assets.settings import Settings, tmdb_api_key

if TYPE_CHECKING:
    pass


class _Group(click.Group):
    """Commands whose foreseen errors end in one line and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        from assets.settings import SettingsError
        from pipelines.gateways.llm.cache import LlmCacheError
        from pipelines.sources.blocks import BlockError
        from warehouse.catalog import CatalogError, UnusableName
        from warehouse.sql import QueryError
        from warehouse.store import StoreError

        known = (BlockError, CatalogError, LlmCacheError, QueryError, SettingsError, StoreError, UnusableName)
        try:
            return super().invoke(ctx)
        except (*known, FileNotFoundError, FileExistsError, PermissionError) as error:
            click.secho(f"marquee: {error}", fg="red", err=True)
            ctx.exit(2)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="marquee")
def main() -> None:
    """Marquee builds one trustworthy film corpus from messy catalogues, and answers questions about it in SQL."""


def _groups(value: str | None) -> list[str] | None:
    if value is None:
        return None
    groups = [name.strip() for name in value.split(",") if name.strip()]
    unknown = [name for name in groups if name not in GROUPS]
    if unknown or not groups:
        raise click.BadParameter(
            f"{', '.join(unknown) or 'nothing'}: choose among {', '.join(GROUPS)}", param_hint="--only"
        )
    return groups


@main.command()
@click.option("--only", metavar="GROUP,...", help=f"Groups of assets to build: {', '.join(GROUPS)}.")
@STAND_IN
@SCALE
@with_folders
def run(settings: Settings, only: str | None, stand_in: bool, scale: str | None) -> None:
    """Read everything, build the corpus and the conversations anew and train retrievers on them; films keep their ids."""
    from assets.runs import run_assets

    if scale:
        os.environ["MARQUEE_SCALE"] = scale
    sys.exit(run_assets(settings, groups=_groups(only), full=True, has_stand_in=stand_in))


@main.command()
@click.option("--only", metavar="GROUP,...", help=f"Groups of assets to bring up to date: {', '.join(GROUPS)}.")
@STAND_IN
@SCALE
@with_folders
def refresh(settings: Settings, only: str | None, stand_in: bool, scale: str | None) -> None:
    """Bring everything up to date: only what changed is read, linked, annotated, embedded and written (training and evaluations:
    --only retrieval,eval)."""
    from assets.build.plan import is_up_to_date

    if scale:
        os.environ["MARQUEE_SCALE"] = scale
    groups = _groups(only)
    # The linker is measured by full runs and every week (assets/automation.py): it costs as much as linking everything.
    # With a key there may be films to ask TMDB about, whatever the files say.
    if groups is None and not tmdb_api_key() and is_up_to_date(settings):
        click.echo("nothing changed: the corpus is up to date")
        return
    from assets.runs import run_assets

    sys.exit(run_assets(settings, groups=groups or REFRESHED, full=False, has_stand_in=stand_in))


@main.command()
@click.argument("query")
@click.option("--format", "style", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
@with_folders
def sql(settings: Settings, query: str, style: str) -> None:
    """Answer one SELECT over the tables. It can read tables and nothing else."""
    from warehouse.sql import query as ask

    show(ask(settings.warehouse, query), style)


@main.command()
@click.option("--format", "style", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
@with_folders
def tables(settings: Settings, style: str) -> None:
    """List the tables with their rows, published version and meaning."""
    from warehouse.sql import tables as listed

    show(listed(settings.warehouse), style)


@main.command()
@click.argument("table")
@click.option("--format", "style", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
@with_folders
def describe(settings: Settings, table: str, style: str) -> None:
    """Tell what TABLE is and what its columns mean."""
    from warehouse.sql import describe as described

    show(described(settings.warehouse, table), style)


@main.command()
@click.argument("table")
@click.option("--format", "style", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
@with_folders
def history(settings: Settings, table: str, style: str) -> None:
    """List the versions of TABLE, the newest first."""
    from warehouse.store import Warehouse

    rows = Warehouse(settings.warehouse).history(table)
    show(rows.drop("engine", "metadata") if style == "table" else rows, style)


@main.command()
@click.argument("table")
@click.argument("version", type=int)
@with_folders
def rollback(settings: Settings, table: str, version: int) -> None:
    """Publish the content of an earlier VERSION of TABLE again, as a new version."""
    from warehouse.store import Warehouse

    warehouse = Warehouse(settings.warehouse)
    with warehouse.lock(on_wait=lambda holder: click.echo(f"waiting for another run: {holder}", err=True)):
        commit = warehouse.rollback(table, version)
    click.echo(f"{table}: version {version} is published again as version {commit.version} ({commit.rows:,} rows)")


@main.command()
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the HTML report goes [WAREHOUSE/report_quality.html].",
)
@with_folders
def check(settings: Settings, report: Path | None) -> None:
    """Run all data-quality checks on the published tables; exit 1 when one of severity ERROR fails."""
    from assets.build.quality import check_everything

    target = report or settings.warehouse / "report_quality.html"
    outcomes = check_everything(settings.warehouse, target)
    by_status: dict[str, int] = {}
    for outcome in outcomes:
        by_status[outcome.status] = by_status.get(outcome.status, 0) + 1
        if outcome.status != "passed":
            color = "red" if outcome.is_blocking else "yellow"
            click.secho(
                f"{outcome.status:8} {outcome.severity:5} {outcome.table}.{outcome.check}: {outcome.error or outcome.observed}",
                fg=color,
            )
            for example in outcome.examples:
                click.echo(f"         {example}")
    click.echo(", ".join(f"{number} {status}" for status, number in sorted(by_status.items())) + f"; report: {target}")
    sys.exit(1 if any(outcome.is_blocking for outcome in outcomes) else 0)


@main.command()
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--movies", type=click.IntRange(min=1), default=1000, show_default=True, help="How many films.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same bytes.")
@click.option(
    "--dialogues",
    type=click.IntRange(0, 20_000),
    help="How many ReDial dialogues, the other datasets in proportion [a fifth of the films, 30 to 10,000].",
)
def synth(out: Path, movies: int, seed: int, dialogues: int | None) -> None:
    """Write catalogues and conversations in their upstream formats to OUT, with the truth beside them."""
    from pipelines.synth.pack import write_pack

    summary = write_pack(out, movies, seed, lambda text: click.echo(text, err=True), dialogues)
    click.echo(
        f"{sum(summary.records.values()):,} records of {summary.movies:,} films in {out}, from {len(summary.records)} catalogues; "
        f"{sum(summary.dialogues.values()):,} dialogues in {len(summary.dialogues)} datasets"
    )


@main.command()
@click.option("--keep-versions", type=click.IntRange(min=1), default=10, show_default=True)
@click.option("--keep-days", type=click.FloatRange(min=0), default=7, show_default=True)
@with_folders
def vacuum(settings: Settings, keep_versions: int, keep_days: float) -> None:
    """Remove data files that no kept version uses, and weights, indexes and reports that no table names."""
    from assets.build.vacuum import vacuum_files
    from warehouse.store import Warehouse

    warehouse = Warehouse(settings.warehouse)
    removed = warehouse.vacuum(keep_versions, keep_days)
    with warehouse.lock(on_wait=lambda holder: click.echo(f"waiting for another run: {holder}", err=True)):
        removed += vacuum_files(warehouse, keep_days)
    click.echo(f"{len(removed):,} files removed")


for each in (annotate, export, grade, grade_episodes, llm, recommend, show_group, simulate, train):
    main.add_command(each)


if __name__ == "__main__":
    main()

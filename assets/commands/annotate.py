"""`marquee annotate`: people's part of the annotation, as sheets out and in."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from assets.commands.options import with_folders
from assets.settings import Settings
from warehouse.tables.annotation import KINDS
from warehouse.tables.dialogues import DATASETS

if TYPE_CHECKING:
    import polars as pl

    from warehouse.store import Warehouse


@click.group()
def annotate() -> None:
    """People's judgement of annotations and pairs: a sample as a sheet, and what they filled in."""


@annotate.command(name="export")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--kind", type=click.Choice(KINDS), default="vto", show_default=True, help="What is to be judged.")
@click.option("--dataset", type=click.Choice(DATASETS), help="Only this dataset.")
@click.option(
    "--share", type=click.FloatRange(0, 1, min_open=True), default=0.2, show_default=True, help="Share of each dataset."
)
@click.option("--disagreements", is_flag=True, help="Instead of a sample: what annotators differ on, to be settled.")
@with_folders
def export_sheet(
    settings: Settings, file: Path, kind: str, dataset: str | None, share: float, disagreements: bool
) -> None:
    """Write a sample to FILE, a CSV sheet to be filled in; labels are not shown, so that people judge for themselves."""
    import polars as pl

    from assets.build.tables import published_or_empty
    from pipelines.annotation import validation
    from warehouse.store import Warehouse
    from warehouse.tables.annotation import ANNO_VALIDATION
    from warehouse.tables.dialogues import CORE_TURNS
    from warehouse.tables.preferences import PREF_PAIRS

    if file.exists():
        raise click.ClickException(f"{file} is there already: it may hold somebody's work")
    warehouse = Warehouse(settings.warehouse)
    items = _items(warehouse, kind)
    if dataset is not None:
        items = items.filter(pl.col("dataset") == dataset)
    said: dict[str, str] | None = None
    if disagreements:
        said = validation.disagreements(published_or_empty(warehouse, ANNO_VALIDATION), kind)
        chosen, name = items.filter(pl.col("item_id").is_in(list(said))).sort("dataset", "item_id"), "disagreements"
    else:
        sample = validation.draw(items, share)
        chosen, name = sample.items, f"{kind}-{share:g}"
    if chosen.is_empty():
        raise click.ClickException(
            "there is nothing to judge: annotators do not differ" if disagreements else "there is nothing to judge yet"
        )
    if kind == "pair":
        content = validation.write_pair_sheet(chosen, published_or_empty(warehouse, PREF_PAIRS), name, said)
    else:
        content = validation.write_turn_sheet(kind, chosen, published_or_empty(warehouse, CORE_TURNS), name, said)
    # With a byte-order mark: spreadsheets take a CSV without one for their own old encoding.
    with file.open("x", encoding="utf-8-sig", newline="") as target:
        target.write(content)
    if not disagreements:
        for each, stratum, number, sampled in sample.strata.iter_rows():
            click.echo(f"  {each:<12} {stratum:<40} {sampled:>7,} of {number:>9,}")
    click.echo(f"{file}: {chosen.height:,} items")


@annotate.command(name="import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--annotator", help="Who filled it in, where the sheet does not say.")
@with_folders
def import_sheet(settings: Settings, file: Path, annotator: str | None) -> None:
    """Take in a filled-in FILE: all of it, or nothing when a row is wrong. Rows without a judgement are passed over."""
    import polars as pl

    from assets.build.tables import latest_or_empty
    from assets.contracts import all_contracts
    from pipelines.annotation import validation
    from pipelines.sources.blocks import all_blocks
    from warehouse.store import Warehouse
    from warehouse.tables.annotation import ANNO_VALIDATION

    warehouse = Warehouse(settings.warehouse)
    items = pl.concat(
        [_items(warehouse, kind, is_import=True).with_columns(pl.lit(kind).alias("kind")) for kind in KINDS]
    )
    with warehouse.lock(on_wait=lambda holder: click.echo(f"waiting for another run: {holder}", err=True)):
        try:
            rows = validation.read_sheet(
                file.read_bytes(), file.name, items, datetime.now(UTC).replace(tzinfo=None), annotator
            )
        except validation.SheetError as error:
            lines = "\n".join(f"  {each}" for each in error.problems[: validation.MOST_PROBLEMS])
            more = len(error.problems) - validation.MOST_PROBLEMS
            raise click.ClickException(
                f"nothing was taken in:\n{lines}" + (f"\n  and {more:,} more" if more > 0 else "")
            ) from None
        fresh, gone = validation.news(rows, latest_or_empty(warehouse, ANNO_VALIDATION))
        commit = warehouse.merge(ANNO_VALIDATION, fresh, gone)
        warehouse.publish({ANNO_VALIDATION.name: commit.version}, all_contracts(all_blocks(settings.sources)))
    judged = rows.select("kind", "item_id", "annotator").n_unique()
    news = pl.concat(
        [fresh.select("kind", "item_id", "annotator"), gone.select("kind", "item_id", "annotator")]
    ).n_unique()
    click.echo(f"{file}: {judged:,} judged, {news:,} of them new or changed")
    left = {kind: len(validation.disagreements(latest_or_empty(warehouse, ANNO_VALIDATION), kind)) for kind in KINDS}
    for kind, number in left.items():
        if number:
            click.echo(
                f"{kind}: annotators differ on {number:,} items: marquee annotate export FILE --kind {kind} --disagreements"
            )
    click.echo("marquee refresh --only anno,pref settles what holds")


def _items(warehouse: Warehouse, kind: str, is_import: bool = False) -> pl.DataFrame:
    """What can be judged; for an import also what is not drawn any more, because people have judged it."""
    from assets.build.tables import published_or_empty
    from pipelines.annotation import validation
    from warehouse.tables.annotation import ANNO_STRATEGY, ANNO_TURNS, ANNO_VTO
    from warehouse.tables.dialogues import CORE_TURNS
    from warehouse.tables.preferences import PREF_PAIRS

    if kind == "pair":
        return validation.pair_items(published_or_empty(warehouse, PREF_PAIRS))
    if is_import:
        turns = published_or_empty(warehouse, CORE_TURNS, ["dialogue_id", "turn", "dataset"])
        return validation.every_turn(turns)
    if kind == "vto":
        return validation.turn_items(published_or_empty(warehouse, ANNO_TURNS), published_or_empty(warehouse, ANNO_VTO))
    return validation.strategy_items(published_or_empty(warehouse, ANNO_STRATEGY))

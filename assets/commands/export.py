"""`marquee export`: a published table or view as a file for other programs."""

from __future__ import annotations

from pathlib import Path

import click

from assets.commands.options import with_folders
from assets.settings import Settings

FORMATS = ("parquet", "jsonl", "hf")


@click.command()
@click.argument("table")
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="parquet",
    show_default=True,
    help="parquet or jsonl: one file; hf: a folder for Hugging Face datasets, a file a split, with a card.",
)
@click.option("--force", is_flag=True, help="Replace OUT if it is a file or an earlier export.")
@with_folders
def export(settings: Settings, table: str, out: Path, form: str, force: bool) -> None:
    """Write the published TABLE (or view) to OUT."""
    from warehouse.exports import ExportError
    from warehouse.exports import export as write

    try:
        done = write(settings.warehouse, table, out, form, force, _licences())  # type: ignore[arg-type]
    except ExportError as error:
        raise click.ClickException(str(error)) from error
    for name, rows in done.rows.items():
        click.echo(f"{done.path if name == done.path.name else done.path / name}: {rows:,} rows")


def _licences() -> dict[str, str]:
    """The licence of each dialogue dataset, as far as its files' owners state one."""
    from pipelines.dialogues.layouts import LAYOUTS

    stated: dict[str, dict[str, None]] = {}
    for layout in LAYOUTS:
        if layout.is_dialogues:
            stated.setdefault(layout.dataset, {}).update(dict.fromkeys(layout.licence.split("; ")))
    return {dataset: "; ".join(terms) for dataset, terms in stated.items()}

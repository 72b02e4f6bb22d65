"""`marquee train`: one retriever, by hand, outside the graph of assets."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from assets.commands.options import with_folders
from assets.settings import PROJECT, Settings, scale_name
from warehouse.tables.retrieval import ARCHITECTURES

if TYPE_CHECKING:
    from collections.abc import Callable

PRESETS = ("lrurec", "fmlrec", "rar", "tiny")


@click.command()
@click.argument("arch", type=click.Choice(ARCHITECTURES))
@click.option(
    "--preset", type=click.Choice(PRESETS), default="rar", show_default=True, help="How it is made and trained."
)
@click.option(
    "--data",
    default="dialogues",
    show_default=True,
    metavar="NAME|DIR",
    help="A MovieLens release in the warehouse, `dialogues`, or a folder of training files.",
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder of the model [data/models/...].")
@click.option(
    "--from", "start", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Model to start from."
)
@click.option("--seed", type=int, default=42, show_default=True)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="A key of the preset that shall differ: training.max_epochs=5, model.width=128. May be given again.",
)
@with_folders
def train(
    settings: Settings,
    arch: str,
    preset: str,
    data: str,
    out: Path | None,
    start: Path | None,
    seed: int,
    changes: tuple[str, ...],
) -> None:
    """Train ARCH and keep it in a folder: weights, log, model card. Goes on where it was if it was stopped."""
    from assets.build.launching import ProcessFailed, launch
    from assets.build.training_data import NoTrainingData

    folder = Path(data)
    if not folder.is_dir():
        try:
            folder = _from_warehouse(settings, data, lambda text: click.echo(text, err=True))
        except NoTrainingData as error:
            raise click.ClickException(str(error)) from None
    config = {"task": "train", "arch": arch, "preset": preset, "seed": seed, "data": str(folder.absolute())}
    for change in changes:
        _set(config, change)
    if start:
        config["init_from"] = str(start.absolute())
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:8]
    target = (out or PROJECT / "data" / "models" / f"{arch}-{preset}-{folder.name}-{seed}-{digest}").absolute()
    config["out"] = str(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    stated = target.with_name(f"{target.name}.json")
    stated.write_text(json.dumps(config, indent=1), encoding="utf-8")
    try:
        launch("models.train", stated, lambda text: click.echo(text, err=True))
    except ProcessFailed as error:
        raise click.ClickException(str(error)) from None
    summary = json.loads((target / "summary.json").read_text(encoding="utf-8"))
    for name in (
        "validation_metric",
        "validation_value",
        "best_step",
        "ended_by",
        "train_s",
        "interactions_per_s",
        "device",
    ):
        click.echo(f"{name:20} {summary.get(name)}")
    for warning in summary.get("warnings", []):
        click.secho(f"warning: {warning}", fg="yellow", err=True)
    click.echo(f"{'model':20} {target}")


def _set(config: dict, change: str) -> None:
    path, _, text = change.partition("=")
    parts = path.split(".")
    if not text or len(parts) != 2 or parts[0] not in ("model", "training"):
        raise click.BadParameter(f"{change!r}: say model.KEY=VALUE or training.KEY=VALUE", param_hint="--set")
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    config.setdefault(parts[0], {})[parts[1]] = value


def _from_warehouse(settings: Settings, name: str, tell: Callable[[str], None]) -> Path:
    """The folder of training files of a release, or of the dialogues, that the warehouse holds."""

    from assets.build.scales import scales
    from assets.build.training import DIALOGUES, release_settings, training_data
    from warehouse.store import Warehouse

    warehouse, scale = Warehouse(settings.warehouse), scales()[scale_name()]
    if name == DIALOGUES:
        return training_data(warehouse, DIALOGUES, DIALOGUES, scale, tell)[0]
    settings_of = release_settings(warehouse)
    if name not in settings_of:
        known = ", ".join([*sorted(settings_of), DIALOGUES])
        raise click.BadParameter(
            f"{name!r} is neither a folder nor in the warehouse, which has: {known}", param_hint="--data"
        )
    return training_data(warehouse, name, settings_of[name], scale, tell)[0]

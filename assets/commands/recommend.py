"""`marquee recommend`: films for titles or a description, and what answered."""

from __future__ import annotations

import click

from assets.commands.options import with_folders
from assets.commands.showing import show
from assets.settings import Settings


@click.command()
@click.argument("wish")
@click.option("-k", type=click.IntRange(1, 1000), default=25, show_default=True, help="How many films.")
@click.option(
    "--retriever",
    metavar="NAME",
    help="A trained retriever (system or model_id), or text for the index [the best LRURec; text for a description].",
)
@click.option("--dataset", metavar="NAME", help="What the retriever was trained on: ml-1m, dialogues, ...")
@click.option("--encoder", metavar="NAME", default="minilm", show_default=True, help="Encoder of the index.")
@click.option("--format", "style", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
@with_folders
def recommend(
    settings: Settings, wish: str, k: int, retriever: str | None, dataset: str | None, encoder: str, style: str
) -> None:
    """Recommend films. WISH is titles separated by ';' ("Heat (1995); Ronin"), one title, or a description."""
    from assets.build.recommending import CannotRecommend
    from assets.build.recommending import recommend as answer
    from models.checkpoint import CheckpointError
    from models.data import DataError
    from models.encoders import EncoderError
    from models.item_index import IndexFailure
    from models.retriever import ConfigError, MissingVector
    from models.weights import WeightsError
    from warehouse.store import Warehouse

    known = (
        CannotRecommend,
        CheckpointError,
        ConfigError,
        DataError,
        EncoderError,
        IndexFailure,
        MissingVector,
        WeightsError,
    )
    try:
        found = answer(Warehouse(settings.warehouse), wish, k, retriever, dataset, encoder)
    except known as error:
        raise click.ClickException(str(error)) from error
    for note in found.notes:
        click.secho(note, err=True, dim=True)
    show(found.films.drop("movie_id") if style == "table" else found.films, style)

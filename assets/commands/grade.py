"""`marquee grade`: recorded lists of a language model scored under He et al.'s rules. No network, no warehouse, nothing written."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False, readable=True)


@click.command()
@click.argument("lists", type=_FILE)
@click.option("--catalog", "catalogue", type=_FILE, required=True, help="Names that a title can be.")
@click.option(
    "--labels", type=_FILE, required=True, help="What was to be found at each turn, and what was mentioned before."
)
@click.option(
    "--drop-oov", is_flag=True, help="Leave out titles that are no name of the catalogue; else they hold their place."
)
@click.option("--drop-seen", is_flag=True, help="Leave out what was mentioned before, from lists and labels.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document in place of a table.")
def grade(lists: Path, catalogue: Path, labels: Path, drop_oov: bool, drop_seen: bool, as_json: bool) -> None:
    """Score recorded LISTS of titles. docs/reranking.md says what the files may look like."""
    from pipelines.evaluation.recorded_files import RecordingError
    from pipelines.reranking import recorded, zero_shot

    contents = {}
    for path in (lists, catalogue, labels):
        try:
            contents[path] = path.read_bytes()
        except OSError as error:
            raise click.ClickException(f"{path}: {error.strerror}") from None
    try:
        names = recorded.read_catalogue(str(catalogue), contents[catalogue])
        turns = recorded.read_labels(str(labels), contents[labels], names)
        listed = recorded.read_lists(str(lists), contents[lists], turns)
    except RecordingError as error:
        raise click.ClickException(str(error)) from None
    without = [key for key in turns if key not in listed]
    rows = zero_shot.grade(
        [listed.get(key, []) for key in turns], list(turns.values()), names.names, drop_oov, drop_seen
    )
    figures = zero_shot.figures(rows, len(names.names))
    if not figures:
        raise click.ClickException(f"{labels}: no label is left to be found")
    roles = {"lists": lists, "catalogue": catalogue, "labels": labels}
    hashes = {f"{role} {path.name}": hashlib.sha256(contents[path]).hexdigest() for role, path in roles.items()}
    passport = zero_shot.passport(hashes, len(names.names), drop_oov, drop_seen)
    passport |= {"turns": len(turns), "turns_without_list": len(without)}
    if as_json:
        click.echo(json.dumps({"figures": [asdict(figure) for figure in figures], "passport": passport}, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(header_style="bold", show_edge=False, pad_edge=False)
    for name in ("metric", "value", "95 % interval", "n", "clusters", "chance"):
        table.add_column(name, justify="left" if name == "metric" else "right")
    for each in figures:
        interval = f"{each.low:.4f} .. {each.high:.4f}"
        numbers = (f"{each.value:.4f}", interval, f"{each.n:,}", f"{each.clusters:,}", f"{each.chance:.5f}")
        table.add_row(f"{each.metric}@{each.k}", *numbers)
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    if without:
        console.print(
            f"{len(without):,} turns have no list: what was to be found there counts as not found", style="yellow"
        )
    passport["interval"] = ", ".join(dict.fromkeys(each.interval for each in figures))
    for key, value in passport.items():
        shown = (
            ", ".join(f"{name} {digest[:16]}" for name, digest in value.items()) if isinstance(value, dict) else value
        )
        console.print(f"{key}: {shown}", style="dim", highlight=False, markup=False)

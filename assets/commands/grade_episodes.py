"""`marquee grade-episodes`: recorded simulations scored again. No network, no warehouse, nothing written."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pipelines.evaluation.simulation.figures import Figure
    from pipelines.evaluation.simulation.grading import Graded

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False, readable=True)


@click.command("grade-episodes")
@click.argument("logs", type=_FILE, nargs=-1, required=True)
@click.option("--tasks", type=_FILE, help="Task file of logs: user N of a log is row N of it, from 0.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document in place of tables.")
def grade_episodes(logs: tuple[Path, ...], tasks: Path | None, as_json: bool) -> None:
    """Score recorded simulations in LOGS again: logs as ECPO ships them, or sim_episodes and sim_turns from `marquee export --format jsonl`, plain or packed.

    docs/simulation-measures.md says what the files look like and how each figure is computed.
    """
    from pipelines.evaluation.recorded_files import RecordingError
    from pipelines.evaluation.simulation.grading import grade
    from pipelines.evaluation.simulation.replay import read_recordings
    from pipelines.simulation.naming import holds_title

    if len(set(logs)) < len(logs):
        raise click.ClickException("a file is named twice")
    contents = {str(path): _content(path) for path in logs}
    try:
        recordings = read_recordings(contents, None if tasks is None else (str(tasks), _content(tasks)))
    except RecordingError as error:
        raise click.ClickException(str(error)) from None
    graded = [grade(recording, holds_title) for recording in recordings]
    if as_json:
        click.echo(json.dumps([_document(each) for each in graded], indent=2))
        return
    for each in graded:
        _show(each)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from None


def _flat(each: Figure) -> dict[str, Any]:
    plain = asdict(each)
    return {
        "measure": each.measure,
        **plain["estimate"],
        "invalid": each.invalid,
        "invalid_reason": each.invalid_reason,
    }


def _document(each: Graded) -> dict[str, Any]:
    return {**asdict(each), "figures": [_flat(figure) for figure in each.figures]}


def _plain(text: str) -> str:
    """A text from a file, with what a terminal would act on escaped."""
    return text if text.isprintable() else repr(text)


def _show(graded: Graded) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 160)
    told = "" if graded.stated_successes is None else f"; the log's own total: {graded.stated_successes}"
    console.print(Text(_plain(graded.name), style="bold"))
    counted = next(each.estimate.n for each in graded.figures if each.measure == "success")
    console.print(
        f"{graded.successes} of {counted} found their target{told}; {graded.targets} distinct targets, {graded.users} distinct users",
        highlight=False,
        markup=False,
    )
    table = Table(header_style="bold", show_edge=False, pad_edge=False)
    for name in ("measure", "value", "95 % interval", "n", "invalid", "clusters"):
        table.add_column(name, justify="left" if name == "measure" else "right")
    for each in graded.figures:
        made = each.estimate
        is_there = made.value is not None and made.low is not None and made.high is not None
        numbers = (f"{made.value:.4f}", f"{made.low:.4f} .. {made.high:.4f}") if is_there else ("", "")
        reason = f" ({each.invalid_reason})" if each.invalid_reason else ""
        table.add_row(
            each.measure,
            *numbers,
            f"{made.n:,}",
            f"{each.invalid:,}{reason}",
            f"{made.clusters:,} {made.clustered_by}s",
        )
    console.print(table)
    for other in graded.disagreements:
        says, we = ("found", "not found") if other.stated else ("not found", "found")
        console.print(
            Text(
                f"{_plain(other.conversation)} ({_plain(other.where)}): the recording says {says}, scored {we}: {other.title!r}",
                style="yellow",
            )
        )
    if not graded.disagreements:
        console.print("every verdict of the recording agrees", style="dim", highlight=False)
    console.print()

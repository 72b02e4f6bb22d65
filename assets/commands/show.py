"""`marquee show`: one thing of the warehouse for people to read, as `marquee sql` cannot show it."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from assets.commands.options import with_folders
from assets.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from pipelines.reporting.transcripts import Line, Transcript
    from warehouse.store import Warehouse

_ID = re.compile(r"[0-9a-f]{4,16}")
_LISTED = 10
_FIND = 'marquee sql "SELECT episode_id, domain, agent, outcome, target_title FROM sim_episodes LIMIT 20"'
_MOST = {"flexibility": 2, "coherence": 2, "guidance": 1}


@click.group()
def show() -> None:
    """One thing of the warehouse, readable."""


@show.command()
@click.argument("episode_id", metavar="ID")
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON document in place of a transcript, texts as they were said."
)
@with_folders
def episode(settings: Settings, episode_id: str, as_json: bool) -> None:
    """The transcript of a simulated conversation: what was said and searched, how satisfying it was and why, how it ended, what was rewritten.

    ID is an episode_id of sim_episodes; its first four digits or more are enough where no other begins with them.
    """
    from pipelines.reporting.transcripts import harmless
    from warehouse.store import Warehouse

    found = _transcript(Warehouse(settings.warehouse), episode_id.strip().lower())
    if as_json:
        # ASCII alone: no text in it can steer a terminal.
        click.echo(json.dumps(asdict(found), indent=2))
        return
    lines = _lines(harmless(found))
    if sys.stdout.isatty():
        _print_styled(lines)
        return
    for lead, _, text in lines:
        click.echo(f"\n{' ' * len(lead)}".join((lead + text).split("\n")).rstrip())


def _transcript(warehouse: Warehouse, episode_id: str) -> Transcript:
    """The transcript of the one episode whose id begins so. Raises ClickException where there is none or more than one."""
    import polars as pl

    from assets.build.simulation_report import item_titles
    from assets.build.tables import published_or_empty
    from pipelines.reporting.transcripts import transcript
    from warehouse.tables.simulation import PREF_ECPO_PAIRS, SIM_EPISODES, SIM_PERSONAS, SIM_TURNS

    if not _ID.fullmatch(episode_id):
        raise click.ClickException(
            f"{episode_id!r}: an episode's id has sixteen digits (0-9, a-f), of which the first four are needed at least"
        )
    if warehouse.published(SIM_EPISODES.name) is None:
        raise click.ClickException("there are no episodes: nothing was simulated yet (marquee simulate)")
    own = pl.col("episode_id")
    matching = warehouse.scan(SIM_EPISODES.name).filter(own.str.starts_with(episode_id)).sort("episode_id").collect()
    if matching.is_empty():
        raise click.ClickException(f"no episode's id begins with {episode_id}; to find one:\n  {_FIND}")
    if matching.height > 1:
        raise click.ClickException(f"{matching.height:,} episodes begin with {episode_id}:\n{_listed(matching)}")
    row = matching.row(0, named=True)
    this = own == row["episode_id"]
    turns = warehouse.scan(SIM_TURNS.name).filter(this).collect()
    personas = published_or_empty(warehouse, SIM_PERSONAS).filter(pl.col("persona_id") == row["persona_id"]).to_dicts()
    pairs = published_or_empty(warehouse, PREF_ECPO_PAIRS).filter(this)
    return transcript(row, turns, item_titles(warehouse, turns), personas[0] if personas else None, pairs)


def _listed(matching: pl.DataFrame) -> str:
    from pipelines.reporting.transcripts import harmless

    lines = [
        f"  {row['episode_id']}  {row['domain']}, {row['agent']} with {row['simulator']}, {row['outcome']}: {row['target_title']}"
        for row in matching.head(_LISTED).iter_rows(named=True)
    ]
    if matching.height > _LISTED:
        lines.append(f"  and {matching.height - _LISTED:,} more")
    return harmless("\n".join(lines))


# A line of output: what stands before the text and sets it in, its style on a terminal, and the text.
_Shown = tuple[str, str, str]
_SAID, _ABOUT = " " * 3, " " * 5


def _lines(found: Transcript) -> Iterator[_Shown]:
    yield "", "bold", f"{found.agent} with {found.simulator}, {found.domain}, {found.split} split"
    if found.is_stand_in:
        yield "", "bold yellow", "STAND-IN: no language model answered; what was said and scored means nothing."
    about = {
        "episode": f"{found.episode_id}, sample {found.sample}, {found.questions:,} questions to {found.model or 'no model'}",
        "user": found.user_id,
        "looked for": f"{found.target_title} ({found.target_item})",
        "outcome": found.ending,
        "satisfaction": "not scored" if found.satisfaction_mean is None else f"{found.satisfaction_mean:.2f} of 5 on average",
        **{name.replace("_", " "): text for name, text in found.persona.items()},
    }  # fmt: skip
    if found.profile:
        about["profile"] = found.profile
    width = max(map(len, about))
    for name, text in about.items():
        yield f"{name:<{width}}  ", "", text
    for line in found.lines:
        yield "", "", ""
        yield from _turn(line, found)


def _turn(line: Line, found: Transcript) -> Iterator[_Shown]:
    is_agent = line.role == "assistant"
    does = f" · {line.does.replace('_', ' ')}" if line.does else ""
    yield "", "bold cyan" if is_agent else "bold green", f"{line.turn:>2} {found.agent if is_agent else 'user'}{does}"
    yield _SAID, "", line.text
    for query in line.queries:
        yield _ABOUT, "dim", f"searched: {query}"
    if line.retrieved:
        titles = (f"*{each.title}* (the target)" if each.is_target else each.title for each in line.retrieved)
        yield _ABOUT, "dim", f"found: {'; '.join(titles)}"
    if (scores := line.scores) is not None:
        if scores.satisfaction is None:
            yield _ABOUT, "yellow", "score: none of the answers could be used"
        else:
            parts = ", ".join(f"{name} {_points(getattr(scores, name), most)}" for name, most in _MOST.items())
            samples = f", mean of {scores.samples}" if scores.samples > 1 else ""
            yield _ABOUT, "magenta", f"score: {_points(scores.satisfaction, 5)} ({parts}{samples})"
        if scores.reason:
            yield _ABOUT, "dim", f"why: {scores.reason}"
        if scores.feeling is not None:
            yield _ABOUT, "magenta", f"state: {scores.feeling:.2f} ({', '.join(scores.feelings)})"
    if (rewrite := line.rewrite) is not None:
        status = "" if rewrite.status == "kept" else f", not kept: {rewrite.status.replace('_', ' ')}"
        after = (
            ""
            if rewrite.score_after is None
            else f", {_points(rewrite.score_before, 5)} -> {_points(rewrite.score_after, 5)}"
        )
        yield _ABOUT, "blue", f"rewritten{after}{status}: {rewrite.text or '(nothing usable)'}"


def _points(value: float | None, most: int) -> str:
    return f"{'-' if value is None else format(value, '.4g')}/{most}"


def _print_styled(lines: Iterator[_Shown]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    for lead, style, text in lines:
        if not lead:
            console.print(Text(text, style=style))
            continue
        # Two columns, so that what is wrapped stays under its beginning.
        grid = Table.grid()
        grid.add_column(width=len(lead), no_wrap=True)
        grid.add_column()
        grid.add_row(Text(lead, style="dim"), Text(text, style=style))
        console.print(grid)

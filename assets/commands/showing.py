"""Frames on a terminal, or for programs: what every command that answers with rows shows them by."""

from __future__ import annotations

import csv
import json
import sys
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl


def show(frame: pl.DataFrame, style: str) -> None:
    """Print a frame as a table for people, or as CSV or JSON for programs."""
    if style == "json":
        json.dump(frame.to_dicts(), sys.stdout, ensure_ascii=False, default=_plain, indent=2)
        print()
    elif style == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(frame.columns)
        writer.writerows([_cell(value) for value in row] for row in frame.iter_rows())
    else:
        _table(frame)


def _plain(value: Any) -> Any:
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    return str(value)


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False, default=_plain) if isinstance(value, (list, dict)) else value


def _table(frame: pl.DataFrame) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # Piped output must not be cut at the width of a terminal that is not there.
    console = Console(width=None if sys.stdout.isatty() else 200)
    table = Table(header_style="bold", show_edge=False, pad_edge=False)
    for name, dtype in frame.schema.items():
        table.add_column(name, justify="right" if dtype.is_numeric() else "left", overflow="fold")
    for row in frame.iter_rows():
        table.add_row(*(Text(_words(value)) for value in row))
    console.print(table)
    console.print(f"{frame.height:,} row{'' if frame.height == 1 else 's'}", style="dim", highlight=False)


def _words(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"{value:,.4f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)

"""Pictures of simulated conversations: one for each table that has something new to show, none where there is nothing."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from assets import simulation_pictures as pictures
from assets.build.tables import Built
from tests import simulation_frames
from warehouse.contracts import Table
from warehouse.store import Warehouse
from warehouse.tables.simulation import PREF_ECPO_PAIRS, SIM_EPISODES, SIM_PERSONAS, SIM_TURNS
from warehouse.tables.simulation_evaluation import REPORT_SIMULATION

Picture = Callable[[Warehouse, Built], dict[str, Any]]
FRAMES = simulation_frames.frames()
DRAWN = [
    pytest.param(pictures.personas, SIM_PERSONAS, "max_rouge_l", id="personas"),
    pytest.param(pictures.episodes, SIM_EPISODES, None, id="episodes"),
    pytest.param(pictures.turns, SIM_TURNS, "satisfaction", id="turns"),
    pytest.param(pictures.pairs, PREF_ECPO_PAIRS, "score_after", id="pairs"),
]


def built(warehouse: Warehouse, table: Table, frame: pl.DataFrame) -> Built:
    return Built((warehouse.write(table, frame),), {})


@pytest.mark.parametrize(("draw", "table", "shown"), DRAWN)
def test_new_rows_are_drawn_and_only_they(tmp_path: Path, draw: Picture, table: Table, shown: str | None) -> None:
    warehouse = Warehouse(tmp_path)
    ((name, picture),) = draw(warehouse, built(warehouse, table, FRAMES[table.name])).items()
    assert name and isinstance(picture, dg.MarkdownMetadataValue)
    png = base64.b64decode(picture.md_str.partition("base64,")[2].rstrip(")"))
    assert png.startswith(b"\x89PNG")
    # The same rows again are no new version.
    assert draw(warehouse, built(warehouse, table, FRAMES[table.name])) == {}
    assert draw(warehouse, Built((), {})) == {}


@pytest.mark.parametrize(("draw", "table", "shown"), DRAWN)
def test_where_there_is_nothing_to_show_nothing_is_drawn(
    tmp_path: Path, draw: Picture, table: Table, shown: str | None
) -> None:
    warehouse = Warehouse(tmp_path)
    assert draw(warehouse, built(warehouse, table, table.empty())) == {}
    if shown is not None:
        nothing = FRAMES[table.name].with_columns(pl.lit(None, pl.Float64).alias(shown))
        assert draw(warehouse, built(warehouse, table, nothing)) == {}


def test_the_report_is_a_path(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    shown = pictures.report(warehouse, built(warehouse, REPORT_SIMULATION, FRAMES[REPORT_SIMULATION.name]))
    assert shown == {"simulation": dg.MetadataValue.path(str(tmp_path / FRAMES["report_simulation"]["path"][0]))}

"""docs/simulation.md: it names every table, and its questions have answers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from assets.contracts import FIXED
from tests import simulation_frames
from warehouse.sql import query
from warehouse.store import Warehouse
from warehouse.tables import simulation, simulation_evaluation

REPOSITORY = Path(__file__).resolve().parents[2]
TEXT = (REPOSITORY / "docs" / "simulation.md").read_text("utf-8")
PICTURE = (REPOSITORY / "docs" / "images" / "simulation-loop.svg").read_text("utf-8")
QUESTIONS = re.findall(r"^(?P<asked>[A-Z][^\n]*[:?])\n\n```sql\n(?P<sql>.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    warehouse = Warehouse(tmp_path_factory.mktemp("warehouse"))
    frames = simulation_frames.frames()
    for table in simulation_frames.STORED:
        warehouse.write(table, frames[table.name])
    warehouse.publish(
        [table.name for table in simulation_frames.STORED], {table.name: table for table in FIXED}
    )  # fmt: skip
    return warehouse.root


def test_every_table_has_its_line() -> None:
    rows = re.findall(r"^\| `(\w+)` \| \S", TEXT, re.MULTILINE)
    assert rows == list(dict.fromkeys(rows))
    assert set(rows) == {table.name for table in (*simulation.TABLES, *simulation_evaluation.TABLES)}


def test_the_picture_names_tables_that_exist() -> None:
    named = set(re.findall(r">((?:core|meta|sim|ml|pref|eval|report|llm)_\w+)<", PICTURE))
    assert len(named) > 12
    assert named <= {table.name for table in FIXED}


def test_there_are_questions() -> None:
    assert len(QUESTIONS) == TEXT.count("```sql") >= 8


@pytest.mark.parametrize(("asked", "sql"), QUESTIONS, ids=lambda value: value[:40])
def test_every_question_has_an_answer(asked: str, sql: str, root: Path) -> None:
    assert query(root, sql).height

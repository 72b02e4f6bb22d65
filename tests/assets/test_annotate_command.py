"""`marquee annotate`: a sheet goes out, comes back filled in, and is taken in whole or not at all."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result

from assets.commands.annotate import annotate
from pipelines.annotation import strategy, vto
from warehouse.store import Warehouse
from warehouse.tables.annotation import ANNO_STRATEGY, ANNO_TURNS, ANNO_VTO
from warehouse.tables.dialogues import CORE_TURNS

LINES = [
    ("recommender", "What kind of movies do you like?"),
    ("seeker", "I usually like horror films"),
    ("seeker", "unlit towers"),
]


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """A warehouse with one annotated conversation."""
    turns = pl.DataFrame(
        [
            {
                "dialogue_id": "redial-1", "turn": at, "dataset": "redial", "domain": "film", "split": "train", "role": role, "text": text,
                "plain_text": text, "images": [], "captions": [], "content_hash": at,
            }
            for at, (role, text) in enumerate(LINES)
        ],
        schema_overrides={"turn": pl.Int32, "images": pl.List(pl.String), "captions": pl.List(pl.String)},
    )  # fmt: skip
    places = {"dialogue_id": pl.String, "turn": pl.Int32, "start": pl.Int32, "end": pl.Int32, "movie_id": pl.String}
    mentions = pl.DataFrame(schema=places)
    made = vto.annotate(turns, mentions)
    store = Warehouse(tmp_path / "warehouse")
    tables = {
        CORE_TURNS: CORE_TURNS.conform(turns),
        ANNO_VTO: made.rows,
        ANNO_TURNS: vto.settle(made.decisions, made.rows),
        ANNO_STRATEGY: strategy.settle(strategy.annotate(turns, mentions)),
    }
    for table, rows in tables.items():
        store.write(table, rows)
    store.publish([table.name for table in tables])
    return store


@pytest.fixture
def call(warehouse: Warehouse, tmp_path: Path) -> Callable[..., Result]:
    (tmp_path / "sources").mkdir()
    folders = ["--warehouse", str(warehouse.root), "--sources", str(tmp_path / "sources")]
    return lambda *words: CliRunner().invoke(annotate, [*map(str, words), *folders])


def fill(file: Path, marks: dict[str, dict[str, Any]]) -> None:
    with file.open(encoding="utf-8-sig", newline="") as source:
        rows = list(csv.DictReader(source))
    with file.open("w", encoding="utf-8", newline="") as target:
        writer = csv.DictWriter(target, list(rows[0]))
        writer.writeheader()
        writer.writerows(row | marks.get(row["item_id"], {}) for row in rows)


def test_round_trip(call: Callable[..., Result], warehouse: Warehouse, tmp_path: Path) -> None:
    file = tmp_path / "sheet.csv"
    out = call("export", file, "--share", "1")
    assert out.exit_code == 0, out.output
    assert f"{file}: 3 items" in out.output
    fill(file, {"redial-1#1": {"retrieve_preferences": "1"}, "redial-1#0": {"no_operation": "1"}})
    taken = call("import", file, "--annotator", "ann")
    assert taken.exit_code == 0, taken.output
    assert "2 judged, 2 of them new" in taken.output
    assert warehouse.read("anno_validation").filter("is_present")["label"].to_list() == ["retrieve_preferences"]
    version = warehouse.published("anno_validation")
    again = call("import", file, "--annotator", "ann")
    assert "0 of them new or changed" in again.output
    assert warehouse.published("anno_validation") == version


def test_annotators_who_differ_get_a_sheet_to_settle_it(call: Callable[..., Result], tmp_path: Path) -> None:
    file, rest = tmp_path / "sheet.csv", tmp_path / "rest.csv"
    call("export", file, "--share", "1")
    assert "annotators do not differ" in call("export", rest, "--disagreements").output
    for who, label in (("ann", "rank_options"), ("bob", "select_best")):
        fill(file, {"redial-1#2": {"annotator": who, "rank_options": "0", "select_best": "0", label: "1"}})
        assert call("import", file).exit_code == 0
    assert call("export", rest, "--disagreements").exit_code == 0
    fill(rest, {"redial-1#2": {"select_best": "1"}})
    assert "1 judged, 1 of them new" in call("import", rest).output


def test_a_wrong_sheet_changes_nothing(call: Callable[..., Result], warehouse: Warehouse, tmp_path: Path) -> None:
    file = tmp_path / "sheet.csv"
    call("export", file, "--share", "1")
    fill(file, {"redial-1#0": {"select_best": "1"}, "redial-1#1": {"select_best": "perhaps"}})
    refused = call("import", file, "--annotator", "ann")
    assert refused.exit_code == 1
    assert "nothing was taken in" in refused.output
    assert "sheet.csv, line 3, column select_best: 'perhaps'" in refused.output
    assert warehouse.latest("anno_validation") is None


def test_a_filled_in_sheet_is_not_overwritten(call: Callable[..., Result], tmp_path: Path) -> None:
    file = tmp_path / "sheet.csv"
    file.write_text("somebody's work")
    assert call("export", file).exit_code == 1
    assert file.read_text() == "somebody's work"


def test_strategies_go_out_too_and_empty_kinds_say_so(call: Callable[..., Result], tmp_path: Path) -> None:
    assert "1 items" in call("export", tmp_path / "s.csv", "--kind", "strategy", "--share", "1").output
    assert "nothing to judge yet" in call("export", tmp_path / "p.csv", "--kind", "pair").output

"""`marquee export`: what it says, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from assets.cli import main
from warehouse.store import Warehouse
from warehouse.tables.dialogues import CORE_DIALOGUES


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A warehouse with two dialogues."""
    rows = [
        {
            "dialogue_id": f"{dataset}-1",
            "dataset": dataset,
            "source_id": "1",
            "conversation_id": f"{dataset}-1",
            "domain": "film",
            "split": split,
            "splits_stated": [split],
            "turns": 3,
            "file": "invented.jsonl",
            "line": 1,
            "content_hash": 1,
        }
        for dataset, split in (("redial", "train"), ("inspired", "valid"))
    ]
    warehouse = Warehouse(tmp_path / "warehouse")
    commit = warehouse.write(CORE_DIALOGUES, CORE_DIALOGUES.conform(pl.DataFrame(rows)))
    warehouse.publish({commit.table: commit.version}, {CORE_DIALOGUES.name: CORE_DIALOGUES})
    return warehouse.root


def run(root: Path, *arguments: object) -> Result:
    return CliRunner().invoke(main, ["export", *map(str, arguments), "--warehouse", str(root)])


def test_it_writes_the_table_and_says_what_it_wrote(root: Path, tmp_path: Path) -> None:
    done = run(root, "core_dialogues", tmp_path / "out.parquet")
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path / 'out.parquet'}: 2 rows\n")
    assert pl.read_parquet(tmp_path / "out.parquet").height == 2


def test_json_lines(root: Path, tmp_path: Path) -> None:
    assert run(root, "core_dialogues", tmp_path / "out.jsonl", "--format", "jsonl").exit_code == 0
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert {row["dialogue_id"]: row["splits_stated"] for row in rows} == {
        "redial-1": ["train"],
        "inspired-1": ["valid"],
    }


def test_the_folder_states_the_licence_of_each_dataset(root: Path, tmp_path: Path) -> None:
    done = run(root, "core_dialogues", tmp_path / "out", "--format", "hf")
    assert done.stdout.splitlines() == [
        f"{tmp_path}/out/data/train-00000-of-00001.parquet: 1 rows",
        f"{tmp_path}/out/data/validation-00000-of-00001.parquet: 1 rows",
    ]
    card = (tmp_path / "out" / "README.md").read_text()
    assert "- redial: CC BY 4.0" in card
    assert "- inspired: " in card


def test_foreseen_errors_are_one_line(root: Path, tmp_path: Path) -> None:
    unknown = run(root, "core_nothing", tmp_path / "out")
    assert (unknown.exit_code, len(unknown.stderr.splitlines())) == (2, 1)
    assert "core_nothing" in unknown.stderr
    out = tmp_path / "out.parquet"
    assert run(root, "core_dialogues", out).exit_code == 0
    again = run(root, "core_dialogues", out)
    assert again.exit_code == 1
    assert "--force" in again.stderr
    assert run(root, "core_dialogues", out, "--force").exit_code == 0

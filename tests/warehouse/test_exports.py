"""Exports: what the files hold, what is refused, that nothing half-written is left; and the views in trainers' shapes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.preferences.assemble import assemble
from pipelines.preferences.degraded import degraded
from pipelines.preferences.questionnaire import questionnaire
from tests.pipelines.preferences.made_up import feedback, film_id, item_links, movies, talk
from warehouse import exports
from warehouse.contracts import Column, Table
from warehouse.exports import ExportError, export
from warehouse.sql import QueryError, batches, query
from warehouse.store import Warehouse
from warehouse.tables import preferences as tables

TALK = talk(
    *([("s", f"Hello “{n}”\nfriend"), ("r", f"How about @{n} or @{n + 1} today, my friend?")] for n in range(12)),
    splits=["train", "valid", "test", "train"] * 3,
)
ODD = Table(
    name="raw_odd",
    meaning="Something | with a bar.",
    columns=(
        Column("name", pl.String, "A | name."),
        Column("seen", pl.Datetime("us"), "When."),
        Column("share", pl.Float64, "How much."),
        Column("parts", pl.List(pl.Struct({"id": pl.String, "score": pl.Float32})), "Parts."),
    ),
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    warehouse = Warehouse(tmp_path_factory.mktemp("exports") / "warehouse")
    made = [
        degraded(*TALK.parts, movies()).rows,
        questionnaire(
            TALK.turns, feedback((0, 0, "1", "1"), (0, 1, "0", "2")), TALK.hints, item_links(), movies()
        ).rows,
    ]
    pairs = assemble(made, TALK.dialogues)
    is_stand_in = pl.col("dialogue_id") == "redial-3"
    pairs = pairs.with_columns(
        is_stand_in=is_stand_in,
        duplicate_of=pl.when(pl.col("dialogue_id") == "redial-7").then(pl.lit(pairs["pair_id"][0])),
    )
    odd = pl.DataFrame({"name": ["a", None], "seen": [None, None], "share": [float("nan"), 0.5], "parts": [[], None]})
    commits = [warehouse.write(tables.PREF_PAIRS, pairs), warehouse.write(ODD, ODD.conform(odd))]
    contracts = {table.name: table for table in (*tables.TABLES, ODD)}
    warehouse.publish({commit.table: commit.version for commit in commits}, contracts)
    return warehouse.root


def ask(root: Path, sql: str) -> list[dict[str, Any]]:
    return query(root, sql).to_dicts()


# -- the shapes that TRL documents --------------------------------------------------------------------------


def test_dpo_is_prompt_chosen_rejected_of_messages(root: Path) -> None:
    pairs = {row["pair_id"]: row for row in ask(root, "SELECT * FROM pref_pairs")}
    rows = ask(root, "SELECT * FROM pref_dpo")
    assert {row["pair_id"] for row in rows} == {
        pair_id for pair_id, row in pairs.items() if row["duplicate_of"] is None
    }
    assert len(rows) == 23
    for row in rows:
        pair = pairs[row["pair_id"]]
        assert row["prompt"] == pair["context"]
        assert row["prompt"][-1]["role"] == "user"
        assert row["chosen"] == [{"role": "assistant", "content": pair["chosen"]}]
        assert row["rejected"] == [{"role": "assistant", "content": pair["rejected"]}]
        assert row["is_stand_in"] == pair["is_stand_in"]


def test_reward_is_two_whole_conversations_and_a_margin_that_is_never_null(root: Path) -> None:
    dpo = {row["pair_id"]: row for row in ask(root, "SELECT * FROM pref_dpo")}
    rows = ask(root, "SELECT * FROM pref_reward")
    assert set(dpo) == {row["pair_id"] for row in rows}
    for row in rows:
        for side in ("chosen", "rejected"):
            assert row[side] == dpo[row["pair_id"]]["prompt"] + dpo[row["pair_id"]][side]
        assert row["margin"] == (0.5 if row["construction"] == "questionnaire" else 0)


def test_kto_is_each_answer_with_its_label(root: Path) -> None:
    dpo = {row["pair_id"]: row for row in ask(root, "SELECT * FROM pref_dpo")}
    rows = ask(root, "SELECT * FROM pref_kto")
    assert len(rows) == 2 * len(dpo)
    for row in rows:
        assert row["completion"] == dpo[row["pair_id"]]["chosen" if row["label"] else "rejected"]
        assert row["prompt"] == dpo[row["pair_id"]]["prompt"]


def test_grpo_is_each_prompt_once_with_what_a_reward_needs_and_without_the_stand_in(root: Path) -> None:
    rows = ask(root, "SELECT * FROM pref_grpo ORDER BY dialogue_id")
    numbers = [number for number in range(12) if number not in (3, 7)]
    assert sorted(row["dialogue_id"] for row in rows) == sorted(f"redial-{number}" for number in numbers)
    for row in rows:
        number = int(row["dialogue_id"].removeprefix("redial-"))
        assert row["movie_ids"] == [film_id(number), film_id(number + 1)]
        assert row["reference"] == f"How about Film {number} (1999) or Film {number + 1} (1999) today, my friend?"


def test_every_view_has_the_columns_of_its_contract(root: Path) -> None:
    for table in tables.TABLES:
        if table.kind == "view":
            assert query(root, f"SELECT * FROM {table.name} LIMIT 0").columns == [
                column.name for column in table.columns
            ]


# -- files --------------------------------------------------------------------------------------------------


def test_parquet_holds_the_rows_as_they_are(root: Path, tmp_path: Path) -> None:
    done = export(root, "pref_dpo", tmp_path / "deep" / "dpo.parquet")
    frame = pl.read_parquet(tmp_path / "deep" / "dpo.parquet")
    assert frame.sort("pair_id").equals(query(root, "SELECT * FROM pref_dpo ORDER BY pair_id"))
    assert dict(done.rows) == {"dpo.parquet": 23}


def test_json_lines_are_utf_8_with_lists_kept(root: Path, tmp_path: Path) -> None:
    export(root, "pref_dpo", tmp_path / "dpo.jsonl", "jsonl")
    raw = (tmp_path / "dpo.jsonl").read_bytes()
    assert "“0”".encode() in raw
    rows = [json.loads(line) for line in raw.decode().splitlines()]
    assert sorted(rows, key=lambda row: row["pair_id"]) == ask(root, "SELECT * FROM pref_dpo ORDER BY pair_id")
    export(root, "raw_odd", tmp_path / "odd.jsonl", "jsonl")
    odd = [json.loads(line) for line in (tmp_path / "odd.jsonl").read_text().splitlines()]
    assert odd == [
        {"name": "a", "seen": None, "share": None, "parts": []},
        {"name": None, "seen": None, "share": 0.5, "parts": None},
    ]


def test_a_large_answer_comes_in_batches_of_one_version(root: Path) -> None:
    parts = list(batches(root, "SELECT pair_id FROM pref_pairs ORDER BY pair_id", rows=5))
    assert parts[0].num_rows == 0 and parts[0].schema.names == ["pair_id"]
    assert sum(part.num_rows for part in parts) == 25
    with pytest.raises(QueryError):
        next(batches(root, "DROP TABLE pref_pairs"))


def front_matter(card: str) -> dict[str, Any]:
    import yaml

    assert card.startswith("---\n")
    return yaml.safe_load(card.split("---\n")[1])


def test_the_folder_has_a_file_a_split_and_a_card_that_says_so(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "dpo"
    done = export(root, "pref_dpo", out, "hf", licences={"redial": "CC BY 4.0"})
    assert set(done.rows) == {f"data/{name}-00000-of-00001.parquet" for name in ("train", "validation", "test")}
    frames = {path: pl.read_parquet(out / path) for path in done.rows}
    assert {path: frame.height for path, frame in frames.items()} == dict(done.rows)
    assert frames["data/validation-00000-of-00001.parquet"]["split"].unique().to_list() == ["valid"]
    assert pl.concat(frames.values()).sort("pair_id").equals(query(root, "SELECT * FROM pref_dpo ORDER BY pair_id"))
    card = (out / "README.md").read_text()
    stated = front_matter(card)
    assert stated["license"] == "cc-by-4.0"
    assert stated["configs"] == [
        {
            "config_name": "default",
            "data_files": [{"split": Path(path).name.split("-")[0], "path": path} for path in done.rows],
        }
    ]
    info = stated["dataset_info"]
    assert [split["num_examples"] for split in info["splits"]] == list(done.rows.values())
    features = {feature.pop("name"): feature for feature in info["features"]}
    assert features["pair_id"] == {"dtype": "string"}
    assert features["is_stand_in"] == {"dtype": "bool"}
    message = [{"name": "role", "dtype": "string"}, {"name": "content", "dtype": "string"}]
    assert features["prompt"] == {"list": message}
    assert tables.PREF_DPO.meaning in card
    assert "2 rows (`is_stand_in`) were made with a rule-based stand-in" in card
    assert "- redial: CC BY 4.0" in card


def test_a_table_without_splits_is_one_train_file(root: Path, tmp_path: Path) -> None:
    done = export(root, "raw_odd", tmp_path / "odd", "hf")
    assert dict(done.rows) == {"data/train-00000-of-00001.parquet": 2}
    card = (tmp_path / "odd" / "README.md").read_text()
    stated = front_matter(card)
    assert stated["license"] == "other"
    assert stated["dataset_info"]["features"] == [
        {"name": "name", "dtype": "string"},
        {"name": "seen", "dtype": "timestamp[us]"},
        {"name": "share", "dtype": "float64"},
        {"name": "parts", "list": [{"name": "id", "dtype": "string"}, {"name": "score", "dtype": "float32"}]},
    ]
    assert "| `name` | `VARCHAR` | A \\| name. |" in card


def test_licences_that_differ_are_named_one_by_one() -> None:
    assert exports._licence_id({"a": "CC BY 4.0", "b": "MIT"}) == "other"
    assert exports._licence_id({"a": "MIT", "b": "MIT"}) == "mit"
    assert exports._licence_id({}) == "other"


# -- what is refused ----------------------------------------------------------------------------------------


def test_what_is_not_published_is_not_exported(root: Path, tmp_path: Path) -> None:
    for name in ("nothing", "pref_pairs; DROP", "'../x.parquet'", "read_text('/etc/passwd')", "_catalog.files"):
        with pytest.raises(QueryError, match="nothing published"):
            export(root, name, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", exports.FORMATS)
def test_nothing_is_overwritten_unasked(root: Path, tmp_path: Path, form: exports.Format) -> None:
    out = tmp_path / "out"
    export(root, "raw_odd", out, form)
    before = out.stat().st_mtime_ns
    with pytest.raises(ExportError, match="exists already"):
        export(root, "pref_dpo", out, form)
    assert out.stat().st_mtime_ns == before
    export(root, "pref_dpo", out, form, is_forced=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert not (out / "odd").exists()


def test_only_an_export_is_replaced(root: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    for form in exports.FORMATS:
        with pytest.raises(ExportError, match="stays"):
            export(root, "raw_odd", mine, form, is_forced=True)
    assert (mine / "thesis.txt").read_text() == "years of work"
    file = tmp_path / "file"
    file.write_text("a file")
    with pytest.raises(ExportError, match="stays"):
        export(root, "raw_odd", file, "hf", is_forced=True)
    link = tmp_path / "link"
    link.symlink_to(file)
    with pytest.raises(ExportError, match="link"):
        export(root, "raw_odd", link, is_forced=True)
    assert file.read_text() == "a file"


def test_a_failure_leaves_what_was_there(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    export(root, "raw_odd", out, "hf")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exports, "_card", full)
    with pytest.raises(ExportError, match="No space left"):
        export(root, "pref_dpo", out, "hf", is_forced=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (out / "data" / "train-00000-of-00001.parquet").is_file()
    with pytest.raises(ExportError, match="cannot be written"):
        export(root, "raw_odd", out / "README.md" / "x.parquet")


def test_a_split_that_is_no_name_is_refused(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "warehouse")
    table = Table(name="raw_split", meaning="Odd.", columns=(Column("split", pl.String, "Split."),))
    for value in ("../../x", None, ""):
        commit = warehouse.write(table, pl.DataFrame({"split": [value]}, schema={"split": pl.String}))
        warehouse.publish({commit.table: commit.version}, {table.name: table})
        with pytest.raises(ExportError, match="no name of a split"):
            export(warehouse.root, "raw_split", tmp_path / "out", "hf")
    assert [path.name for path in tmp_path.iterdir()] == ["warehouse"]

"""`marquee grade`: He et al.'s published outputs give their published figures; rubbish is named by file, line and key."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from assets.commands.grade import grade

LISTS = [
    {"id": "t1", "text": "Sure:\n1. Heat (1995)\n2. Alien"},
    {"id": "t2", "titles": ["Unheard Of", "Cats", "Ring, The"]},
]
LABELS = [
    {"id": "t1", "labels": ["Alien"], "seen": ["Heat"], "dialogue": "d1"},
    {"id": "t2", "labels": ["Cats"], "dialogue": "d2"},
]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A list file, a catalogue and labels in the plain spelling."""
    paths = {
        name: tmp_path / file
        for name, file in (("lists", "lists.jsonl"), ("catalog", "names.txt"), ("labels", "labels.jsonl"))
    }
    paths["lists"].write_text("\n".join(map(json.dumps, LISTS)))
    paths["catalog"].write_text("Heat (1995)\nAlien\nCats\n\nThe Ring\n")
    paths["labels"].write_text("\n".join(map(json.dumps, LABELS)))
    return paths


def run(files: dict[str, Path], *switches: str) -> Result:
    arguments = [str(files["lists"]), "--catalog", str(files["catalog"]), "--labels", str(files["labels"]), *switches]
    return CliRunner().invoke(grade, arguments)


def figures(result: Result) -> dict[str, float]:
    assert result.exit_code == 0, result.output
    return {f"{each['metric']}@{each['k']}": each["value"] for each in json.loads(result.output)["figures"]}


@pytest.mark.real_data
def test_published_outputs_give_the_published_figures(real_data: Path) -> None:
    folder = real_data / "inspired" / "llm-zero-shot"
    files = {
        "lists": folder / "gpt-4-general-extracted.jsonl.gz",
        "catalog": folder / "entity2id.json.gz",
        "labels": folder / "test.jsonl",
    }
    result = run(files, "--drop-oov", "--drop-seen", "--json")
    assert {key: round(value, 4) for key, value in figures(result).items()} == {
        "recall@1": 0.0664,
        "recall@5": 0.1327,
        "recall@10": 0.1848,
        "recall@20": 0.2180,
        "ndcg@10": 0.1222,
    }
    assert {each["n"] for each in json.loads(result.output)["figures"]} == {211}


def test_the_plain_spelling_is_graded(files: dict[str, Path]) -> None:
    assert figures(run(files, "--json"))["recall@1"] == 0
    assert figures(run(files, "--json", "--drop-oov"))["recall@1"] == 0.5
    assert figures(run(files, "--json", "--drop-oov", "--drop-seen"))["recall@1"] == 1
    document = json.loads(run(files, "--json", "--drop-oov").output)
    passport = document["passport"]
    assert (passport["oov"], passport["seen"], passport["pool_items"], passport["turns"]) == ("dropped", "kept", 4, 2)
    assert len(passport["files"]) == 3 and all(len(digest) == 64 for digest in passport["files"].values())
    assert all(each["low"] <= each["value"] <= each["high"] for each in document["figures"])


def test_the_table_shows_figures_and_passport(files: dict[str, Path]) -> None:
    shown = run(files, "--drop-oov").output
    assert "recall@10" in shown and "oov: dropped" in shown and "pool_items: 4" in shown


def test_nothing_is_written(files: dict[str, Path]) -> None:
    before = {path: path.stat().st_mtime_ns for path in files["lists"].parent.iterdir()}
    assert run(files).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in files["lists"].parent.iterdir()} == before


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("catalog", '["Heat", "Alien", "Cats", "The Ring"]'),
        ("catalog", '{"<http://dbpedia.org/resource/Heat_(1995_film)>": 1, "Alien": 2, "Cats": 3, "The Ring": 4}'),
        ("catalog.csv", "title,year\nHeat,1995\nAlien,1979\nCats,2019\nThe Ring,2002\n"),
    ],
)
def test_catalogues_come_in_several_forms(files: dict[str, Path], name: str, content: str) -> None:
    files["catalog"] = files["catalog"].with_name(name)
    files["catalog"].write_text(content)
    expected = figures(run(files, "--json", "--drop-oov"))
    assert expected["recall@1"] == 0.5
    for path in list(files.values()):
        path.write_bytes(gzip.compress(path.read_bytes()))
    assert figures(run(files, "--json", "--drop-oov")) == expected


def test_a_turn_without_list_counts_as_not_found(files: dict[str, Path]) -> None:
    files["lists"].write_text(json.dumps(LISTS[1]))
    result = run(files, "--drop-oov")
    assert "1 turns have no list" in result.output
    assert figures(run(files, "--drop-oov", "--json"))["recall@20"] == 0.5


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("lists", '{"id": "t1", "text": "1. Heat"}\n{"id": "t1", "text": ""}', "line 2: there are two lists for the turn 't1'"),
        ("lists", '{"id": "t9", "text": "1. Heat"}', "line 1: there is no turn 't9'"),
        ("lists", '{"id": "t1"}', "line 1: one of the keys 'text', 'titles', 'resp' is missing"),
        ("lists", '{"id": "t1", "titles": "Heat"}', "line 1: key 'titles' must be"),
        ("lists", '{"id": "t1", "text": 7}', "line 1: the answer must be a text"),
        ("lists", '{"id": "t1", "resp": {"choices": []}}', "line 1: key 'resp' holds no"),
        ("lists", '{"id": ["t1"], "text": ""}', "line 1: key 'id' must be"),
        ("lists", "\n{broken", "line 2: not readable as JSON"),
        ("lists", "[1]", "line 1: must be a JSON object"),
        ("lists", b"\xff\xfe\x00", "line 1: not UTF-8"),
        ("lists", gzip.compress(b"{}")[:-6], "the packed file is cut short"),
        ("lists", b"\x1f\x8bnonsense", "cannot be unpacked"),
        ("labels", '{"id": "t1"}', "line 1: key 'labels' is missing"),
        ("labels", '{"id": "t1", "labels": "Heat"}', "line 1: key 'labels' must be a list"),
        ("labels", '{"id": "t1", "labels": [5]}', "line 1: key 'labels': the catalogue has no entry 5"),
        ("labels", '{"id": "t1", "labels": [null]}', "line 1: key 'labels': 'None' is neither"),
        ("labels", "", "there is no turn in it"),
        ("labels", '{"id": "t1", "labels": []}\n{"id": "t2", "labels": []}', "no label is left"),
        ("catalog", "", "there is no name in it"),
        ("catalog", '{"Heat": 1, "Cats": 1}', "key 'Cats': the number 1 stands for two entries"),
        ("catalog", '{"Heat": "one"}', "key 'Heat': the entry's number must be"),
        ("catalog", "[1]", "entry 0: must be a name"),
        ("catalog", "[" * 100_000, "not readable as JSON"),
    ],
)  # fmt: skip
def test_rubbish_is_named(files: dict[str, Path], name: str, content: Any, said: str) -> None:
    files[name].write_bytes(content if isinstance(content, bytes) else content.encode())
    result = run(files)
    assert result.exit_code == 1
    assert said in result.output
    assert files[name].name in result.output
    assert "Traceback" not in result.output


def test_a_file_that_is_not_there_is_named(files: dict[str, Path]) -> None:
    files["labels"].unlink()
    result = run(files)
    assert result.exit_code == 2 and "labels.jsonl" in result.output

"""JSON, JSON lines and Parquet to records, whole and broken."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.sources.blocks import FileFormat
from pipelines.sources.files import ByteStream, Limits, SourceFile
from pipelines.sources.jsonfiles import read_json, read_json_lines
from pipelines.sources.parquetfiles import read_parquet
from pipelines.sources.paths import parse_path
from pipelines.sources.records import LINE, RAW, REST, Records, concat_frames

JSON = FileFormat("json")
VALUES = FileFormat("json", records="values")
LINES = FileFormat("jsonl")


def read(path: Path, data: bytes | str, wanted: list[str], form: FileFormat = JSON, limits: Limits | None = None):
    """(frame without RAW, rejects as (line, reason))."""
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    reader = read_json_lines if form.format == "jsonl" else read_json
    pieces = list(reader(ByteStream(SourceFile("f", path), limits or Limits()), form, wanted))
    for piece in pieces:
        assert piece.rows_in == piece.frame.height + piece.rejects.height
    rejects = pl.concat([p.rejects for p in pieces])
    return concat_frames([p.frame for p in pieces]).drop(RAW), rejects.select("line", "reason").rows()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "f.json"


def test_heterogeneous_records_nested_paths_and_the_rest(path: Path) -> None:
    films = [
        {"title": "A", "info": {"year": 1999, "rank": 2}, "cast": ["x", None, "y"], "note": None},
        {"title": 1776, "score": 1.5, "info": None, "cast": "z"},
        {"TITLE": "B", "dub": True},
    ]
    frame, rejects = read(path, json.dumps(films), ["title", "info.year", "cast", "dub"])
    assert rejects == []
    assert frame.rows() == [
        (1, '{"info":{"rank":2}}', "A", "1999", ["x", "y"], None),
        (2, '{"score":1.5}', "1776", None, ["z"], None),
        (3, '{"TITLE":"B"}', None, None, None, "true"),
    ]


def test_paths_with_filters_and_lists_of_objects(path: Path) -> None:
    film = {
        "genres": [{"id": 1, "name": "Drama"}, {"id": 2}],
        "credits": {"crew": [{"job": "Director", "name": "D"}, {"job": "Writer", "name": "W"}]},
        "a.b": "spelled out",
        "a": {"b": "nested"},
    }
    wanted = ["genres.name", "credits.crew[job=Director].name", "a.b"]
    frame, _ = read(path, json.dumps([film]), wanted)
    assert frame.select(wanted).row(0) == (["Drama"], ["D"], "spelled out")
    # Only a part was taken out of the lists, so they stay in the rest as they are.
    assert set(json.loads(frame[REST][0])) == {"genres", "credits", "a"}


@pytest.mark.parametrize("path_text", ["a[b]", "a[=", "a]", ""])
def test_malformed_paths(path_text: str) -> None:
    with pytest.raises(ValueError, match="no path"):
        parse_path(path_text)


def test_objects_of_objects_have_their_key(path: Path) -> None:
    frame, rejects = read(path, '{"7": {"name": "A"}, "8": "B", "9": {"name": "C"}}', ["_key", "name"], VALUES)
    assert frame.select("_key", "name").rows() == [("7", "A"), ("9", "C")]
    assert rejects == [(2, "text instead of an object")]


def test_records_at_a_path_and_a_lone_object(path: Path) -> None:
    form = FileFormat("json", records="page.results")
    frame, _ = read(path, '{"page": {"results": [{"t": "A"}, {"t": "B"}]}}', ["t"], form)
    assert frame["t"].to_list() == ["A", "B"]
    frame, _ = read(path, '{"t": "A"}', ["t"])
    assert frame["t"].to_list() == ["A"]
    _, rejects = read(path, '{"page": 1}', ["t"], form)
    assert len(rejects) == 1
    assert "page.results" in rejects[0][1]


def test_elements_that_are_no_objects_are_rejected(path: Path) -> None:
    frame, rejects = read(path, '[{"t": "A"}, 3, null, ["x"], "y", true]', ["t"])
    assert frame["t"].to_list() == ["A"]
    assert [line for line, _ in rejects] == [2, 3, 4, 5, 6]
    assert rejects[0][1] == "a number instead of an object"


def test_a_broken_array_is_kept_up_to_the_break(path: Path) -> None:
    frame, rejects = read(path, '[{"t": "A"}, {"t": "B"}, {"t": "C", oops}, {"t": "D"}]', ["t"])
    assert frame["t"].to_list() == ["A", "B"]
    (reject,) = rejects
    assert reject[0] == 3
    assert reject[1].startswith("JSON breaks at character 25")


@pytest.mark.parametrize("form", [JSON, VALUES], ids=["array", "values"])
def test_every_truncation_keeps_whole_elements_and_makes_one_reject(path: Path, form: FileFormat) -> None:
    films = [{"t": f"film {i}"} for i in range(3)]
    text = json.dumps(films) if form is JSON else json.dumps({str(i): film for i, film in enumerate(films)})
    for end in range(1, len(text)):
        frame, rejects = read(path, text[:end], ["t"], form)
        kept = frame["t"].to_list()
        assert kept == [f"film {i}" for i in range(len(kept))]
        assert len(rejects) == 1


def test_text_after_the_end_is_rejected(path: Path) -> None:
    frame, rejects = read(path, '[{"t": "A"}] oops', ["t"])
    assert frame["t"].to_list() == ["A"]
    assert rejects == [(2, "text after the end, at character 13")]


def test_what_only_a_lenient_parser_reads(path: Path) -> None:
    frame, rejects = read(path, '[{"t": "A", "x": NaN}, {"t": "B\\ud800"}, {"t": 1e999}]', ["t", "x"])
    assert rejects == []
    assert frame["t"].to_list() == ["A", "B\ufffd", "inf"]
    assert frame["x"].to_list() == [None, None, None]


def test_bytes_that_are_no_text_cost_their_element(path: Path) -> None:
    frame, rejects = read(path, b'[{"t": "A"}, {"t": "\xff"}, {"t": "B"}]', ["t"])
    assert frame["t"].to_list() == ["A", "B"]
    assert rejects == [(2, "bytes that are not utf-8")]


def test_encodings_of_json(path: Path) -> None:
    text = '[{"t": "é"}]'
    for data, form in (
        (text.encode("utf-8-sig"), JSON),
        (text.encode("utf-16"), JSON),
        (text.encode("latin-1"), FileFormat("json", encoding="latin-1")),
    ):
        frame, rejects = read(path, data, ["t"], form)
        assert frame["t"].to_list() == ["é"]
        assert rejects == []


@pytest.mark.parametrize("data", ["[" * 100_000, '{"a":' * 100_000, "[" + "9" * 10_000 + "]", "\0", "{", "nonsense"])
@pytest.mark.parametrize("form", [JSON, VALUES, LINES], ids=["array", "values", "lines"])
def test_nonsense_is_one_reject(path: Path, data: str, form: FileFormat) -> None:
    frame, rejects = read(path, data, ["t"], form)
    assert frame.height == 0
    assert len(rejects) == 1


def test_empty_json(path: Path) -> None:
    for data in ("", "[]"):
        frame, rejects = read(path, data, ["t"])
        assert frame.height == 0
        assert frame.columns == [LINE, REST, "t"]
        assert rejects == []


def test_too_large_to_read_whole(path: Path) -> None:
    _, rejects = read(path, "[" + " " * 1000 + "]", ["t"], limits=Limits(whole_bytes=100))
    assert len(rejects) == 1
    assert "in one piece" in rejects[0][1]


def test_json_lines_have_their_line_numbers(path: Path) -> None:
    data = b'{"t": "A"}\n\n{"t": \n[1]\n{"t": "\xff"}\n{"t": "B"}\n'
    frame, rejects = read(path, data, ["t"], LINES)
    assert frame.select(LINE, "t").rows() == [(1, "A"), (6, "B")]
    assert [line for line, _ in rejects] == [3, 4, 5]
    assert rejects[0][1].startswith("not JSON: ")


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["t", "u", "a.b"]), inner, max_size=3),
    max_leaves=8,
)


@given(values=st.lists(VALUE, max_size=6), cut=st.integers(0, 60), as_lines=st.booleans())
def test_books_balance_whatever_stands_in_it(
    tmp_path_factory: pytest.TempPathFactory, values: list, cut: int, as_lines: bool
) -> None:
    text = "\n".join(map(json.dumps, values)) if as_lines else json.dumps(values)
    path = tmp_path_factory.getbasetemp() / "any.json"
    wanted = ["t", "t.u", "u", "a.b"]
    frame, _ = read(path, text[: len(text) - cut], wanted, LINES if as_lines else JSON)
    assert all(frame.schema[name] in (pl.String, pl.List(pl.String)) for name in wanted)


def parquet(path: Path, frame: pl.DataFrame) -> Records:
    frame.write_parquet(path)
    (records,) = read_parquet(ByteStream(SourceFile("f", path), Limits()))
    return records


def test_parquet_of_many_types(path: Path) -> None:
    frame = pl.DataFrame(
        {
            "t": ["A", None],
            "year": [1999.0, None],
            "ids": [[1, 2], None],
            "nested": [{"a": [1]}, None],
            "raw": [b"\xff", b"ok"],
            LINE: ["forged", "forged"],
        }
    )
    records = parquet(path, frame)
    assert records.frame[LINE].to_list() == [1, 2]
    assert records.frame.select("t", "year", "ids").rows() == [
        ("A", "1999.0", ["1", "2"]),
        (None, None, None),
    ]
    assert records.frame["nested"].to_list()[0] == '{"nested":{"a":[1]}}'
    assert records.frame["raw"].to_list() == ["\\xff", "ok"]


@pytest.mark.parametrize(
    "damage", [lambda d: d[:-10], lambda d: b"PAR1 nonsense", lambda d: d[:20] + b"\0" * 50 + d[70:]]
)
def test_broken_parquet_is_one_reject(path: Path, damage) -> None:
    pl.DataFrame({"t": [f"film {i}" for i in range(100)]}).write_parquet(path)
    path.write_bytes(damage(path.read_bytes()))
    (records,) = read_parquet(ByteStream(SourceFile("f", path), Limits()))
    assert records.frame.height == 0
    assert records.rows_in == records.rejects.height == 1
    assert records.rejects["reason"][0].startswith("not readable as Parquet: ")


def test_empty_parquet_file_has_no_rows(path: Path) -> None:
    path.write_bytes(b"")
    (records,) = read_parquet(ByteStream(SourceFile("f", path), Limits()))
    assert records.rows_in == 0

"""Bytes to lines: line ends, byte order marks, encodings, and lines that are not text."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.sources.files import ByteStream, Limits, SourceFile
from pipelines.sources.lines import line_chunks


def lines_of(path: Path, data: bytes, encoding: str = "utf-8", limits: Limits | None = None):
    """(lines, {line number: reason}) of a file with these bytes."""
    path.write_bytes(data)
    lines: list[str] = []
    bad: dict[int, str] = {}
    for chunk in line_chunks(ByteStream(SourceFile("f", path), limits or Limits()), encoding):
        assert chunk.first == len(lines) + 1
        lines += chunk.lines.to_list()
        bad |= {chunk.first + i: reason for i, (reason, _) in chunk.bad.items()}
    return lines, bad


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_line_ends(tmp_path: Path, end: bytes) -> None:
    assert lines_of(tmp_path / "f", end.join([b"a", b"", b"b", b""])) == (["a", "", "b", ""], {})


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        ("\ufeffé\nx".encode(), "utf-8"),
        ("\ufeffé\nx".encode(), "latin-1"),
        ("é\nx".encode("utf-16"), "utf-8"),
        ("é\nx".encode("utf-16-le"), "utf-16-le"),
        ("é\nx".encode("utf-32"), "utf-32"),
        ("é\nx".encode("latin-1"), "latin-1"),
        ("é\nx".encode("cp1252"), "cp1252"),
    ],
)
def test_encodings_and_byte_order_marks(tmp_path: Path, data: bytes, encoding: str) -> None:
    assert lines_of(tmp_path / "f", data, encoding) == (["é", "x"], {})


def test_undecodable_lines_are_set_apart_with_byte_and_offset(tmp_path: Path) -> None:
    lines, bad = lines_of(tmp_path / "f", b"ok\nab\xe9cd\n\xc3\xa9\n\xff\nend")
    assert lines == ["ok", "", "é", "", "end"]
    assert bad == {
        2: "byte 0xe9 at offset 2 of the line is not utf-8",
        4: "byte 0xff at offset 0 of the line is not utf-8",
    }
    _, bad = lines_of(tmp_path / "f", b"a\x81b\nok", "cp1252")
    assert bad == {1: "byte 0x81 at offset 1 of the line is not cp1252"}


def test_half_a_character_of_utf16_costs_its_line(tmp_path: Path) -> None:
    data = "ok\nbad".encode("utf-16-le") + b"\x00\xd8" + "\nend".encode("utf-16-le")
    lines, bad = lines_of(tmp_path / "f", data, "utf-16-le")
    assert lines == ["ok", "", "end"]
    assert list(bad) == [2]


def test_nul_bytes_cost_their_line(tmp_path: Path) -> None:
    assert lines_of(tmp_path / "f", b"a\nb\0c\nd") == (["a", "", "d"], {2: "NUL byte"})


def test_overlong_lines_are_cut_and_set_apart(tmp_path: Path) -> None:
    limits = Limits(chunk_bytes=1000, line_bytes=5000)
    data = b"a\n" + b"x" * 4_000_000 + b"\nb\n" + b"y" * 3_000_000
    lines, bad = lines_of(tmp_path / "f", data, limits=limits)
    assert lines[0] == "a"
    assert lines[2] == "b"
    assert len(lines) == 4
    assert bad == {2: "line longer than 5,000 bytes", 4: "line longer than 5,000 bytes"}


@given(
    lines=st.lists(st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"]), max_size=30)),
    chunk=st.integers(1, 50),
)
def test_chunks_do_not_matter(tmp_path_factory: pytest.TempPathFactory, lines: list[str], chunk: int) -> None:
    path = tmp_path_factory.getbasetemp() / "lines"
    text = "\n".join(["head", *lines])
    assert lines_of(path, text.encode(), limits=Limits(chunk_bytes=chunk)) == (text.split("\n"), {})

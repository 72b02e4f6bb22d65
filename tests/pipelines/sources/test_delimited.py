"""Delimited text to records: what is kept, what is rejected and why."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sources.blocks import FileFormat
from pipelines.sources.delimited import read_delimited, read_lines
from pipelines.sources.files import ByteStream, Limits, SourceFile
from pipelines.sources.records import LINE, RAW, ReadError, concat_frames

CSV = FileFormat("csv", delimiter=",", quote='"')
TSV = FileFormat("tsv", delimiter="\t")


def read(path: Path, data: bytes | str, form: FileFormat = CSV, limits: Limits | None = None):
    """(rows as tuples with their line in front, rejects as (line, reason))."""
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    reader = read_lines if form.format == "lines" else read_delimited
    pieces = list(reader(ByteStream(SourceFile("f.csv", path), limits or Limits()), form))
    for piece in pieces:
        assert piece.rows_in == piece.frame.height + piece.rejects.height
    frame = concat_frames([p.frame for p in pieces]).drop(RAW)
    rejects = pl.concat([p.rejects for p in pieces])
    return frame.select(LINE, pl.exclude(LINE)).rows(), rejects.select("line", "reason").rows()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "f.csv"


def test_good_rows(path: Path) -> None:
    rows, rejects = read(path, 'a,b\n1,x\n"2","y,z"\n3,""\n"4","say ""hi"""\n')
    assert rows == [(2, "1", "x"), (3, "2", "y,z"), (4, "3", ""), (5, "4", 'say "hi"')]
    assert rejects == []


def test_blank_lines_are_no_rows_and_crlf_is_fine(path: Path) -> None:
    rows, rejects = read(path, b"\r\na,b\r\n\r\n1,2\r\n\r\n")
    assert rows == [(4, "1", "2")]
    assert rejects == []


def test_ragged_rows(path: Path) -> None:
    rows, rejects = read(path, 'a,b,c\n1,2,3\n1,2\n1,2,3,4\n"1,2","3"\n')
    assert rows == [(2, "1", "2", "3")]
    assert rejects == [
        (3, "2 fields, header has 3"),
        (4, "4 fields, header has 3"),
        (5, "2 fields, header has 3"),
    ]


def test_records_of_several_lines(path: Path) -> None:
    rows, rejects = read(path, 'a,b\n1,"one\n\ntwo, ""three"""\n2,x\n')
    assert rows == [(2, "1", 'one\n\ntwo, "three"'), (5, "2", "x")]
    assert rejects == []


def test_a_stray_quote_costs_its_own_line_only(path: Path) -> None:
    rows, rejects = read(path, 'a,b\n1,x\n2,"y\n3,z\n4,w\n')
    assert [row[0] for row in rows] == [2, 4, 5]
    assert rejects == [(3, "unterminated quote")]


def test_two_stray_quotes_do_not_swallow_what_is_between(path: Path) -> None:
    good = "\n".join(f"{i},a,b,c" for i in range(3, 9))
    rows, rejects = read(path, f'id,x,y,z\n1,a,b,"c\n{good}\n9,a,b,c"\n')
    assert [row[1] for row in rows] == [str(i) for i in range(3, 10)]
    assert rejects == [(2, "unterminated quote")]


def test_a_stray_quote_does_not_hide_later_records_of_several_lines(path: Path) -> None:
    rows, rejects = read(path, 'a,b,c\n1,"x,y\n2,p,q\n3,"m\nn",o\n4,r,s\n')
    assert rows == [(3, "2", "p", "q"), (4, "3", "m\nn", "o"), (6, "4", "r", "s")]
    assert rejects == [(2, "unterminated quote")]


def test_quotes_inside_unquoted_cells_are_letters(path: Path) -> None:
    rows, rejects = read(path, 'a,b\n5" disc,x\n6" and 7" discs,y\n')
    assert rows == [(2, '5" disc', "x"), (3, '6" and 7" discs', "y")]
    assert rejects == []


def test_text_after_a_closing_quote_is_rejected(path: Path) -> None:
    rows, rejects = read(path, 'a,b\n"The "Best" Film",x\n1,2\n')
    assert rows == [(3, "1", "2")]
    assert rejects == [(2, "text after a closing quote")]


def test_without_quoting_quotes_are_letters(path: Path) -> None:
    rows, rejects = read(path, 'a\tb\n"1\t2"\n"\t\n', TSV)
    assert rows == [(2, '"1', '2"'), (3, '"', "")]
    assert rejects == []


def test_bytes_that_are_no_text(path: Path) -> None:
    rows, rejects = read(path, b"a,b\n1,\xff\n2,x\n3,\0\n")
    assert rows == [(3, "2", "x")]
    assert rejects == [(2, "byte 0xff at offset 2 of the line is not utf-8"), (4, "NUL byte")]


def test_a_bad_line_inside_a_record_of_several_lines_costs_that_record(path: Path) -> None:
    rows, rejects = read(path, b'a,b\n1,"x\n\xff\ny"\n2,z\n')
    assert rows == [(5, "2", "z")]
    assert [line for line, _ in rejects] == [2]
    assert "0xff" in rejects[0][1]


def test_long_fields(path: Path) -> None:
    limits = Limits(field_characters=10)
    rows, rejects = read(path, 'a,b\n1,12345678901\n1,1234567890\n"2","xxxxxxxxxxx"\n', limits=limits)
    assert rows == [(3, "1", "1234567890")]
    assert rejects == [
        (2, "field of 11 characters, at most 10 are read"),
        (4, "field of 11 characters, at most 10 are read"),
    ]


def test_ten_megabytes_in_one_field(path: Path) -> None:
    rows, rejects = read(path, 'a,b\n1,"' + "x" * 10_000_000 + '"\n2,y\n')
    assert rows == [(3, "2", "y")]
    assert rejects == [(2, "field of 10,000,000 characters, at most 1,000,000 are read")]


def test_empty_files(path: Path) -> None:
    for data in ("", "\n\n", "a,b\n", "a,b", "\ufeff"):
        assert read(path, data) == ([], [])


def test_headers(path: Path) -> None:
    path.write_text('"x, y",,a,a,"li\nne"\n1,2,3,4,5\n')
    (records,) = read_delimited(ByteStream(SourceFile("f", path), Limits()), CSV)
    assert records.frame.columns == [LINE, RAW, "x, y", "column_2", "a", "a#2", "li\nne"]
    assert records.frame[LINE].to_list() == [3]
    with pytest.raises(ReadError, match=r"f\.csv, line 1: the header cannot be read"):
        read(path, b"a,\xff\n1,2\n")


def test_reserved_names_cannot_be_forged(path: Path) -> None:
    path.write_text(f"{LINE},{RAW}\n7,8\n")
    (records,) = read_delimited(ByteStream(SourceFile("f", path), Limits()), CSV)
    assert records.frame[LINE].to_list() == [2]
    assert records.frame.columns == [LINE, RAW, "line", "raw"]


def test_given_header_and_long_delimiter(path: Path) -> None:
    form = FileFormat("csv", encoding="latin-1", delimiter="::", header=("id", "title"))
    rows, rejects = read(path, b"1::Caf\xe9\n2::a::b\n", form)
    assert rows == [(1, "1", "Café")]
    assert rejects == [(2, "3 fields, header has 2")]


@pytest.mark.parametrize("quote", ['"', ""])
def test_one_column(path: Path, quote: str) -> None:
    form = FileFormat("csv", delimiter=",", quote=quote, header=("title",))
    rows, rejects = read(path, "Heat\n\nRonin\n", form)
    assert rows == [(1, "Heat"), (3, "Ronin")]
    assert rejects == []


def test_one_quoted_column(path: Path) -> None:
    form = FileFormat("csv", delimiter=",", quote='"', header=("title",))
    assert read(path, '"a ""b"""\n"x,y"\n', form) == ([(1, 'a "b"'), (2, "x,y")], [])


def test_lines_with_a_pattern(path: Path) -> None:
    form = FileFormat("lines", pattern=r"(?P<id>\d+),(?P<year>\d{4}|NULL),(?P<title>.*)")
    rows, rejects = read(path, "1,2003,A, B\n\nx\n2,NULL,C\n", form)
    assert rows == [(1, "1", "2003", "A, B"), (4, "2", "NULL", "C")]
    assert rejects == [(3, "does not match the pattern")]


def test_a_cut_gzip_keeps_the_rows_before_the_cut(tmp_path: Path) -> None:
    import zlib

    compressor = zlib.compressobj(wbits=31)
    whole = compressor.compress(b"a,b\n1,2\n3,4\n5,") + compressor.flush(zlib.Z_SYNC_FLUSH)
    rows, rejects = read(tmp_path / "f.csv", whole)
    assert rows == [(2, "1", "2"), (3, "3", "4")]
    assert rejects == [(4, "gzip stream ends early")]
    for data in (b"", whole[:5]):
        rows, rejects = read(tmp_path / "f.csv", b"\x1f\x8b" + data[2:])
        assert rows == []
        assert rejects == [(1, "gzip stream ends early")]


TEXT = st.text(st.sampled_from('ab ,;"\n\r\té\u00a0'), max_size=8)


@given(rows=st.lists(st.tuples(TEXT, TEXT, TEXT), max_size=20), chunk=st.sampled_from([7, 40, 1 << 20]))
def test_what_the_csv_module_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]], chunk: int
) -> None:
    """Round trip, for records which no rule about stray quotes can misunderstand (width 3)."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(["a", "b", "c"])
    writer.writerows(rows)
    # Line ends inside cells come back as line feeds; a cell whose lines look like whole records is ambiguous.
    expected = [tuple(cell.replace("\r\n", "\n") for cell in row) for row in rows]
    path = tmp_path_factory.getbasetemp() / "round.csv"
    found, rejects = read(path, out.getvalue(), limits=Limits(chunk_bytes=chunk))
    assert rejects == []
    assert [row[1:] for row in found] == expected


DAMAGE = st.sampled_from([b'"', b",", b"\n", b"\0", b"\xff", b"\r", b"", b'",', b'\n"', b"\xc3"])


@settings(max_examples=300)
@given(
    rows=st.lists(st.tuples(TEXT, TEXT, TEXT, TEXT), max_size=12),
    damage=st.lists(st.tuples(st.integers(0, 400), DAMAGE, st.integers(0, 3)), max_size=6),
    chunk=st.sampled_from([16, 64, 1 << 20]),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
)
def test_books_balance_whatever_is_damaged(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, ...]],
    damage: list[tuple[int, bytes, int]],
    chunk: int,
    quoting: int,
) -> None:
    """Nothing raises, every chunk balances (asserted in `read`), lines ascend and are counted once."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=quoting, lineterminator="\n")  # type: ignore[arg-type]
    writer.writerows(rows)
    data = out.getvalue().encode()
    for at, what, dropped in damage:
        at = min(at, len(data))
        data = data[:at] + what + data[at + dropped :]
    path = tmp_path_factory.getbasetemp() / "damaged.csv"
    found, rejects = read(path, b"a,b,c,d\n" + data, limits=Limits(chunk_bytes=chunk))
    lines = [row[0] for row in found]
    assert lines == sorted(set(lines))
    assert not set(lines) & {line for line, _ in rejects}
    nonblank = sum(1 for line in data.split(b"\n") if line.removesuffix(b"\r"))
    assert len(found) + len(rejects) <= nonblank
    assert bool(nonblank) == bool(found or rejects)

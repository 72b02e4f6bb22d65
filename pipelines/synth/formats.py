"""Files in the formats that catalogues are published in.

Belongs here: turning a frame into the bytes of a file and a file back into lines, the same bytes for the
same rows. Does not belong here: what the columns hold.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast

import orjson
import polars as pl

Kind = Literal["delimited", "jsonl", "json", "parquet"]
GZIP_LEVEL = 1


@dataclass(frozen=True)
class Format:
    """How a file is written.

    `quote` is when cells are quoted: never, when necessary, or always except numbers and nulls.
    """

    kind: Kind
    separator: str = ","
    quote: Literal["never", "necessary", "non_numeric"] = "necessary"
    null: str = ""
    encoding: str = "utf-8"
    header: bool = True
    line_end: str = "\n"
    unnamed: tuple[str, ...] = ()  # columns whose name the header leaves empty


CSV = Format("delimited")
IMDB_TSV = Format("delimited", separator="\t", quote="never", null="\\N")
JSONL = Format("jsonl")
JSON = Format("json")
PARQUET = Format("parquet")


def _nearest(error: UnicodeError) -> tuple[str | bytes, int]:
    """Letters that an encoding lacks lose their diacritics; what is left of them becomes a question mark."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = unicodedata.normalize("NFKD", error.object[error.start : error.end])
    return "".join(c if ord(c) < 128 else "?" for c in text if not unicodedata.combining(c)), error.end


codecs.register_error("nearest", _nearest)


def text_lines(frame: pl.DataFrame, form: Format) -> tuple[bytes, list[bytes]]:
    """The header line (empty without one) and one line a row, in the file's encoding, without line ends."""
    if form.kind == "jsonl":
        body = frame.write_ndjson().encode()
        return b"", body.split(b"\n")[: frame.height]
    if len(form.separator) > 1:
        cells = [pl.col(c).cast(pl.String).fill_null(form.null) for c in frame.columns]
        lines = frame.select(pl.concat_str(cells, separator=form.separator).alias("line"))["line"].to_list()
        header = form.separator.join(frame.columns) if form.header else ""
        return header.encode(), [line.encode(form.encoding, "nearest") for line in lines]
    text = frame.write_csv(
        separator=form.separator, quote_style=form.quote, null_value=form.null, include_header=form.header
    )
    for name in form.unnamed:
        text = text.replace(name, "", 1)
    lines = text.encode(form.encoding, "nearest").split(b"\n")
    if form.header:
        return lines[0], lines[1 : frame.height + 1]
    return b"", lines[: frame.height]


def joined(header: bytes, lines: list[bytes], form: Format) -> bytes:
    """A text file's bytes from its header and lines."""
    everything = [header, *lines] if header else lines
    end = form.line_end.encode()
    return end.join(everything) + (end if everything else b"")


def as_objects(frame: pl.DataFrame, optional: tuple[str, ...]) -> list[dict[str, Any]]:
    """Rows as objects; the keys in `optional` are left out where they are null."""
    return [{k: v for k, v in row.items() if v is not None or k not in optional} for row in frame.to_dicts()]


def array_bytes(objects: list[dict[str, Any]]) -> bytes:
    """A JSON array of objects, indented."""
    return orjson.dumps(objects, option=orjson.OPT_INDENT_2) + b"\n"


def read_array(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON array."""
    return orjson.loads(read_bytes(path))


def with_edit(line: bytes, header: bytes, form: Format, column: str, edit: Callable[[Any], Any]) -> bytes:
    """`line` of a text file with the value of `column` replaced by `edit` of it."""
    if form.kind == "jsonl":
        value = orjson.loads(line)
        value[column] = edit(value[column])
        return orjson.dumps(value)
    text = line.decode(form.encoding)
    # Files without a header hold the column that changes last.
    at = _cells(header.decode(), form).index(column) if form.header else -1
    cells = _cells(text, form)
    if form.quote == "non_numeric":
        spans = [m.span(1) for m in _CELL.finditer(text)]
        start, end = spans[at]
        return (text[:start] + edit(text[start:end]) + text[end:]).encode(form.encoding)
    cells[at] = edit(cells[at])
    if form.quote == "never" or len(form.separator) > 1:
        return form.separator.join(cells).encode(form.encoding, "nearest")
    row = io.StringIO()
    csv.writer(row, delimiter=form.separator, lineterminator="").writerow(cells)
    return row.getvalue().encode(form.encoding)


# One cell of a comma-separated line, quotes included.
_CELL = re.compile(r'(?:^|,)("(?:[^"]|"")*"|[^",]*)')


def _cells(text: str, form: Format) -> list[str]:
    if form.quote == "never" or len(form.separator) > 1:
        return text.split(form.separator)
    return next(csv.reader([text], delimiter=form.separator))


def parquet_bytes(frame: pl.DataFrame) -> bytes:
    """A Parquet file's bytes."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd")
    return buffer.getvalue()


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, gzipped where its name ends in .gz: the same bytes for the same content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix != ".gz":
        path.write_bytes(content)
        return
    with path.open("wb") as raw, gzip.GzipFile("", "wb", GZIP_LEVEL, raw, mtime=0) as packed:
        packed.write(content)


def write_frame(path: Path, frame: pl.DataFrame, form: Format) -> None:
    """Write a gzipped delimited file straight from a frame: for big files whose rows need no second look."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as raw, gzip.GzipFile("", "wb", GZIP_LEVEL, raw, mtime=0) as packed:
        target = cast(IO[bytes], packed)
        frame.write_csv(target, separator=form.separator, quote_style=form.quote, null_value=form.null)


def read_bytes(path: Path) -> bytes:
    """A file's content, unpacked where its name ends in .gz."""
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content


def lines_of(content: bytes, form: Format) -> tuple[bytes, list[bytes]]:
    """Header and lines of a text file written by this module."""
    end = form.line_end.encode()
    lines = content.removesuffix(end).split(end)
    return (lines[0], lines[1:]) if form.header and form.kind == "delimited" else (b"", lines)

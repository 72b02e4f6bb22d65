"""Records of dialogue files, the books that are kept of them, and safe access to what is in a record.

Belongs here: JSON lines, JSON documents and delimited files as records; what no table can hold (NULs, lone surrogates);
what was read, kept and rejected of every file. Does not belong here: what the keys of a dataset mean.
"""

from __future__ import annotations

import ast
import json
import math
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import orjson
import polars as pl

from pipelines.sources.blocks import FileFormat
from pipelines.sources.delimited import read_delimited
from pipelines.sources.files import ByteStream, Limits, SourceFile, read_bytes
from pipelines.sources.lines import line_chunks
from pipelines.sources.records import LINE, RAW, RAW_CHARACTERS, ReadError, printable
from warehouse.tables.dialogues import META_DIALOGUE_FILES, RAW_DIALOGUE_REJECTS

TEXT_CHARACTERS = 1_000_000
_ID_CHARACTERS = 500
_NAME_CHARACTERS = 2_000
_LITERAL_CHARACTERS = 50_000
_LITERAL_BRACKETS = 500

_SURROGATE = re.compile("[\ud800-\udfff]")
# Escapes in JSON that may stand for something no table can hold.
_RISKY_ESCAPE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")


class BadRecord(ValueError):
    """A record cannot be kept. The message names the key."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record stands: file, line or position from 1, and its text, cut."""

    file: str
    line: int
    raw: str


@dataclass(frozen=True, slots=True)
class Record:
    """One record: a JSON value, or the cells of a row by column."""

    place: Place
    value: Any


@dataclass
class Books:
    """What was read of one dataset: records in, kept and rejected of every file."""

    dataset: str
    limits: Limits = field(default_factory=Limits)
    rows_in: dict[str, int] = field(default_factory=dict)
    rows_kept: dict[str, int] = field(default_factory=dict)
    rejects: list[tuple[str, int, str, str]] = field(default_factory=list)

    def open(self, file: SourceFile) -> None:
        """Begin the page of a file, also of one that turns out to hold nothing."""
        self.rows_in.setdefault(file.name, 0)
        self.rows_kept.setdefault(file.name, 0)

    def read(self, file: str, rows: int = 1) -> None:
        """Enter `rows` records as read."""
        self.rows_in[file] += rows

    def keep(self, place: Place) -> None:
        """Enter a record as kept."""
        self.rows_kept[place.file] += 1

    def reject(self, place: Place, reason: str) -> None:
        """Enter a record as rejected."""
        self.rejects.append((place.file, place.line, printable(reason), printable(place.raw)))

    def reject_frame(self) -> pl.DataFrame:
        """All rejects, conforming to RAW_DIALOGUE_REJECTS, by file and line."""
        schema = {"file": pl.String, "line": pl.Int64, "reason": pl.String, "raw": pl.String}
        frame = pl.DataFrame(self.rejects, schema=schema, orient="row").with_columns(dataset=pl.lit(self.dataset))
        return RAW_DIALOGUE_REJECTS.conform(frame).sort("file", "line", "reason", "raw")

    def balance(self, files: pl.DataFrame) -> pl.DataFrame:
        """`files` (columns of META_DIALOGUE_FILES up to reader_version) with the three counts."""
        rejected: dict[str, int] = {}
        for file, _, _, _ in self.rejects:
            rejected[file] = rejected.get(file, 0) + 1
        names = files["file"].to_list()
        counts = {
            "rows_in": [self.rows_in.get(name, 0) for name in names],
            "rows_kept": [self.rows_kept.get(name, 0) for name in names],
            "rows_rejected": [rejected.get(name, 0) for name in names],
        }
        return META_DIALOGUE_FILES.conform(files.with_columns(pl.Series(key, v, pl.Int64) for key, v in counts.items()))


# ---------------------------------------------------------------------------------------------------------------- files


def json_lines(file: SourceFile, books: Books) -> Iterator[Record]:
    """The JSON value of every line that is not blank; a line that is not JSON is entered as a reject."""
    books.open(file)
    for chunk in line_chunks(ByteStream(file, books.limits), "utf-8"):
        lines = chunk.lines.to_list()
        bad = dict(chunk.bad)
        if chunk.failure:
            bad[len(lines) - 1] = (chunk.failure, bad.get(len(lines) - 1, ("", lines[-1]))[1])
        for index, line in enumerate(lines):
            if index not in bad and (not line or line.isspace()):
                continue
            books.read(file.name)
            reason, raw = bad.get(index, ("", line))
            place = Place(file.name, chunk.first + index, raw[:RAW_CHARACTERS])
            if index in bad:
                books.reject(place, reason)
                continue
            try:
                yield Record(place, parse_json(line))
            except BadRecord as error:
                books.reject(place, str(error))


def json_document(file: SourceFile, books: Books) -> Any:
    """The JSON value that a whole file is. One that is not JSON is one rejected record, and None is returned.

    The caller enters what it takes for the document's records.
    """
    books.open(file)
    data, failure = read_bytes(file, books.limits)
    text = data.decode("utf-8-sig", "surrogateescape")
    try:
        if failure:
            raise BadRecord(failure)
        if "\0" in text or re.search("[\udc80-\udcff]", text):
            raise BadRecord("NUL byte" if "\0" in text else "not valid UTF-8")
        return parse_json(text)
    except BadRecord as error:
        books.read(file.name)
        books.reject(Place(file.name, 1, text[:RAW_CHARACTERS]), str(error))
        return None


def table_rows(file: SourceFile, form: FileFormat, books: Books) -> Iterator[Record]:
    """The rows of a delimited file, each a dict of texts by column; rows that do not fit the header are rejects."""
    books.open(file)
    try:
        for records in read_delimited(ByteStream(file, books.limits), form):
            books.read(file.name, records.rows_in)
            for line, reason, raw in records.rejects.iter_rows():
                books.reject(Place(file.name, line, raw), reason)
            columns = [name for name in records.frame.columns if name not in (LINE, RAW)]
            for line, raw, *cells in records.frame.select(LINE, RAW, *columns).iter_rows():
                yield Record(Place(file.name, line, raw), dict(zip(columns, cells, strict=True)))
    except ReadError as error:
        books.read(file.name)
        books.reject(Place(file.name, 1, ""), str(error))


def parse_json(text: str) -> Any:
    """The value of `text`, without what no table can hold. Raises BadRecord when it is not JSON."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as refusal:
        # What orjson refuses (NaN, very long numbers, lone surrogates) the lenient parser gets.
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            raise BadRecord(f"not JSON: {refusal}") from None
    try:
        return _storable_value(value) if _RISKY_ESCAPE.search(text) else value
    except RecursionError:
        raise BadRecord("JSON that is nested too deep") from None


def _storable_value(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, list):
        return [_storable_value(item) for item in value]
    if isinstance(value, dict):
        return {storable(key): _storable_value(item) for key, item in value.items()}
    return value


def storable(text: str) -> str:
    """`text` without NULs, lone surrogates replaced by U+FFFD: no text column can hold either."""
    return _SURROGATE.sub("\ufffd", text.replace("\0", ""))


def dumps(value: Any) -> str:
    """Canonical JSON of a value: sorted keys, no blanks; the same in every run.

    What cannot be written (nested too deep, not a number) is replaced by words that say so.
    """
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:
        pass
    try:
        # Numbers beyond 64 bits.
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (RecursionError, TypeError, ValueError):
        return '"(cannot be written as JSON)"'


# --------------------------------------------------------------------------------------------------- what is in a record


def an_object(value: Any, key: str) -> dict[str, Any]:
    """`value` if it is an object; raises BadRecord naming `key`."""
    if not isinstance(value, dict):
        raise BadRecord(f"{key}: {_kind(value)} instead of an object")
    return value


def a_list(record: Mapping[str, Any], key: str) -> list[Any]:
    """The list at `key`; raises BadRecord when there is none."""
    value = record.get(key)
    if not isinstance(value, list):
        raise BadRecord(f"{key}: {_kind(value) if key in record else 'missing'} instead of a list")
    return value


def a_text(record: Mapping[str, Any], key: str, path: str = "") -> str:
    """The text at `key`; raises BadRecord when there is none or it is too long. `path` is how to call the key."""
    value = record.get(key)
    if not isinstance(value, str):
        raise BadRecord(f"{path or key}: {_kind(value) if key in record else 'missing'} instead of text")
    return checked_text(value, path or key)


def checked_text(text: str, key: str) -> str:
    """`text` unless it is longer than a turn may be: then BadRecord."""
    if len(text) > TEXT_CHARACTERS:
        raise BadRecord(f"{key}: {len(text):,} characters, at most {TEXT_CHARACTERS:,} are kept")
    return text


def an_id(record: Mapping[str, Any], key: str, path: str = "") -> str:
    """The id at `key`, a text or a whole number, as text; raises BadRecord when it cannot be one."""
    found = as_id(record.get(key))
    if found is None:
        what = _kind(record[key]) if key in record else "missing"
        raise BadRecord(f"{path or key}: {what} that is no id" if key in record else f"{path or key}: missing")
    return found


def a_role(record: Mapping[str, Any], key: str, roles: Mapping[str, str], path: str) -> str:
    """The role that the word at `key` stands for; raises BadRecord for any other word. `path` is how to call the key."""
    word = record.get(key)
    if not isinstance(word, str) or word not in roles:
        raise BadRecord(f"{path}: neither {' nor '.join(roles)}")
    return roles[word]


def as_id(value: Any) -> str | None:
    """`value` as an id: a whole number, or a printable text of some characters; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return str(value) if -(1 << 63) <= value < 1 << 63 else None
    if isinstance(value, str):
        text = value.strip()
        return text if text and len(text) <= _ID_CHARACTERS and text.isprintable() else None
    return None


def as_name(value: Any) -> str | None:
    """`value` as the name of an item: a text of some characters without blanks around it, or a whole number; else None."""
    if not isinstance(value, str):
        return as_id(value)
    text = value.strip()
    return text if text and len(text) <= _NAME_CHARACTERS else None


def as_number(value: Any) -> float | None:
    """`value` as a finite number, from a number or its text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def rest_of(record: Mapping[str, Any], *taken: str) -> dict[str, Any]:
    """What of a record no column takes."""
    return {key: value for key, value in record.items() if key not in taken and value not in (None, "")}


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


@lru_cache(maxsize=4096)
def python_literal(text: str) -> dict[str, Any] | None:
    """The dictionary that `text` writes as a Python literal; None when it is none, or suspiciously large or nested.

    Only literals are read (`ast.literal_eval`): nothing in the text is run.
    """
    if len(text) > _LITERAL_CHARACTERS or sum(text.count(bracket) for bracket in "([{") > _LITERAL_BRACKETS:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = ast.literal_eval(text.strip())
        plain = orjson.loads(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    return plain if isinstance(plain, dict) else None

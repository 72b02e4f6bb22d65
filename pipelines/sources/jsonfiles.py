"""JSON and JSON lines to records.

Belongs here: values out of nested records, salvage of broken files.
Does not belong here: the meaning of keys.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import orjson
import polars as pl

from pipelines.sources.blocks import FileFormat
from pipelines.sources.files import ByteStream, read_bytes
from pipelines.sources.lines import line_chunks
from pipelines.sources.paths import Step, parse_path
from pipelines.sources.records import (
    LINE,
    RAW,
    RAW_CHARACTERS,
    REST,
    Records,
    reject_rows,
)

# The key of an object of objects, as a column.
KEY = "_key"

_SPACE = re.compile(r"[ \t\r\n]*")
_NO_RECORDS = pl.Schema({LINE: pl.Int64, RAW: pl.String, REST: pl.String})

Element = tuple[int, Any]
Rejected = tuple[int, str, str]


def read_json_lines(stream: ByteStream, form: FileFormat, wanted: Sequence[str]) -> Iterator[Records]:
    """Records of a file with one JSON object a line.

    `wanted` paths become columns, String or List(String).
    """
    for chunk in line_chunks(stream, form.encoding):
        elements: list[Element] = []
        rejects = [(chunk.first + i, reason, raw) for i, (reason, raw) in chunk.bad.items()]
        lines = chunk.lines.to_list()
        if chunk.failure:
            last = len(lines) - 1
            rejects = [r for r in rejects if r[0] != chunk.first + last]
            rejects.append((chunk.first + last, chunk.failure, chunk.bad.get(last, ("", lines[last]))[1]))
            lines.pop()
        for number, line in enumerate(lines, chunk.first):
            if line and not line.isspace():
                try:
                    elements.append((number, _loads(line)))
                except (ValueError, RecursionError) as error:
                    rejects.append((number, f"not JSON: {error}", line))
        yield _records(elements, rejects, wanted, {number: lines[number - chunk.first] for number, _ in elements})


def read_json(stream: ByteStream, form: FileFormat, wanted: Sequence[str]) -> Iterator[Records]:
    """Records of a JSON file: an array, an object of objects (`records = "values"`), or an array at a path.

    A lone object counts as an array of one. Of a broken file, what stands before the break is kept.
    """
    data, failure = read_bytes(stream.file, stream.limits)
    if not data:
        yield _records([], [(1, failure, "")] if failure else [], wanted)
        return
    rejects: list[Rejected] = []
    try:
        elements = list(enumerate(_members(orjson.loads(_utf8(data, form.encoding)), form.records), 1))
        if failure:
            rejects.append((len(elements) + 1, failure, ""))
    except (ValueError, RecursionError):
        elements, rejects = _salvage(data, form, failure)
    del data
    yield _records(elements, rejects, wanted)


def _utf8(data: bytes, encoding: str) -> bytes:
    """`data` as UTF-8 without byte order mark; raises UnicodeDecodeError."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    return data.decode("utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding).encode()


def _loads(text: str) -> Any:
    """Parse one JSON value.

    What orjson refuses (NaN, very long numbers, lone surrogates) the lenient parser gets.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)


def _members(document: Any, records: str) -> Iterator[Any]:
    """The records inside a whole document.

    Raises ValueError when it does not have the shape the block states.
    """
    if records == "values":
        if not isinstance(document, dict):
            raise ValueError(f"records = 'values' needs an object, found {_kind(document)}")
        for key, value in document.items():
            yield {KEY: key, **value} if isinstance(value, dict) else value
        return
    if records != "array":
        for key in records.split("."):
            if not isinstance(document, dict) or key not in document:
                raise ValueError(f"nothing at {records!r}")
            document = document[key]
    yield from document if isinstance(document, list) else [document]


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _salvage(data: bytes, form: FileFormat, failure: str | None) -> tuple[list[Element], list[Rejected]]:
    """Elements of a broken array or object up to the break, and one reject for the rest."""
    text = data.decode(form.encoding, "surrogateescape" if form.encoding.startswith("utf-8") else "replace")
    decoder = json.JSONDecoder()
    elements: list[Element] = []
    rejects: list[Rejected] = []
    opening = {"array": "[", "values": "{"}.get(form.records)
    at = _skip(text, 1 if text.startswith("\ufeff") else 0)
    if opening is None or text[at : at + 1] != opening:
        try:
            whole = _members(_loads(text[at:]), form.records)
            return list(enumerate(whole, 1)), []
        except (ValueError, RecursionError) as error:
            return [], [(1, failure or f"not JSON: {error}", text)]
    at = _skip(text, at + 1)
    number = 1
    while True:
        start = at
        try:
            if text[at : at + 1] == ("]" if opening == "[" else "}"):
                at = _skip(text, at + 1)
                if at < len(text):
                    rejects.append((number, f"text after the end, at character {at}", text[at:][:RAW_CHARACTERS]))
                elif failure:
                    rejects.append((number, failure, ""))
                break
            key = None
            if opening == "{":
                key, at = decoder.raw_decode(text, at)
                at = _skip(text, at)
                if not isinstance(key, str) or text[at : at + 1] != ":":
                    raise ValueError(f"a key and ':' expected at character {at}")
                at = _skip(text, at + 1)
            value, at = decoder.raw_decode(text, at)
            end = at
            at = _skip(text, at)
            if text[at : at + 1] == ",":
                at = _skip(text, at + 1)
            elif text[at : at + 1] not in ("]", "}"):
                raise ValueError(f"',' expected at character {at}")
        except (ValueError, RecursionError) as error:
            reason = f"{failure or 'JSON breaks'} at character {start}: {error}"
            rejects.append((number, reason, text[start : start + RAW_CHARACTERS]))
            break
        if re.search("[\udc80-\udcff]", text[start:end]):
            rejects.append((number, f"bytes that are not {form.encoding}", text[start:end][:RAW_CHARACTERS]))
        else:
            elements.append((number, {KEY: key, **value} if key is not None and isinstance(value, dict) else value))
        number += 1
    return elements, rejects


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _records(
    elements: Sequence[Element],
    rejects: Sequence[Rejected],
    wanted: Sequence[str],
    texts: Mapping[int, str] | None = None,
) -> Records:
    """Columns of the `wanted` paths of each element that is an object; the others are rejected.

    `texts`: what the elements were parsed from, where that is at hand.
    """
    refused = list(rejects)
    lines: list[int] = []
    raws: list[str] = []
    rests: list[str | None] = []
    columns: list[list[Any]] = [[] for _ in wanted]
    steps = [parse_path(path) for path in wanted]
    for number, element in elements:
        raw = (_dumps(element) if texts is None else texts[number])[:RAW_CHARACTERS]
        if not isinstance(element, dict):
            refused.append((number, f"{_kind(element)} instead of an object", raw))
            continue
        values = [_find(element, path, step) for path, step in zip(wanted, steps, strict=True)]
        for column, value in zip(columns, values, strict=True):
            column.append(value)
        for path, step in zip(wanted, steps, strict=True):
            _take_out(element, path, step)
        rest = {key: value for key, value in element.items() if value is not None and value != {}}
        lines.append(number)
        raws.append(raw)
        rests.append(_dumps(rest) if rest else None)
    own = pl.DataFrame({LINE: lines, RAW: raws, REST: rests}, schema=_NO_RECORDS)
    frame = own.hstack([_column(path, values) for path, values in zip(wanted, columns, strict=True)])
    frame = frame.with_columns(pl.col(RAW).str.replace_all("\0", "\\x00", literal=True))
    bad = reject_rows(refused).sort("line", maintain_order=True)
    return Records(frame, bad, frame.height + bad.height)


def _find(element: dict[str, Any], path: str, steps: Sequence[Step]) -> Any:
    """Text, list of texts, or None at `path`; a key that is spelled like the whole path comes first."""
    value = element[path] if path in element else _walk(element, steps)
    if isinstance(value, list):
        return [_text(item) for item in value if item is not None]
    return None if value is None else _text(value)


def _walk(value: Any, steps: Sequence[Step]) -> Any:
    for i, (key, filter_key, filter_value) in enumerate(steps):
        if isinstance(value, list):
            if i == len(steps) - 1 and filter_key is None:  # `cast.name`: by far the most common end of a path
                found = [item.get(key) if isinstance(item, dict) else _walk(item, steps[i:]) for item in value]
            else:
                found = [_walk(item, steps[i:]) for item in value]
            return _flat(found)
        if not isinstance(value, dict):
            return None
        value = value.get(key)
        if filter_key is not None:
            items = value if isinstance(value, list) else [value]
            value = [x for x in items if isinstance(x, dict) and _text(x.get(filter_key)) == filter_value]
    return _flat([_walk(item, ()) for item in value]) if isinstance(value, list) else value


def _flat(found: list[Any]) -> list[Any]:
    """Inner lists taken apart one level deep, without nulls."""
    return [x for item in found for x in (item if isinstance(item, list) else (item,)) if x is not None]


def _take_out(element: dict[str, Any], path: str, steps: Sequence[Step]) -> None:
    """Remove what `path` took wholly; what it took from inside lists stays, for it took only a part."""
    if path in element:
        del element[path]
        return
    holder: Any = element
    for key, filter_key, _ in steps[:-1]:
        holder = holder.get(key) if isinstance(holder, dict) and filter_key is None else None
    if isinstance(holder, dict) and steps[-1][1] is None:
        holder.pop(steps[-1][0], None)


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return _dumps(value)


def _dumps(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except (TypeError, orjson.JSONEncodeError, RecursionError):
        # Lone surrogates and numbers beyond 64 bits.
        return json.dumps(value, ensure_ascii=True, allow_nan=False, default=str)


def _column(name: str, values: Sequence[Any]) -> pl.Series:
    if any(isinstance(value, list) for value in values):
        lists = [value if isinstance(value, list) or value is None else [value] for value in values]
        return _series(name, lists, pl.List(pl.String), lambda items: [_encodable(i) for i in items])
    return _series(name, values, pl.String(), _encodable)


def _series(name: str, values: Sequence[Any], dtype: pl.DataType, clean: Callable[[Any], Any]) -> pl.Series:
    from pyarrow import ArrowException  # slow to import, and most runs read no JSON

    try:
        return _built(name, values, dtype)
    except (UnicodeEncodeError, TypeError, ArrowException):
        return _built(name, [None if value is None else clean(value) for value in values], dtype)


def _built(name: str, values: Sequence[Any], dtype: pl.DataType) -> pl.Series:
    if dtype != pl.List(pl.String):
        return pl.Series(name, values, dtype=dtype)
    import pyarrow as pa

    # Arrow builds nested arrays at once, where polars makes a Series of every inner list: ten times slower.
    return pl.Series(name, pa.array(values, pa.large_list(pa.large_string())), dtype=dtype)


def _encodable(text: str | None) -> str | None:
    """`text` with lone surrogates (possible as JSON escapes, not as text) replaced by U+FFFD."""
    if text is None:
        return None
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

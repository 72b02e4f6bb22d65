"""Files of recordings: bytes in, text or JSON objects with their lines out.

Files may be packed (gzip). Does not belong here: what they mean (`simulation/replay.py`, `pipelines/reranking/recorded.py`), opening them.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from typing import Any

_GZIP = b"\x1f\x8b"


class RecordingError(ValueError):
    """A file cannot be used; the message names file, line and key."""


def text_of(file: str, content: bytes, most: int) -> str:
    """The text in a file, plain or packed. Raises RecordingError where it cannot be unpacked, comes to more than `most` bytes, or is not UTF-8."""
    if content.startswith(_GZIP):
        content = _unpacked(file, content, most)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise RecordingError(f"{file}: line {line}: not UTF-8") from None


def objects(file: str, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The JSON objects of the lines that are not blank, with their number from 1. Raises RecordingError."""
    # Not splitlines: JSON texts may hold line separators other than a line feed.
    for line, part in enumerate(text.split("\n"), start=1):
        if part.strip():
            row = json_of(f"{file}: line {line}", part)
            if not isinstance(row, dict):
                raise RecordingError(f"{file}: line {line}: must be a JSON object")
            yield line, row


def json_of(where: str, text: str) -> Any:
    """What a JSON text says. Raises RecordingError, saying `where` it stands."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecordingError(f"{where}: not readable as JSON: {str(error)[:120]}") from None


def _unpacked(file: str, content: bytes, most: int) -> bytes:
    parts, size = [], 0
    try:
        while content.startswith(_GZIP):
            reader = zlib.decompressobj(wbits=31)
            parts.append(reader.decompress(content, most + 1 - size))
            size += len(parts[-1])
            if size > most:
                raise RecordingError(f"{file}: more than {most:,} bytes when unpacked")
            if not reader.eof:
                raise RecordingError(f"{file}: the packed file is cut short")
            content = reader.unused_data
    except zlib.error as error:
        raise RecordingError(f"{file}: cannot be unpacked: {error}") from None
    if content.strip(b"\0"):
        raise RecordingError(f"{file}: something that is not packed follows the packed part")
    return b"".join(parts)

"""Bytes to lines of text, a bounded chunk at a time, with the lines that cannot be text set apart.

Belongs here: line ends, byte order marks, encodings, NULs, overlong lines.
Does not belong here: what a line means.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from pipelines.sources.files import ByteStream

_WIDE = re.compile(r"utf-(16|32)")
_UNDECODABLE = re.compile("[\udc80-\udcff]")
_KEPT_OF_OVERLONG = 4096


@dataclass(frozen=True)
class LineChunk:
    """Consecutive lines of a file.

    `lines` [n] String without line ends; line i has number `first + i`. `bad` maps positions in `lines` to
    (reason, raw text); their text in `lines` is empty. `failure`: why the file ends in this chunk although it
    should go on; its last line is then the remainder.
    """

    first: int
    lines: pl.Series
    bad: dict[int, tuple[str, str]]
    is_last: bool
    failure: str | None = None


def line_chunks(stream: ByteStream, encoding: str) -> Iterator[LineChunk]:
    """Lines of `stream` in `encoding`.

    A byte order mark is dropped, and believed before `encoding`. At least one chunk.
    """
    blocks = iter(stream)
    head = next(blocks, b"")
    lossy = False
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        encoding = "utf-32"
    elif head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif head.startswith(codecs.BOM_UTF8):
        head = head[len(codecs.BOM_UTF8) :]
        encoding = "utf-8"
    encoding = codecs.lookup(encoding).name
    pieces = _chain(head, blocks)
    if _WIDE.match(encoding):
        pieces, encoding, lossy = _transcoded(pieces, encoding), "utf-8", True
    first = 1
    for data, overlong, is_last in _cut_at_line_ends(pieces, stream):
        chunk = _to_lines(data, encoding, first, lossy)
        if overlong:
            start = data[:_KEPT_OF_OVERLONG].decode(encoding, "replace")
            chunk.bad[0] = (f"line longer than {stream.limits.line_bytes:,} bytes", start)
        yield LineChunk(first, chunk.lines, chunk.bad, is_last, stream.failure if is_last else None)
        first += len(chunk.lines)


def _chain(head: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from blocks


def _transcoded(pieces: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """UTF-16 or UTF-32 as UTF-8; what cannot be decoded becomes U+FFFD."""
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    for piece in pieces:
        yield decoder.decode(piece).encode("utf-8", "replace")
    yield decoder.decode(b"", True).encode("utf-8", "replace")


def _cut_at_line_ends(pieces: Iterator[bytes], stream: ByteStream) -> Iterator[tuple[bytes, bool, bool]]:
    """(whole lines without the last line end, is the first of them cut for length, is that the end)."""
    limits = stream.limits
    pending: list[bytes] = []
    size = 0
    skipping = overlong = False
    old_mac: bool | None = None
    for piece in pieces:
        if old_mac is None and piece:
            # Files of the classic Mac end their lines with a lone carriage return.
            old_mac = b"\n" not in piece and b"\r" in piece.rstrip(b"\r")
        if old_mac:
            piece = piece.replace(b"\r", b"\n")
        if skipping:
            end = piece.find(b"\n")
            if end < 0:
                continue
            piece, skipping = piece[end:], False
        pending.append(piece)
        size += len(piece)
        if size < min(limits.chunk_bytes, limits.line_bytes):
            continue
        data = b"".join(pending)
        cut = data.rfind(b"\n")
        if cut >= 0:
            yield data[:cut], overlong, False
            overlong = False
            pending, size = [data[cut + 1 :]], len(data) - cut - 1
        elif size > limits.line_bytes:
            pending, size = [data[:_KEPT_OF_OVERLONG]], _KEPT_OF_OVERLONG
            skipping = overlong = True
        else:
            pending = [data]
    yield b"".join(pending), overlong, True


def _to_lines(data: bytes, encoding: str, first: int, lossy: bool) -> LineChunk:
    bad: dict[int, tuple[str, str]] = {}
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text, bad = _set_apart(data.decode(encoding, "surrogateescape"), encoding)
    lines = pl.Series("text", [text]).str.split("\n").explode().str.strip_suffix("\r")
    for mark, reason in (("\0", "NUL byte"), *((("\ufffd", "not valid in its encoding"),) if lossy else ())):
        found = lines.str.contains(mark, literal=True)
        if found.any():
            for index in found.arg_true().to_list():
                bad[index] = (reason, lines[index])
            lines = pl.select(pl.when(found).then(pl.lit("")).otherwise(lines)).to_series().alias("text")
    return LineChunk(first, lines, bad, False)


def _set_apart(text: str, encoding: str) -> tuple[str, dict[int, tuple[str, str]]]:
    """Empty the lines of `text` that hold undecodable bytes (as lone surrogates), and say what they held."""
    bad: dict[int, tuple[str, str]] = {}
    kept: list[str] = []
    number = start = 0
    # From one undecodable byte to the next: most lines are never looked at.
    while (at := _UNDECODABLE.search(text, start)) is not None:
        line_start = text.rfind("\n", start, at.start()) + 1 or start
        line_end = text.find("\n", at.end())
        line_end = len(text) if line_end < 0 else line_end
        number += text.count("\n", start, line_start)
        line = text[line_start:line_end]
        offset = len(text[line_start : at.start()].encode(encoding, "surrogateescape"))
        bad[number] = (f"byte 0x{ord(at.group()) - 0xDC00:02x} at offset {offset} of the line is not {encoding}", line)
        kept.append(text[start:line_start])
        start = line_end
    kept.append(text[start:])
    return "".join(kept), bad

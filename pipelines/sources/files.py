"""Finding source files and streaming their bytes, plain, gzipped or inside zip archives.

Belongs here: globs, archive members, fingerprints, decompression and its limits. Archives are only ever read
as streams: nothing is extracted to disk.
Does not belong here: what the bytes mean.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO

GZIP_MAGIC = b"\x1f\x8b"
_BLOCK = 1 << 20

# What the zip and gzip modules raise on damaged files.
_DAMAGE = (
    OSError, EOFError, zipfile.BadZipFile, zlib.error, struct.error, ValueError, LookupError, RuntimeError,
)  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """How much a hostile or broken file may cost.

    A file that goes past one is cut there and the cut is a reject.
    """

    expansion: int = 200  # decompressed / compressed bytes, judged once `expansion_after_bytes` have come out
    expansion_after_bytes: int = 64 << 20
    member_bytes: int = 8 << 30  # decompressed size of one file
    whole_bytes: int = 1 << 30  # decompressed size of a file that can only be read in one piece (JSON, Parquet)
    line_bytes: int = 16 << 20  # one physical line
    field_characters: int = 1_000_000
    chunk_bytes: int = 16 << 20  # what is parsed at a time
    parquet_rows: int = 50_000_000


@dataclass(frozen=True, order=True)
class SourceFile:
    """One file, or one member of a zip archive.

    `name` is relative to the sources folder, with `/`; a member's is `path/to/archive.zip/member/path`.
    `problem` says why the file must not or cannot be opened at all (it is then one rejected row).
    """

    name: str
    path: Path
    member: str | None = None
    problem: str | None = None


def find_files(patterns: Sequence[str], sources: Path) -> list[SourceFile]:
    """Files under `sources` that match `patterns`: by first matching pattern, then by name.

    `*` and `?` stay inside one path component, `**` spans any number, `!pattern` excludes. A trailing `.gz`
    of a file is ignored in matching. Of twins (`x` and `x.gz`; an archive and its unpacked copy) only the
    plain file is taken. Links are never followed out of the folder; hidden files are left alone.
    """
    return match_files(patterns, list_folder(sources))


def match_files(patterns: Sequence[str], listing: Sequence[SourceFile]) -> list[SourceFile]:
    """As `find_files`, on what `list_folder` returned."""
    wanted = [glob_regex(p) for p in patterns if not p.startswith("!")]
    excluded = [glob_regex(p[1:]) for p in patterns if p.startswith("!")]
    stems = [part for p in patterns if not p.startswith("!") for part in p.split("/") if part != "**"]
    found: list[tuple[int, SourceFile]] = []
    for file in listing:
        if file.problem and file.member is None:
            # The members of an unreadable archive are unknown: it concerns whoever names it in a pattern.
            stem = PurePosixPath(file.name).stem
            if any(re.fullmatch(_component(part), name) for part in stems for name in (stem, stem + ".zip")):
                found.append((len(wanted), file))
            continue
        name = file.name.removesuffix(".gz")
        if any(regex.fullmatch(name) for regex in excluded):
            continue
        rank = next((i for i, regex in enumerate(wanted) if regex.fullmatch(name)), None)
        if rank is not None:
            found.append((rank, file))
    return [file for _, file in sorted(found, key=lambda pair: (pair[0], pair[1].name))]


def glob_regex(pattern: str) -> re.Pattern[str]:
    """Regular expression of a glob over `/`-separated names."""
    parts = pattern.split("/")
    out = ""
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part == "**":
            out += ".*" if last else "(?:[^/]+/)*"
        else:
            out += _component(part) + ("" if last else "/")
    return re.compile(out, re.DOTALL)


def _component(part: str) -> str:
    return "".join({"*": "[^/]*", "?": "[^/]"}.get(c, re.escape(c)) for c in part)


def list_folder(sources: Path) -> list[SourceFile]:
    """Every regular file under `sources` and every member of its zip archives, sorted by name.

    Raises FileNotFoundError when there is no such folder.
    """
    root = sources.resolve()
    if not root.is_dir():
        raise FileNotFoundError(f"sources folder {sources} does not exist")
    plain: dict[str, SourceFile] = {}
    archives: list[tuple[str, Path]] = []
    for folder, subfolders, names in os.walk(root, followlinks=False):
        subfolders[:] = sorted(name for name in subfolders if not _is_hidden(name))
        for entry in sorted(names):
            path = Path(folder, entry)
            if _is_hidden(entry) or not _is_regular_inside(path, root):
                continue
            name = _printable_name(path.relative_to(root).as_posix())
            if name.lower().endswith(".zip"):
                archives.append((name, path))
            else:
                plain[name] = SourceFile(name, path)
    files = {
        name: file for name, file in plain.items() if not (name.endswith(".gz") and name.removesuffix(".gz") in plain)
    }
    for name, path in archives:
        for file in _members(name, path):
            if not any(twin in plain for twin in _unpacked_names(file)):
                files.setdefault(file.name, file)
    return sorted(files.values())


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _is_regular_inside(path: Path, root: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode) and path.resolve().is_relative_to(root)
    except OSError:
        return False


def _printable_name(name: str) -> str:
    """File names are bytes on disk: write what is not UTF-8 or not printable as an escape."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _members(name: str, path: Path) -> list[SourceFile]:
    status = path.stat()
    return [
        SourceFile(f"{name}/{shown}" if shown else name, path, member, problem)
        for shown, member, problem in _zip_listing(path, status.st_size, status.st_mtime_ns)
    ]


@lru_cache(maxsize=256)
def _zip_listing(path: Path, size: int, mtime_ns: int) -> tuple[tuple[str, str | None, str | None], ...]:
    """(name to show, member, problem) of each file in the archive.

    Size and mtime are there to key the cache.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except _DAMAGE as error:
        if not _is_damage(error):
            raise
        return (("", None, f"not a readable zip archive: {error}"),)
    rows: list[tuple[str, str | None, str | None]] = []
    for member in members:
        parts = member.filename.replace("\\", "/").split("/")
        if member.is_dir() or any(_is_hidden(part) and part != ".." for part in parts):
            continue
        problem = None
        if ".." in parts or not parts[0] or re.match(r"[A-Za-z]:", parts[0]):
            problem = "archive member's path leads out of the archive"
        elif member.flag_bits & 0x1:
            problem = "archive member is encrypted"
        shown = "/".join(part or "(root)" for part in parts)
        rows.append((_printable_name(shown), member.filename, problem))
    return tuple(rows)


def _is_damage(error: BaseException) -> bool:
    """Whether the file is at fault: no permission or a failing disk must not pass for bad data."""
    return not isinstance(error, OSError) or error.errno in (None, errno.EINVAL)


def _unpacked_names(file: SourceFile) -> Iterator[str]:
    """Where a member lies after a usual unpacking: beside its archive, or in a folder named after that."""
    archive, _, member = file.name.partition(".zip/")
    folder = archive.rpartition("/")[0]
    yield f"{folder}/{member}" if folder else member
    yield f"{archive}/{member}"


def fingerprint(file: SourceFile) -> tuple[int, int, str]:
    """(size in bytes, mtime in ns, sha256) of the file on disk; for a member, of its archive."""
    status = file.path.stat()
    with file.path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return status.st_size, status.st_mtime_ns, digest


def fingerprints(
    files: Iterable[SourceFile], known: Mapping[str, tuple[int, int, str]]
) -> dict[str, tuple[int, int, str]]:
    """Fingerprint of each file by name.

    A file whose size and mtime equal those in `known` is not hashed again.
    """
    by_path: dict[Path, tuple[int, int, str]] = {}
    out: dict[str, tuple[int, int, str]] = {}
    for file in files:
        if file.path not in by_path:
            status = file.path.stat()
            before = known.get(file.name)
            same = before is not None and before[:2] == (status.st_size, status.st_mtime_ns)
            by_path[file.path] = before if before is not None and same else fingerprint(file)
        out[file.name] = by_path[file.path]
    return out


class ByteStream:
    """The decompressed bytes of a file in blocks.

    After iteration, `failure` says why they ended too early, if so.
    """

    def __init__(self, file: SourceFile, limits: Limits) -> None:
        self.file = file
        self.limits = limits
        self.failure: str | None = file.problem

    def __iter__(self) -> Iterator[bytes]:
        if self.file.problem:
            return
        try:
            if self.file.member is None:
                with self.file.path.open("rb") as stream:
                    yield from self._guarded(stream)
            else:
                with zipfile.ZipFile(self.file.path) as archive, archive.open(self.file.member) as member:
                    yield from self._guarded(member)
        except _DAMAGE as error:
            if not _is_damage(error):
                raise
            self.failure = f"cannot be read on: {str(error) or type(error).__name__}"

    def _guarded(self, stream: IO[bytes]) -> Iterator[bytes]:
        """`stream`, unzipped where it is gzip, cut where it goes over the limits."""
        limits = self.limits
        on_disk = self.file.path.stat().st_size
        if self.file.member is not None:
            with zipfile.ZipFile(self.file.path) as archive:
                on_disk = archive.getinfo(self.file.member).compress_size
        total = 0
        for block in self._unzipped(stream):
            total += len(block)
            if total > limits.member_bytes:
                self.failure = f"more than {limits.member_bytes:,} bytes"
                return
            if total > limits.expansion_after_bytes and total > limits.expansion * max(on_disk, 1):
                self.failure = f"expands more than {limits.expansion}-fold: taken for a decompression bomb"
                return
            yield block

    def _unzipped(self, stream: IO[bytes]) -> Iterator[bytes]:
        block = stream.read(_BLOCK)
        if not block.startswith(GZIP_MAGIC):
            if block and self.file.name.endswith(".gz"):
                self.failure = "named .gz but not a gzip file"
                return
            while block:
                yield block
                block = stream.read(_BLOCK)
            return
        inflate = zlib.decompressobj(wbits=31)
        while True:
            try:
                while block and not inflate.eof:
                    # max_length bounds what one compressed block can become before the limits are looked at.
                    data = inflate.decompress(block, _BLOCK * 4)
                    block = inflate.unconsumed_tail
                    if data:
                        yield data
            except zlib.error as error:
                self.failure = f"gzip stream is corrupt: {error}"
                return
            if inflate.eof:
                rest = inflate.unused_data.lstrip(b"\0") or stream.read(_BLOCK).lstrip(b"\0")
                if not rest:
                    return
                if not rest.startswith(GZIP_MAGIC):
                    self.failure = "bytes after the end of the gzip stream"
                    return
                inflate, block = zlib.decompressobj(wbits=31), rest
                continue
            block = stream.read(_BLOCK)
            if not block:
                self.failure = "gzip stream ends early"
                return


def read_bytes(file: SourceFile, limits: Limits) -> tuple[bytes, str | None]:
    """All bytes of `file`, decompressed, and why they ended too early (None when they did not)."""
    stream = ByteStream(file, limits)
    pieces: list[bytes] = []
    total = 0
    for block in stream:
        total += len(block)
        if total > limits.whole_bytes:
            return b"", f"more than {limits.whole_bytes:,} bytes: too large to be read in one piece"
        pieces.append(block)
    return b"".join(pieces), stream.failure

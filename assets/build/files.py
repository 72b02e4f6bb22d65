"""Files of the warehouse that are not tables: weights, indexes, caches. Content-addressed, whole or absent.

A set of files that belong together lies in `files/<table>/<hash>/`, where the hash is that of their names and contents. It is written
beside, synced and renamed into place, so that a path that exists is complete; files are never changed, only added. Tables name files by path and
SHA-256, and whoever reads one compares it first. Does not belong here: what is in the files.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from warehouse.store import StoreError

FILES_FOLDER = "files"

_CHUNK_BYTES = 1 << 20
_TABLE = re.compile(r"[a-z][a-z0-9_]*")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


class FileError(StoreError):
    """A file of the warehouse is missing, damaged or cannot be written; the message names it."""


@dataclass(frozen=True)
class Stored:
    """Files that were stored together: their folder, relative to the warehouse's, and the SHA-256 of each by name."""

    folder: str
    sha256: Mapping[str, str]

    def path(self, name: str) -> str:
        """The path of one of them, relative to the warehouse's folder."""
        return f"{self.folder}/{name}"


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(stated: Any) -> str:
    """Sixteen digits for what something follows from, as JSON: the name of its folder where the content is not known beforehand."""
    return hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()[:16]


def address(hashes: Mapping[str, str]) -> str:
    """The folder of files with these SHA-256 by name."""
    listed = "".join(f"{name}\0{digest}\n" for name, digest in sorted(hashes.items()))
    return hashlib.sha256(listed.encode()).hexdigest()[:32]


def put(root: Path, table: str, files: Mapping[str, bytes | Path]) -> Stored:
    """Store `files` (name -> bytes, or a file to copy) of `table` in the warehouse at `root`.

    Names may have folders in them (`tensorboard/events`). When the same files are there already, nothing is written; a damaged copy of them is
    replaced. Raises FileError when they cannot be written or a name leads elsewhere, ValueError when there are none.
    """
    if not files:
        raise ValueError(f"{table}: no files to store")
    if not _TABLE.fullmatch(table):
        raise ValueError(f"{table!r} is no name of a table")
    for name in files:
        _parts(name)
    parent = root / FILES_FOLDER / table
    beside: Path | None = None
    try:
        parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=".", suffix=".tmp", dir=parent))
        beside.chmod(0o755)
        hashes = {name: _written(beside / name, content) for name, content in sorted(files.items())}
        for folder in sorted(path for path in beside.rglob("*") if path.is_dir()):
            _sync(folder)
        _sync(beside)
        stored = Stored(f"{FILES_FOLDER}/{table}/{address(hashes)}", hashes)
        target = root / stored.folder
        if target.exists() and not _is_whole(root, stored):
            # A name of this form is never reused, so that the damaged copy cannot be taken for a good one.
            os.rename(target, beside / ".damaged")
            shutil.rmtree(beside / ".damaged")
        if not target.exists():
            os.rename(beside, target)
            beside = None
            _sync(parent)
        return stored
    except OSError as error:
        raise FileError(f"{parent}: cannot be written: {error.strerror or error}") from error
    finally:
        if beside is not None:
            shutil.rmtree(beside, ignore_errors=True)


def put_folder(root: Path, table: str, folder: Path) -> Stored:
    """Store all files under `folder`, with their paths inside it as names. Raises as `put` does, and FileError for a link among them."""
    found = sorted(folder.rglob("*"))
    links = [path for path in found if path.is_symlink()]
    if links:
        raise FileError(f"{links[0]}: is a link, not a file")
    return put(root, table, {path.relative_to(folder).as_posix(): path for path in found if path.is_file()})


def checked(root: Path, path: str, sha256: str) -> Path:
    """The whole path of a stored file, after comparing its bytes with `sha256`.

    Raises FileError when it is missing, cannot be read, has other bytes, or `path` leads out of the warehouse's files.
    """
    parts = _parts(path)
    if parts[0] != FILES_FOLDER or len(parts) < 4:
        raise FileError(f"{path}: is no file of the warehouse")
    whole = root.joinpath(*parts)
    try:
        found = sha256_of(whole)
    except OSError as error:
        raise FileError(f"{whole}: cannot be read: {error.strerror or error}") from error
    if found != sha256:
        raise FileError(f"{whole}: is damaged: its SHA-256 is {found[:16]}…, {sha256[:16]}… was stored")
    return whole


def read(root: Path, path: str, sha256: str) -> bytes:
    """The bytes of a stored file, compared with `sha256`. Raises as `checked` does."""
    content = checked(root, path, sha256).read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise FileError(f"{root / path}: was changed while it was read")
    return content


def _parts(name: str) -> tuple[str, ...]:
    """The parts of a relative path, which may come out of a table. Raises FileError where it leads elsewhere."""
    parts = PurePosixPath(name).parts
    if not parts or "/".join(parts) != name or not all(_PART.fullmatch(part) for part in parts):
        raise FileError(f"{name!r} cannot be the name of a file in the warehouse")
    return parts


def _is_whole(root: Path, stored: Stored) -> bool:
    try:
        for name, digest in stored.sha256.items():
            checked(root, stored.path(name), digest)
    except FileError:
        return False
    return True


def _written(path: Path, content: bytes | Path) -> str:
    """Write a file, sync it, and return the SHA-256 of what was written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with path.open("xb") as out:
        if isinstance(content, bytes):
            digest.update(content)
            out.write(content)
        else:
            with content.open("rb") as source:
                while chunk := source.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    out.write(chunk)
        out.flush()
        os.fsync(out.fileno())
    return digest.hexdigest()


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""Finding files and streaming their bytes: globs, archives, links, bombs, damage."""

from __future__ import annotations

import gzip
import os
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.sources.files import (
    Limits,
    SourceFile,
    find_files,
    fingerprint,
    fingerprints,
    glob_regex,
    list_folder,
    read_bytes,
)

SMALL = Limits(expansion_after_bytes=1000, member_bytes=50_000, whole_bytes=50_000)


def write(root: Path, name: str, data: bytes = b"x") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def names(patterns: list[str], root: Path) -> list[str]:
    return [file.name for file in find_files(patterns, root)]


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("a.csv", "a.csv", True),
        ("a.csv", "b/a.csv", False),
        ("**/a.csv", "a.csv", True),
        ("**/a.csv", "b/c/a.csv", True),
        ("**/a.csv", "b/xa.csv", False),
        ("b/*.csv", "b/c/a.csv", False),
        ("b/**", "b/c/a.csv", True),
        ("*.c?v", "a.csv", True),
        ("a.csv", "aXcsv", False),
        ("[a].csv", "[a].csv", True),
    ],
)
def test_globs(pattern: str, name: str, matches: bool) -> None:
    assert bool(glob_regex(pattern).fullmatch(name)) is matches


def test_order_is_by_pattern_then_name_and_exclusions_hold(tmp_path: Path) -> None:
    for name in (
        "new/b.csv",
        "new/a.csv",
        "old/a.csv",
        "bad/a.csv",
        ".git/a.csv",
        "__MACOSX/a.csv",
        "new/._a.csv",
    ):
        write(tmp_path, name)
    assert names(["new/*.csv", "**/*.csv", "!bad/**"], tmp_path) == ["new/a.csv", "new/b.csv", "old/a.csv"]


def test_gz_is_ignored_in_matching_and_the_plain_twin_wins(tmp_path: Path) -> None:
    write(tmp_path, "a.csv.gz", gzip.compress(b"zipped"))
    assert names(["a.csv"], tmp_path) == ["a.csv.gz"]
    write(tmp_path, "a.csv", b"plain")
    assert names(["a.csv"], tmp_path) == ["a.csv"]


def test_members_of_archives_are_found_unless_unpacked_beside(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("set/a.csv", "1")
        archive.writestr("set/b.csv", "2")
        archive.writestr("__MACOSX/set/._a.csv", "junk")
    found = find_files(["**/set/*.csv"], tmp_path)
    assert [file.name for file in found] == ["set.zip/set/a.csv", "set.zip/set/b.csv"]
    assert read_bytes(found[1], Limits()) == (b"2", None)
    write(tmp_path, "set/a.csv")
    assert names(["**/set/*.csv"], tmp_path) == ["set.zip/set/b.csv", "set/a.csv"]


def test_links_out_of_the_folder_devices_and_pipes_are_not_followed(tmp_path: Path) -> None:
    root = tmp_path / "sources"
    root.mkdir()
    secret = write(tmp_path, "secret/a.csv", b"secret")
    (root / "link.csv").symlink_to(secret)
    (root / "folder").symlink_to(secret.parent, target_is_directory=True)
    (root / "dangling.csv").symlink_to(tmp_path / "nothing")
    (root / "zero.csv").symlink_to("/dev/zero")
    os.mkfifo(root / "pipe.csv")
    write(root, "real.csv")
    (root / "inner.csv").symlink_to(root / "real.csv")
    assert names(["**/*.csv"], root) == ["inner.csv", "real.csv"]


def test_names_that_are_not_text_are_shown_escaped(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9\n.csv"
    with open(raw, "wb") as stream:
        stream.write(b"x")
    (file,) = find_files(["*.csv"], tmp_path)
    assert file.name == r"caf\xe9\n.csv"
    assert read_bytes(file, Limits()) == (b"x", None)


def test_members_that_climb_out_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        for name in ("../../a.csv", "/abs/a.csv", "ok/../../a.csv", "C:/a.csv", "good/a.csv"):
            archive.writestr(name, "1")
    found = {file.name: file for file in find_files(["**/a.csv"], tmp_path)}
    good = found.pop("evil.zip/good/a.csv")
    assert good.problem is None
    assert len(found) == 4
    for file in found.values():
        assert file.problem is not None
        assert "leads out" in file.problem
        assert read_bytes(file, Limits()) == (b"", file.problem)


def test_a_broken_archive_concerns_the_source_that_names_it(tmp_path: Path) -> None:
    write(tmp_path, "ml-32m.zip", b"PK\x03\x04 broken")
    (file,) = find_files(["**/ml-32m/movies.csv"], tmp_path)
    assert file.name == "ml-32m.zip"
    assert file.problem is not None
    assert "not a readable zip archive" in file.problem
    assert find_files(["**/imdb/*.tsv"], tmp_path) == []


def test_a_damaged_member_is_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a.csv", "0123456789" * 10)
    path.write_bytes(path.read_bytes().replace(b"456", b"654", 1))
    (file,) = find_files(["**/a.csv"], tmp_path)
    _, failure = read_bytes(file, Limits())
    assert failure is not None
    assert "CRC" in failure


@pytest.mark.parametrize("container", ["gz", "zip"])
def test_bombs_are_cut(tmp_path: Path, container: str) -> None:
    bomb = b"0" * 5_000_000
    if container == "gz":
        write(tmp_path, "a.csv.gz", gzip.compress(bomb))
    else:
        with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.csv", bomb)
    (file,) = find_files(["**/a.csv"], tmp_path)
    _, failure = read_bytes(file, Limits(expansion_after_bytes=100_000))
    assert failure is not None
    assert "200-fold" in failure
    _, failure = read_bytes(file, Limits(member_bytes=1_000_000))
    assert failure == "more than 1,000,000 bytes"
    _, failure = read_bytes(file, Limits(whole_bytes=1_000_000))
    assert failure is not None
    assert "in one piece" in failure


def test_gzip_may_have_several_members_and_padding(tmp_path: Path) -> None:
    write(tmp_path, "a.gz", gzip.compress(b"one ") + gzip.compress(b"two") + b"\0" * 512)
    (file,) = find_files(["a"], tmp_path)
    assert read_bytes(file, Limits()) == (b"one two", None)


@pytest.mark.parametrize(
    ("damage", "failure"),
    [
        (lambda z: z[:-9], "gzip stream ends early"),
        (lambda z: z[: len(z) // 2], "gzip stream ends early"),
        (lambda z: z[:-8] + b"\0\0\0\0" + z[-4:], "gzip stream is corrupt"),
        (lambda z: z + b"garbage", "bytes after the end"),
        (lambda z: b"plain text", "not a gzip file"),
        (lambda z: z[:5], "gzip stream ends early"),
    ],
)
def test_damaged_gzip_gives_what_it_holds_and_says_so(tmp_path: Path, damage, failure: str) -> None:
    data = bytes(range(256)) * 100
    write(tmp_path, "a.gz", damage(gzip.compress(data)))
    (file,) = find_files(["a"], tmp_path)
    read, problem = read_bytes(file, Limits())
    assert data.startswith(read)
    assert problem is not None
    assert failure in problem


def test_gzip_is_known_by_its_first_bytes_whatever_its_name(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", gzip.compress(b"hello"))
    (file,) = find_files(["a.csv"], tmp_path)
    assert read_bytes(file, Limits()) == (b"hello", None)


def test_fingerprint_changes_with_content_and_is_reused_while_size_and_mtime_stand(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", b"one")
    (file,) = list_folder(tmp_path)
    first = fingerprint(file)
    known = {"a.csv": (first[0], first[1], "f" * 64)}
    assert fingerprints([file], known)["a.csv"][2] == "f" * 64
    path.write_bytes(b"three")
    assert fingerprints([file], known)["a.csv"][2] == fingerprint(file)[2] != first[2]


def test_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        find_files(["a"], tmp_path / "nowhere")


@given(data=st.binary(max_size=3000), cut=st.integers(0, 400))
def test_any_cut_of_a_gzip_yields_a_prefix(tmp_path_factory: pytest.TempPathFactory, data: bytes, cut: int) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.gz"
    zipped = gzip.compress(data)
    path.write_bytes(zipped[: max(0, len(zipped) - cut)])
    read, failure = read_bytes(SourceFile("cut.gz", path), Limits())
    assert data.startswith(read)
    assert (failure is None) == (cut == 0 or cut >= len(zipped))

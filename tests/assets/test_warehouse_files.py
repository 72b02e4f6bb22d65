"""Files of the warehouse: whole or absent, and compared before they are read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from assets.build import files
from assets.build.files import FileError, checked, put, put_folder, read


def test_what_was_stored_is_read_back(tmp_path: Path) -> None:
    source = tmp_path / "weights"
    source.write_bytes(b"w" * 3_000_000)
    stored = put(tmp_path, "ml_x", {"weights": source, "log/metrics.jsonl": b"{}"})
    assert read(tmp_path, stored.path("log/metrics.jsonl"), stored.sha256["log/metrics.jsonl"]) == b"{}"
    assert checked(tmp_path, stored.path("weights"), stored.sha256["weights"]).read_bytes() == source.read_bytes()


def test_same_files_have_one_place_and_others_another(tmp_path: Path) -> None:
    first = put(tmp_path, "ml_x", {"a": b"1", "b": b"2"})
    before = (tmp_path / first.path("a")).stat().st_mtime_ns
    assert put(tmp_path, "ml_x", {"b": b"2", "a": b"1"}) == first
    assert (tmp_path / first.path("a")).stat().st_mtime_ns == before
    others = [{"a": b"2", "b": b"1"}, {"a": b"12"}, {"a": b"1", "c": b"2"}]
    assert len({put(tmp_path, "ml_x", each).folder for each in others} | {first.folder}) == 4


def test_folder_is_stored_with_its_paths(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "tensorboard").mkdir(parents=True)
    (folder / "weights").write_bytes(b"1")
    (folder / "tensorboard" / "events").write_bytes(b"2")
    assert set(put_folder(tmp_path, "ml_x", folder).sha256) == {"weights", "tensorboard/events"}
    (folder / "link").symlink_to(folder / "weights")
    with pytest.raises(FileError, match="is a link"):
        put_folder(tmp_path, "ml_x", folder)


@pytest.mark.parametrize("damage", [b"", b"1", b"2x", b"22"])
def test_damaged_file_is_named_and_mended_by_storing_again(tmp_path: Path, damage: bytes) -> None:
    stored = put(tmp_path, "ml_x", {"index": b"21"})
    path = tmp_path / stored.path("index")
    path.write_bytes(damage)
    with pytest.raises(FileError, match=f"{path}: is damaged"):
        read(tmp_path, stored.path("index"), stored.sha256["index"])
    assert put(tmp_path, "ml_x", {"index": b"21"}) == stored
    assert read(tmp_path, stored.path("index"), stored.sha256["index"]) == b"21"


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="files/ml_x/0/index: cannot be read"):
        checked(tmp_path, "files/ml_x/0/index", "0" * 64)


@pytest.mark.parametrize(
    "path", ["../x", "/etc/passwd", "files/../../etc/passwd", "tables/a/b/c", "files/ml_x", "", "files//a/b/c"]
)
def test_paths_out_of_the_files_are_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(FileError):
        checked(tmp_path, path, "0" * 64)


@pytest.mark.parametrize("name", ["../x", "/x", "a/../b", ".hidden", "a//b", "", "a\nb"])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileError):
        put(tmp_path, "ml_x", {name: b""})
    assert not (tmp_path / "files").exists()


def test_nothing_half_written_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = put(tmp_path, "ml_x", {"a": b"1"})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(FileError, match="No space left on device"):
        put(tmp_path, "ml_x", {"a": b"2"})
    assert os.listdir(tmp_path / "files" / "ml_x") == [good.folder.rpartition("/")[2]]

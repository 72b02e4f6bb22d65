"""Churn changes exactly what it says, and nothing else."""

from __future__ import annotations

import hashlib
from pathlib import Path

import polars as pl
import pytest

from pipelines.synth.churn import ChurnSummary, churn
from pipelines.synth.formats import CSV, JSONL, Format, with_edit
from pipelines.synth.pack import write_pack


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def truth(pack: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(pack / "truth" / f"{name}.parquet")


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, ChurnSummary]:
    folder = tmp_path_factory.mktemp("churn")
    write_pack(folder / "before", movies=2000, seed=5)
    return folder / "before", folder / "after", churn(folder / "before", folder / "after", share=0.02, seed=9)


def test_files_that_differ_are_the_ones_named(packs: tuple[Path, Path, ChurnSummary]) -> None:
    before, after, summary = packs
    names = {str(p.relative_to(before)) for p in before.rglob("*") if p.is_file()}
    differing = set()
    for name in names - {f"truth/{n}.parquet" for n in ("records", "films")}:
        if digest(before / name) != digest(after / name):
            differing.add(name)
        else:
            assert (before / name).stat().st_mtime_ns == (after / name).stat().st_mtime_ns
    assert differing == set(summary.files)
    assert 0 < len(differing) < len(names)


def test_counts(packs: tuple[Path, Path, ChurnSummary]) -> None:
    before, after, summary = packs
    old, new = truth(before, "records"), truth(after, "records")
    log = truth(after, "changes")
    assert log.select("source", "source_id").is_unique().all()
    for source, rows in old.group_by("source"):
        name = str(source[0])
        parts = (summary.edited, summary.removed, summary.added)
        edited, removed, added = (part.get(name, 0) for part in parts)
        assert edited + removed + added == pytest.approx(rows.height * 0.02, abs=1)
        assert new.filter(source=name).height == rows.height - removed + added
    keys = ["source", "source_id"]
    gone = old.join(new, on=keys, how="anti").select(keys)
    came = new.join(old, on=keys, how="anti").select(keys)
    assert_same = [(gone, "removed"), (came, "added")]
    for frame, change in assert_same:
        logged = log.filter(pl.col("change") == change).select(keys)
        assert frame.sort(keys).equals(logged.sort(keys)), change
    assert new.select(keys).is_unique().all() and new.select("file", "line").is_unique().all()


def test_a_reader_sees_exactly_these_changes(packs: tuple[Path, Path, ChurnSummary]) -> None:
    from pipelines.sources.blocks import builtin_blocks
    from pipelines.sources.read import read_source

    before, after, _ = packs
    log, new = truth(after, "changes"), truth(after, "records")
    for source in log["source"].unique(maintain_order=True):
        block = builtin_blocks()[source]
        old, now = (read_source(block, pack).titles for pack in (before, after))
        keys = ["source_id", "file", "line"]
        assert now.join(new.filter(source=source), on=keys, how="anti").is_empty(), source
        both = old.join(now, on="source_id", suffix="_now")
        differing = set(both.filter(pl.col("row_hash") != pl.col("row_hash_now"))["source_id"])
        logged = set(log.filter(source=source, change="edited")["source_id"])
        # What the reader filters out (episodes) it cannot see change.
        assert differing == logged & set(now["source_id"]), source
        for change, here, there in (("removed", old, now), ("added", now, old)):
            found = set(here["source_id"]) - set(there["source_id"])
            logged = set(log.filter(source=source, change=change)["source_id"])
            assert found == logged & set(here["source_id"]), (source, change)


def test_added_films_are_new_and_keep_their_ids_apart(packs: tuple[Path, Path, ChurnSummary]) -> None:
    before, after, _ = packs
    old, new = truth(before, "films"), truth(after, "films")
    added = new.join(old, on="film", how="anti")
    assert added.height > 0 and new.height == old.height + added.height
    assert not added["title"].str.to_lowercase().is_in(old["title"].str.to_lowercase().implode()).any()
    for column in ("imdb_number", "tmdb_id", "movielens_id"):
        assert new[column].is_unique().all()
    records = truth(after, "records")
    assert records.filter(pl.col("film").is_in(added["film"].implode()))["film"].n_unique() == added.height


def test_same_seed_same_bytes_and_again(packs: tuple[Path, Path, ChurnSummary], tmp_path: Path) -> None:
    before, after, summary = packs
    again = churn(before, tmp_path / "again", share=0.02, seed=9)
    assert again.files == summary.files
    for name in summary.files:
        assert digest(tmp_path / "again" / name) == digest(after / name)
    further = churn(after, tmp_path / "further", share=0.02, seed=10)
    assert sum(further.edited.values()) > 0
    films = truth(tmp_path / "further", "films")
    assert films["film"].is_unique().all() and films["imdb_number"].is_unique().all()
    records = truth(tmp_path / "further", "records")
    assert records.select("source", "source_id").is_unique().all()


def test_no_share_no_change(packs: tuple[Path, Path, ChurnSummary], tmp_path: Path) -> None:
    summary = churn(packs[0], tmp_path / "same", share=0.0)
    assert summary.files == () and summary.edited == summary.removed == summary.added == {}


def test_bad_arguments(packs: tuple[Path, Path, ChurnSummary], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="share"):
        churn(packs[0], tmp_path / "x", share=0.9)
    with pytest.raises(FileExistsError, match="not empty"):
        churn(packs[0], packs[1])
    with pytest.raises(FileNotFoundError):
        churn(tmp_path, tmp_path / "x")


@pytest.mark.parametrize(
    ("line", "header", "form", "column", "expected"),
    [
        (b'1,"a, b",3', b"x,y,z", CSV, "z", b'1,"a, b",3!'),
        (b'"1",2,"a ""b"", c",NA', b'"","x","y","z"', Format("delimited", quote="non_numeric"), "z", b"NA!"),
        (b"1::a::b", b"", Format("delimited", separator="::", header=False), "z", b"1::a::b!"),
        (b"1\ta\tb", b"x\ty\tz", Format("delimited", separator="\t", quote="never"), "y", b"1\ta!\tb"),
        ('{"id":1,"y":"é"}'.encode(), b"", JSONL, "y", '{"id":1,"y":"é!"}'.encode()),
    ],
)
def test_edit_of_one_cell(line: bytes, header: bytes, form: Format, column: str, expected: bytes) -> None:
    edited = with_edit(line, header, form, column, lambda value: f"{value}!")
    assert edited.endswith(expected)
    assert len(edited) == len(line) + 1

"""A refresh does only what changed, and ends where a full build would."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from tests.assets.commands import CORE, Command, content, differing, films, versions
from tests.assets.conftest import Built
from warehouse.store import Warehouse

pytestmark = pytest.mark.slow
Copied = Callable[[Path, str], Path]


def test_full_run_over_the_same_warehouse_gives_the_rows_of_the_refresh(
    built: Built, refreshed: Built, churned: Path, home: Path, copied: Copied
) -> None:
    root = copied(built.root, "whole")
    done = Command("run", "--only", "raw,core", "--sources", churned, "--warehouse", root, home=home).wait()
    assert done.code == 0, done
    assert content(root, "core_movies").height > 100
    assert differing(root, refreshed.root) == []


def test_no_step_leaves_a_table_unreported(built: Built, refreshed: Built) -> None:
    for state in (built, refreshed):
        assert "emitted no result" not in state.done.err


def test_full_run_from_nothing_finds_the_films_of_the_refresh(
    refreshed: Built, churned: Path, home: Path, tmp_path: Path
) -> None:
    root = tmp_path / "anew"
    done = Command("run", "--only", "raw,core", "--sources", churned, "--warehouse", root, home=home).wait()
    assert done.code == 0, done
    assert films(root) == films(refreshed.root)
    assert differing(root, refreshed.root, ["core_title_records", "core_record_pairs"]) == []
    unnamed = [
        content(each, "core_movies").drop("movie_id").sort("content_hash", "title") for each in (root, refreshed.root)
    ]
    assert unnamed[0].equals(unnamed[1])


def test_refresh_writes_only_the_rows_that_changed(built: Built, refreshed: Built) -> None:
    for name in CORE:
        newest = Warehouse(refreshed.root).history(name).row(0, named=True)
        assert newest["version"] == 1, name
        assert newest["operation"] == "merge", name
        assert newest["rows_upserted"] + newest["rows_deleted"] < 0.35 * newest["rows"], name
        assert not content(refreshed.root, name).equals(content(built.root, name)), name


def test_refresh_leaves_sources_alone_whose_files_did_not_change(pack: Path, churned: Path, refreshed: Built) -> None:
    now, before = (
        {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*") if file.is_file()}
        for root in (churned, pack)
    )
    accounting = content(refreshed.root, "meta_row_accounting")
    touched = {source for source, file in accounting.select("source", "file").iter_rows() if now[file] != before[file]}
    untouched = set(accounting["source"]) - touched
    assert touched
    assert untouched
    found = versions(refreshed.root)
    assert {found[f"raw_{source}__titles"] for source in untouched} == {(0, 0)}
    assert {found[f"raw_{source}__titles"] for source in touched} == {(1, 1)}


def test_second_refresh_makes_no_new_version_of_any_table(
    refreshed: Built, churned: Path, home: Path, copied: Copied
) -> None:
    root = copied(refreshed.root, "again")
    before = versions(root)
    options = ("--sources", churned, "--warehouse", root)
    idle = Command("refresh", *options, home=home).wait()
    assert (idle.code, idle.out) == (0, "nothing changed: the corpus is up to date\n"), idle
    # Naming groups makes the assets run all the same.
    whole = Command("refresh", "--only", "raw,core", *options, home=home).wait()
    assert whole.code == 0, whole
    assert "fuse" in whole.err
    assert versions(root) == before


def test_films_whose_records_did_not_change_keep_their_ids(built: Built, refreshed: Built) -> None:
    def named(root: Path) -> dict[frozenset, str]:
        links = content(root, "core_movie_links").select("movie_id", "record_id", "row_hash")
        grouped = links.group_by("movie_id").agg(pl.struct("record_id", "row_hash").alias("members"))
        return {
            frozenset((each["record_id"], each["row_hash"]) for each in members): movie_id
            for movie_id, members in grouped.iter_rows()
        }

    before, after = named(built.root), named(refreshed.root)
    same = before.keys() & after.keys()
    assert len(same) > 0.5 * len(before)
    assert [before[members] for members in same if before[members] != after[members]] == []


def test_ids_of_merged_split_and_withdrawn_films_lead_on(built: Built, refreshed: Built) -> None:
    before, after = (set(content(each.root, "core_movies")["movie_id"]) for each in (built, refreshed))
    history = content(refreshed.root, "core_movie_id_history")
    assert content(built.root, "core_movie_id_history").is_empty()
    assert set(history["event"]) == {"merged", "split", "withdrawn"}
    gone = before - after
    assert gone
    assert gone == set(history.filter(pl.col("event") != "split")["movie_id"])

    def film_of(state: Built, source_id: str) -> str:
        links = content(state.root, "core_movie_links").filter(source="festival", source_id=source_id)
        return links["movie_id"].item()

    merged = history.filter(event="merged", movie_id=film_of(built, "4"))
    assert merged["new_movie_id"].to_list() == [film_of(refreshed, "4")]
    split = history.filter(event="split", movie_id=film_of(built, "3"))
    assert split["new_movie_id"].to_list() == [film_of(refreshed, "3")]


@pytest.mark.parametrize("state", ["built", "refreshed"])
def test_books_balance_for_every_file(state: str, request: pytest.FixtureRequest) -> None:
    root = request.getfixturevalue(state).root
    accounting = content(root, "meta_row_accounting")
    assert accounting.filter(pl.col("rows_in") != pl.col("rows_kept") + pl.col("rows_rejected")).is_empty()
    assert accounting["rows_rejected"].sum() > 0
    rejects = Warehouse(root).read("raw_rejects").group_by("source", "file").agg(found=pl.len())
    both = accounting.join(rejects, on=["source", "file"], how="full", coalesce=True)
    assert both.filter(pl.col("rows_rejected").fill_null(-1) != pl.col("found").fill_null(0)).is_empty()
    for source in accounting["source"].unique():
        raw = Warehouse(root).read(f"raw_{source}__titles", ["file"]).group_by("file").agg(found=pl.len())
        kept = raw.join(accounting.filter(pl.col("source") == source), on="file", how="left")
        assert kept.filter(pl.col("rows_kept").ne_missing(pl.col("found").cast(pl.Int64))).is_empty(), source


@pytest.mark.parametrize("state", ["built", "refreshed"])
def test_every_film_record_is_linked_to_a_film_that_exists(state: str, request: pytest.FixtureRequest) -> None:
    root = request.getfixturevalue(state).root
    records = content(root, "core_title_records")
    links = content(root, "core_movie_links")
    assert set(links["record_id"]) == set(records.filter("is_film")["record_id"])
    assert set(links["movie_id"]) == set(content(root, "core_movies")["movie_id"])
    assert not records.filter(~pl.col("is_film")).is_empty()
    tables = [name for name in Warehouse(root).names() if name.endswith("__titles")]
    assert records.height == sum(Warehouse(root).rows(name) for name in tables)

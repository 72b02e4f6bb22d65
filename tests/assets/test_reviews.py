"""Bringing reviews up to date: the books balance, only what changed is read, and nothing that is damaged replaces what was good."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets.build import reviews as building
from assets.build.reviews import ReviewsBuilt, build_reviews
from tests.assets.simulated_warehouse import filled
from tests.pipelines.reviews.review_files import (
    amazon_item,
    amazon_review,
    ecpo_review,
    ecpo_task,
    lines,
    put,
    yelp_business,
    yelp_review,
)
from warehouse.contracts import Table
from warehouse.store import Warehouse
from warehouse.tables.corpus import CORE_MOVIE_LINKS, CORE_MOVIES
from warehouse.tables.dialogues import CORE_DIALOGUES, CORE_FEEDBACK, CORE_TURNS
from warehouse.tables.interactions import CORE_SESSIONS
from warehouse.tables.mentions import CORE_ITEM_LINKS, CORE_MENTIONS
from warehouse.tables.simulation import CORE_REVIEW_ITEMS, CORE_REVIEW_TASKS, CORE_REVIEWS, META_REVIEW_FILES

TABLES = (CORE_REVIEWS, META_REVIEW_FILES, CORE_REVIEW_ITEMS, CORE_REVIEW_TASKS)
BOOKS, META = "amazon/Books.jsonl.gz", "amazon/meta_Books.jsonl"
YELP, PLACES = "yelp/yelp_academic_dataset_review.json", "yelp/yelp_academic_dataset_business.json"
ECPO, TASKS = "ecpo/reviews/Book/processed_data_with_summaries.jsonl.gz", "ecpo/task/Book_test.jsonl"
TAGS = "ml-latest-small/tags.csv"
ONE, TWO = "mv0000000000000001", "mv0000000000000002"


def some_reviews(number: int, **other: Any) -> bytes:
    return lines(*[amazon_review(parent_asin=f"B{n:09d}", user_id=f"A{n % 3}", text=f"Text {n}.", **other) for n in range(number)])  # fmt: skip


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "sources"
    put(folder / BOOKS, some_reviews(10) + lines("{broken"))
    put(
        folder / META,
        lines(*[amazon_item(parent_asin=f"B{n:09d}", title="Salt Road: A Novel" if n else "") for n in range(8)]),
    )
    put(folder / YELP, lines(yelp_review(), yelp_review()))
    put(folder / PLACES, lines(yelp_business()))
    put(folder / ECPO, lines({"UserID": "A9", "ReviewList": [ecpo_review(), ecpo_review(ParentASIN="B000000777")]}))
    put(folder / TASKS, lines(ecpo_task(UserID="A9")))
    put(folder / TAGS, b"userId,movieId,tag,timestamp\n7,1,funny,1000000000\n7,2,dull,1000000001\n7,99,lost,1000000002\n")  # fmt: skip
    return folder


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    made = Warehouse(tmp_path / "warehouse")
    lists = {name: [] for name, dtype in CORE_MOVIES.schema.items() if dtype == pl.List(pl.String)}
    films = [
        {"movie_id": film, "title": f"Film {k}", "kind": "movie", "movielens_id": k, "source_count": 1, "record_count": 1, "is_complete": False, "content_hash": k, **lists}
        for k, film in enumerate((ONE, TWO), start=1)
    ]  # fmt: skip
    write(made, CORE_MOVIES, films)
    return made


def write(warehouse: Warehouse, table: Any, rows: list[dict[str, Any]]) -> None:
    warehouse.write(table, filled(table, rows))
    warehouse.publish([table.name])


def build(warehouse: Warehouse, sources: Path, full: bool = False) -> ReviewsBuilt:
    told: list[str] = []
    built = build_reviews(warehouse, sources, full, told.append)
    warehouse.publish({commit.table: commit.version for commit in built.commits})
    assert [commit.table for commit in built.commits] == [table.name for table in TABLES]
    assert {f"warning: {problem}" for problem in built.problems} <= {*told}
    return built


def state(warehouse: Warehouse) -> dict[str, pl.DataFrame]:
    return {table.name: warehouse.read(table.name).sort(table.key) for table in TABLES}


def same(one: dict[str, pl.DataFrame], other: dict[str, pl.DataFrame]) -> bool:
    return all(one[name].drop("mtime_ns", strict=False).equals(other[name].drop("mtime_ns", strict=False)) for name in one)  # fmt: skip


def test_everything_is_read_and_the_books_balance(warehouse: Warehouse, sources: Path) -> None:
    built = build(warehouse, sources)
    found = state(warehouse)
    books = {row["file"]: row for row in found["meta_review_files"].iter_rows(named=True)}
    assert {name: (row["rows"], row["rows_kept"], row["rows_rejected"]) for name, row in books.items()} == {
        BOOKS: (11, 10, 1),
        META: (8, 7, 1),
        YELP: (2, 1, 1),
        PLACES: (1, 1, 0),
        ECPO: (2, 2, 0),
        TASKS: (1, 1, 0),
        TAGS: (3, 2, 1),
    }
    assert books[BOOKS]["rejects"][0].startswith("line 11: not JSON") and books[BOOKS]["rejects"][0].endswith("{broken")
    assert books[YELP]["rejects"] == ["line 2: repeats another review: u-1 b-1 Quick and kind."]
    assert books[TAGS]["rejects"] == ["line 4: the film is not in the corpus: 7,99,lost,1000000002"]
    assert books[TAGS]["inputs_hash"] and books[BOOKS]["inputs_hash"] is None
    rows = found["core_reviews"]
    assert dict(rows.group_by("source").len().iter_rows()) == {"amazon_reviews_2023": 12, "yelp": 1, "movielens": 2}
    assert set(rows.filter(pl.col("source") == "movielens")["item_id"]) == {ONE, TWO}
    assert rows.filter(pl.col("user_id") == "amazon_reviews_2023-A9")["text"].to_list() == ["Read it in a day."] * 2
    # What the publisher says comes before what was made of it.
    items = found["core_review_items"]
    assert items.filter(pl.col("item_id") == "B000000001").select("title", "average_rating").row(0) == ("Salt Road: A Novel", 4.5)  # fmt: skip
    assert found["core_review_tasks"].select("user_id", "item_id", "position", "tone").row(0) == ("amazon_reviews_2023-A9", "B000000001", 0, "Warm.")  # fmt: skip
    assert built.problems == () and built.counts["sources read"] == 3


def test_unchanged_files_are_not_read_again(warehouse: Warehouse, sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    build(warehouse, sources)
    before = state(warehouse)

    def forbidden(*_: object) -> None:
        raise AssertionError("a file was read again")

    monkeypatch.setattr(building, "_file_read", forbidden)
    built = build(warehouse, sources)
    assert built.counts["sources read"] == 0 and not any(commit.changed for commit in built.commits)
    assert same(before, state(warehouse))
    with pytest.raises(AssertionError, match="read again"):
        build(warehouse, sources, full=True)


def test_only_the_source_of_a_changed_file_is_read_and_the_result_is_that_of_a_full_build(
    warehouse: Warehouse, sources: Path, tmp_path: Path
) -> None:
    build(warehouse, sources)
    put(sources / YELP, lines(yelp_review(text="Slow."), yelp_review(business_id="b-2")))
    put(sources / ECPO, lines({"UserID": "A0", "ReviewList": [ecpo_review(Timestamp=1_000_000_000_000)]}))
    assert build(warehouse, sources).counts["sources read"] == 2
    fresh = Warehouse(tmp_path / "fresh")
    fresh.write(CORE_MOVIES, warehouse.read(CORE_MOVIES.name))
    fresh.publish([CORE_MOVIES.name])
    build(fresh, sources)
    assert same(state(warehouse), state(fresh))
    # The old review comes first now, and the user's others moved up.
    own = state(warehouse)["core_reviews"].filter(pl.col("user_id") == "amazon_reviews_2023-A0").sort("position")
    assert own["file"].to_list() == [ECPO, *[BOOKS] * 4] and own["position"].to_list() == [0, 1, 2, 3, 4]


def test_touching_a_file_changes_nothing(warehouse: Warehouse, sources: Path) -> None:
    build(warehouse, sources)
    os.utime(sources / YELP, (1, 1))
    built = build(warehouse, sources)
    assert built.counts["sources read"] == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x1f\x8b\x08\x00", "gzip stream ends early"),
        (b"not gzip at all", "named .gz but not a gzip file"),
    ],
)
def test_a_file_that_cannot_be_read_keeps_its_last_version(warehouse: Warehouse, sources: Path, content: bytes, words: str) -> None:  # fmt: skip
    build(warehouse, sources)
    before = state(warehouse)
    (sources / BOOKS).write_bytes(content)
    built = build(warehouse, sources)
    assert len(built.problems) == 1 and BOOKS in built.problems[0] and words in built.problems[0]
    assert same(before, state(warehouse))
    # And it is looked at again each time, until it is whole.
    assert build(warehouse, sources).problems == built.problems
    put(sources / BOOKS, some_reviews(10) + lines("{broken"))
    assert build(warehouse, sources).problems == ()
    assert same(before, state(warehouse))


def test_a_file_that_never_was_read_is_reported_and_leaves_the_others_be(warehouse: Warehouse, sources: Path) -> None:
    (sources / BOOKS).write_bytes(b"not gzip at all")
    built = build(warehouse, sources)
    assert len(built.problems) == 1
    assert BOOKS not in set(state(warehouse)["meta_review_files"]["file"])
    assert set(state(warehouse)["core_reviews"]["file"]) == {ECPO, YELP, TAGS}


def test_a_file_of_rubbish_is_refused(warehouse: Warehouse, sources: Path) -> None:
    build(warehouse, sources)
    before = state(warehouse)
    put(sources / BOOKS, some_reviews(5) + lines(*["{"] * 5))
    (problem,) = build(warehouse, sources).problems
    assert "50% of amazon/Books.jsonl.gz could not be read (allowed 20%); first: line 6: not JSON" in problem
    put(sources / BOOKS, b"")
    (problem,) = build(warehouse, sources).problems
    assert "no record in amazon/Books.jsonl.gz" in problem
    assert same(before, state(warehouse))


def test_a_file_that_is_gone_keeps_its_last_version_even_when_others_change(warehouse: Warehouse, sources: Path) -> None:  # fmt: skip
    build(warehouse, sources)
    (sources / ECPO).unlink()
    put(sources / BOOKS, some_reviews(11))
    built = build(warehouse, sources)
    assert built.problems == (f"amazon_reviews_2023: {ECPO} is gone; its last version stays",)
    found = state(warehouse)
    assert found["core_reviews"].filter(pl.col("file") == ECPO).height == 2
    assert found["core_review_items"].filter(pl.col("item_id") == "B000000777").height == 1
    assert found["core_review_tasks"].height == 1
    assert set(found["meta_review_files"]["file"]) >= {ECPO, BOOKS}
    for path in (sources / name for name in (YELP, PLACES)):
        path.unlink()
    assert len(build(warehouse, sources).problems) == 3 and state(warehouse)["core_reviews"].height == found["core_reviews"].height  # fmt: skip


def test_a_kill_between_commits_is_mended_by_the_next_build(warehouse: Warehouse, sources: Path) -> None:
    # Nothing was published: the next build starts from what is, and writes the same.
    built = build_reviews(warehouse, sources, False, lambda _: None)
    assert warehouse.published(CORE_REVIEWS.name) is None
    again = build(warehouse, sources)
    assert [commit.version for commit in again.commits] == [commit.version for commit in built.commits]
    assert not any(commit.changed for commit in again.commits)


def test_tags_follow_the_films_and_the_ratings(warehouse: Warehouse, sources: Path) -> None:
    build(warehouse, sources)
    link = {"source": "movielens_small", "source_id": "99", "movie_id": TWO}
    write(warehouse, CORE_MOVIE_LINKS, [_whole(CORE_MOVIE_LINKS, link)])
    assert build(warehouse, sources).counts["sources read"] == 1
    tagged = state(warehouse)["core_reviews"].filter(pl.col("source") == "movielens")
    assert tagged.filter(pl.col("item_id") == TWO)["text"].to_list() == ["dull, lost"]
    session = {
        "release": "ml-latest-small", "user_id": 7, "position": 0, "source_item_id": 1, "movie_id": ONE, "rating": 4.0, "session": 0,
        "session_split": "train", "leave_one_out_split": "train", "file": "ml-latest-small/ratings.csv", "line": 2,
    }  # fmt: skip
    write(warehouse, CORE_SESSIONS, [session])
    assert build(warehouse, sources).counts["sources read"] == 1
    rows = state(warehouse)["core_reviews"].filter(pl.col("item_id") == ONE)
    assert rows.select("rating", "is_positive").row(0) == (4.0, True)


def test_of_two_copies_of_a_releases_tags_one_counts(warehouse: Warehouse, sources: Path) -> None:
    build(warehouse, sources)
    before = state(warehouse)
    put(sources / "other" / TAGS, (sources / TAGS).read_bytes())
    put(sources / "elsewhere/tags.csv", (sources / TAGS).read_bytes())
    assert build(warehouse, sources).problems == () and same(before, state(warehouse))


def test_dialogues_are_reviews_of_films(warehouse: Warehouse, tmp_path: Path) -> None:
    talk = {"dialogue_id": "redial-1", "dataset": "redial", "domain": "film", "split": "train"}
    dialogue = {**talk, "conversation_id": "c1", "source_id": "1", "turns": 2, "content_hash": 1}
    turns = [
        {**talk, "turn": 0, "role": "seeker", "speaker_id": "s1", "text": "I loved @1", "plain_text": "I loved Film 1"},
        {**talk, "turn": 1, "role": "recommender", "speaker_id": "s2", "text": "Why?", "plain_text": "Why?"},
    ]
    mention = {**talk, "turn": 0, "start": 8, "end": 10, "surface": "@1", "item_id": "1", "movie_id": ONE, "score_prob": 0.99, "method": "id", "alternatives": [], "is_quarantined": False, "linker_version": "1"}  # fmt: skip
    answer = {**talk, "side": "seeker", "item_id": "1", "question": "liked", "answer": "1", "value": 1.0}
    link = {"dataset": "redial", "item_id": "1", "item_name": "Film 1", "movie_id": ONE, "is_quarantined": False}
    for table, rows in ((CORE_DIALOGUES, [dialogue]), (CORE_TURNS, turns), (CORE_MENTIONS, [mention]), (CORE_FEEDBACK, [answer]), (CORE_ITEM_LINKS, [link])):  # fmt: skip
        write(warehouse, table, [_whole(table, row) for row in rows])
    (tmp_path / "nothing").mkdir()
    build(warehouse, tmp_path / "nothing")
    found = state(warehouse)
    row = found["core_reviews"].row(0, named=True)
    assert (row["user_id"], row["item_id"], row["text"], row["is_positive"], row["file"], row["line"]) == ("dialogues-redial-s1", ONE, "I loved Film 1", True, "core_turns/redial", 1)  # fmt: skip
    assert found["meta_review_files"].select("layout", "rows", "rows_kept").row(0) == ("dialogue_turns", 1, 1)
    assert build(warehouse, tmp_path / "nothing").counts["sources read"] == 0


def _whole(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    """`row`, with some value where it lacks one that must be there."""
    values = {pl.String: "x", pl.Boolean: False}
    needed = {
        column.name: column.allowed[0] if column.allowed else values.get(column.dtype, [] if isinstance(column.dtype, pl.List) else 1)  # type: ignore[call-overload]
        for column in table.columns
        if not column.nullable
    }  # fmt: skip
    return {**needed, **{key: value for key, value in row.items() if key in table.schema}}


def test_no_sources_folder(warehouse: Warehouse, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        build_reviews(warehouse, tmp_path / "missing", False, lambda _: None)


@pytest.mark.real_data
def test_real_reviews_and_tasks(real_data: Path, tmp_path: Path) -> None:
    built = build(Warehouse(tmp_path / "warehouse"), real_data / "ecpo")
    found = state(Warehouse(tmp_path / "warehouse"))
    assert built.problems == () and built.counts["rows rejected"] == 0
    rows, tasks = found["core_reviews"], found["core_review_tasks"]
    assert rows.height == 3000 and set(rows.group_by("user_id").len()["len"]) == {30}
    assert dict(rows.group_by("rating").len().iter_rows()) == {5: 1997, 4: 584, 3: 213, 2: 99, 1: 107}
    assert not rows["text"].str.contains("<br", literal=True).any()
    assert dict(tasks.group_by("released_split").len().iter_rows()) == {"train": 3739, "test": 193}
    both = tasks.group_by("user_id").agg(pl.col("released_split").n_unique())
    assert both.filter(pl.col("released_split") == 2).height == 95 == both.height

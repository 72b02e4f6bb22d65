"""Readers of reviews: what is in a file comes out typed, and whatever is wrong is a reject with line and reason, never an exception."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.reviews.layouts import review_files
from pipelines.reviews.read import FORMS, FileRead, read_lines
from pipelines.sources.files import Limits
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

NAMES = {
    "amazon_reviews": "amazon/Books.jsonl",
    "amazon_meta": "amazon/meta_Books.jsonl",
    "yelp_reviews": "yelp/yelp_academic_dataset_review.json",
    "yelp_business": "yelp/yelp_academic_dataset_business.json",
    "ecpo_reviews": "ecpo/reviews/Book/processed_data_with_summaries.jsonl",
    "ecpo_tasks": "ecpo/task/Book_test.jsonl",
}
GOOD = {
    "amazon_reviews": amazon_review(),
    "amazon_meta": amazon_item(),
    "yelp_reviews": yelp_review(),
    "yelp_business": yelp_business(),
    "ecpo_reviews": {"UserID": "AUSER1", "ReviewList": [ecpo_review()]},
    "ecpo_tasks": ecpo_task(),
}


def read(folder: Path, layout: str, *records: Any, limits: Limits | None = None) -> FileRead:
    put(folder / NAMES[layout], lines(*records))
    (file,) = review_files(folder)
    assert file.layout.name == layout
    return read_lines(file, limits)


def test_every_layout_of_json_lines_has_a_reader() -> None:
    assert set(FORMS) == set(NAMES)


def test_an_amazon_review(tmp_path: Path) -> None:
    found = read(tmp_path, "amazon_reviews", amazon_review(), amazon_review(rating=3.0, parent_asin=None))
    assert found.reviews.rows() == [
        ("AUSER1", "B000000001", "A keeper", "Warm and clever.", 5.0, True, datetime(2020, 5, 5, 14, 8, 48, 923000), 1),
        ("AUSER1", "B000000002", "A keeper", "Warm and clever.", 3.0, False, datetime(2020, 5, 5, 14, 8, 48, 923000), 2),
    ]  # fmt: skip
    assert (found.rows, found.kept, found.failure) == (2, 2, None)


def test_an_amazon_item(tmp_path: Path) -> None:
    author_as_text = amazon_item(author=json.dumps({"name": "Jo Bell"}))
    no_author = amazon_item(author=None, description=[], features=["Bread.", "More bread."])
    found = read(tmp_path, "amazon_meta", amazon_item(), author_as_text, no_author)
    assert found.facts.row(0) == ("B000000001", "Salt Road: A Novel", ["Mara Lind"], ["Books", "Fantasy"], None, "A smuggler crosses a frozen sea.", 4.5, 12, 1)  # fmt: skip
    assert found.facts["creators"].to_list()[1:] == [["Jo Bell"], ["Mara Lind (Author)"]]
    assert found.facts["description"][2] == "Bread. More bread."


def test_a_yelp_review_and_a_business(tmp_path: Path) -> None:
    found = read(tmp_path / "a", "yelp_reviews", yelp_review())
    assert found.reviews.row(0) == ("u-1", "b-1", None, "Quick and kind.", 4.0, True, datetime(2014, 2, 5, 20, 30, 30), 1)  # fmt: skip
    found = read(tmp_path / "b", "yelp_business", yelp_business(), yelp_business(categories=None, city=None))
    assert found.facts["categories"].to_list() == [["Coffee & Tea", "Food"], []]
    assert found.facts["place"].to_list() == ["Port Ellery, PA", "PA"]


def test_a_line_of_ecpo_is_a_user_with_reviews(tmp_path: Path) -> None:
    found = read(tmp_path, "ecpo_reviews", "", {"UserID": "AUSER1", "ReviewList": [ecpo_review(), ecpo_review(Rating=2.0), "x"]})  # fmt: skip
    assert found.reviews["rating"].to_list() == [4.0, 2.0] and found.facts.height == 2
    assert set(found.reviews["line"]) == {2}
    assert found.facts["creators"].to_list() == [[], []]
    # The third is no object: a record, and a reject.
    assert (found.rows, found.rejects.rows()) == (3, [(2, "ItemName is missing", '{"UserID": "AUSER1"}')])


def test_an_ecpo_task(tmp_path: Path) -> None:
    nameless = ecpo_task(Items=[{"ItemName": "Ellery Roasters"}])
    found = read(tmp_path, "ecpo_tasks", ecpo_task(), "{broken", nameless)
    assert found.tasks.row(0) == ("AUSER1", "B000000001", 0, "Looks for new things.", "", "Brief.", "Plain.", "Warm.", "", 1)  # fmt: skip
    # Positions count records that cannot be used; an item without an id is told by its name.
    assert found.tasks["position"].to_list() == [0, 2]
    assert found.tasks["item_id"][1].startswith("name-") and found.tasks["item_id"][1] == found.facts["item_id"][1]


def test_items_without_an_id_are_one_item_in_reviews_and_tasks(tmp_path: Path) -> None:
    said = read(tmp_path / "a", "ecpo_reviews", {"UserID": "A1", "ReviewList": [ecpo_review(ParentASIN=None, ItemName="Ellery Roasters")]})  # fmt: skip
    task = read(tmp_path / "b", "ecpo_tasks", ecpo_task(Items=[{"ItemName": "Ellery Roasters"}]))
    assert said.reviews["item_id"].to_list() == said.facts["item_id"].to_list() == task.tasks["item_id"].to_list()


@pytest.mark.parametrize(
    ("layout", "change", "reason"),
    [
        ("amazon_reviews", {"rating": "five"}, "rating is no number"),
        ("amazon_reviews", {"rating": True}, "rating is no number"),
        ("amazon_reviews", {"rating": 6}, "rating is not from 0.5 to 5"),
        ("amazon_reviews", {"rating": None}, "rating is missing"),
        ("amazon_reviews", {"user_id": ""}, "user_id is missing"),
        ("amazon_reviews", {"user_id": 7}, "user_id is missing"),
        ("amazon_reviews", {"user_id": "a\nb"}, "user_id is no id"),
        ("amazon_reviews", {"user_id": "a" * 201}, "user_id is no id"),
        ("amazon_reviews", {"text": ["no", "text"]}, "text is no text"),
        ("amazon_reviews", {"text": "a" * 100_001}, "text is longer than 100,000 characters"),
        ("amazon_reviews", {"timestamp": 1_588_687_728}, "timestamp is no time in milliseconds since 1970"),
        ("amazon_reviews", {"timestamp": 10**400}, "timestamp is no time in milliseconds since 1970"),
        ("amazon_reviews", {"timestamp": "2020"}, "timestamp is no time in milliseconds since 1970"),
        ("amazon_meta", {"title": None}, "title is missing"),
        ("amazon_meta", {"categories": "Books"}, "categories is no list of texts"),
        ("amazon_meta", {"categories": ["Books", None]}, "categories is no list of texts"),
        ("amazon_meta", {"categories": [str(n) for n in range(1001)]}, "categories has more than 1,000 texts"),
        ("amazon_meta", {"author": ["Mara"]}, "author is no object"),
        ("amazon_meta", {"rating_number": -1}, "rating_number is not from 0 to"),
        ("amazon_meta", {"average_rating": 10**400}, "average_rating is not from 0 to 5"),
        ("yelp_reviews", {"date": "yesterday"}, "date is no time"),
        ("yelp_reviews", {"date": 5}, "date is no time"),
        ("yelp_reviews", {"date": "0214-02-05 20:30:30"}, "date is no time"),
        ("yelp_business", {"categories": ["Food"]}, "categories is no text"),
        ("ecpo_reviews", {"ReviewList": {}}, "ReviewList is no list"),
        ("ecpo_reviews", {"UserID": None}, "UserID is missing"),
        ("ecpo_tasks", {"Items": []}, "Items is no list of one item"),
        ("ecpo_tasks", {"Items": [3]}, "Items[0] is no object"),
        ("ecpo_tasks", {"Persona": {"Activities": "x"}}, "Persona.Linguistics is no object"),
        ("ecpo_tasks", {"Persona": {"Linguistics": {}}}, "Persona.Activities is missing"),
    ],
)
def test_what_is_wrong_is_rejected_with_line_and_reason(tmp_path: Path, layout: str, change: dict[str, Any], reason: str) -> None:  # fmt: skip
    found = read(tmp_path, layout, GOOD[layout], {**GOOD[layout], **change})
    ((line, said, raw),) = found.rejects.rows()
    assert line == 2 and said.startswith(reason) and raw
    assert found.rows == 2 and found.kept == 1 and found.failure is None


@pytest.mark.parametrize("layout", NAMES)
def test_lines_that_are_no_records(tmp_path: Path, layout: str) -> None:
    whole = json.dumps(GOOD[layout])
    bad = ["[]", "null", '"text"', whole[: len(whole) // 2], "{" * 20_000, b'{"a": "\xff"}', b"\x00\x00", "NaN", "[" * 100_000]  # fmt: skip
    found = read(tmp_path, layout, *bad, whole)
    assert found.kept == 1 and found.rejects["line"].to_list() == list(range(1, len(bad) + 1))
    assert all(found.rejects["reason"]) and found.failure is None


def test_a_gzip_file_that_ends_early_says_so(tmp_path: Path) -> None:
    path = put(tmp_path / "Books.jsonl.gz", lines(*[amazon_review(text=f"Text {n} {n * 7919}") for n in range(2000)]))
    path.write_bytes(path.read_bytes()[:-2000])
    (file,) = review_files(tmp_path)
    found = read_lines(file)
    assert found.failure == "gzip stream ends early"
    assert 0 < found.kept < 2000 and found.rows == found.kept + 1


def test_a_file_that_is_no_gzip_and_one_too_large(tmp_path: Path) -> None:
    (tmp_path / "Books.jsonl.gz").write_bytes(b"not gzip")
    (file,) = review_files(tmp_path)
    assert read_lines(file).failure == "named .gz but not a gzip file"
    found = read(tmp_path / "b", "amazon_reviews", *[amazon_review()] * 50, limits=Limits(member_bytes=2_000))
    assert found.failure is not None and found.kept < 50


def test_an_empty_file(tmp_path: Path) -> None:
    put(tmp_path / NAMES["amazon_reviews"], b"")
    (file,) = review_files(tmp_path)
    found = read_lines(file)
    assert (found.rows, found.failure) == (0, None)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=6
)  # fmt: skip


@given(st.sampled_from(sorted(NAMES)), st.data())
def test_no_value_under_any_key_raises(tmp_path_factory: pytest.TempPathFactory, layout: str, data: st.DataObject) -> None:  # fmt: skip
    record = dict(GOOD[layout])
    if layout == "ecpo_reviews":
        inner = ecpo_review()
        inner[data.draw(st.sampled_from(sorted(inner)))] = data.draw(values)
        record["ReviewList"] = [inner]
    else:
        record[data.draw(st.sampled_from(sorted(record)))] = data.draw(values)
    found = read(tmp_path_factory.mktemp("any"), layout, record)
    assert found.rows == 1 and found.kept + found.rejects.height == 1


def test_files_are_known_by_their_names(tmp_path: Path) -> None:
    for name in (
        "x/Video_Games.jsonl.gz",
        "x/meta_Kindle_Store.jsonl",
        "x/Movies_and_TV.jsonl",
        "x/books.jsonl",
        "deep/er/reviews/Yelp/processed_data_with_summaries.jsonl.gz",
        "e/task/Game_train.jsonl",
        "ml-latest-small/tags.csv",
        "ml-10M100K/tags.dat",
        ".hidden/Books.jsonl",
    ):
        put(tmp_path / name, b"")
    found = {each.file.name: (each.layout.name, each.layout.source, each.domain) for each in review_files(tmp_path)}
    assert found == {
        "x/Video_Games.jsonl.gz": ("amazon_reviews", "amazon_reviews_2023", "game"),
        "x/meta_Kindle_Store.jsonl": ("amazon_meta", "amazon_reviews_2023", "book"),
        "deep/er/reviews/Yelp/processed_data_with_summaries.jsonl.gz": ("ecpo_reviews", "yelp", "business"),
        "e/task/Game_train.jsonl": ("ecpo_tasks", "amazon_reviews_2023", "game"),
        "ml-latest-small/tags.csv": ("movielens_tags", "movielens", "film"),
        "ml-10M100K/tags.dat": ("movielens_tags_dat", "movielens", "film"),
    }

"""Invented reviews: the readers find what the truth says, and people in them differ."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from assets.build.reviews import build_reviews
from pipelines.reviews.layouts import review_files
from pipelines.reviews.read import FORMS, read_lines
from pipelines.simulation.tasks import REVIEWS_MIN
from pipelines.synth.reviews import BOOKS, BOOKS_META, TAGGERS, TAGS, YELP, YELP_META, write_reviews
from warehouse.store import Warehouse
from warehouse.tables.simulation import CORE_REVIEW_ITEMS, CORE_REVIEWS, META_REVIEW_FILES

FILMS = pl.DataFrame(
    {"film": list(range(60)), "genres": [["Drama"] if film % 2 else ["Comedy", "War"] for film in range(60)]}
)
RATINGS = pl.DataFrame(
    [(user, 100 + film, 4.0, 1_100_000_000 + film, film, 0) for user in range(1, 21) for film in range(user, 40 + user)],
    schema={"userId": pl.Int64, "movieId": pl.Int64, "rating": pl.Float64, "timestamp": pl.Int64, "film": pl.Int64, "session": pl.Int32},
    orient="row",
)  # fmt: skip


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pack")
    write_reviews(out, RATINGS, FILMS, 3)
    return out


@pytest.fixture(scope="module")
def read(pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    warehouse = Warehouse(tmp_path_factory.mktemp("warehouse"))
    built = build_reviews(warehouse, pack, False, lambda _: None)
    # No film of the tags is in this warehouse's corpus, which is none.
    assert built.problems == ()
    warehouse.publish([commit.table for commit in built.commits])
    return warehouse


def test_the_readers_reject_what_the_truth_says(pack: Path, read: Warehouse) -> None:
    truth = json.loads((pack / "truth" / "reviews.json").read_text())
    assert set(truth) == {BOOKS, BOOKS_META, YELP, YELP_META, TAGS}
    books = {row["file"]: row for row in read.read(META_REVIEW_FILES.name).iter_rows(named=True)}
    for name, told in truth.items():
        assert books[name]["rows"] == told["rows"]
        if name != TAGS:
            assert books[name]["rows_rejected"] == told["broken"] + told["duplicate"] > 0
            assert any("not JSON" in each for each in books[name]["rejects"])


def test_files_are_in_their_upstreams_shape(pack: Path) -> None:
    found = {each.file.name: each.layout.name for each in review_files(pack)}
    assert found == {BOOKS: "amazon_reviews", BOOKS_META: "amazon_meta", YELP: "yelp_reviews", YELP_META: "yelp_business", TAGS: "movielens_tags"}  # fmt: skip
    for each in review_files(pack):
        if each.layout.name in FORMS:
            assert read_lines(each).failure is None
    tags = pl.read_csv(pack / TAGS)
    assert tags.columns == ["userId", "movieId", "tag", "timestamp"] and tags["userId"].n_unique() == TAGGERS


def test_people_have_enough_to_say_and_things_they_like(read: Warehouse) -> None:
    rows = read.read(CORE_REVIEWS.name)
    for domain, users in (("book", 12), ("business", 8)):
        own = rows.filter(pl.col("domain") == domain).group_by("user_id").agg((pl.col("text") != "").sum().alias("said"), pl.col("is_positive").sum().alias("liked"))  # fmt: skip
        assert own.height == users and own["said"].min() >= REVIEWS_MIN
        assert own.filter(pl.col("liked") > 0).height >= users - 2
    # Some write a line, some a page.
    lengths = rows.group_by("user_id").agg(pl.col("text").str.len_chars().mean())["text"]
    assert lengths.max() > 2 * lengths.min()
    assert not rows["text"].str.contains(r"<br|&#").any()


def test_items_are_described_and_no_title_stands_twice(read: Warehouse) -> None:
    items = read.read(CORE_REVIEW_ITEMS.name)
    reviewed = read.read(CORE_REVIEWS.name).filter(pl.col("domain") != "film").select("domain", "item_id").unique()
    assert reviewed.join(items, on=["domain", "item_id"], how="anti").height <= 6, "but for the lines that are broken"
    books = items.filter(pl.col("domain") == "book")
    assert books["title"].is_unique().mean() == 1.0
    assert items.filter(pl.col("domain") == "business")["place"].null_count() == 0


def test_the_same_seed_gives_the_same_bytes(pack: Path, tmp_path: Path) -> None:
    write_reviews(tmp_path / "again", RATINGS, FILMS, 3)
    write_reviews(tmp_path / "other", RATINGS, FILMS, 4)
    for name in (BOOKS, BOOKS_META, YELP, YELP_META, TAGS, "truth/reviews.json"):
        content = (pack / name).read_bytes()
        assert (tmp_path / "again" / name).read_bytes() == content
        assert (tmp_path / "other" / name).read_bytes() != content or name.endswith("reviews.json")


def test_no_film_that_anybody_rated_leaves_no_tags(tmp_path: Path) -> None:
    write_reviews(tmp_path, RATINGS.clear(), FILMS.clear(), 3)
    assert (tmp_path / TAGS).read_text() == "userId,movieId,tag,timestamp\n"

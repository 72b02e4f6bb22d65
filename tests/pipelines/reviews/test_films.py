"""Films as reviews: MovieLens tags with stars, and what seekers of dialogues said."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.reviews.dialogues import remarks
from pipelines.reviews.layouts import review_files
from pipelines.reviews.movielens import read_tags, release_of
from pipelines.reviews.read import FileRead
from tests.pipelines.reviews.review_files import put

IDS = pl.DataFrame({"source_item_id": [1, 2, 3], "movie_id": ["mv1", "mv2", "mv3"]})
RATINGS_SCHEMA = {"release": pl.String, "user_id": pl.Int64, "source_item_id": pl.Int64, "rating": pl.Float32, "rated_at": pl.Datetime("us"), "file": pl.String, "line": pl.Int64}  # fmt: skip
RATED = "ml-latest-small/ratings.csv"
HEADER = "userId,movieId,tag,timestamp\n"


def read(folder: Path, body: str, ratings: list[tuple[Any, ...]] | None = None, name: str = "ml-latest-small/tags.csv") -> FileRead:  # fmt: skip
    put(folder / name, body.encode())
    (file,) = review_files(folder)
    rated = pl.DataFrame([("ml-latest-small", *row) for row in ratings or []], schema=RATINGS_SCHEMA, orient="row")
    return read_tags(file, IDS, rated)


def test_tags_of_a_user_and_film_are_one_review_with_the_stars(tmp_path: Path) -> None:
    body = HEADER + '7,1,funny,1000000000\n7,1,"clever, warm",999999999\n7,2,dull,1000000001\n7,1,funny,1000000005\n'
    rated = datetime(2001, 1, 1)
    found = read(
        tmp_path, body, [(7, 1, 4.5, rated, RATED, 11), (7, 3, 2.0, rated, RATED, 12), (8, 1, 5.0, rated, RATED, 13)]
    )
    assert found.reviews.drop("headline").rows() == [
        ("ml-latest-small-7", "mv1", "funny, clever, warm", 4.5, True, datetime(2001, 9, 9, 1, 46, 39), 2, None),
        ("ml-latest-small-7", "mv2", "dull", None, None, datetime(2001, 9, 9, 1, 46, 41), 4, None),
        # Rated without a tag, by a user who tags; who never does, is left out.
        ("ml-latest-small-7", "mv3", "", 2.0, False, rated, 12, RATED),
    ]
    assert (found.rows, found.kept) == (4, 4)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("x,1,funny,1000000000", "userId is no id of a user"),
        ("7,-1,funny,1000000000", "movieId is no id of a film"),
        ("7,1,  ,1000000000", "tag is empty"),
        (f"7,1,{'a' * 1001},1000000000", "tag is longer than 1,000 characters"),
        ("7,1,funny,never", "timestamp is no time in seconds since 1970"),
        ("7,99,funny,1000000000", "the film is not in the corpus"),
        ("6,1,fine,1000000000", "repeats another row"),
        ("7,1,funny", "1 field"),
    ],
)
def test_rows_that_cannot_be_used(tmp_path: Path, row: str, reason: str) -> None:
    found = read(tmp_path, f"{HEADER}6,1,fine,1000000000\n{row}\n")
    assert found.rows == 2 and found.kept == 1
    assert found.rejects["line"].to_list() == [3]
    assert reason in found.rejects["reason"][0] or "field" in found.rejects["reason"][0]


def test_a_file_with_other_columns_is_refused(tmp_path: Path) -> None:
    found = read(tmp_path, "user,film,tag\n1,2,3\n")
    assert found.failure == "no column 'userId' in the header" and found.kept == 0


def test_tags_without_a_header(tmp_path: Path) -> None:
    put(tmp_path / "ml-10M100K/tags.dat", b"7::1::funny::1000000000\n")
    (file,) = review_files(tmp_path)
    release = release_of(file)
    assert release is not None and release.name == "ml-10m"
    found = read_tags(file, IDS, pl.DataFrame(schema=RATINGS_SCHEMA))
    assert found.reviews.select("user", "text").row(0) == ("ml-10m-7", "funny")


def test_tags_of_no_release(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere/tags.csv", b"")
    (file,) = review_files(tmp_path)
    assert release_of(file) is None


# --------------------------------------------------------------------------------------------------------------- dialogues


def talk(turns: list[tuple[Any, ...]], named: list[tuple[Any, ...]], answers: list[tuple[Any, ...]]) -> FileRead:
    return remarks(
        pl.DataFrame(turns, schema={"dialogue_id": pl.String, "turn": pl.Int32, "dataset": pl.String, "role": pl.String, "speaker_id": pl.String, "plain_text": pl.String}, orient="row"),
        pl.DataFrame(named, schema={"dialogue_id": pl.String, "turn": pl.Int32, "movie_id": pl.String}, orient="row"),
        pl.DataFrame(answers, schema={"dialogue_id": pl.String, "side": pl.String, "item_id": pl.String, "question": pl.String, "value": pl.Float64}, orient="row"),
        pl.DataFrame({"item_id": ["11", "12", "13"], "movie_id": ["mv1", "mv2", None]}),
    )  # fmt: skip


def test_what_a_seeker_says_of_a_film_with_the_answer_about_liking_it() -> None:
    turns = [
        ("d1", 0, "iard", "seeker", "s1", "I loved One."),
        ("d1", 1, "iard", "recommender", "r1", "Try Two."),
        ("d1", 2, "iard", "seeker", "s1", "One again, and Three."),
        ("d2", 0, "iard", "seeker", None, "One."),
    ]
    named = [("d1", 0, "mv1"), ("d1", 0, "mv1"), ("d1", 1, "mv2"), ("d1", 2, "mv1"), ("d1", 2, "mv3"), ("d2", 0, "mv1")]  # fmt: skip
    answers = [
        ("d1", "seeker", "11", "liked", 1.0),
        ("d1", "seeker", "12", "liked", 0.0),
        ("d1", "seeker", "12", "seen", 1.0),
        ("d1", "recommender", "11", "liked", 0.0),
        ("d1", "seeker", "13", "liked", 1.0),
        ("d9", "seeker", "11", "liked", 1.0),
    ]
    found = talk(turns, named, answers)
    assert found.reviews.select("user", "item_id", "text", "is_positive", "line").rows() == [
        # IARD's people are ReDial's. The recommender's film was never named by the seeker, who answered about it.
        ("redial-s1", "mv1", "I loved One. One again, and Three.", True, 1),
        ("redial-s1", "mv2", "", False, 1),
        ("redial-s1", "mv3", "One again, and Three.", None, 3),
    ]
    assert found.rejects.rows() == [(1, "nobody knows who the seeker is", "d2 mv1")]
    assert found.rows == 4


def test_no_dialogues() -> None:
    assert talk([], [], []).rows == 0

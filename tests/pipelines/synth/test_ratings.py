"""Ratings of a pack: their file, their truth, and that there is something in them to be learned."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from pipelines.interactions.read import read_ratings
from pipelines.interactions.releases import rating_files
from pipelines.interactions.sessions import sessions
from pipelines.synth.pack import PackSummary, write_pack
from pipelines.synth.ratings import COLUMNS, FILE, make_ratings

NO_IDS = pl.DataFrame(schema={"source_item_id": pl.Int64, "movie_id": pl.String})


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> PackSummary:
    return write_pack(tmp_path_factory.mktemp("rated") / "pack", movies=1000, seed=7, dialogues=0)


@pytest.fixture(scope="module")
def truth(summary: PackSummary) -> pl.DataFrame:
    return pl.read_parquet(summary.out / "truth" / "ratings.parquet")


def test_the_file_is_as_upstream_writes_it(summary: PackSummary, truth: pl.DataFrame) -> None:
    text = (summary.out / FILE).read_text()
    assert text.startswith("userId,movieId,rating,timestamp\n") and text.endswith("\n") and "\r" not in text
    assert truth.select("userId", "movieId").equals(truth.select("userId", "movieId").sort("userId", "movieId"))
    assert summary.ratings == {FILE: truth.height}
    assert pl.read_csv(summary.out / FILE).equals(truth.select(COLUMNS))


def test_ratings_are_of_films_that_movielens_lists(summary: PackSummary, truth: pl.DataFrame) -> None:
    records = pl.read_parquet(summary.out / "truth" / "records.parquet").filter(pl.col("source") == "movielens_32m")
    listed = records.select(pl.col("source_id").cast(pl.Int64).alias("movieId"), "film")
    assert truth.join(listed, on=["movieId", "film"], how="anti").is_empty()
    assert truth.select("userId", "film").is_unique().all()
    assert truth["film"].n_unique() > 100 and truth["userId"].n_unique() == 400


def test_the_reader_finds_the_sessions_that_were_meant(summary: PackSummary, truth: pl.DataFrame) -> None:
    (file,) = rating_files(summary.out)
    read = read_ratings(file)
    assert read.rejects.is_empty()
    found = sessions(file.release.name, FILE, read.ratings, NO_IDS)
    both = found.join(truth, left_on=["user_id", "source_item_id"], right_on=["userId", "movieId"], how="inner")
    assert both.height == truth.height == found.height
    assert both["session"].equals(both["session_right"])
    assert found.select(pl.struct("user_id", "session").n_unique()).item() > 2 * truth["userId"].n_unique()


def test_stars_are_half_stars_and_differ(truth: pl.DataFrame) -> None:
    assert (truth["rating"] * 2 == (truth["rating"] * 2).round()).all()
    assert truth["rating"].is_between(0.5, 5).all()
    assert truth["rating"].n_unique() >= 9


def recall(truth: pl.DataFrame, follow: bool) -> float:
    """Recall@10 on each user's last film: by how often films are rated, or first by how often they follow the film before."""
    films = truth["film"].unique().sort()
    number = {film: place for place, film in enumerate(films)}
    walks = [
        [number[film] for film in walk]
        for walk in truth.sort("userId", "timestamp").group_by("userId", maintain_order=True).agg("film")["film"]
    ]
    rated, after = np.zeros(len(films)), np.zeros((len(films), len(films)))
    for walk in walks:
        for place, film in enumerate(walk[:-1]):
            rated[film] += 1
            if place:
                after[walk[place - 1], film] += 1
    hits = 0
    for walk in walks:
        scores = (after[walk[-2]] if follow else 0) + rated / rated.sum()
        scores[walk[:-1]] = -1
        hits += int((scores > scores[walk[-1]]).sum() < 10)
    return hits / len(walks)


def test_order_tells_more_than_popularity_and_popularity_more_than_chance(truth: pl.DataFrame) -> None:
    chance = 10 / (truth["film"].n_unique() - truth.group_by("userId").len()["len"].mean())
    popular, following = recall(truth, follow=False), recall(truth, follow=True)
    assert popular > 1.5 * chance
    assert following > 2 * popular


def films(count: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "film": range(count),
            "movie_id": [1000 + n for n in range(count)],
            "known": [n / 10 for n in range(count)],
            "genres": [["Drama"]] * count,
            "director_ids": [[]] * count,
        },
        schema={
            "film": pl.Int64, "movie_id": pl.Int64, "known": pl.Float64, "genres": pl.List(pl.String), "director_ids": pl.List(pl.Int64),
        },
    )  # fmt: skip


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_films_or_none(count: int) -> None:
    rows = make_ratings(films(count), count, seed=1)
    assert set(rows["film"]) <= set(range(count))
    assert rows.select("userId", "film").is_unique().all()
    assert rows.is_empty() == (count == 0)


def test_same_seed_same_ratings() -> None:
    one, again, other = (make_ratings(films(40), 40, seed) for seed in (1, 1, 2))
    assert one.equals(again) and not one.equals(other)
    assert make_ratings(films(40).reverse(), 40, 1).equals(one)

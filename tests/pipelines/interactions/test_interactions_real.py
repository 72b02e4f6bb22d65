"""The rating files that are at hand, read whole: row counts and limits that their publishers state."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from pipelines.interactions.read import read_ratings
from pipelines.interactions.releases import rating_files
from pipelines.interactions.sessions import IDLE_S, sessions

pytestmark = pytest.mark.real_data

# Ratings, users, films.
STATED = {
    "ml-100k": (100_000, 943, 1_682),
    "ml-1m": (999_611, 6_040, 3_416),
    "ml-latest-small": (100_836, 610, 9_724),
}
NO_IDS = pl.DataFrame(schema={"source_item_id": pl.Int64, "movie_id": pl.String})


@pytest.mark.parametrize("release", STATED)
def test_releases_hold_what_they_state(release: str, real_data: Path) -> None:
    files = [file for file in rating_files(real_data) if file.release.name == release and file.passed_over is None]
    if not files:
        pytest.skip(f"{release} is not here")
    read = read_ratings(files[0])
    assert read.failure is None and read.rejects.is_empty()
    rows = sessions(release, files[0].file.name, read.ratings, NO_IDS)
    users, films = rows["user_id"].n_unique(), rows["source_item_id"].n_unique()
    assert (rows.height, users, films) == STATED[release]
    held_out = rows["leave_one_out_split"].value_counts().sort("leave_one_out_split").rows()
    assert held_out[0] == ("test", users) and held_out[2] == ("valid", users)
    gaps = rows.select(
        gap=pl.col("rated_at").diff().over("user_id").dt.total_seconds(),
        is_new=pl.col("session").diff().over("user_id") == 1,
    ).drop_nulls()
    assert ((gaps["gap"] > IDLE_S) == gaps["is_new"]).all()
    assert (gaps["gap"] >= 0).all()

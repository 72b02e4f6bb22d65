"""The real files: how much is in them, and that all of it is in the tables or in the rejects."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from pipelines.dialogues.read import DialoguesRead, read_dataset

pytestmark = pytest.mark.real_data

# dataset: dialogues, turns, labels, hints, rejects. Rejects: conversations that iEvaLM's ReDial file shares with the other files.
COUNTS = {
    "redial": (1_550, 22_746, 0, 9_908, 50),
    "inspired": (198, 5_627, 1_903, 978, 0),
    "opendialkg": (4_876, 25_326, 0, 9_230, 2_221),
    "muse": (3, 36, 36, 9, 0),
    "iard": (336, 4_583, 13_774, 2_659, 0),
}


@pytest.fixture(scope="module", params=COUNTS)
def found(request: pytest.FixtureRequest, real_data: Path) -> tuple[str, DialoguesRead]:
    return request.param, read_dataset(request.param, real_data, lambda text: None)


def test_everything_is_read(found: tuple[str, DialoguesRead]) -> None:
    dataset, read = found
    frames = (read.dialogues, read.turns, read.labels, read.hints, read.rejects)
    assert tuple(frame.height for frame in frames) == COUNTS[dataset]
    assert read.files.filter(pl.col("rows_in") != pl.col("rows_kept") + pl.col("rows_rejected")).is_empty()
    assert read.rejects["reason"].str.starts_with("the same conversation stands in ").all()


def test_hints_stand_where_they_are_said_to(found: tuple[str, DialoguesRead]) -> None:
    dataset, read = found
    hints = read.hints.filter(pl.col("start").is_not_null()).join(read.turns, on=["dialogue_id", "turn"])
    spans = hints.with_columns(span=pl.col("text").str.slice(pl.col("start"), pl.col("end") - pl.col("start")))
    if dataset in ("redial", "iard"):
        assert spans.filter(~pl.col("span").str.starts_with(pl.concat_str(pl.lit("@"), "item_id"))).is_empty()
        # Every placeholder of these files has a name, and none is left in the readable text.
        assert read.hints["item_name"].null_count() == 0
        assert read.turns.filter(pl.col("plain_text").str.contains(r"@\d{4,}")).is_empty()
    else:
        named = spans.filter(
            ~pl.col("item_name").str.to_lowercase().str.contains(pl.col("span").str.to_lowercase(), literal=True)
        )
        assert named.is_empty()


def test_redials_splits(real_data: Path) -> None:
    redial = read_dataset("redial", real_data, lambda text: None)
    assert dict(redial.dialogues["split"].value_counts().iter_rows()) == {"train": 1_450, "valid": 100}
    assert redial.dialogues.filter(pl.col("splits_stated").list.len() > 1).height == 43
    iard = read_dataset("iard", real_data, lambda text: None)
    assert dict(iard.dialogues["split"].value_counts().iter_rows()) == {"train": 296, "valid": 2, "test": 38}
    both = pl.concat([redial.dialogues, iard.dialogues])
    assert both.group_by("conversation_id").agg(pl.col("split").n_unique())["split"].max() == 1

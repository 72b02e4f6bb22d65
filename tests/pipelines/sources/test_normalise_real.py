"""Normalisation of the real catalogues: nothing is lost, and what is known of them comes out."""

from __future__ import annotations

import polars as pl
import pytest

from pipelines.sources.blocks import builtin_blocks
from pipelines.sources.normalise import normalise
from pipelines.sources.read import read_source
from warehouse.tables.titles import CORE_TITLE_RECORDS

pytestmark = [pytest.mark.real_data, pytest.mark.slow]


@pytest.fixture(scope="module")
def normalised(real_data):
    """Source -> (raw records, normalised records), read on first use."""
    blocks, cache = builtin_blocks(), {}

    def of(source: str) -> tuple[pl.DataFrame, pl.DataFrame]:
        if source not in cache:
            titles = read_source(blocks[source], real_data).titles
            cache[source] = titles, normalise(titles, blocks[source])
        return cache[source]

    return of


@pytest.mark.parametrize(
    "source",
    [
        "movielens_32m",
        "movielens_1m",
        "omdb",
        "imdb_2010s",
        "imdb_pandas",
        "the_numbers",
        "wikipedia",
        "netflix_prize",
        "redial",
    ],
)
def test_contract_holds_and_no_row_is_lost(normalised, source):
    titles, frame = normalised(source)
    assert titles.height > 0, f"{source} has no files here"
    assert frame["source_id"].to_list() == titles["source_id"].to_list()
    assert CORE_TITLE_RECORDS.violations(frame) == []


def test_movielens_titles_are_read(normalised):
    titles, frame = normalised("movielens_32m")
    moved = titles["title"].str.contains(r", (?:The|A|An)(?: \(.*)?\)?\s*$")
    assert moved.sum() > 4000
    assert not frame["title"].str.contains(r", (?:The|A|An)$").any()
    assert not frame["title"].str.contains(r"\((?:19|20)\d\d\)$").filter(frame["year"].is_not_null()).any()
    # 617 titles do not end in a year; a few state it as a span of years or before another title.
    assert 600 <= frame["year"].null_count() <= 617
    also = titles["title"].str.contains("a.k.a.", literal=True)
    assert (frame["aliases"].list.len().filter(also) > 0).all()


def test_no_mojibake_is_left(normalised):
    for source in ("the_numbers", "imdb_pandas"):
        _, frame = normalised(source)
        assert not frame["title"].str.contains(r"[ÃÂ][\x{80}-\x{BF}]|â[\x{80}€]|[\x{80}-\x{9F}]").any(), source


def test_few_values_are_not_understood(normalised):
    for source in ("omdb", "imdb_2010s", "wikipedia", "netflix_prize"):
        _, frame = normalised(source)
        assert frame.filter(pl.col("issues").list.len() > 0).height <= 10, source


def test_a_film_called_na_is_kept(normalised):
    titles, frame = normalised("omdb")
    assert frame["title"].to_list().count("NA") == titles["title"].to_list().count("NA")

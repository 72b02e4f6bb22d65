"""docs/adding-a-source.md: its example works as printed, and it names every key and field."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from pipelines.sources.blocks import LIST_FIELDS, TEXT_FIELDS, BlockError, all_blocks
from pipelines.sources.normalise import normalise
from pipelines.sources.read import read_source

PAGE = Path(__file__).resolve().parents[3] / "docs" / "adding-a-source.md"


def fenced(page: str) -> list[str]:
    return re.findall(r"^```[a-z]*\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


def example(tmp_path: Path) -> str:
    """Lay out the page's example under `tmp_path` and return its sources.toml."""
    _, shown, people, toml = fenced(PAGE.read_text("utf-8"))[:4]
    (tmp_path / "harbour").mkdir()
    (tmp_path / "harbour" / "shown.csv").write_text(shown, "cp1252")
    (tmp_path / "harbour" / "people.tsv.gz").write_bytes(gzip.compress(people.encode()))
    (tmp_path / "sources.toml").write_text(toml, "utf-8")
    return toml


def test_the_worked_example_works(tmp_path: Path) -> None:
    example(tmp_path)
    block = all_blocks(tmp_path)["harbour_club"]
    result = read_source(block, tmp_path)
    assert result.rejects.height == 0
    records = normalise(result.titles, block)
    fields = ("title", "year", "kind", "directors", "runtime_min")
    assert records.sort("source_id").select(fields).rows() == [
        ("The Lantern Street", 1961, "movie", ["Ada Quill", "Tom Brandt"], 94),
        ("Nine Small Boats", 1987, "movie", ["Inès Morel"], None),
        ("Harbour News 12", 1958, "short", [], 8),
    ]
    assert records.sort("source_id")["genres"][0].to_list() == ["Film-Noir", "Crime"]


def test_the_errors_look_as_printed(tmp_path: Path) -> None:
    toml = example(tmp_path)
    page = PAGE.read_text("utf-8")
    for change in (("year =", "yaer ="), ('["harbour/shown.csv"]', '["../shown.csv"]')):
        (tmp_path / "sources.toml").write_text(toml.replace(*change), "utf-8")
        with pytest.raises(BlockError) as error:
            all_blocks(tmp_path)
        start = str(error.value).removeprefix(str(tmp_path)).split(", cast_members")[0]
        assert start in page


def test_every_field_is_named() -> None:
    page = PAGE.read_text("utf-8")
    for field in TEXT_FIELDS | LIST_FIELDS:
        assert f"`{field}`" in page

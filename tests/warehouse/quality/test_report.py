"""The page: complete, self-contained, and safe whatever the data holds."""

from __future__ import annotations

import os
import re
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from warehouse.quality.report import write_report
from warehouse.quality.run import Outcome, audit

EVIL = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'{{ 7*7 }}&amp;"


class Tags(HTMLParser):
    """Collects what a browser would see: elements and text."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def page(outcomes: list[Outcome], folder: Path) -> tuple[str, Tags]:
    write_report(outcomes, folder / "quality.html", made_at="noon")
    html = (folder / "quality.html").read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(html)
    return html, tags


def outcome(**changes: object) -> Outcome:
    base = {
        "table": "core_movies",
        "check": "year_range",
        "severity": "ERROR",
        "status": "passed",
        "meaning": "Years are years.",
        "rule": "expect_something()",
        "observed": "no row fails",
        "rows": 1_234_567,
    }
    return Outcome(**{**base, **changes})  # type: ignore[arg-type]


def test_everything_is_on_the_page(tmp_path: Path) -> None:
    outcomes = [
        outcome(),
        outcome(check="bad", status="failed", failing=9, examples=("movie_id = mv1",), observed="9 of 10"),
        outcome(check="odd", status="failed", severity="WARN", table="core_movie_links"),
        outcome(check="ill", status="errored", error="no such column", table="raw_rejects"),
    ]
    _, tags = page(outcomes, tmp_path)
    for each in outcomes:
        for text in (each.table, each.check, each.severity, each.meaning, each.rule, each.observed):
            assert text in tags.text
    for text in ("1,234,567", "movie_id = mv1", "and 8 more", "no such column", "could not run", "noon"):
        assert text in tags.text


@pytest.mark.parametrize(
    ("outcomes", "words"),
    [
        ([], "Nothing was checked."),
        ([outcome()], "Every check passed."),
        ([outcome(), outcome(status="failed")], "1 check found data that is wrong."),
        ([outcome(status="failed", severity="WARN")], "Nothing is wrong; worth a look: 1 warning."),
        ([outcome(status="errored")], "Nothing wrong was found, but 1 check could not run."),
        (
            [outcome(status="failed"), outcome(status="failed", severity="WARN"), outcome(status="errored")],
            "1 check found data that is wrong; 1 warning, 1 check could not run.",
        ),
    ],
)
def test_the_verdict_tells_wrong_from_odd_from_unknown(tmp_path: Path, outcomes: list[Outcome], words: str) -> None:
    _, tags = page(outcomes, tmp_path)
    assert words in tags.text


def test_nothing_in_the_data_becomes_markup(tmp_path: Path) -> None:
    plain, _ = page([outcome(status="failed")], tmp_path)
    evil = dict.fromkeys(("table", "check", "meaning", "rule", "observed", "error"), EVIL)
    html, tags = page([outcome(status="failed", examples=(EVIL,), failing=1, **evil)], tmp_path)
    assert "script" not in tags.names and "img" not in tags.names
    assert not [name for name, _ in tags.attributes if name.startswith("on")]
    assert EVIL in tags.text and "{{ 7*7 }}" in tags.text
    assert "<script" not in html.lower()
    assert "<script" not in plain.lower()


def test_a_hostile_title_reaches_the_page_as_text(tmp_path: Path, corpus: dict[str, pl.DataFrame]) -> None:
    frame = corpus["core_movies"].with_columns(kind=pl.lit("<script>alert(1)</script>\u202e\0"))
    html, tags = page(audit("core_movies", frame), tmp_path)
    assert "<script" not in html.lower()
    assert "kind = '<script>alert(1)</script>\\u202e\\x00'" in tags.text


def test_the_page_needs_nothing_else(tmp_path: Path) -> None:
    html, tags = page([outcome(), outcome(status="errored")], tmp_path)
    assert not {"script", "link", "img", "iframe"} & set(tags.names)
    assert not re.search(r"\b(src|href)\s*=\s*[\"']?[^\"'#]", html)
    assert "url(" not in html and "@import" not in html
    assert "prefers-color-scheme: dark" in html


def test_a_failed_write_leaves_the_old_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, _ = page([outcome()], tmp_path)

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_report([outcome(status="failed")], tmp_path / "quality.html")
    assert (tmp_path / "quality.html").read_text(encoding="utf-8") == before
    assert [each.name for each in tmp_path.iterdir()] == ["quality.html"]


def test_text_that_is_no_unicode_is_still_written(tmp_path: Path) -> None:
    html, _ = page([outcome(status="failed", examples=("a\ud800b",))], tmp_path)
    assert "a\\ud800b" in html

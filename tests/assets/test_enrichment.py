"""TMDB is asked for what no catalogue states, once, and its key stays where it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.assets.commands import Command, Finished, content, versions
from tests.assets.conftest import Built
from tests.pipelines.gateways.conftest import Reply, TmdbServer, film
from tests.pipelines.gateways.conftest import tmdb as tmdb

pytestmark = pytest.mark.slow
Copied = Callable[[Path, str], Path]

KEY = "0123456789abcdef-a-key-that-nobody-may-see"
FIELDS = ("directors", "cast_members", "genres", "plot")


def _is_silent(name: str, dtype: pl.DataType) -> pl.Expr:
    return pl.col(name).list.len() == 0 if isinstance(dtype, pl.List) else pl.col(name).is_null()


def _stated(answer: dict[str, Any]) -> dict[str, Any]:
    """What the table should hold of an answer."""
    cast = sorted(answer["credits"]["cast"], key=lambda person: person["order"])
    return {
        "directors": [each["name"] for each in answer["credits"]["crew"] if each["job"] == "Director"],
        "cast_members": [person["name"] for person in cast][:10],
        "genres": [genre["name"] for genre in answer["genres"]],
        "plot": answer["overview"],
    }


def test_without_a_key_nothing_is_asked_and_the_run_says_so(built: Built) -> None:
    assert "skipped: TMDB_API_KEY is not set" in built.done.err
    assert content(built.root, "raw_tmdb_api__details").is_empty()


def test_answers_fill_silent_fields_only_and_are_asked_for_once(
    tmdb: TmdbServer, built: Built, pack: Path, home: Path, copied: Copied
) -> None:
    tmdb.key = KEY
    before = content(built.root, "core_movies")
    asked = before.filter(~pl.col("is_complete") & pl.col("tmdb_id").is_not_null())["tmdb_id"].sort().to_list()
    unknown = asked[::3]
    for tmdb_id in unknown:
        tmdb.replies[tmdb_id] = [Reply(404, b'{"status_code": 34, "status_message": "not found"}')] * 5
    tmdb.replies[asked[1]] = [Reply(429, b"{}", {"Retry-After": "0"}), Reply(503, b"")]
    root = copied(built.root, "enriched")
    options = ("refresh", "--only", "raw,core", "--sources", pack, "--warehouse", root)

    def refresh(is_recorded: bool) -> Finished:
        command = Command(*options, home=home, is_recorded=is_recorded, TMDB_BASE_URL=tmdb.url, TMDB_API_KEY=KEY)
        return command.wait()

    first = refresh(is_recorded=True)
    assert first.code == 0, first
    details = content(root, "raw_tmdb_api__details")
    # A film may have records with other TMDB ids than the one chosen: those are asked for, too.
    assert set(asked) <= set(tmdb.counts)
    assert set(details["tmdb_id"]) == set(tmdb.counts)
    assert set(details.filter(status="missing")["tmdb_id"]) == set(unknown)
    assert set(details["status"]) == {"missing", "found"}
    assert tmdb.counts[asked[1]] == 3

    after = content(root, "core_movies")
    assert after["movie_id"].equals(before["movie_id"])
    found = pl.col("tmdb_id").is_in(details.filter(status="found")["tmdb_id"].implode()).fill_null(False)
    for name in FIELDS:
        dtype = before.schema[name]
        both = before.select("movie_id", "tmdb_id", before=name, was_silent=_is_silent(name, dtype))
        both = both.join(after.select("movie_id", after=name), on="movie_id")
        filled = both.filter("was_silent", found)
        assert filled.height > 0 or name in ("genres", "plot"), name
        for tmdb_id, value in filled.select("tmdb_id", "after").iter_rows():
            assert value == _stated(film(tmdb_id))[name], (name, tmdb_id)
        others = both.filter(~(pl.col("was_silent") & found))
        assert others["after"].equals(others["before"]), name
    assert after["is_complete"].sum() > before["is_complete"].sum()

    requests, known = len(tmdb.requests), versions(root)
    second = refresh(is_recorded=False)
    assert second.code == 0, second
    assert len(tmdb.requests) == requests
    assert versions(root) == known

    assert KEY not in f"{first}{second}"
    files = [path for folder in (root, home) for path in folder.rglob("*") if path.is_file()]
    assert [path for path in files if path.suffix == ".db"]
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []

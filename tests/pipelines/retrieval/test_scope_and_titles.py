"""Which films are embedded, and which film a typed title is."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.retrieval import scope
from pipelines.retrieval.scope import ScopeError, in_scope, scope_of
from pipelines.retrieval.titles import FILM_COLUMNS, find_titles
from warehouse.tables.corpus import CORE_MOVIES

MOVIES = pl.DataFrame({"movie_id": list("abcdef"), "votes": [5, None, 9, 1, 9, 3]})
USED = pl.Series(["b", "d", "x", "b"])


def ids(of: scope.Scope) -> str:
    return "".join(in_scope(MOVIES, USED, of)["movie_id"])


def test_used_films_first_then_by_votes() -> None:
    assert [ids(1), ids(2), ids(3), ids(4), ids(5), ids(99)] == ["d", "bd", "bcd", "bcde", "abcde", "abcdef"]
    assert (ids("used"), ids("all")) == ("bd", "abcdef")


def test_default_fills_up_the_used_ones_and_drops_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ids("default") == "abcdef"
    monkeypatch.setattr(scope, "DEFAULT_FILMS", 3)
    assert ids("default") == "bcd"
    monkeypatch.setattr(scope, "DEFAULT_FILMS", 1)
    assert ids("default") == "bd"


@given(st.integers(1, 8), st.integers(1, 8))
def test_more_films_hold_the_fewer(fewer: int, more: int) -> None:
    assert set(ids(min(fewer, more))) <= set(ids(max(fewer, more)))


def test_scope_is_read() -> None:
    assert [scope_of(text) for text in ("used", "all", "default", "500")] == ["used", "all", "default", 500]
    for text in ("", "0", "-3", "many", "٣", "1e3"):
        with pytest.raises(ScopeError, match="must be used, all or a number"):
            scope_of(text)


FILMS = pl.DataFrame(
    [
        ("m1", "The Last Lighthouse", None, [], 1987, 10),
        ("m2", "The Last Lighthouse", None, [], 2015, 900),
        ("m3", "Up the Hill", "Bergauf", ["Uphill"], 1960, None),
        ("m4", "Bergauf", None, [], 2001, 3),
        ("m5", "M", None, [], 1931, 500),
        ("m6", "Amélie", None, [], 2001, 50),
    ],
    schema={name: CORE_MOVIES.schema[name] for name in FILM_COLUMNS},
    orient="row",
)


@pytest.mark.parametrize(
    ("typed", "movie_id", "others"),
    [
        ("The Last Lighthouse", "m2", 1),
        ("last lighthouse", "m2", 1),
        ("Last Lighthouse, The (1987)", "m1", 0),
        ("The Last Lighthouse (1988)", "m1", 0),
        ("uphill", "m3", 0),
        ("Bergauf", "m4", 0),
        ("amelie", "m6", 0),
        ("m", "m5", 0),
    ],
)
def test_title_is_found(typed: str, movie_id: str, others: int) -> None:
    (found,) = find_titles([typed], FILMS)
    assert (found.movie_id, found.others, found.suggestions) == (movie_id, others, ())


def test_unknown_title_gets_suggestions_and_is_not_guessed() -> None:
    misspelt, elsewhen, nonsense, blank = find_titles(["Last Lihgthouse", "Up the Hill (1999)", "qqqq zzzz", ""], FILMS)
    assert misspelt.movie_id is None and misspelt.suggestions[0] == "The Last Lighthouse (2015)"
    assert elsewhen.movie_id is None and elsewhen.suggestions[0] == "Up the Hill (1960)"
    assert (nonsense.movie_id, nonsense.suggestions) == (None, ()) and blank.movie_id is None
    assert find_titles([], FILMS) == []

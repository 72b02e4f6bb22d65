"""One row a film: every field by its policy, every disagreement recorded."""

from __future__ import annotations

import json
from datetime import datetime

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.corpus.fuse import fuse, in_our_genres, incomplete_films, signatures
from tests.title_records import title_records
from warehouse.tables.corpus import CORE_MOVIE_CONFLICTS, CORE_MOVIES

WEIGHTS = {"imdb": 0.9, "tmdb": 0.8, "chat": 0.3, "tv": 0.3}
FILM = "mv0000000000000001"


def links(records: pl.DataFrame, movie_id: str = FILM) -> pl.DataFrame:
    return records.select("record_id", movie_id=pl.lit(movie_id))


def fused(*rows: dict):
    records = title_records(*rows)
    return fuse(records, links(records), WEIGHTS)


def film(*rows: dict) -> dict:
    return fused(*rows).movies.row(0, named=True)


def test_agreement_adds_up():
    # Two sources of .8 and .3 outweigh one of .9.
    row = film(
        {"source": "imdb", "title": "Heat", "year": 1996},
        {"source": "tmdb", "title": "Heat", "year": 1995},
        {"source": "chat", "title": "Heat", "year": 1995},
    )
    assert row["year"] == 1995


def test_a_source_that_says_it_twice_counts_once():
    row = film(
        {"source": "imdb", "title": "Heat", "year": 1996},
        *({"source": "chat", "title": "Heat", "year": 1995} for _ in range(5)),
    )
    assert row["year"] == 1996


def test_equal_support_goes_to_the_smaller_value():
    assert (
        film({"source": "chat", "title": "A", "year": 2001}, {"source": "tv", "title": "A", "year": 2000})["year"]
        == 2000
    )


def test_lists_come_whole_from_the_most_reliable_source():
    row = film(
        {"source": "chat", "title": "Heat", "directors": ["M. Mann", "Somebody Else"]},
        {"source": "imdb", "title": "Heat", "directors": ["Michael Mann"]},
    )
    assert row["directors"] == ["Michael Mann"]


def test_silence_is_no_value():
    row = film(
        {"source": "imdb", "title": "Heat"},
        {"source": "chat", "title": "Heat", "plot": "A heist.", "genres": ["Crime"]},
    )
    assert (row["plot"], row["genres"]) == ("A heist.", ["Crime"])


def test_spellings_of_one_title_support_each_other_and_the_best_source_spells_it():
    row = film(
        {"source": "imdb", "title": "Amélie"},
        {"source": "chat", "title": "Amelie"},
        {"source": "tmdb", "title": "Le Fabuleux Destin d'Amélie Poulain"},
    )
    assert row["title"] == "Amélie"
    assert row["aliases"] == ["Le Fabuleux Destin d'Amélie Poulain"]


def test_a_film_is_complete_with_director_cast_genre_and_plot():
    whole = {
        "source": "imdb",
        "title": "Heat",
        "directors": ["A"],
        "cast_members": ["B"],
        "genres": ["Crime"],
        "plot": "C",
    }
    assert film(whole)["is_complete"] is True
    for field, nothing in (("directors", []), ("cast_members", []), ("genres", []), ("plot", None)):
        assert film({**whole, field: nothing})["is_complete"] is False


def test_a_conflict_names_every_value_its_sources_and_the_reason():
    result = fused(
        {"source": "imdb", "title": "Heat", "year": 1995},
        {"source": "tmdb", "title": "Heat", "year": 1996},
    )
    row = result.conflicts.row(0, named=True)
    assert (row["field"], row["chosen"]) == ("year", "1995")
    assert json.loads(row["values_by_source"])["values"] == [
        {"text": "1995", "sources": ["imdb"], "support": 0.9},
        {"text": "1996", "sources": ["tmdb"], "support": 0.8},
    ]
    assert row["reason"].startswith("most support")
    assert result.conflicts.height == 1


def test_running_times_within_five_minutes_are_no_conflict():
    near = fused(
        {"source": "imdb", "title": "A", "runtime_min": 100}, {"source": "tmdb", "title": "A", "runtime_min": 105}
    )
    far = fused(
        {"source": "imdb", "title": "A", "runtime_min": 100}, {"source": "tmdb", "title": "A", "runtime_min": 106}
    )
    assert (near.conflicts.height, far.conflicts["field"].to_list()) == (0, ["runtime_min"])


def test_enrichment_speaks_only_where_every_source_is_silent():
    records = title_records({"source": "imdb", "title": "Heat", "tmdb_id": 949, "directors": ["Michael Mann"]})
    details = pl.DataFrame(
        {
            "tmdb_id": [949],
            "directors": [["Nobody"]],
            "genres": [["Crime", "Science Fiction", "TV Movie Magic"]],
            "plot": ["A heist."],
            "fetched_at": [datetime(2026, 1, 1)],
        }
    )
    row = fuse(records, links(records), WEIGHTS, enriched=in_our_genres(details)).movies.row(0, named=True)
    assert row["directors"] == ["Michael Mann"]
    assert row["plot"] == "A heist."
    assert row["genres"] == ["Crime", "Sci-Fi"]


def test_only_films_with_an_id_and_something_missing_are_asked_about():
    whole = {"directors": ["A"], "cast_members": ["B"], "genres": ["Crime"], "plot": "C"}
    records = title_records(
        {"source": "imdb", "title": "Whole", "tmdb_id": 1, **whole},
        {"source": "imdb", "title": "No plot", "tmdb_id": 2, **whole, "plot": None},
        {"source": "imdb", "title": "No id", **whole, "plot": None},
    )
    ids = ["mv1", "mv2", "mv3"]
    asked = incomplete_films(records, records.select("record_id").with_columns(movie_id=pl.Series(ids)))
    assert asked.rows() == [("mv2", 2)]


record = st.fixed_dictionaries(
    {
        "source": st.sampled_from(["imdb", "tmdb", "chat", "tv"]),
        "title": st.sampled_from(["Heat", "The Heat", "Heat 2", "Hitze"]),
        "year": st.sampled_from([None, 1995, 1996]),
        "runtime_min": st.sampled_from([None, 100, 103, 120]),
        "directors": st.lists(st.sampled_from(["Ann Lee", "Lee Ann", "Bo Ek"]), max_size=2, unique=True),
        "aliases": st.lists(st.sampled_from(["Fire", "Warmth"]), max_size=2, unique=True),
        "tmdb_id": st.sampled_from([None, 1, 2]),
    }
)


@settings(max_examples=60, deadline=None)
@given(st.lists(record, min_size=1, max_size=8), st.randoms())
def test_the_order_of_records_does_not_matter_and_the_contract_holds(rows, random):
    records = title_records(*rows)
    movie_ids = pl.Series([f"mv{i % 3:016x}" for i in range(len(rows))])
    some = records.select("record_id").with_columns(movie_id=movie_ids)
    one = fuse(records, some, WEIGHTS)
    order = list(range(len(rows)))
    random.shuffle(order)
    other = fuse(records[order], some[order], WEIGHTS)
    assert one.movies.equals(other.movies)
    assert one.conflicts.equals(other.conflicts)
    assert CORE_MOVIES.violations(one.movies) == []
    assert CORE_MOVIE_CONFLICTS.violations(one.conflicts) == []
    assert one.movies["record_count"].sum() == len(rows)


@settings(max_examples=30, deadline=None)
@given(st.lists(record, min_size=1, max_size=6), record)
def test_a_film_has_a_new_signature_when_a_record_or_the_policy_changes(rows, newcomer):
    before, after = title_records(*rows), title_records(*rows, newcomer)
    signature = signatures(before, links(before), "p")["content_hash"].item()
    assert signature == signatures(before.reverse(), links(before), "p")["content_hash"].item()
    assert signature != signatures(after, links(after), "p")["content_hash"].item()
    assert signature != signatures(before, links(before), "q")["content_hash"].item()

"""Linking as a whole: what joins, what stays apart, and that doing it in parts gives what doing it at once gives."""

from __future__ import annotations

import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.linking.link import Linked, link
from pipelines.linking.rules import RULES
from tests.title_records import title_records
from warehouse.tables.corpus import CORE_MOVIE_LINKS, CORE_RECORD_PAIRS

NO_LINKS = pl.DataFrame(schema={"record_id": pl.Int64, "movie_id": pl.String})
NO_IDS = pl.Series("movie_id", [], dtype=pl.String)


def films(*rows: dict) -> list[set[int]]:
    """Link title records; returns the rows of each film that has more than one."""
    linked = link(title_records(*rows), NO_LINKS, NO_IDS)
    groups = linked.links.group_by("movie_id").agg(pl.col("record_id") - 1000)["record_id"].to_list()
    return sorted((set(group) for group in groups if len(group) > 1), key=min)


HEAT = {
    "title": "Heat",
    "year": 1995,
    "genres": ["Crime", "Drama"],
    "directors": ["Michael Mann"],
    "runtime_min": 170,
}


def test_one_film_in_several_catalogues_is_one_film():
    assert films(
        {"source": "a", **HEAT},
        {"source": "b", **HEAT, "runtime_min": 171},
        {"source": "c", "title": "Heat", "year": 1995, "genres": ["Crime", "Drama"]},
    ) == [{0, 1, 2}]


def test_remakes_stay_apart():
    assert films(
        {"source": "a", "title": "Scarface", "year": 1932, "directors": ["Howard Hawks"], "genres": ["Crime"]},
        {"source": "b", "title": "Scarface", "year": 1983, "directors": ["Brian De Palma"], "genres": ["Crime"]},
    ) == []  # fmt: skip


def test_an_alias_joins_a_translated_title():
    assert films(
        {"source": "a", "title": "Spirited Away", "original_title": "Sen to Chihiro no kamikakushi", "year": 2001, "genres": ["Animation", "Fantasy"]},
        {"source": "b", "title": "Sen to Chihiro no kamikakushi", "year": 2001, "genres": ["Animation", "Fantasy"]},
    ) == [{0, 1}]  # fmt: skip


def test_a_typo_does_not_keep_a_film_apart():
    assert films(
        {"source": "a", "title": "The Shawshank Redemption", "year": 1994, "directors": ["Frank Darabont"], "genres": ["Drama"]},
        {"source": "b", "title": "The Shawshank Redemtion", "year": 1994, "directors": ["Frank Darabont"], "genres": ["Drama"]},
    ) == [{0, 1}]  # fmt: skip


def test_sequels_stay_apart():
    volume = {"directors": ["Quentin Tarantino"], "genres": ["Action", "Crime"]}
    assert films(
        {"source": "a", "title": "Kill Bill: Vol. 1", "year": 2003, **volume},
        {"source": "b", "title": "Kill Bill: Vol. 2", "year": 2004, **volume},
    ) == []  # fmt: skip


def test_an_id_joins_what_titles_cannot():
    assert films(
        {"source": "a", "title": "Seven Samurai", "year": 1954, "imdb_id": "tt0047478"},
        {"source": "b", "title": "Shichinin no samurai", "year": 1954, "imdb_id": "tt0047478"},
    ) == [{0, 1}]  # fmt: skip


def test_an_id_is_evidence_and_not_gospel():
    beauty = {"source": "chat", "title": "Beauty and the Beast", "imdb_id": "tt2771200"}
    years = (1946, 1978, 1987, 1991, 2017)
    assert films(*({**beauty, "year": year} for year in years)) == []


def test_a_record_that_fits_two_films_equally_is_left_alone():
    same = {"title": "Home", "year": 2012, "genres": ["Drama"]}
    assert films({"source": "a", **same}, {"source": "b", **same}, {"source": "b", **same}) == []


def test_every_record_has_one_link_with_its_evidence():
    records = title_records(
        {"source": "a", **HEAT}, {"source": "b", **HEAT}, {"source": "b", "title": "Ran", "year": 1985}
    )
    linked = link(records, NO_LINKS, NO_IDS)
    assert CORE_MOVIE_LINKS.violations(CORE_MOVIE_LINKS.conform(linked.links)) == []
    assert CORE_RECORD_PAIRS.violations(CORE_RECORD_PAIRS.conform(linked.pairs)) == []
    assert linked.links.height == 3
    heat = linked.links.filter(pl.col("record_id") == 1000).row(0, named=True)
    evidence = json.loads(heat["evidence"])
    assert (evidence["partner_source"], evidence["partner_id"]) == ("b", "1")
    assert evidence["rules"]["title"]["found"] == "same"
    bits = {rule.name: {level.name: level.bits for level in rule.levels} for rule in RULES}
    assert all(bits[name][entry["found"]] == entry["bits"] for name, entry in evidence["rules"].items())
    alone = linked.links.filter(pl.col("record_id") == 1002).row(0, named=True)
    assert (alone["method"], alone["evidence"]) == ("single", None)


def test_hostile_titles_stay_data_in_the_evidence():
    nasty = {"title": 'Quo"te } {"x": 1', "year": 2000, "genres": ["Drama"], "directors": ["A B"]}
    linked = link(
        title_records({"source": "a", "source_id": '"}', **nasty}, {"source": "b", "source_id": "\\", **nasty}),
        NO_LINKS,
        NO_IDS,
    )
    partners = {json.loads(text)["partner_id"] for text in linked.links["evidence"]}
    assert partners == {'"}', "\\"}


# A small world in which blocks are shared, titles repeat and years are near: what makes partial linking hard.
TITLES = [
    "Heat",
    "Home",
    "Home Again",
    "Homes Again",
    "Heat: Home Again",
    "Heat 2",
    "Heart",
    "Secret Garden",
    "Secret Gardens",
]
record = st.fixed_dictionaries(
    {
        "source": st.sampled_from(["a", "b", "c"]),
        "title": st.sampled_from(TITLES),
        "year": st.sampled_from([None, 1999, 2000, 2001, 2010]),
        "directors": st.lists(st.sampled_from(["Ann Lee", "Bo Ek", "Cy Oz"]), max_size=2, unique=True),
        "genres": st.lists(st.sampled_from(["Drama", "Comedy"]), max_size=2, unique=True),
        "imdb_id": st.sampled_from([None, None, "tt0000001", "tt0000002"]),
    }
)


def same(one: Linked, other: Linked) -> None:
    assert one.pairs.equals(other.pairs)
    assert one.links.equals(other.links)
    assert one.history.equals(other.history)


@settings(max_examples=60, deadline=None)
@given(st.lists(record, min_size=2, max_size=14), st.lists(record, min_size=1, max_size=4), st.data())
@pytest.mark.parametrize("bound", [400, 1])
def test_linking_the_changes_gives_what_linking_everything_gives(bound, rows, newcomers, data):
    with pytest.MonkeyPatch.context() as patch:
        # With a bound of one, blocks come over and fall under it all the time.
        patch.setattr("pipelines.linking.blocking._BLOCK_MAX", bound)
        patch.setattr("pipelines.linking.blocking._PERSON_BLOCK_MAX", bound)
        patch.setattr("pipelines.linking.blocking._ID_BLOCK_MAX", bound)
        every = title_records(*rows, *newcomers)
        before, rest = every.head(len(rows)), every.tail(len(newcomers))
        gone = data.draw(st.sets(st.integers(0, len(rows) - 1), max_size=3))
        edited = data.draw(st.sets(st.integers(0, len(rows) - 1), max_size=3)) - gone
        position = pl.int_range(before.height, eager=True)
        after = pl.concat([before, rest]).with_columns(
            year=pl.when(pl.int_range(pl.len()).is_in(sorted(edited))).then(2001).otherwise("year").cast(pl.Int32)
        )
        after = after.filter(
            ~pl.Series(pl.concat([position, position.head(0)]).is_in(sorted(gone))).append(
                pl.Series([False] * rest.height)
            )
        )
        changed = pl.concat([before["record_id"].gather(sorted(gone | edited)), rest["record_id"]])
        first = link(before, NO_LINKS, NO_IDS)
        same(
            link(after, first.links, NO_IDS, before, first.pairs, changed),
            link(after, first.links, NO_IDS),
        )


@settings(max_examples=30, deadline=None)
@given(st.lists(record, min_size=1, max_size=12), st.randoms())
def test_the_order_of_records_does_not_matter(rows, random):
    records = title_records(*rows)
    order = list(range(len(rows)))
    random.shuffle(order)
    same(link(records, NO_LINKS, NO_IDS), link(records[order], NO_LINKS, NO_IDS))


@settings(max_examples=20, deadline=None)
@given(st.lists(record, min_size=1, max_size=12))
def test_linking_again_changes_nothing(rows):
    records = title_records(*rows)
    first = link(records, NO_LINKS, NO_IDS)
    again = link(records, first.links, NO_IDS)
    assert again.links.equals(first.links)
    assert again.history.is_empty()

"""Comparison keys: different spellings of one title or name meet, different ones stay apart."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.linking.keys import person_key, title_key
from tests.title_records import title_records


def key_of(text: str) -> str:
    return pl.select(title_key(pl.lit(text))).item()


def person_of(name: str) -> str:
    return pl.select(person_key(pl.lit(name))).item()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The Matrix", "Matrix"),
        ("Amélie", "AMELIE"),
        ("Rocky II", "Rocky 2"),
        ("Star Wars: Episode IV – A New Hope", "Star Wars Episode 4: A New Hope"),
        ("Cats & Dogs", "Cats and Dogs"),
        ("L'Avventura", "LAvventura"),
        ("Ocean’s Eleven", "Oceans Eleven"),
        ("Straße", "Strasse"),
        ("Kærlighed", "Kaerlighed"),
        ("Spider-Man", "Spider Man"),
        ("Spider-Man", "Spiderman"),
    ],
)
def test_spellings_of_one_title_share_a_key(one, other):
    assert key_of(one) == key_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Rocky II", "Rocky III"),
        ("Alien", "Aliens"),
        ("M", "N"),
        ("The The", "A"),
        ("Malcolm X", "Malcolm 10"),
        ("!", "?"),
    ],
)
def test_different_titles_keep_different_keys(one, other):
    assert key_of(one) != key_of(other)


def test_a_title_of_nothing_but_an_article_keeps_it():
    assert key_of("The") == "the"
    assert key_of("...") == "..."


@given(st.text(min_size=1).filter(str.strip))
def test_no_title_has_an_empty_key(text):
    assert key_of(text) != "" or not text.strip()


@given(st.text())
def test_spaces_around_a_title_do_not_matter(text):
    assert key_of(f"  {text} ") == key_of(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [("D. W. Griffith", "D.W. Griffith"), ("Wong Kar-wai", "Kar Wai Wong"), ("Agnès Varda", "agnes varda")],
)
def test_name_order_and_initials_do_not_matter(one, other):
    assert person_of(one) == person_of(other)


def test_record_keys_hold_aliases_and_halves_once():
    records = title_records(
        {
            "source": "a",
            "title": "Alien: Covenant",
            "original_title": "Alien Covenant",
            "aliases": ["Covenant, das Wesen"],
        }
    )
    row = records.row(0, named=True)
    assert row["title_key"] == "aliencovenant"
    assert row["alias_keys"] == ["covenantdaswesen"]
    assert row["part_keys"] == ["covenant"]

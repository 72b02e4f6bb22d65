"""Words of texts: where they stand, how they fold, and what key a name gets."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.linking.keys import folded, title_key
from pipelines.mentions.tokens import hash_of, in_parts, keyed, tokenise, tokens_of

TEXTS = st.lists(st.text(max_size=30), max_size=6)


def words(text: str) -> list[str]:
    return tokens_of(pl.DataFrame({"row": [0], "text": [text]}))["folded"].to_list()


def key(name: str) -> str:
    return keyed(pl.Series([name]))["key"].item()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Spider-Man & Co.", ["spider", "man", "and", "co"]),
        ("Zoë's Café, AT&T", ["zoes", "cafe", "at", "and", "t"]),
        ("'quoted' ‘too’ rock'n'roll", ["quoted", "too", "rocknroll"]),
        ("E.T. 3½", ["e", "t", "312"]),
        ("Part VII of xi; I and V", ["part", "7", "of", "11", "i", "and", "v"]),
        ("Łódź Straße ΟΔΟΣ", ["lodz", "strasse", "οδοσ"]),
        ("\u0301 \x00 !?", []),
        ("a\x00b\nc", ["a", "b", "c"]),
    ],
)
def test_words_and_their_letters(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_offsets_count_code_points_of_each_text() -> None:
    found = tokens_of(pl.DataFrame({"row": [7, 3, 9], "text": ["🎬 Ｆｉｌｍ", None, "e\u0301tude x"]}))
    assert found.rows() == [(7, 2, 6, "film"), (9, 0, 6, "etude"), (9, 7, 8, "x")]


@given(TEXTS)
@settings(max_examples=60, deadline=None)
def test_every_word_is_where_it_is_said_to_be(texts: list[str]) -> None:
    frame = pl.DataFrame({"row": range(len(texts)), "text": texts}, schema={"row": pl.Int64, "text": pl.String})
    behind = dict.fromkeys(range(len(texts)), 0)
    for row, start, end, word in tokens_of(frame).iter_rows():
        assert behind[row] <= start < end <= len(texts[row])
        behind[row] = end
        assert words(texts[row][start:end]) == [word]
        assert word
        assert start == 0 or not (texts[row][start - 1].isalnum() and texts[row][start].isalnum())
        assert end == len(texts[row]) or not (texts[row][end].isalnum() and texts[row][end - 1].isalnum())


@given(st.text(alphabet="abé ÜñIVXøß-:,.'&3", max_size=25))
@settings(max_examples=60, deadline=None)
def test_letters_are_those_of_the_linking_keys(text: str) -> None:
    # Up to where words part (dots) and numerals, which are told apart word by word.
    other = pl.select(folded(pl.lit(text)).str.replace_all(" ", "")).item()
    if not any(word.isdigit() and word not in text for word in words(text)):
        assert "".join(word for word in words(text)) == other


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("The Long Night", "longnight"),
        ("An  Odd Day", "oddday"),
        ("A.I. Odyssey", "aiodyssey"),
        ("The The", "the"),
        ("The", "the"),
        ("Die Kalte Stadt", "diekaltestadt"),
        ("Night & Day II", "nightandday2"),
        ("Spider Man", "spiderman"),
    ],
)
def test_key_of_a_name(name: str, expected: str) -> None:
    assert key(name) == expected


def test_key_agrees_with_the_linking_key_but_for_foreign_articles() -> None:
    names = ["The Long Night", "Été à Nîmes", "Night & Day", "O'Hara's War", "Rocky Road III", "24 Hours: The Clock"]
    assert [key(name) for name in names] == pl.select(title_key(pl.Series(names))).to_series().to_list()


def test_a_name_without_words_has_no_key() -> None:
    found = keyed(pl.Series(["...", "Up", "", None, "!!!"], dtype=pl.String))
    assert found["name"].to_list() == [1]
    assert found["hash"].item() == hash_of("up")


def test_runs_of_words_hash_as_their_letters_wherever_they_stand() -> None:
    tokens = tokenise(pl.Series(["so spider man ran", "Spiderman"]))
    run = tokens.hashes(tokens.at[np.array([1, 4])], tokens.at[np.array([3, 5])])
    assert run.tolist() == [hash_of("spiderman")] * 2


def test_possessives_end_before_their_s_and_contractions_do_not() -> None:
    tokens = tokenise(pl.Series(["Nora's film, it's James' and let's"]))
    assert [int(end) for end in tokens.owner_end] == [4, 0, 0, 0, 0, 0]


@given(TEXTS, st.integers(1, 20))
@settings(max_examples=60, deadline=None)
def test_parts_are_the_whole(texts: list[str], chars: int) -> None:
    whole = pl.Series(texts, dtype=pl.String)
    parts = list(in_parts(whole, chars))
    assert [text for _, part in parts for text in part] == texts
    assert [first for first, _ in parts] == np.cumsum([0, *(len(part) for _, part in parts)])[:-1].tolist()
    assert all(len(part) == 1 or part.str.len_chars().sum() <= chars for _, part in parts)

"""Genres, kinds, languages and countries in one vocabulary."""

from __future__ import annotations

import tomllib
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pipelines.corpus.vocabulary as vocabulary
from pipelines.corpus.vocabulary import (
    GENRES,
    canonical_genres,
    canonical_kind,
    country_code,
    folded_word,
    is_language_name,
    language_code,
    unknown_genres,
)
from warehouse.tables.titles import KINDS

FOLDER = Path(vocabulary.__file__).parent
GENRE_DATA = tomllib.loads((FOLDER / "genres.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("genre", GENRES)
def test_a_genre_is_its_own_synonym(genre):
    assert canonical_genres(genre) == (genre,)
    assert canonical_genres(genre.upper()) == (genre,)
    assert canonical_genres(genre.lower().replace("-", " ")) == (genre,)


@pytest.mark.parametrize(
    ("word", "genres"),
    [
        ("Children's", ("Family",)),
        ("Science Fiction", ("Sci-Fi",)),
        ("Historical", ("History",)),
        ("Biographical film", ("Biography",)),
        ("Ação", ("Action",)),
        ("Terror", ("Horror",)),
        ("Comédia", ("Comedy",)),
        ("Comédie dramatique", ("Comedy", "Drama")),
        ("28", ("Action",)),
        ("878", ("Sci-Fi",)),
        ("Dramas", ("Drama",)),
        ("TV Dramas", ("Drama",)),
        ("Horror Movies", ("Horror",)),
        ("Action & Adventure", ("Action", "Adventure")),
        ("Action-Adventure", ("Action", "Adventure")),
        ("Children & Family Movies", ("Family",)),
        ("Sci-Fi & Fantasy", ("Sci-Fi", "Fantasy")),
        ("Thriller/Suspense", ("Thriller",)),
        ("Family (Film genre) #395", ("Family",)),
        ("Noir", ("Film-Noir",)),
        ("Indie film", ()),
        ("International Movies", ()),
        ("(no genres listed)", ()),
        ("IMAX", ()),
        ("", ()),
        ("Chinese food", None),
        ("Basket weaving", None),
    ],
)
def test_genre_words(word, genres):
    assert canonical_genres(word) == genres


def test_genre_data_names_only_genres():
    assert set(GENRE_DATA["genres"]) == set(GENRES)
    for word, genres in GENRE_DATA["several"].items():
        assert set(genres) <= set(GENRES), word


def test_no_word_is_a_synonym_of_two_genres():
    words = [(folded_word(w), genre) for genre, listed in GENRE_DATA["genres"].items() for w in (*listed, genre)]
    words += [(folded_word(w), tuple(genres)) for w, genres in GENRE_DATA["several"].items()]
    words += [(folded_word(w), None) for w in GENRE_DATA["no_genre"]["words"]]
    meanings: dict[str, set] = {}
    for word, genre in words:
        meanings.setdefault(word, set()).add(genre)
    assert {word: found for word, found in meanings.items() if len(found) > 1} == {}


@given(st.text(max_size=30))
def test_any_word_means_genres_or_nothing(word):
    assert set(canonical_genres(word) or ()) <= set(GENRES)


def test_unknown_genres_are_counted():
    frame = pl.DataFrame({"genres": [["Drama", "Mime"], ["Mime", "Opera buffa of sorts"], None, []]})
    assert unknown_genres(frame).rows() == [("Mime", 2), ("Opera buffa of sorts", 1)]


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("movie", "movie"),
        ("Movie", "movie"),
        ("film", "movie"),
        ("short", "short"),
        ("tvShort", "short"),
        ("tvMovie", "tv_movie"),
        ("TV Movie", "tv_movie"),
        ("tvSeries", "tv_series"),
        ("tvMiniSeries", "tv_series"),
        ("TV Show", "tv_series"),
        ("tv", "tv_series"),
        ("tvEpisode", "tv_episode"),
        ("tvSpecial", "tv_special"),
        ("video", "video"),
        ("videoGame", "game"),
        ("sculpture", None),
    ],
)
def test_kind_words(word, kind):
    assert canonical_kind(word) == kind


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_its_own_word(kind):
    assert canonical_kind(kind) == kind


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("English", "en"),
        ("english language", "en"),
        ("EN", "en"),
        ("eng", "en"),
        ("fre", "fr"),
        ("fra", "fr"),
        ("Français", "fr"),
        ("Español", "es"),
        ("日本語", "ja"),
        ("Pусский", "ru"),
        ("Mandarin", "zh"),
        ("Cantonese", "zh"),
        ("cn", "zh"),
        ("Farsi, Eastern Language", "fa"),
        ("Persian", "fa"),
        ("Klingon", "Klingon"),
        ("Hawaiian language", "Hawaiian"),
        ("American Sign Language", "American Sign Language"),
        ("xx", None),
        ("None", None),
    ],
)
def test_languages(word, code):
    assert language_code(word) == code


def test_language_names_but_not_codes():
    assert is_language_name("Hindi")
    assert not is_language_name("hi")
    assert not is_language_name("Yellow")


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("USA", "US"),
        ("United States", "US"),
        ("U.S.A.", "US"),
        ("us", "US"),
        ("UK", "GB"),
        ("United Kingdom", "GB"),
        ("gb", "GB"),
        ("West Germany", "DE"),
        ("Soviet Union", "SU"),
        ("Côte d'Ivoire", "CI"),
        ("The Democratic Republic Of Congo", "CD"),
        ("Estados Unidos", "US"),
        ("KOR", "KR"),
        ("Atlantis", "Atlantis"),
        ("", None),
    ],
)
def test_countries(word, code):
    assert country_code(word) == code


@pytest.mark.parametrize(("file", "width"), [("languages.tsv", 184), ("countries.tsv", 249)])
def test_code_tables_are_sound(file, width):
    rows = [line.split("\t") for line in (FOLDER / file).read_text(encoding="utf-8").splitlines()]
    codes = [row[0] for row in rows]
    assert len(set(codes)) == len(codes) >= width
    assert all(len(row) == 3 and len(row[0]) == 2 and row[1] and row[2] for row in rows)


def test_every_code_and_name_of_a_table_leads_to_its_code():
    for file, code_of in (("languages.tsv", language_code), ("countries.tsv", country_code)):
        for line in (FOLDER / file).read_text(encoding="utf-8").splitlines():
            code, others, names = line.split("\t")
            for word in (code, *others.split(), *names.split(";")):
                assert code_of(word) == code, (file, word)

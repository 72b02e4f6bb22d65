"""Evidence on names: how they are written, what stands beside them, what speaks for a film."""

from __future__ import annotations

import polars as pl
import pytest

from pipelines.mentions.features import candidate_evidence, cues, genre_of_word, take_apart
from pipelines.mentions.gazetteer import build_gazetteer, names_of
from pipelines.mentions.model import weights
from pipelines.mentions.reading import Reading, read_turns
from tests.conversation_frames import films

FILMS = films(
    {"title": "Glass Orchard", "year": 2001},
    {"title": "The Copper Lantern", "year": 1994},
    {"title": "Tobin", "year": 2001},
)


def read(*texts: str, of: pl.DataFrame = FILMS) -> Reading:
    gazetteer = build_gazetteer(of.drop("content_hash"), names_of(of))
    turns = pl.DataFrame(
        {
            "dataset": ["inspired"] * len(texts),
            "dialogue": [0] * len(texts),
            "turn": list(range(len(texts))),
            "role": ["seeker"] * len(texts),
            "text": list(texts),
        }
    )
    nothing = pl.DataFrame(schema={"row": pl.Int64, "start": pl.Int64, "end": pl.Int64})
    return read_turns(turns, nothing, gazetteer, lambda _: None)


def evidence(*texts: str, surface: str = "Glass Orchard", of: pl.DataFrame = FILMS) -> dict:
    hits = read(*texts, of=of).hits
    return hits.filter(pl.col("surface").str.to_lowercase() == surface.lower()).row(-1, named=True)


def on(found: dict) -> set[str]:
    return {name for name, value in found.items() if value == 1.0 and isinstance(value, float)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I saw Glass Orchard yesterday", {"in_title_case", "before_watched"}),
        ("i saw glass orchard yesterday", {"in_lower_case", "before_watched"}),
        ("have you seen the movie glass orchard?", {"before_watched", "ends_sentence"}),
        ("It is called 'Glass Orchard'", {"before_called", "quoted"}),
        ("I love Glass Orchard movies", {"before_liked", "behind_several"}),
        ("all of the Glass Orchard stories", {"around_whole"}),
        ("the new Glass Orchard", {"around_new", "in_title_case"}),
        ("Glass Orchard 2000 was fine", {"has_bare_year", "opens_sentence"}),
        ("Glass Orchard (2001)", {"has_year_behind"}),
        ("i went there. GLASS ORCHARD? yes", {"in_capitals"}),
        ("I SAW GLASS ORCHARD", {"shouted", "before_watched"}),
        ("Glass Orchard", {"whole_turn", "whole_sentence"}),
        ("we met mr. Glass orchard keeper", {"in_sentence_case", "before_person"}),
        ("which Glass Orchard movie?", {"behind_several", "behind_film"}),
    ],
)
def test_writing_and_neighbours(text, expected):
    assert expected <= on(evidence(text))


def test_an_article_of_the_name_is_not_what_stands_before_it():
    found = evidence("I watched The Copper Lantern", surface="The Copper Lantern")
    assert {"before_watched", "in_title_case", "two_words"} <= on(found)
    assert found["before_determiner"] == 0


def test_a_capital_article_inside_a_sentence_begins_a_title():
    assert "capital_article" in on(evidence("we saw The copper lantern", surface="The copper lantern"))
    for text in ("we saw the copper lantern", "The copper lantern, then"):
        assert "capital_article" not in on(evidence(text, surface="the copper lantern"))


def test_names_of_people_are_no_capitals_among_which_a_title_is_lost():
    cast = ["Ada Quillon", "Bram Tolliver"]
    known = films({"title": "Game Night", "year": 2018}, {"title": "Tobin", "year": 2001, "cast_members": cast})
    for people, expected in (
        (" and ".join(cast), "in_title_case"),
        ("Some Other Folk", "in_title_case_among_capitals"),
    ):
        found = evidence(f"you know Game Night with {people}", surface="Game Night", of=known)
        assert expected in on(found)
        assert found["is_marked"] == (expected == "in_title_case")


def test_many_ratings_stand_for_catalogues_that_a_small_corpus_lacks():
    known = films(
        {"title": "Glass Orchard", "year": 2001, "votes": 300_000, "source_count": 2},
        {"title": "Glass Orchard", "year": 2002, "votes": 300_000, "source_count": 30},
        {"title": "Glass Orchard", "year": 2003, "votes": 30, "source_count": 2},
        {"title": "Glass Orchard", "year": 2004, "votes": None, "source_count": 2},
    )
    found = read("I saw Glass Orchard", of=known).candidates.sort("year")["catalogued"].to_list()
    assert found[1] > found[0] > found[2] == found[3] == pytest.approx(0.2)


def test_the_turn_before_asks_for_a_film():
    assert "asked" in on(evidence("What movie did you like best?", "Glass Orchard"))
    assert "asked" not in on(evidence("How are you?", "Glass Orchard"))


def test_every_weight_has_its_evidence():
    gazetteer = build_gazetteer(FILMS.drop("content_hash"), names_of(FILMS))
    turns = pl.DataFrame(
        {"dataset": ["redial"], "dialogue": [0], "turn": [0], "role": ["seeker"], "text": ["I saw Tobin"]}
    )
    reading = read_turns(
        turns, pl.DataFrame(schema={"row": pl.Int64, "start": pl.Int64, "end": pl.Int64}), gazetteer, lambda _: None
    )
    known = {*reading.hits.columns, *reading.candidates.columns}
    known |= {"film_known", "people_named", "genre_named", "year_named", "of_the_time", "before_the_time"}
    known |= {"film_beside"}
    assert set(weights().models["texts"].weights) <= known
    assert set(weights().models["items"].weights) <= set(reading.candidates.columns)


def test_years_and_spelling_of_candidates_by_hand():
    rows = pl.DataFrame(
        {
            "group": [0, 0, 0], "match": ["exact"] * 3, "similarity": [1.0] * 3, "year": [2001, 2002, None], "votes": [10, None, 5],
            "source_count": [4, 1, 1], "kind": ["movie", "short", "movie"], "stated_year": [2001] * 3, "bare_year": [None] * 3,
            "written": ["Take"] * 3, "name": ["Take", "The Take", "take"], "article_before": [False] * 3, "around_new": [True] * 3,
            "around_old": [False] * 3, "surprise": [0.5] * 3, "in_lower_case": [0.0] * 3, "in_title_case": [1.0] * 3,
            "one_word": [1.0] * 3, "in_series": [False] * 3, "told": [None] * 3,
        },
        schema_overrides={"bare_year": pl.Int32, "told": pl.Int32, "votes": pl.Int64},
    )  # fmt: skip
    found = candidate_evidence(rows)
    assert found["year_same"].to_list() == [1, 0, 0]
    assert found["year_one_apart"].to_list() == [0, 1, 0]
    assert found["film_without_year"].to_list() == [0, 0, 1]
    assert found["spelled_same"].to_list() == [1, 0, 1]
    assert found["article_missing"].to_list() == [0, 1, 0]
    assert found["is_short"].to_list() == [0, 1, 0]
    assert found["namesakes"][0] == pytest.approx(1.585 / 4, abs=1e-3)
    # Only films that somebody knows make another one the older.
    assert found["new_and_newest"].to_list() == [1, 1, 0]


def test_words_keep_their_places_through_any_unicode():
    text = "Amélie’s 😀 café — Glass\u200bOrchard"
    words = take_apart(pl.DataFrame({"dialogue": [0], "turn": [0], "role": ["seeker"], "text": [text]})).words
    for row in words.iter_rows(named=True):
        assert text[row["start"] : row["end"]].strip() == text[row["start"] : row["end"]] != ""


def test_cue_words_are_folded_and_genre_words_have_genres():
    for part in ("before", "behind", "around"):
        for words in cues()[part].values():
            assert all(word == word.lower() and word.isalnum() for word in words)
    assert genre_of_word()["scifi"] == "Sci-Fi"


def test_a_series_lends_its_films_to_its_name_and_the_newest_of_the_time_is_the_new_one():
    series = films(
        {"title": "Iron Harbour", "year": 2013, "votes": 90_000, "source_count": 9},
        {"title": "Iron Harbour 2", "year": 2019, "votes": 40_000, "source_count": 7},
        {"title": "Iron Harbour 3", "year": 2024, "votes": 30_000, "source_count": 5},
    )
    gazetteer = build_gazetteer(series.drop("content_hash"), names_of(series))
    turns = pl.DataFrame(
        {
            "dataset": ["inspired"],
            "dialogue": [0],
            "turn": [0],
            "role": ["seeker"],
            "text": ["I saw the new Iron Harbour"],
        }
    )
    nothing = pl.DataFrame(schema={"row": pl.Int64, "start": pl.Int64, "end": pl.Int64})
    found = read_turns(turns, nothing, gazetteer, lambda _: None).candidates.sort("year")
    assert found["year"].to_list() == [2013, 2019, 2024]
    assert found["new_and_in_series"].to_list() == [0, 1, 0]
    assert found["later"].to_list() == [0, 0, 1]
    assert found["current"].to_list() == [0, 1, 0]


def test_roles_possessives_and_phrases_are_seen():
    assert "around_role" in on(evidence("our protagonist Glass Orchard went home"))
    assert "possessive" in on(evidence("Glass Orchard's gate"))
    assert "phrase" not in on(evidence("Glass Orchard"))
    assert "behind_trailer" in on(evidence("the Glass Orchard trailer"))

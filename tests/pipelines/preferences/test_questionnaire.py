"""Pairs from questionnaires: what a seeker liked over what the same seeker did not."""

from __future__ import annotations

from itertools import product

import polars as pl

from pipelines.preferences import questionnaire as module
from pipelines.preferences.questionnaire import questionnaire
from pipelines.preferences.rows import Made
from pipelines.preferences.wording import wording
from tests.pipelines.preferences.made_up import Talk, feedback, film_id, item_links, movies, talk

SAID = [("s", "Hello"), ("r", "Try @3"), ("s", "I know @8"), ("r", "@9 then")]


def made(answers: pl.DataFrame, said: Talk | None = None, links: pl.DataFrame | None = None) -> Made:
    said = said or talk(SAID)
    return questionnaire(said.turns, answers, said.hints, item_links() if links is None else links, movies())


def test_liked_is_over_not_liked_with_the_same_words_around() -> None:
    pair = made(feedback((0, 3, "1", "1"), (0, 8, "0", "0"))).rows.row(0, named=True)
    assert (pair["chosen_movie_ids"], pair["rejected_movie_ids"]) == ([film_id(3)], [film_id(8)])
    year = {row["movie_id"]: row["year"] for row in movies().to_dicts()}
    one, two = f"Film 3 ({year[film_id(3)]})", f"Film 8 ({year[film_id(8)]})"
    assert pair["chosen"].replace(one, "{title}") in wording().suggestions
    assert pair["rejected"] == pair["chosen"].replace(one, two)
    assert pair["margin"] == 1
    assert pair["dimensions"] == ["relevance", "satisfaction"]


def test_the_context_ends_before_either_film_is_named() -> None:
    pair = made(feedback((0, 8, "1", "1"), (0, 9, "0", "0"))).rows.row(0, named=True)
    assert pair["turn"] == 2
    assert pair["context"] == [{"role": "user", "content": "Hello"}]


def test_the_margin_is_halved_where_the_other_side_did_not_say() -> None:
    for other in ("2", ""):
        assert made(feedback((0, 3, "1", other), (0, 8, "0", "0"))).rows["margin"].to_list() == [0.5]


def test_sides_that_contradict_each_other_make_no_pair_and_are_counted() -> None:
    found = made(feedback((0, 3, "1", "0"), (0, 8, "0", "0")))
    assert found.rows.is_empty()
    assert found.dropped == {"questionnaire: sides contradict each other": 1}


def test_who_did_not_say_prefers_nothing() -> None:
    assert made(feedback((0, 3, "2", "1"), (0, 8, "0", "0"))).rows.is_empty()
    assert made(feedback((0, 3, "1", "1"))).rows.is_empty()


def test_films_that_are_not_linked_or_not_mentioned_are_counted() -> None:
    links = item_links().with_columns(is_quarantined=pl.col("item_id") == "3")
    found = made(feedback((0, 3, "1", "1"), (0, 8, "0", "0"), (0, 50, "1", "1")), links=links)
    assert found.rows.is_empty()
    assert found.dropped == {"questionnaire: film not linked": 1, "questionnaire: film not mentioned": 1}


def test_one_film_under_two_ids_counts_once_and_not_when_answers_differ() -> None:
    said = talk([("s", "Hello"), ("r", "@3 @4 @8")])
    links = item_links().with_columns(
        movie_id=pl.when(pl.col("item_id") == "4").then(pl.lit(film_id(3))).otherwise("movie_id")
    )
    assert made(feedback((0, 3, "1", "1"), (0, 4, "1", "1"), (0, 8, "0", "0")), said, links).rows.height == 1
    found = made(feedback((0, 3, "1", "1"), (0, 4, "0", "0"), (0, 8, "0", "0")), said, links)
    assert found.rows.is_empty()
    assert found.dropped == {"questionnaire: film liked and not liked": 1}


def test_without_a_word_of_the_seeker_before_there_is_no_pair() -> None:
    found = made(feedback((0, 3, "1", "1"), (0, 8, "0", "0")), talk([("r", "@3?"), ("s", "@8!")]))
    assert found.rows.is_empty()
    assert found.dropped == {"questionnaire: no seeker before": 1}


def test_a_dialogue_gives_a_bounded_number_of_pairs() -> None:
    films = range(2 * (module.FILMS_MAX + 5))
    said = talk([("s", "Hello"), ("r", " ".join(f"@{number}" for number in films))])
    found = made(feedback(*((0, number, str(number % 2), "2") for number in films)), said)
    assert found.rows.height == module.FILMS_MAX**2
    assert found.dropped == {"questionnaire: film over the bound of its dialogue": 10}


def test_a_dialogue_gives_the_same_pairs_alone_and_among_others() -> None:
    answers = [
        (number, film, liked, liked) for number, (film, liked) in product(range(6), [(3, "1"), (8, "0"), (9, "0")])
    ]
    whole = made(feedback(*answers), talk(*[SAID] * 6))
    assert whole.rows.height == 12
    alone = [made(feedback(*(a for a in answers if a[0] == n)), talk(SAID, first=n)).rows for n in range(6)]
    assert whole.rows.sort("pair_id").equals(pl.concat(alone).sort("pair_id"))

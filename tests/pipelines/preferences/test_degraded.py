"""Degraded answers: what is taken out, what is put in, and that nothing else changes."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.preferences import places
from pipelines.preferences.degraded import degraded
from pipelines.preferences.irrelevant import irrelevant_films
from pipelines.preferences.places import SLOT, recommendations
from pipelines.preferences.rows import Made
from pipelines.preferences.wording import LIST, without_films, wording
from tests.pipelines.preferences.made_up import FILMS, film_id, movies, talk

ASKED = ("s", "Something to laugh about, please")


def rows(made: Made, construction: str) -> list[dict[str, object]]:
    return made.rows.filter(construction=construction).sort("dialogue_id", "turn").to_dicts()


def only(*said: tuple[str, str], construction: str = "items_removed") -> dict[str, object]:
    found = rows(degraded(*talk(said).parts, movies()), construction)
    assert len(found) == 1
    return found[0]


def taken_out(text: str, at: int = 0) -> str:
    return without_films(pl.Series([text.replace("#", SLOT)]), pl.Series([at], dtype=pl.UInt64))[0]


# -- the answer as it was -----------------------------------------------------------------------------------


def test_the_better_answer_shows_names_where_placeholders_stood() -> None:
    pair = only(ASKED, ("r", "Have you  seen @3 or <Film 8>?"))
    assert pair["chosen"] == "Have you seen Film 3 (1999) or Film 8?"
    assert pair["chosen_movie_ids"] == [film_id(3), film_id(8)]
    assert pair["rejected_movie_ids"] == []
    assert pair["context"] == [{"role": "user", "content": ASKED[1]}]
    assert pair["dimensions"] == ["relevance", "satisfaction"]
    assert pair["is_stand_in"] is False


def test_films_that_somebody_named_before_stay_in_both_answers() -> None:
    pair = only(("s", "I loved @3"), ("r", "If you loved <Film 3>, try @8 with that actor"))
    assert "Film 3" in str(pair["rejected"])
    assert "Film 8" not in str(pair["rejected"])
    assert pair["rejected_movie_ids"] == [film_id(3)]
    replaced = only(
        ("s", "I loved @3"), ("r", "If you loved <Film 3>, try @8 with that actor"), construction="items_replaced"
    )
    assert str(replaced["rejected"]).startswith("If you loved Film 3, try Film ")
    assert "Film 8 " not in str(replaced["rejected"])


def test_a_turn_that_names_only_known_films_makes_no_pair() -> None:
    made = degraded(*talk([("s", "I loved @3"), ("r", "Me too, <Film 3> is great")]).parts, movies())
    assert made.rows.is_empty()
    assert made.dropped == {"only films named before": 1}


def test_turns_before_of_the_same_speaker_lead_both_answers_with_their_films() -> None:
    found = rows(
        degraded(*talk([ASKED, ("r", "I saw @3 lately"), ("r", "And have you seen @8?")]).parts, movies()),
        "items_removed",
    )
    assert [pair["turn"] for pair in found] == [1, 2]
    assert found[1]["chosen"] == "I saw Film 3 (1999) lately\nAnd have you seen Film 8 (1999)?"
    assert str(found[1]["rejected"]).startswith("I saw Film 3 (1999) lately\nAnd have you seen ")
    assert found[1]["chosen_movie_ids"] == [film_id(3), film_id(8)]
    assert found[1]["rejected_movie_ids"] == [film_id(3)]


def test_seekers_and_first_turns_make_no_pairs() -> None:
    made = degraded(*talk([("r", "@3 is what I would watch"), ("s", "@8 for me, thanks")]).parts, movies())
    assert made.rows.is_empty()
    assert made.dropped == {"no seeker before": 1}


def test_overlapping_mentions_are_one_place_of_the_longest() -> None:
    said = talk([ASKED, ("r", "Try <Film 3> tonight")])
    wider = said.mentions.with_columns(
        start=pl.lit(0, dtype=pl.Int32),
        end=pl.lit(10, dtype=pl.Int32),
        surface=pl.lit("Try Film 3"),
        movie_id=pl.lit(film_id(9)),
    )
    found = recommendations(said.turns, pl.concat([said.mentions, wider]), said.hints)
    assert found.places.select("movie_id", "shown").rows() == [(film_id(9), "Try Film 3")]
    assert found.turns["text"].to_list() == [f"{SLOT} tonight"]


def test_a_year_in_brackets_behind_a_name_belongs_to_it() -> None:
    found = recommendations(*talk([ASKED, ("r", "Try <Film 3> (1951), or <Film 4>")]).parts)
    assert found.places["shown"].to_list() == ["Film 3 (1951)", "Film 4"]


def test_spans_outside_the_text_are_left_out() -> None:
    said = talk([ASKED, ("r", "Try <Film 3> tonight")])
    made = degraded(said.turns, said.mentions.with_columns(end=pl.lit(999, dtype=pl.Int32)), said.hints, movies())
    assert made.rows.is_empty()
    assert made.dropped == {"film not in the text": 1}


def test_pasted_texts_make_no_pair_and_are_counted() -> None:
    made = degraded(*talk([ASKED, ("r", "@3 " + "word " * places.ANSWER_CHARACTERS_MAX)]).parts, movies())
    assert made.rows.is_empty()
    assert made.dropped == {"answer too long": 1}


def test_offsets_count_characters_and_slots_in_the_text_do_no_harm() -> None:
    pair = only(ASKED, ("r", f"\U0001f600é{SLOT}{LIST} watch @3 now\x00, ok\u2028then?"))
    assert pair["chosen"] == "\U0001f600é watch Film 3 (1999) now, ok then?"
    assert "Film" not in str(pair["rejected"])
    assert SLOT not in str(pair["rejected"])


def test_no_conversation_makes_no_pairs() -> None:
    empty = talk()
    made = degraded(*empty.parts, movies(0))
    assert made.rows.is_empty()
    assert made.dropped == {}


# -- without films ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("# is a great movie", "It is a great movie"),
        ("# and # are my favorites", "They are my favorites"),
        ("Oh # was good, and # is better", "Oh it was good, and it is better"),
        ("I like comedies such as # and #.", "I like comedies."),
        ("I loved #'s ending a lot", "I loved its ending a lot"),
        ("There is a movie called # about that", "There is a movie about that"),
        ("Sure! #. #. Enjoy your night", "Sure! Enjoy your night"),
        ("what about the new #", "what about the new movie"),
        ("Any of the # movies would do", "Any of the movies would do"),
        ('(#) is fun, and "#" is not', "It is fun, and it is not"),
    ],
)
def test_grammar_survives_where_a_film_is_taken_out(text: str, left: str) -> None:
    assert taken_out(text) == left


def test_a_list_is_one_thing() -> None:
    phrases = wording().phrases["several"]
    for at in range(len(phrases)):
        assert taken_out("You could watch #, #, and # tonight", at) == f"You could watch {phrases[at]} tonight"
        assert taken_out("you could watch # / # & # tonight", at) == f"you could watch {phrases[at]} tonight"


def test_a_question_for_a_film_becomes_a_question_for_any() -> None:
    phrases = wording().phrases["any"]
    assert {taken_out("Have you seen # or #?", at) for at in range(len(phrases))} == {
        f"Have you seen {phrase}?" for phrase in phrases
    }


def test_too_few_words_become_a_sentence_without_a_film() -> None:
    assert {taken_out("#!", at) for at in range(50)} == set(wording().neutral)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "#",
                "and",
                "or",
                ",",
                ".",
                "I",
                "like",
                "is",
                "the",
                "movie",
                "(",
                ")",
                '"',
                "?",
                "so",
                "called",
                "#'s",
                "\n",
            ]
        ),
        min_size=1,
        max_size=14,
    ),
    st.integers(0, 2**64 - 1),
)
def test_no_slot_is_ever_left_behind(words: list[str], at: int) -> None:
    left = taken_out(" ".join(words), at)
    assert SLOT not in left and LIST not in left
    assert len(left.split()) >= 1


# -- with films that do not fit -----------------------------------------------------------------------------


def test_a_replaced_film_has_nothing_to_do_with_the_one_there() -> None:
    films = {row["movie_id"]: row for row in movies().to_dicts()}
    said = talk(*([ASKED, ("r", f"Have you seen @{number} or @{number + 1}?")] for number in range(0, 200, 5)))
    found = rows(degraded(*said.parts, movies()), "items_replaced")
    assert len(found) == 40
    for pair in found:
        own, other = (pair[f"{which}_movie_ids"] for which in ("chosen", "rejected"))
        assert isinstance(own, list) and isinstance(other, list)
        assert len(set(other)) == len(own) == 2
        assert not set(other) & set(own)
        for one, two in zip(own, other, strict=True):
            assert not set(films[one]["genres"]) & set(films[two]["genres"])
            assert not {*films[one]["directors"], *films[one]["cast_members"]} & {
                *films[two]["directors"],
                *films[two]["cast_members"],
            }
            assert films[one]["year"] // 10 != films[two]["year"] // 10
            assert len(str(films[one]["votes"])) == len(str(films[two]["votes"]))
            assert f"{films[two]['title']} ({films[two]['year']})" in str(pair["rejected"])
        assert pair["dimensions"] == ["relevance"]


def test_replacements_are_written_like_the_names_they_stand_for() -> None:
    pair = only(ASKED, ("r", "maybe <film 3> or <Film 8> or @9"), construction="items_replaced")
    words = str(pair["rejected"]).split(" or ")
    assert words[0].startswith("maybe film ")
    assert words[1].startswith("Film ") and "(" not in words[1]
    assert words[2].startswith("Film ") and words[2].endswith(")")


def test_no_film_of_the_dialogue_is_put_in() -> None:
    listed = " ".join(f"@{number}" for number in range(20, 220))
    said = talk([("s", f"I know {listed}"), ("r", "Then try @3 please")])
    made = degraded(*said.parts, movies())
    named = set(said.mentions["movie_id"])
    for pair in rows(made, "items_replaced"):
        assert not named & set(pair["rejected_movie_ids"])  # type: ignore[call-overload]


def test_a_film_without_genres_is_not_replaced() -> None:
    unknown = movies().with_columns(
        genres=pl.when(pl.col("movie_id") == film_id(3)).then(pl.lit([], dtype=pl.List(pl.String))).otherwise("genres")
    )
    made = degraded(*talk([ASKED, ("r", "Have you seen @3 already?")]).parts, unknown)
    assert rows(made, "items_replaced") == []
    assert made.dropped == {"no film that does not fit": 1}


def test_choices_are_stable_when_films_are_added() -> None:
    wanted = pl.DataFrame(
        {
            "dialogue_id": [f"redial-{n}" for n in range(150)],
            "turn": [2] * 150,
            "movie_id": [film_id(n) for n in range(150)],
        },
        schema_overrides={"turn": pl.Int32},
    )
    named = wanted.select("dialogue_id", "movie_id")
    before = irrelevant_films(wanted, named, movies(FILMS))
    after = irrelevant_films(wanted, named, movies(FILMS + 12))
    assert before.height == after.height == 150
    same = (before.sort("dialogue_id")["other_id"] == after.sort("dialogue_id")["other_id"]).mean()
    assert isinstance(same, float) and 0.7 < same < 1


def test_a_dialogue_gives_the_same_pairs_alone_and_among_others_in_any_order() -> None:
    said = [
        [ASKED, ("r", f"Have you seen @{n}, @{n + 9}?"), ("s", "No"), ("r", f"<Film {n + 1}> is good")]
        for n in range(6)
    ]
    whole = talk(*said)
    alone = [degraded(*talk(one, first=number).parts, movies()).rows for number, one in enumerate(said)]
    shuffled = [frame.sample(fraction=1, shuffle=True, seed=5) for frame in whole.parts]
    together = degraded(*shuffled, movies().sample(fraction=1, shuffle=True, seed=5)).rows
    assert together.sort("pair_id").equals(pl.concat(alone).sort("pair_id"))


@pytest.mark.real_data
def test_better_answers_are_the_readable_texts_of_real_turns(real_data: Path) -> None:
    from pipelines.dialogues.read import read_dataset

    read = read_dataset("redial", real_data, lambda text: None)
    placed = read.hints.filter(pl.col("start").is_not_null())
    mentions = placed.select(
        "dialogue_id",
        "turn",
        "start",
        "end",
        movie_id=pl.concat_str(pl.lit("mv"), pl.col("item_id").str.slice(0, 16).str.zfill(16)),
        score_prob=pl.lit(0.9, dtype=pl.Float32),
    )
    made = degraded(read.turns, mentions, read.hints, movies(0))
    texts = read.turns.select("dialogue_id", "turn", "plain_text")
    checked = made.rows.filter(construction="items_removed").join(texts, on=["dialogue_id", "turn"])
    assert checked.height > 1_000
    assert checked.select(pl.col("chosen").str.ends_with(pl.col("plain_text")).all()).item()
    assert checked.select((pl.col("rejected") != pl.col("chosen")).all()).item()
    assert not checked["rejected"].str.contains(f"[{SLOT}{LIST}]").any()

"""Pairs of a model's better and worse answers: who is asked what, and what of the answers is kept."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from pipelines.gateways.llm.prompts import load_prompt
from pipelines.gateways.llm.requests import LlmRequest
from pipelines.gateways.llm.runs import LlmAnswer, LlmRun
from pipelines.gateways.stand_in.preferences import ANSWERERS
from pipelines.preferences import quality
from pipelines.preferences.quality import PROMPTS, quality_pairs, requests, sampled
from tests.pipelines.preferences.made_up import film_id, movies, talk

TALK = talk(*([("s", f"Hello {n}"), ("r", f"Have you seen @{n % 200} or @{n % 200 + 1}?")] for n in range(300)))


@pytest.fixture(scope="module")
def sample() -> pl.DataFrame:
    return sampled(*TALK.parts, movies())


def answered(asked: list[LlmRequest], said: Any = None, model: str = "some-model") -> LlmRun:
    """A run in which every request was answered, by the stand-in's rules or by `said`."""
    run = LlmRun()
    for each in asked:
        value = said(each) if said else ANSWERERS[each.prompt.name](dict(each.data), each.sampled_at)
        run.answers[each.key] = LlmAnswer(value, model, model.startswith("marquee"), "answered", "0", False, 0.0)
    return run


def test_about_a_tenth_of_the_turns_is_asked_about_twice(sample: pl.DataFrame) -> None:
    assert 15 <= sample.height <= 50
    asked = requests(sample)
    assert len({each.key for each in asked}) == len(asked) == 2 * sample.height
    assert {each.prompt.name for each in asked} == set(PROMPTS.values())
    high, low = asked[:2]
    assert high.data == low.data
    assert high.key.endswith("#1#high") and low.key.endswith("#1#low")
    assert high.data["conversation"][0]["speaker"] == "seeker"
    assert [set(film) for film in high.data["films"]] == [{"title", "year", "genres"}] * 2
    json.dumps(high.data)


def test_a_turn_stays_in_the_sample_when_dialogues_are_added(sample: pl.DataFrame) -> None:
    half = talk(*([("s", f"Hello {n}"), ("r", f"Have you seen @{n % 200} or @{n % 200 + 1}?")] for n in range(150)))
    fewer = sampled(*half.parts, movies())
    assert 0 < fewer.height < sample.height
    assert fewer.join(sample, on=["dialogue_id", "turn"], how="anti").is_empty()


def test_no_more_than_the_bound_is_asked_about(sample: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "TURNS_MAX", 5)
    bounded = sampled(*TALK.parts, movies())
    assert bounded.height == 5
    assert bounded.join(sample, on=["dialogue_id", "turn"], how="anti").is_empty()


def test_what_is_shown_of_a_conversation_is_bounded() -> None:
    def said(words: int) -> list[tuple[str, str]]:
        return [("s" if n % 2 == 0 else "r", f"{n} " + "word " * words) for n in range(39)]

    assert len(recent(said(100))) == quality.MESSAGES_SHOWN
    assert {len(message["text"]) for message in recent(said(800))} == {quality.CHARACTERS_SHOWN}


def recent(said: list[tuple[str, str]]) -> list[dict[str, str]]:
    every = [talk([*said, ("r", f"@{number} please, you")], first=number) for number in range(60)]
    frames = [pl.concat([getattr(one, name) for one in every]) for name in ("turns", "mentions", "hints")]
    return requests(sampled(*frames, movies()).head(1))[0].data["conversation"]


def test_the_stand_in_makes_pairs_that_are_marked_as_its(sample: pl.DataFrame) -> None:
    made = quality_pairs(answered(requests(sample), model="marquee-stand-in"), sample)
    assert made.rows.height == sample.height
    assert made.rows["is_stand_in"].all()
    assert set(made.rows["model"]) == {"marquee-stand-in"}
    assert made.rows["version"].unique().to_list() == ["1/1/1"]
    # The helpful answer names a film of the turn, the unhelpful one mostly none.
    assert (made.rows["chosen_movie_ids"].list.len() > 0).all()
    assert (made.rows["rejected_movie_ids"].list.len() == 0).mean() > 0.5  # type: ignore[operator]
    assert made.rows["chosen"].n_unique() > 3
    assert made.dropped == {}


def test_answers_keep_to_the_schema_of_their_prompt() -> None:
    from jsonschema import Draft202012Validator

    shapes: list[dict[str, Any]] = [
        {},
        {"films": None, "conversation": 3},
        {"films": [{"title": " "}, {"title": 3}, "x", {"title": "Lantern", "genres": [1, "Drama"], "year": "1950"}]},
        {"films": [{"title": "\ud800", "year": 1950, "genres": None}]},
    ]
    for name, answer in ANSWERERS.items():
        check = Draft202012Validator(load_prompt(name).schema)
        for data in shapes:
            assert check.is_valid(answer(data, 0.9)), (name, data)


def test_answers_that_are_missing_empty_alike_or_of_two_models_make_no_pair(sample: pl.DataFrame) -> None:
    asked = requests(sample)
    run = answered(asked, lambda each: {"response": f"{each.key} says Film {each.key[-3:]}"})
    keys = sample.select(pl.concat_str("dialogue_id", pl.lit("#"), "turn"))["dialogue_id"].to_list()

    def put(key: str, **changes: Any) -> None:
        run.answers[key] = LlmAnswer(**{**vars(run.answers[key]), **changes})

    del run.answers[f"{keys[0]}#low"]
    put(f"{keys[1]}#low", value={"response": " \x00"})
    put(f"{keys[2]}#low", value={"response": str(run.answers[f"{keys[2]}#high"].value["response"]).upper()})
    put(f"{keys[3]}#low", model="another-model")
    put(f"{keys[4]}#low", value=["no", "object"])
    made = quality_pairs(run, sample)
    assert made.rows.height == sample.height - 5
    assert made.dropped == {
        "llm_quality: not both answered": 1,
        "llm_quality: answers of two models": 1,
        "llm_quality: answers empty or alike": 3,
    }


def test_an_answer_names_the_films_whose_titles_stand_in_it(sample: pl.DataFrame) -> None:
    one = sample.head(1)
    films = one["films"][0]
    run = answered(
        requests(one),
        lambda each: {"response": f"Try {films[1]['title'].upper()}!" if each.key.endswith("high") else "No"},
    )
    made = quality_pairs(run, one).rows.row(0, named=True)
    assert made["chosen_movie_ids"] == [films[1]["movie_id"]]
    assert made["rejected_movie_ids"] == []
    assert films[1]["movie_id"] != film_id(0)


def test_nothing_asked_nothing_made() -> None:
    made = quality_pairs(LlmRun(), sampled(*talk().parts, movies()))
    assert made.rows.is_empty()
    assert requests(sampled(*talk().parts, movies())) == []

"""Domains in words, and wording that is in the wrong one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.simulation.domains import Domain, domain, domains, foreign_words, words_of
from warehouse.tables.simulation import SIM_DOMAINS


def test_every_domain_of_the_contracts_has_words() -> None:
    assert tuple(domains()) == SIM_DOMAINS
    for each in domains().values():
        assert isinstance(each, Domain) and each.words and all(words_of(word) == [word] for word in each.words)
        assert each.as_data()["noun"] == each.noun and "words" not in each.as_data()
        json.dumps(each.as_data())


def test_no_word_belongs_to_two_domains() -> None:
    owned = [word for each in domains().values() for word in each.words]
    assert len(owned) == len(set(owned))


def test_what_a_prompt_is_told_of_a_domain_holds_no_other_domains_words() -> None:
    for name, each in domains().items():
        assert foreign_words(name, json.dumps(each.as_data())) == []


def test_an_unknown_domain_is_named_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="there is no domain 'song'; there are: film, book, game, business"):
        domain("song")


@pytest.mark.parametrize(
    ("own", "said", "foreign"),
    [
        ("film", "A keen reader of novels.", ["novels", "reader"]),
        ("book", "A keen reader of novels.", []),
        ("book", "Likes a Movie with co-op GAMEPLAY!", ["co-op", "gameplay", "movie"]),
        ("game", "The filming of a bookish booking", ["bookish"]),
        ("business", "watches and reads and plays", []),
        ("film", "", []),
    ],
)
def test_wording_of_another_domain(own: str, said: str, foreign: list[str]) -> None:
    assert foreign_words(own, said) == foreign


def test_what_the_user_wrote_is_no_fault() -> None:
    said = "Reads the novels behind the films."
    assert foreign_words("film", said, ["The NOVELS were better"]) == []
    assert foreign_words("film", said, ["The novelist, a novelty"]) == ["novels"]


@given(st.text(), st.sampled_from(SIM_DOMAINS))
def test_any_text_can_be_looked_through(text: str, own: str) -> None:
    found = foreign_words(own, text)
    assert found == sorted(set(found)) and not domain(own).words.intersection(found)
    assert foreign_words(own, text, [text]) == []

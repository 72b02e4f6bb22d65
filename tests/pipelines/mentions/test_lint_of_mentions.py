"""Each rule of the lint has a case that it must set aside and one that it must leave."""

from __future__ import annotations

import polars as pl
import pytest

from pipelines.mentions.lint import EVIDENCE, RULES, reasons
from warehouse.tables.mentions import QUARANTINE_REASONS

SOUND = {
    "method": "hint", "movie_id": "mv0000000000000001", "score_prob": 0.6, "name": "Glass Orchard", "stated_year": None, "film_year": 2001,
    "film_votes": 100, "before": " ", "first": "G", "last": "d", "after": ".", "commonness": 3.0, "is_marked": False, "is_person": False,
}  # fmt: skip


def reason(**changes) -> str | None:
    return reasons(pl.DataFrame([{**SOUND, **changes}], schema=EVIDENCE)).item()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"method": "id", "name": None, "movie_id": None}, "unresolved_id"),
        ({"name": None, "method": "free_text"}, None),
        ({"before": "n", "first": "e"}, "inside_word"),
        ({"after": "s"}, "inside_word"),
        ({"before": "é"}, "inside_word"),
        ({"before": "@", "after": "!"}, None),
        ({"stated_year": 2003}, "year_clash"),
        ({"stated_year": 2002}, None),
        ({"stated_year": 1950, "movie_id": None}, None),
        ({"name": "List of accolades received by Glass Orchard"}, "not_a_film"),
        ({"name": "The Glass Orchard Trilogy"}, "not_a_film"),
        ({"name": "Glass Orchard (film series)"}, "not_a_film"),
        ({"name": "Trilogy of Glass"}, None),
        ({"name": "The Orchard List"}, None),
        ({"is_person": True}, "person_name"),
        ({"is_person": True, "stated_year": 2001}, None),
        ({"is_person": True, "film_votes": 500_000}, None),
        ({"commonness": 6.0}, "function_word"),
        ({"commonness": 6.0, "is_marked": True}, None),
        ({"commonness": 6.0, "score_prob": 0.95}, None),
        ({"commonness": 6.0, "method": "id"}, None),
    ],
)
def test_what_is_set_aside(changes, expected):
    assert reason(**changes) == expected


def test_every_reason_of_the_contract_has_a_rule():
    assert {rule.reason for rule in RULES} == set(QUARANTINE_REASONS)


def test_nothing_is_known_nothing_is_wrong():
    empty = dict.fromkeys(EVIDENCE.names())
    assert reason(**empty) is None

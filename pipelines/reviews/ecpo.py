"""Lines of ECPO's processed reviews, a user each with a list of reviews, and of its tasks, a persona and an item each.

Source: ECPO's repository (reviews/ and task/); `<br />` in texts, null prices, authors that are empty, and Yelp items without an id are its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.reviews import values
from pipelines.reviews.values import BadRecord, Entry, Facts, Released, Review

_USER = "UserID"
# Where each trait of sim_personas stands: in `Persona`, or in its `Linguistics`.
_LINGUISTICS = "Linguistics"
_TRAITS = {"activities": "Activities", "interests": "Interests", "orientations": "Orientations"}
_LINGUISTIC_TRAITS = {
    "information_density": "Information Density",
    "expression_style": "Expression Style",
    "tone": "Tone",
}


def user_reviews(line: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The reviews of a line, each with its user's id. Raises BadRecord where the line is none of a user."""
    user = values.identifier(line, _USER)
    reviews = line.get("ReviewList")
    if not isinstance(reviews, list):
        raise BadRecord("ReviewList is no list")
    return [{**each, _USER: user} if isinstance(each, dict) else {_USER: user} for each in reviews]


def review(record: Mapping[str, Any]) -> Entry:
    """A review, and what it says about its item. Raises BadRecord."""
    facts = _facts(record, "ParentASIN")
    return Entry(
        Review(
            user=values.identifier(record, _USER),
            item_id=facts.item_id,
            headline=values.text(record, "Title") or None,
            text=values.text(record, "Content"),
            rating=values.stars(record, "Rating"),
            reviewed_at=values.time_ms(record, "Timestamp"),
        ),
        facts,
    )


def task(record: Mapping[str, Any]) -> Entry:
    """A task: `Items` has the one target. Raises BadRecord."""
    persona = values.mapping(record.get("Persona"), "Persona")
    language = values.mapping(persona.get(_LINGUISTICS), f"Persona.{_LINGUISTICS}")
    items = record.get("Items")
    if not isinstance(items, list) or len(items) != 1:
        raise BadRecord("Items is no list of one item")
    facts = _facts(values.mapping(items[0], "Items[0]"), "ItemID")
    traits = {name: values.text(persona, key, values.TITLE_CHARACTERS) for name, key in _TRAITS.items()}
    traits |= {name: values.text(language, key, values.TITLE_CHARACTERS) for name, key in _LINGUISTIC_TRAITS.items()}
    if not traits["activities"]:
        raise BadRecord("Persona.Activities is missing")
    return Entry(facts=facts, task=Released(values.identifier(record, _USER), facts.item_id, traits))


def _facts(record: Mapping[str, Any], key: str) -> Facts:
    name = values.title(record, "ItemName")
    creator = values.text(record, "AuthorName", values.TITLE_CHARACTERS)
    return Facts(
        item_id=values.named(record, key, name),
        title=name,
        creators=(creator,) if creator else (),
        categories=values.texts(record, "Categories"),
        description=values.text(record, "Description") or None,
        average_rating=values.number(record, "AverageRating", 0, 5),
        ratings=values.count(record, "RatingCount"),
    )

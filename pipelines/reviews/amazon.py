"""Lines of Amazon Reviews 2023: a review each (`<Category>.jsonl`), or an item each (`meta_<Category>.jsonl`).

Source of the format: https://amazon-reviews-2023.github.io (Hou et al. 2024), the release's own field lists.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipelines.reviews import values
from pipelines.reviews.values import BadRecord, Entry, Facts, Review


def review(record: Mapping[str, Any]) -> Entry:
    """A review: items are told by `parent_asin`, as variants of one product share it. Raises BadRecord."""
    asin = "parent_asin" if record.get("parent_asin") else "asin"
    return Entry(
        Review(
            user=values.identifier(record, "user_id"),
            item_id=values.identifier(record, asin),
            headline=values.text(record, "title") or None,
            text=values.text(record, "text"),
            rating=values.stars(record, "rating"),
            reviewed_at=values.time_ms(record, "timestamp"),
        )
    )


def item(record: Mapping[str, Any]) -> Entry:
    """An item. Raises BadRecord."""
    return Entry(
        facts=Facts(
            item_id=values.identifier(record, "parent_asin"),
            title=values.title(record, "title"),
            creators=_creators(record),
            categories=values.texts(record, "categories"),
            description=" ".join(values.texts(record, "description") or values.texts(record, "features")) or None,
            average_rating=values.number(record, "average_rating", 0, 5),
            ratings=values.count(record, "rating_number"),
        )
    )


def _creators(record: Mapping[str, Any]) -> tuple[str, ...]:
    """The author, whom books have as an object (some copies as JSON in a text), else the store, which is the maker of other things."""
    author = record.get("author")
    if isinstance(author, str):
        try:
            author = json.loads(author)
        except (ValueError, RecursionError):
            author = {"name": author}
    if author is not None and not isinstance(author, dict):
        raise BadRecord("author is no object")
    name = values.text(author or {}, "name", values.TITLE_CHARACTERS) or values.text(record, "store")
    return (name,) if name else ()

"""Lines of Yelp's open dataset: a review each (`yelp_academic_dataset_review.json`), or a business each (`..._business.json`).

Source of the format: https://www.yelp.com/dataset/documentation/main.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.reviews import values
from pipelines.reviews.values import Entry, Facts, Review


def review(record: Mapping[str, Any]) -> Entry:
    """A review; Yelp's have no headline. Raises BadRecord."""
    return Entry(
        Review(
            user=values.identifier(record, "user_id"),
            item_id=values.identifier(record, "business_id"),
            headline=None,
            text=values.text(record, "text"),
            rating=values.stars(record, "stars"),
            reviewed_at=values.time_stated(record, "date"),
        )
    )


def item(record: Mapping[str, Any]) -> Entry:
    """A business; its categories are one text with commas, or null. Raises BadRecord."""
    categories = dict.fromkeys(part.strip() for part in values.text(record, "categories").split(","))
    place = [values.text(record, key, values.TITLE_CHARACTERS) for key in ("city", "state")]
    return Entry(
        facts=Facts(
            item_id=values.identifier(record, "business_id"),
            title=values.title(record, "name"),
            categories=tuple(part for part in categories if part),
            place=", ".join(part for part in place if part) or None,
            average_rating=values.number(record, "stars", 0, 5),
            ratings=values.count(record, "review_count"),
        )
    )

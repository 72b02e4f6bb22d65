"""Typed values out of one JSON record: what is not of the type that the release promises makes the record a reject, with the key that is at fault.

Does not belong here: which keys a release has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

STARS = (0.5, 5.0)
ID_CHARACTERS = 200
TITLE_CHARACTERS = 2_000
TEXT_CHARACTERS = 100_000
LIST_LENGTH = 1_000
COUNT_MAX = 2**53
# Before the first of these reviews, and after a time in microseconds would be taken for one in milliseconds.
TIMES_MS = (788_918_400_000, 4_102_444_800_000)


class BadRecord(ValueError):
    """A record cannot be used; the message names the key."""


@dataclass(frozen=True)
class Review:
    """One review as a release states it: the user and item are the source's own."""

    user: str
    item_id: str
    headline: str | None
    text: str
    rating: float | None
    reviewed_at: datetime | None


@dataclass(frozen=True)
class Facts:
    """What a release says about an item."""

    item_id: str
    title: str
    creators: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    place: str | None = None
    description: str | None = None
    average_rating: float | None = None
    ratings: int | None = None


@dataclass(frozen=True)
class Released:
    """A task of a release: who looks for which item, and the traits that are stated, by their names in sim_personas."""

    user: str
    item_id: str
    traits: Mapping[str, str]


@dataclass(frozen=True)
class Entry:
    """What one record holds."""

    review: Review | None = None
    facts: Facts | None = None
    task: Released | None = None


def mapping(value: Any, what: str = "the record") -> Mapping[str, Any]:
    """`value` as an object. Raises BadRecord."""
    if not isinstance(value, dict):
        raise BadRecord(f"{what} is no object")
    return value


def identifier(record: Mapping[str, Any], key: str) -> str:
    """The id under `key`. Raises BadRecord for none, for a blank one, and for one that no release has."""
    value = record.get(key)
    if not isinstance(value, str) or not value.strip():
        raise BadRecord(f"{key} is missing")
    if len(value) > ID_CHARACTERS or not value.isprintable():
        raise BadRecord(f"{key} is no id")
    return value.strip()


def named(record: Mapping[str, Any], key: str, name: str) -> str:
    """The id under `key`; one made of the item's `name` where the release leaves ids out."""
    if record.get(key) is not None:
        return identifier(record, key)
    return f"name-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def title(record: Mapping[str, Any], key: str) -> str:
    """The title under `key`, which must be there. Raises BadRecord."""
    value = text(record, key, TITLE_CHARACTERS)
    if not value:
        raise BadRecord(f"{key} is missing")
    return value


def text(record: Mapping[str, Any], key: str, most: int = TEXT_CHARACTERS) -> str:
    """The text under `key`; empty where there is none. Raises BadRecord for another type, and for one longer than `most`."""
    value = record.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadRecord(f"{key} is no text")
    if len(value) > most:
        raise BadRecord(f"{key} is longer than {most:,} characters")
    # Half of a character cannot be stored; what is left of the text is worth keeping.
    return value.encode("utf-8", "replace").decode().replace("\0", " ").strip()


def texts(record: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """The texts under `key`; none where there are none. Raises BadRecord."""
    value = record.get(key)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise BadRecord(f"{key} is no list of texts")
    if len(value) > LIST_LENGTH:
        raise BadRecord(f"{key} has more than {LIST_LENGTH:,} texts")
    cleaned = [text({key: each}, key) for each in value]
    return tuple(dict.fromkeys(each for each in cleaned if each))


def number(record: Mapping[str, Any], key: str, least: float, most: float) -> float | None:
    """The number under `key`; None where there is none. Raises BadRecord for what is none from `least` to `most`."""
    value = record.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise BadRecord(f"{key} is no number")
    if not least <= value <= most:
        raise BadRecord(f"{key} is not from {least:g} to {most:g}")
    return float(value)


def stars(record: Mapping[str, Any], key: str) -> float:
    """The stars under `key`, which must be there. Raises BadRecord."""
    value = number(record, key, *STARS)
    if value is None:
        raise BadRecord(f"{key} is missing")
    return value


def count(record: Mapping[str, Any], key: str) -> int | None:
    """The count under `key`; None where there is none. Raises BadRecord."""
    value = number(record, key, 0, COUNT_MAX)
    return None if value is None else int(value)


def time_ms(record: Mapping[str, Any], key: str) -> datetime | None:
    """The time under `key`, UTC, stated in milliseconds since 1970; None where there is none. Raises BadRecord."""
    try:
        value = number(record, key, *TIMES_MS)
    except BadRecord:
        raise BadRecord(f"{key} is no time in milliseconds since 1970") from None
    if value is None:
        return None
    return datetime.fromtimestamp(value / 1000, UTC).replace(tzinfo=None)


def time_stated(record: Mapping[str, Any], key: str) -> datetime | None:
    """The time under `key`, UTC, written `2014-02-05 20:30:30`; None where there is none. Raises BadRecord."""
    value = record.get(key)
    if value is None:
        return None
    try:
        found = datetime.strptime(value, "%Y-%m-%d %H:%M:%S")
    except (TypeError, ValueError):
        raise BadRecord(f"{key} is no time") from None
    if not 1995 <= found.year < 2100:
        raise BadRecord(f"{key} is no time")
    return found

"""The protocols of protocols.toml.

Does not belong here: what is computed under them (`metrics.py`, `evaluate.py`).
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from warehouse.tables.ranking_evaluation import METRICS, POOLS

# Raise it when the same rankings give other numbers than before.
PROTOCOLS_VERSION = "1"

SETTINGS = ("leave_one_out", "sessions", "dialogues")

# The column of places that belongs to a pool, and to what becomes of the films of the history.
PLACES = {
    ("full", "kept"): "ranks_all",
    ("full", "masked"): "ranks_masked",
    ("uniform_99", "masked"): "ranks_uniform",
    ("popularity_99", "masked"): "ranks_popularity",
    ("llm_candidates", "kept"): "ranks_candidates",
}
_ALLOWED = {
    "pool": POOLS,
    "repeats": ("kept", "dropped"),
    "seen": ("kept", "masked"),
    "unit": ("label", "turn"),
    "gold": ("single", "ideal"),
}


class ProtocolError(ValueError):
    """A protocol that is not stated rightly; the message names it and the key."""


@dataclass(frozen=True, order=True)
class Figure:
    """A metric and its cut-off."""

    metric: str
    k: int


@dataclass(frozen=True)
class Protocol:
    """Rules for computing numbers; the fields are those of protocols.toml."""

    name: str
    meaning: str
    pool: str
    repeats: str
    seen: str
    unit: str
    gold: str
    settings: tuple[str, ...]
    figures: tuple[Figure, ...]
    headline: tuple[Figure, ...]
    slices: bool = False
    tests: bool = False

    def __post_init__(self) -> None:
        for key, allowed in _ALLOWED.items():
            if getattr(self, key) not in allowed:
                raise ProtocolError(
                    f"protocol {self.name}: {key} is {getattr(self, key)!r}, not {' or '.join(allowed)}"
                )
        if (self.pool, self.seen) not in PLACES:
            raise ProtocolError(f"protocol {self.name}: there are no places in pool {self.pool} with seen {self.seen}")
        if self.places == "ranks_masked" and self.repeats == "kept":
            raise ProtocolError(f"protocol {self.name}: repeats cannot be found where the history is masked")
        if (self.gold == "ideal") != (self.unit == "turn"):
            raise ProtocolError(f"protocol {self.name}: gold is ideal for turns and single for labels")
        if self.unit == "turn" and self.pool != "full":
            raise ProtocolError(f"protocol {self.name}: labels of a turn have one pool together only in pool full")
        if unknown := set(self.settings) - set(SETTINGS):
            raise ProtocolError(f"protocol {self.name}: setting {min(unknown)!r} is unknown")
        if not self.figures or any(each.metric not in METRICS or each.k < 1 for each in self.figures):
            raise ProtocolError(f"protocol {self.name}: metrics must be of {', '.join(METRICS)}, cut-offs at least 1")
        if set(self.headline) - set(self.figures):
            raise ProtocolError(f"protocol {self.name}: a headline is not among its figures")

    @property
    def places(self) -> str:
        """Column of the places that it judges."""
        return PLACES[self.pool, self.seen]


def parse(text: str) -> tuple[Protocol, ...]:
    """Protocols from the text of a protocols.toml. Raises ProtocolError."""
    try:
        stated = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ProtocolError(f"protocols: {error}") from error
    common = {key: stated.pop(key, []) for key in ("metrics", "cutoffs", "headline")}
    blocks = stated.pop("protocol", {})
    if stated:
        raise ProtocolError(f"protocols: unknown key {min(stated)!r}")
    return tuple(_protocol(name, {**common, **block}) for name, block in blocks.items())


def _protocol(name: str, block: dict[str, Any]) -> Protocol:
    figures = tuple(Figure(metric, k) for metric in block.pop("metrics") for k in block["cutoffs"])
    block.pop("cutoffs")
    texts = ("meaning", "pool", "repeats", "seen", "unit", "gold")
    kinds = {**dict.fromkeys(texts, str), "settings": list, "headline": list, "slices": bool, "tests": bool}
    for key, value in block.items():
        if key not in kinds:
            raise ProtocolError(f"protocol {name}: unknown key {key!r}")
        if not isinstance(value, kinds[key]):
            raise ProtocolError(f"protocol {name}: {key} is {value!r}, which is no {kinds[key].__name__}")
    if missing := [key for key in (*texts, "settings") if key not in block]:
        raise ProtocolError(f"protocol {name}: {missing[0]} is missing")
    headline = tuple(Figure(**each) for each in block.pop("headline"))
    return Protocol(name, figures=figures, headline=headline, settings=tuple(block.pop("settings")), **block)


@cache
def protocols() -> tuple[Protocol, ...]:
    """The protocols that come with Marquee."""
    return parse(resources.files(__package__).joinpath("protocols.toml").read_text(encoding="utf-8"))

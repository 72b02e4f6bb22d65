"""The linking rules as data: how two records are compared, and how much each finding weighs.

Every rule sorts a pair of records into one of its levels; every level carries a weight in bits (log2 of the likelihood
ratio: +1 doubles the odds that both records are one film). The bits of all rules add up to the score; the record pairs
of `core_record_pairs` keep the level that each rule found.

The weights of titles, years, people, running times, genres and kinds were fitted with `benchmarks/fit_linking.py`
(ridge logistic regression on pairs whose ids were hidden). The weights of ids were set by hand: an id is strong evidence, but a
title or a year that contradicts it outweighs it.
"""

from __future__ import annotations

from dataclasses import dataclass

RULES_VERSION = "2026.1"


@dataclass(frozen=True)
class Level:
    """One outcome of a comparison: its name in the evidence and its weight in bits."""

    name: str
    bits: float


@dataclass(frozen=True)
class Rule:
    """One comparison. `levels` are ordered; a pair holds the index of its level (0..7)."""

    name: str
    levels: tuple[Level, ...]

    def index(self, level: str) -> int:
        """Position of the level called `level`."""
        return next(i for i, each in enumerate(self.levels) if each.name == level)


def _rule(name: str, **levels: float) -> Rule:
    return Rule(name, tuple(Level(level.replace("_", " "), bits) for level, bits in levels.items()))


BIAS_BITS = -5.3

RULES: tuple[Rule, ...] = (
    # Best agreement between any two titles of the records.
    _rule("title", same=7.0, alias=7.2, half=0.8, very_close=-0.4, close=-1.9, similar=-4.5, different=-8.2),
    _rule("year", same=4.3, one_apart=-1.0, two_apart=-4.6, few_apart=-8.0, far_apart=-18.0, unknown=-3.0),
    # In how many different years films of this name appeared: agreeing on a rare title says more.
    _rule("rarity", unique=1.9, two_years=1.7, few_years=-1.0, many_years=-2.7),
    # Longer titles agree by accident less often.
    _rule("length", short=-0.8, medium=-0.2, long=1.1),
    # Sequels differ by a number and little else.
    _rule("numbers", none=0.2, same=1.2, missing=0.9, different=-6.0),
    _rule("directors", same=6.5, shared=1.6, different=-1.1, unknown=0.0),
    _rule("cast", several=5.0, one=1.8, none=-1.1, unknown=0.0),
    _rule("runtime", same=-0.4, close=-3.3, near=-6.1, far=-6.5, unknown=0.0),
    _rule("genres", same=2.1, most=0.1, some=-1.7, none=-5.8, unknown=0.0),
    # A short film against a longer one.
    _rule("kind", same=0.0, different=-4.0, unknown=0.0),
    # One source seldom lists a film twice; two entries of one name there are mostly two films.
    _rule("sources", different=0.0, same=-15.0),
    _rule("imdb_id", same=14, different=-10, unknown=0),
    _rule("tmdb_id", same=12, different=-7, unknown=0),
    _rule("movielens_id", same=14, different=-10, unknown=0),
    _rule("wikidata_id", same=14, different=-10, unknown=0),
    _rule("wikipedia", same=12, different=-4, unknown=0),
)

ID_RULES = ("imdb_id", "tmdb_id", "movielens_id", "wikidata_id", "wikipedia")

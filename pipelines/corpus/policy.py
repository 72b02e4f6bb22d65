"""How conflicts between sources are resolved, field by field, as data.

Three policies cover all fields:

- `vote`: the value with the most weight wins; a source's weight is its reliability, and agreement adds up. Ties go to the
  most reliable single source, then to the smaller value, so that the result does not depend on the order of rows.
- `best_list`: the list of the most reliable source that states one; among equals the longer, more informative list.
- `longest_text`: like `best_list`, for text.

The order of `FIELDS` is the order in which fields appear in core_movies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

POLICY_VERSION = "2026.1"

Policy = Literal["vote", "best_list", "longest_text"]
Compare = Literal["value", "title", "people"]


@dataclass(frozen=True)
class Field:
    """Policy of one field. `compare` tells when two values count as the same, `tolerance` when two numbers do."""

    name: str
    policy: Policy
    compare: Compare = "value"
    tolerance: int = 0
    is_conflict_recorded: bool = True


FIELDS = (
    Field("title", "vote", compare="title"),
    Field("original_title", "vote", compare="title"),
    Field("year", "vote"),
    Field("kind", "vote"),
    # Genres, languages and countries differ by vocabulary more than by fact: recording every difference would bury the rest.
    Field("genres", "best_list", is_conflict_recorded=False),
    Field("directors", "best_list", compare="people"),
    Field("cast_members", "best_list", is_conflict_recorded=False),
    Field("plot", "longest_text", is_conflict_recorded=False),
    # Cuts, frame rates and rounding move a running time by a few minutes.
    Field("runtime_min", "vote", tolerance=5),
    Field("languages", "best_list", is_conflict_recorded=False),
    Field("countries", "best_list", is_conflict_recorded=False),
    Field("imdb_id", "vote"),
    Field("tmdb_id", "vote"),
    Field("movielens_id", "vote"),
    Field("wikidata_id", "vote"),
    Field("dbpedia_uri", "vote", is_conflict_recorded=False),  # follows wikipedia_slug
    Field("wikipedia_slug", "vote"),
)

ALIASES_MAX = 25
DEFAULT_RELIABILITY = 0.5

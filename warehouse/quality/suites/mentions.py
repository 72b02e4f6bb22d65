"""What is expected of the tables of warehouse/tables/mentions.py, beyond their contracts."""

from __future__ import annotations

from warehouse.quality.suite import Derived, Expectation, Suite, contract_suite, flag, share
from warehouse.tables.mentions import (
    CORE_ITEM_LINKS,
    CORE_MENTIONS,
    EVAL_MENTION_DISAGREEMENTS,
    EVAL_MENTION_LINKING,
)

_REASON_GOES_WITH_FLAG = Expectation(
    "reason_goes_with_flag",
    "expect_column_pair_values_to_be_equal",
    {"column_A": "is_quarantined", "column_B": "has_reason"},
    "ERROR",
    "What is quarantined says why, and nothing else does.",
)
_MATCH_GOES_WITH_FILM = Expectation(
    "match_goes_with_film",
    "expect_column_pair_values_to_be_equal",
    {"column_A": "has_film", "column_B": "has_match"},
    "ERROR",
    "A link says how the name was matched, and no film means no match.",
)
_ALTERNATIVES_AT_MOST_FOUR = Expectation(
    "alternatives_at_most_four",
    "expect_column_values_to_be_between",
    {"column": "alternatives_count", "min_value": 0, "max_value": 4},
    "ERROR",
    "At most four runners-up are kept.",
)
_LINK_COLUMNS = (
    Derived("has_reason", '"quarantine_reason" IS NOT NULL', ("quarantine_reason",)),
    Derived("has_film", '"movie_id" IS NOT NULL', ("movie_id",)),
    Derived("has_match", "\"match\" <> 'none'", ("match",)),
    Derived("alternatives_count", 'len("alternatives")', ("alternatives",)),
)

ITEM_LINKS = contract_suite(
    CORE_ITEM_LINKS,
    _REASON_GOES_WITH_FLAG,
    _MATCH_GOES_WITH_FILM,
    _ALTERNATIVES_AT_MOST_FOUR,
    share(
        "most_items_linked",
        "is_linked",
        0.5,
        "Half of the items and more are films of the corpus; fewer mean that names are misread, or that the corpus is small.",
    ),
    share("few_items_quarantined", "is_set_aside", None, "Few items are set aside by the lint.", maximum=0.1),
    derived=(
        *_LINK_COLUMNS,
        flag("is_linked", '"movie_id" IS NOT NULL', "movie_id"),
        flag("is_set_aside", '"is_quarantined"', "is_quarantined"),
    ),
)

MENTIONS = contract_suite(
    CORE_MENTIONS,
    _REASON_GOES_WITH_FLAG,
    _MATCH_GOES_WITH_FILM,
    _ALTERNATIVES_AT_MOST_FOUR,
    Expectation(
        "ends_after_it_begins",
        "expect_column_pair_values_a_to_be_greater_than_b",
        {"column_A": "end", "column_B": "start", "or_equal": False},
        "ERROR",
        "A mention has at least one character.",
    ),
    Expectation(
        "surface_fits_offsets",
        "expect_column_pair_values_to_be_equal",
        {"column_A": "surface_length", "column_B": "span_length"},
        "ERROR",
        "The text between has as many characters as the offsets say.",
    ),
    Expectation(
        "found_in_text_means_linked",
        "expect_column_values_to_be_in_set",
        {"column": "found_has_film", "value_set": [1]},
        "ERROR",
        "What was found in running text is there because it is linked.",
    ),
    share(
        "few_mentions_quarantined",
        "is_set_aside",
        None,
        "The lint sets few mentions aside; many mean that a dataset or the scorer went wrong.",
        maximum=0.2,
    ),
    derived=(
        *_LINK_COLUMNS,
        Derived("surface_length", 'length("surface")', ("surface",)),
        Derived("span_length", '"end" - "start"', ("start", "end")),
        Derived(
            "found_has_film",
            "CASE WHEN \"method\" IN ('free_text', 'title_year') THEN CAST(\"movie_id\" IS NOT NULL AS INTEGER) END",
            ("method", "movie_id"),
        ),
        flag("is_set_aside", '"is_quarantined"', "is_quarantined"),
    ),
)


def _at_least(name: str, truth: str, metric: str, minimum: float, meaning: str) -> tuple[Expectation, Derived]:
    """A figure after the lint, over all methods or items, that should not fall below `minimum`."""
    column = f"{name}_value"
    where = f"\"truth\" = '{truth}' AND \"metric\" = '{metric}' AND \"stage\" = 'after_lint' AND \"method\" IN ('all', 'item')"
    return (
        Expectation(
            name,
            "expect_column_values_to_be_between",
            {"column": column, "min_value": minimum, "max_value": 1},
            "WARN",
            meaning,
        ),
        Derived(column, f'CASE WHEN {where} THEN "value" END', ("truth", "metric", "stage", "method", "value")),
    )


_FIGURES = (
    _at_least(
        "items_right",
        "id2info_year_agrees",
        "recall",
        0.95,
        "At least 95 of 100 items are linked to the film that id2info states.",
    ),
    _at_least(
        "gold_precision",
        "gold_test",
        "precision",
        0.8,
        "At least four of five links of the hand-labelled dialogues are right.",
    ),
    _at_least(
        "gold_recall",
        "gold_test",
        "recall",
        0.75,
        "At least three of four films of the hand-labelled dialogues are found.",
    ),
)

MENTION_LINKING = contract_suite(
    EVAL_MENTION_LINKING,
    Expectation(
        "figures_in_range",
        "expect_column_values_to_be_between",
        {"column": "value", "min_value": 0, "max_value": 1},
        "ERROR",
        "All figures are shares.",
    ),
    Expectation(
        "interval_is_ordered",
        "expect_column_pair_values_a_to_be_greater_than_b",
        {"column_A": "ci_high", "column_B": "ci_low", "or_equal": True, "ignore_row_if": "either_value_is_missing"},
        "ERROR",
        "The interval's upper end is not below its lower end.",
    ),
    *(expectation for expectation, _ in _FIGURES),
    derived=tuple(derived for _, derived in _FIGURES),
)

MENTION_DISAGREEMENTS = contract_suite(
    EVAL_MENTION_DISAGREEMENTS,
    Expectation(
        "kind_is_known",
        "expect_column_values_to_be_in_set",
        {"column": "kind", "value_set": ["wrong_film", "missed", "spurious", "truth_year_differs"]},
        "ERROR",
        "A disagreement is of a kind that there is.",
    ),
)

SUITES: tuple[Suite, ...] = (ITEM_LINKS, MENTIONS, MENTION_LINKING, MENTION_DISAGREEMENTS)

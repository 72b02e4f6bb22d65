"""What is expected of the tables of the corpus, beyond their contracts."""

from __future__ import annotations

from warehouse.quality.suite import (
    HAS_ROWS,
    ROW_COUNT_MIN,
    ROWS_NOT_COLLAPSING,
    Derived,
    Expectation,
    Parameter,
    Severity,
    contract_suite,
    flag,
    share,
)
from warehouse.tables.corpus import (
    CORE_MOVIE_CONFLICTS,
    CORE_MOVIE_LINKS,
    CORE_MOVIES,
    EVAL_ENTITY_RESOLUTION,
)
from warehouse.tables.titles import CORE_TITLE_RECORDS

_TITLE_HAS_TEXT = Expectation(
    "title_has_text",
    "expect_column_values_to_match_regex",
    {"column": "title", "regex": r"\S"},
    "ERROR",
    "A title holds more than blanks.",
)


def _year_spread(severity: Severity) -> Expectation:
    return Expectation(
        "year_spread",
        "expect_column_quantile_values_to_be_between",
        {
            "column": "year",
            "quantile_ranges": {
                "quantiles": [0.05, 0.5, 0.95],
                "value_ranges": [[1890, 2010], [1935, 2026], [1965, 2030]],
            },
            "allow_relative_error": False,
        },
        severity,
        "Years spread as film history does: a misread date column moves the middle or an end.",
    )


TITLE_RECORDS = contract_suite(
    CORE_TITLE_RECORDS,
    HAS_ROWS,
    ROWS_NOT_COLLAPSING,
    _TITLE_HAS_TEXT,
    _year_spread("WARN"),
    share("year_known", "has_year", 0.7, "Most records state a year; without it linking has little to go by."),
    share("mostly_films", "is_film_flag", 0.2, "A fair share of the records are films, not episodes or games."),
    share("few_issues", "has_issues", None, "Few records have a value that had to be dropped.", maximum=0.3),
    derived=(
        flag("has_year", '"year" IS NOT NULL', "year"),
        flag("is_film_flag", '"is_film"', "is_film"),
        flag("has_issues", 'len("issues") > 0', "issues"),
    ),
    parameters=(ROW_COUNT_MIN,),
)

MOVIES = contract_suite(
    CORE_MOVIES,
    HAS_ROWS,
    ROWS_NOT_COLLAPSING,
    _TITLE_HAS_TEXT,
    Expectation(
        "is_complete_holds",
        "expect_column_pair_values_to_be_equal",
        {"column_A": "is_complete", "column_B": "is_complete_by_fields"},
        "ERROR",
        "A film counts as complete exactly when director, cast, genre and plot are there.",
    ),
    Expectation(
        "sources_within_records",
        "expect_column_pair_values_a_to_be_greater_than_b",
        {"column_A": "record_count", "column_B": "source_count", "or_equal": True},
        "ERROR",
        "A film has at least one record from each of its sources.",
    ),
    Expectation(
        "records_per_film",
        "expect_column_median_to_be_between",
        {"column": "record_count", "min_value": 1, "max_value": 50},
        "WARN",
        "Half of the films have between 1 and 50 records: more means that linking glues films together.",
    ),
    Expectation(
        "largest_film",
        "expect_column_max_to_be_between",
        {"column": "record_count", "max_value": 200},
        "WARN",
        "No film gathers more than 200 records.",
    ),
    share(
        "complete_not_collapsing",
        "is_complete_flag",
        {"$PARAMETER": "complete_share_min"},
        "At least four fifths of the share of complete films in the version before.",
    ),
    share(
        "director_not_collapsing",
        "has_director",
        {"$PARAMETER": "director_share_min"},
        "At least four fifths of the share of films with a director in the version before.",
    ),
    share("year_known", "has_year", 0.7, "Most films have a year."),
    _year_spread("WARN"),
    derived=(
        Derived(
            "is_complete_by_fields",
            'coalesce(len("directors") > 0 AND len("cast_members") > 0 AND len("genres") > 0 '
            'AND "plot" IS NOT NULL, FALSE)',
            ("directors", "cast_members", "genres", "plot"),
        ),
        flag("is_complete_flag", '"is_complete"', "is_complete"),
        flag("has_director", 'coalesce(len("directors") > 0, FALSE)', "directors"),
        flag("has_year", '"year" IS NOT NULL', "year"),
    ),
    parameters=(
        ROW_COUNT_MIN,
        Parameter(
            "complete_share_min",
            0.02,
            "Smallest share of complete films that is no reason to ask.",
            'avg(CAST("is_complete" AS INTEGER))',
        ),
        Parameter(
            "director_share_min",
            0.05,
            "Smallest share of films with a director that is no reason to ask.",
            'avg(CAST(len("directors") > 0 AS INTEGER))',
        ),
    ),
)

MOVIE_LINKS = contract_suite(
    CORE_MOVIE_LINKS,
    HAS_ROWS,
    ROWS_NOT_COLLAPSING,
    Expectation(
        "record_linked_once",
        "expect_column_values_to_be_unique",
        {"column": "record_id"},
        "ERROR",
        "A record is one film.",
    ),
    Expectation(
        "score_over_threshold",
        "expect_column_values_to_be_between",
        {"column": "score_prob", "min_value": {"$PARAMETER": "link_threshold_prob"}, "max_value": 1},
        "ERROR",
        "No record joined a film on evidence below the threshold of linking.",
    ),
    Expectation(
        "evidence_is_json",
        "expect_column_values_to_be_in_set",
        {"column": "evidence_is_valid_json", "value_set": [1]},
        "ERROR",
        "The evidence, where there is any, can be read as JSON.",
    ),
    share(
        "some_linked",
        "is_joined",
        0.01,
        "Some records found a partner: none at all means linking did not work.",
    ),
    derived=(
        flag("evidence_is_valid_json", 'json_valid("evidence")', "evidence"),
        flag("is_joined", "\"method\" <> 'single'", "method"),
    ),
    parameters=(
        ROW_COUNT_MIN,
        Parameter("link_threshold_prob", 0.5, "Lowest probability at which linking joins two records."),
    ),
)

MOVIE_CONFLICTS = contract_suite(
    CORE_MOVIE_CONFLICTS,
    Expectation(
        "field_is_a_column",
        "expect_column_values_to_be_in_set",
        {"column": "field", "value_set": [column.name for column in CORE_MOVIES.columns]},
        "ERROR",
        "The field in dispute is a column of core_movies.",
    ),
    Expectation(
        "values_are_json",
        "expect_column_values_to_be_in_set",
        {"column": "values_are_valid_json", "value_set": [1]},
        "ERROR",
        "The values by source can be read as JSON.",
    ),
    Expectation(
        "has_conflicts",
        "expect_table_row_count_to_be_between",
        {"min_value": 1},
        "WARN",
        "Sources of any size disagree somewhere; no conflict at all means that none was looked for.",
    ),
    derived=(flag("values_are_valid_json", 'json_valid("values_by_source")', "values_by_source"),),
)

_SHARES = "'precision', 'recall', 'f1', 'blocking_recall'"
_IS_SHARE = f"replace(\"metric\", 'baseline_', '') IN ({_SHARES})"


def _overall(metric: str, minimum: float, meaning: str) -> Expectation:
    return Expectation(
        f"overall_{metric}",
        "expect_column_values_to_be_between",
        {"column": f"overall_{metric}_value", "min_value": minimum, "max_value": 1},
        "WARN",
        meaning,
    )


ENTITY_RESOLUTION = contract_suite(
    EVAL_ENTITY_RESOLUTION,
    HAS_ROWS,
    Expectation(
        "shares_in_range",
        "expect_column_values_to_be_between",
        {"column": "share_value", "min_value": 0, "max_value": 1},
        "ERROR",
        "Precision, recall and f1 lie between 0 and 1.",
    ),
    Expectation(
        "interval_is_ordered",
        "expect_column_pair_values_a_to_be_greater_than_b",
        {
            "column_A": "ci_high",
            "column_B": "ci_low",
            "or_equal": True,
            "ignore_row_if": "either_value_is_missing",
        },
        "ERROR",
        "The interval's upper end is not below its lower end.",
    ),
    _overall("precision", 0.9, "At least nine of ten linked pairs are one film."),
    _overall("recall", 0.8, "At least eight of ten pairs of one film are found."),
    derived=(
        Derived("share_value", f'CASE WHEN {_IS_SHARE} THEN "value" END', ("metric", "value")),
        *(
            Derived(
                f"overall_{metric}_value",
                f'CASE WHEN "slice" = \'all\' AND "metric" = \'{metric}\' THEN "value" END',
                ("slice", "metric", "value"),
            )
            for metric in ("precision", "recall")
        ),
    ),
)

SUITES = (TITLE_RECORDS, MOVIES, MOVIE_LINKS, MOVIE_CONFLICTS, ENTITY_RESOLUTION)

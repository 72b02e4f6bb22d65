"""What is expected of each table, as data: suites of Great Expectations' expectations, with severity and
meaning.

The basics of a suite come out of the table's contract; what a contract cannot say stands here by hand. Does
not belong here: running them (`run.py`), and checks across tables (`cross_checks.toml`).

ERROR means that the table is wrong; WARN that it looks odd, or drifted, and somebody should look.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

from warehouse.contracts import Column, Table
from warehouse.tables.corpus import (
    CORE_MOVIE_CONFLICTS,
    CORE_MOVIE_LINKS,
    CORE_MOVIES,
    EVAL_ENTITY_RESOLUTION,
)
from warehouse.tables.titles import CORE_TITLE_RECORDS

Severity = Literal["ERROR", "WARN"]


@dataclass(frozen=True)
class Expectation:
    """One expectation. `kind` is Great Expectations' name for it; `name` is unique within the suite.

    A value `{"$PARAMETER": name}` in `kwargs` is filled in from the parameters of the run.
    """

    name: str
    kind: str
    kwargs: Mapping[str, Any]
    severity: Severity
    meaning: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it looks at; none when it is about the table as such."""
        single = [self.kwargs[key] for key in ("column", "column_A", "column_B") if key in self.kwargs]
        return (*single, *self.kwargs.get("column_list", ()))

    @property
    def is_about_header(self) -> bool:
        """Whether it asks which columns there are, not what is in them."""
        return self.kind.startswith("expect_table_column")

    @property
    def is_figure(self) -> bool:
        """Whether it judges a figure of a whole column, which an empty column does not have."""
        rows = ("expect_table_", "expect_column_values_", "expect_column_pair_", "expect_compound_")
        return not self.kind.startswith(rows)


@dataclass(frozen=True)
class Derived:
    """A column that the audit computes in DuckDB (`sql`) from the table's columns `needs`, for expectations
    to use.
    """

    name: str
    sql: str
    needs: tuple[str, ...]


@dataclass(frozen=True)
class Parameter:
    """A limit that a run may set. `drift_sql` is the figure of the version before; the limit is `share` of
    it.
    """

    name: str
    default: float
    meaning: str
    drift_sql: str | None = None
    share: float = 0.8


@dataclass(frozen=True)
class Suite:
    """The expectations of one table."""

    table: Table
    expectations: tuple[Expectation, ...]
    derived: tuple[Derived, ...] = ()
    parameters: tuple[Parameter, ...] = field(default=())


def _of_column(column: Column) -> list[Expectation]:
    """What the contract says of one column."""
    name, found = column.name, []
    if not column.nullable:
        found.append(
            Expectation(
                f"{name}_not_null",
                "expect_column_values_to_not_be_null",
                {"column": name},
                "ERROR",
                f"Every row states it: {column.meaning}",
            )
        )
    if column.allowed is not None:
        found.append(
            Expectation(
                f"{name}_allowed",
                "expect_column_values_to_be_in_set",
                {"column": name, "value_set": list(column.allowed)},
                "ERROR",
                f"One of {', '.join(column.allowed)}.",
            )
        )
    if column.minimum is not None or column.maximum is not None:
        limits = [
            f"{word} {limit:g}"
            for word, limit in (("at least", column.minimum), ("at most", column.maximum))
            if limit is not None
        ]
        found.append(
            Expectation(
                f"{name}_range",
                "expect_column_values_to_be_between",
                {"column": name, "min_value": column.minimum, "max_value": column.maximum},
                "ERROR",
                f"{' and '.join(limits).capitalize()}{f' ({column.unit})' if column.unit else ''}.",
            )
        )
    if column.pattern is not None:
        found.append(
            Expectation(
                f"{name}_pattern",
                "expect_column_values_to_match_regex",
                # `$` would let a line break at the end pass.
                {"column": name, "regex": rf"\A(?:{column.pattern})\Z"},
                "ERROR",
                f"Has the form {column.pattern}.",
            )
        )
    return found


def _of_key(table: Table) -> list[Expectation]:
    if not table.key:
        return []
    words = f"({', '.join(table.key)}) names one row."
    kwargs: dict[str, Any]
    if len(table.key) == 1:
        kind, kwargs = "expect_column_values_to_be_unique", {"column": table.key[0]}
    else:
        kind, kwargs = "expect_compound_columns_to_be_unique", {"column_list": list(table.key)}
    return [Expectation("key_unique", kind, kwargs, "ERROR", words)]


def contract_suite(
    table: Table,
    *by_hand: Expectation,
    derived: tuple[Derived, ...] = (),
    parameters: tuple[Parameter, ...] = (),
) -> Suite:
    """The suite of any table: what its contract says, then the expectations written by hand."""
    header = Expectation(
        "columns_present",
        "expect_table_columns_to_match_set",
        {"column_set": [column.name for column in table.columns], "exact_match": False},
        "ERROR",
        "The table has the columns of its contract.",
    )
    basics = [each for column in table.columns for each in _of_column(column)]
    return Suite(table, (header, *_of_key(table), *basics, *by_hand), derived, parameters)


HAS_ROWS = Expectation(
    "has_rows", "expect_table_row_count_to_be_between", {"min_value": 1}, "ERROR", "The table is not empty."
)
ROWS_NOT_COLLAPSING = Expectation(
    "rows_not_collapsing",
    "expect_table_row_count_to_be_between",
    {"min_value": {"$PARAMETER": "row_count_min"}},
    "WARN",
    "At least four fifths of the rows of the version before: a source that went missing shows here.",
)
ROW_COUNT_MIN = Parameter("row_count_min", 1, "Fewest rows that are no reason to ask.", "count(*)")

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


def _flag(name: str, sql: str, *needs: str) -> Derived:
    """A column of 0 and 1, whose mean is a share."""
    return Derived(name, f"CAST(({sql}) AS INTEGER)", needs)


def _share(name: str, flag: str, minimum: Any, meaning: str, maximum: Any = None) -> Expectation:
    return Expectation(
        name,
        "expect_column_mean_to_be_between",
        {"column": flag, "min_value": minimum, "max_value": maximum},
        "WARN",
        meaning,
    )


TITLE_RECORDS = contract_suite(
    CORE_TITLE_RECORDS,
    HAS_ROWS,
    ROWS_NOT_COLLAPSING,
    _TITLE_HAS_TEXT,
    _year_spread("WARN"),
    _share("year_known", "has_year", 0.7, "Most records state a year; without it linking has little to go by."),
    _share("mostly_films", "is_film_flag", 0.2, "A fair share of the records are films, not episodes or games."),
    _share("few_issues", "has_issues", None, "Few records have a value that had to be dropped.", maximum=0.3),
    derived=(
        _flag("has_year", '"year" IS NOT NULL', "year"),
        _flag("is_film_flag", '"is_film"', "is_film"),
        _flag("has_issues", 'len("issues") > 0', "issues"),
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
    _share(
        "complete_not_collapsing",
        "is_complete_flag",
        {"$PARAMETER": "complete_share_min"},
        "At least four fifths of the share of complete films in the version before.",
    ),
    _share(
        "director_not_collapsing",
        "has_director",
        {"$PARAMETER": "director_share_min"},
        "At least four fifths of the share of films with a director in the version before.",
    ),
    _share("year_known", "has_year", 0.7, "Most films have a year."),
    _year_spread("WARN"),
    derived=(
        Derived(
            "is_complete_by_fields",
            'coalesce(len("directors") > 0 AND len("cast_members") > 0 AND len("genres") > 0 '
            'AND "plot" IS NOT NULL, FALSE)',
            ("directors", "cast_members", "genres", "plot"),
        ),
        _flag("is_complete_flag", '"is_complete"', "is_complete"),
        _flag("has_director", 'coalesce(len("directors") > 0, FALSE)', "directors"),
        _flag("has_year", '"year" IS NOT NULL', "year"),
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
    _share(
        "some_linked",
        "is_joined",
        0.01,
        "Some records found a partner: none at all means linking did not work.",
    ),
    derived=(
        _flag("evidence_is_valid_json", 'json_valid("evidence")', "evidence"),
        _flag("is_joined", "\"method\" <> 'single'", "method"),
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
    derived=(_flag("values_are_valid_json", 'json_valid("values_by_source")', "values_by_source"),),
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

SUITES: dict[str, Suite] = {
    suite.table.name: suite for suite in (TITLE_RECORDS, MOVIES, MOVIE_LINKS, MOVIE_CONFLICTS, ENTITY_RESOLUTION)
}


def select_sql(suite: Suite, present: Mapping[str, pl.DataType] | pl.Schema) -> str:
    """The SELECT that loads what the suite needs of a table with the columns `present`, and nothing else.

    Lists come as lengths; a column that is only asked for nulls comes as 1 or null. Columns that are absent
    are left out, and so is what is derived from them: the expectations about them then cannot run.
    """
    needed = dict.fromkeys(column for each in suite.expectations for column in each.columns)
    # Failing rows are named by their key.
    needed |= dict.fromkeys(suite.table.key)
    only_nulls = set(needed) - set(suite.table.key)
    for each in suite.expectations:
        if each.kind != "expect_column_values_to_not_be_null":
            only_nulls -= set(each.columns)
    parts = []
    for derived in suite.derived:
        if derived.name in needed and all(name in present for name in derived.needs):
            parts.append(f'{derived.sql} AS "{derived.name}"')
    for name in needed:
        if name not in present:
            continue
        if name in only_nulls:
            parts.append(f'CASE WHEN "{name}" IS NOT NULL THEN 1 END AS "{name}"')
        elif isinstance(present[name], pl.List):
            parts.append(f'len("{name}") AS "{name}"')
        else:
            parts.append(f'"{name}"')
    return f'SELECT {", ".join(parts) or "1 AS one"} FROM "{suite.table.name}"'

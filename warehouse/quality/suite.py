"""The vocabulary of suites: Great Expectations' expectations as data, with severity and meaning.

The basics of a suite come out of the table's contract (`contract_suite`). Does not belong here: what is expected of single
tables (`suites/`), running them (`run.py`), and checks across tables (`cross_checks/`).

ERROR means that the table is wrong; WARN that it looks odd, or drifted, and somebody should look.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

from warehouse.contracts import Column, Table

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


def flag(name: str, sql: str, *needs: str) -> Derived:
    """A column of 0 and 1, whose mean is a share."""
    return Derived(name, f"CAST(({sql}) AS INTEGER)", needs)


def all_true(name: str, flag: str, meaning: str) -> Expectation:
    """Every row has 1 in the derived column `flag`."""
    return Expectation(name, "expect_column_values_to_be_in_set", {"column": flag, "value_set": [1]}, "ERROR", meaning)


def share(name: str, flag: str, minimum: Any, meaning: str, maximum: Any = None) -> Expectation:
    return Expectation(
        name,
        "expect_column_mean_to_be_between",
        {"column": flag, "min_value": minimum, "max_value": maximum},
        "WARN",
        meaning,
    )


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

"""Runs the suites of `suites/` and the queries of `cross_checks/`, and says what came out.

Belongs here: loading what a suite needs, Great Expectations, and the reading of its results. Does not belong
here: what is expected, and how outcomes are shown (`report.py`).

A check that could not run is `errored`, never `failed`: it says nothing about the data.
"""

from __future__ import annotations

import math
import re
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import resources
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal

import duckdb
import polars as pl

from warehouse.contracts import ForeignKey, Table
from warehouse.quality.suite import Expectation, Severity, Suite, select_sql
from warehouse.quality.suites.every import SUITES

if TYPE_CHECKING:
    import pandas as pd

Status = Literal["passed", "failed", "errored"]
# Runs one SELECT over tables known by their names; `functools.partial(warehouse.sql.query, root)` is one.
Query = Callable[[str], pl.DataFrame]

EXAMPLES = 5
_LONGEST_VALUE = 160
_FAILING = "rows that fail"


@dataclass(frozen=True)
class Outcome:
    """What came of one check.

    `failing` counts the rows that break it (None for a check of the table as a whole), of `rows` looked at.
    `observed` is what was found and `rule` what was checked, in words; `examples` name failing rows. `error`
    says why an errored check could not run.
    """

    table: str
    check: str
    severity: Severity
    status: Status
    meaning: str
    rule: str
    observed: str = ""
    rows: int | None = None
    failing: int | None = None
    examples: tuple[str, ...] = ()
    error: str | None = None
    seconds: float = 0.0

    @property
    def is_blocking(self) -> bool:
        """Whether the table should not be published."""
        return self.severity == "ERROR" and self.status == "failed"


@dataclass(frozen=True)
class CrossCheck:
    """A query over the tables `needs` that returns the offending rows; it is reported under `table`."""

    name: str
    table: str
    needs: tuple[str, ...]
    severity: Severity
    meaning: str
    sql: str


@contextmanager
def over(frames: Mapping[str, pl.DataFrame]) -> Iterator[Query]:
    """A query function over frames, each a table of that name: for what is written but not yet published."""
    with duckdb.connect(config={"enable_external_access": False}) as connection:
        for name, frame in frames.items():
            connection.register(name, frame)
        yield lambda sql: connection.sql(sql).pl()


def baseline(suite: Suite, query: Query) -> dict[str, float]:
    """Limits of drift taken from the version of the table that `query` reads: for `audit` of the next
    version.

    Empty where there is nothing to compare with, so that the suite's own limits hold.
    """
    drifting = [each for each in suite.parameters if each.drift_sql]
    if not drifting:
        return {}
    figures = ", ".join(f'{each.drift_sql} AS "{each.name}"' for each in drifting)
    found = query(f'SELECT {figures} FROM "{suite.table.name}"').row(0, named=True)
    return {each.name: found[each.name] * each.share for each in drifting if found[each.name]}


def audit(
    suite: str | Suite, rows: pl.DataFrame | Query, parameters: Mapping[str, float] | None = None
) -> list[Outcome]:
    """Check one table against its suite and return an outcome for every expectation, in the suite's order.

    `suite` is one, or the name of a table in SUITES. `rows` is the table itself or a function that queries
    it; only the columns that the suite needs are loaded. `parameters` overrides limits (see `baseline`).

    Raises KeyError for a table without a suite and for a parameter that the suite does not have; whatever
    goes wrong afterwards makes outcomes `errored`.
    """
    suite = SUITES[suite] if isinstance(suite, str) else suite
    limits = {each.name: each.default for each in suite.parameters}
    unknown = set(parameters or ()) - set(limits)
    if unknown:
        raise KeyError(f"{suite.table.name} has no parameter {', '.join(sorted(unknown))}")
    limits |= parameters or {}
    if isinstance(rows, pl.DataFrame):
        with over({suite.table.name: rows}) as query:
            return _audit(suite, query, limits)
    return _audit(suite, rows, limits)


def _audit(suite: Suite, query: Query, limits: Mapping[str, float]) -> list[Outcome]:
    started_s = time.perf_counter()
    try:
        schema = query(f'SELECT * FROM "{suite.table.name}" LIMIT 0').schema
        results = _validate(suite, schema, query(select_sql(suite, schema)), limits)
    except Exception as error:  # whatever went wrong here is no finding about the data
        results = [_errored(suite, each, limits, _words(error)) for each in suite.expectations]
    seconds = time.perf_counter() - started_s
    return [replace(each, seconds=seconds / len(results)) for each in results]


def _validate(suite: Suite, schema: pl.Schema, loaded: pl.DataFrame, limits: Mapping[str, float]) -> list[Outcome]:
    """Run the suite over `loaded`, what `select_sql` brought from a table with columns `schema`."""
    header = [each for each in suite.expectations if each.is_about_header]
    content = [each for each in suite.expectations if not each.is_about_header]
    if loaded.is_empty():
        content = [each for each in content if not each.is_figure]
    outcomes = _run(suite, header, pl.DataFrame(schema=schema), limits)
    outcomes |= _run(suite, content, loaded, limits)
    return [
        outcomes.get(each.name) or _errored(suite, each, limits, "the table has no rows") for each in suite.expectations
    ]


def _run(
    suite: Suite, expectations: Sequence[Expectation], rows: pl.DataFrame, limits: Mapping[str, float]
) -> dict[str, Outcome]:
    """Outcomes of `expectations` by name."""
    import great_expectations as gx
    from great_expectations.data_context.data_context.context_factory import project_manager
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )
    from great_expectations.expectations.metadata_types import FailureSeverity
    from great_expectations.expectations.registry import get_expectation_impl

    outcomes: dict[str, Outcome] = {}
    built = []
    for each in expectations:
        try:
            severity = FailureSeverity.CRITICAL if each.severity == "ERROR" else FailureSeverity.WARNING
            implementation = get_expectation_impl(each.kind)
            built.append(implementation(**each.kwargs, severity=severity, meta={"check": each.name}))
        except Exception as error:  # one expectation that cannot be built must not silence the others
            outcomes[each.name] = _errored(suite, each, limits, _words(error))

    frame = rows.to_pandas()
    # Without a configuration it would plan a site for documentation in the folder of temporary files.
    memory = DataContextConfig(store_backend_defaults=InMemoryStoreBackendDefaults())
    context = gx.get_context(mode="ephemeral", project_config=memory)
    try:
        context.variables.progress_bars = ProgressBarsConfig(globally=False)
        asset = context.data_sources.add_pandas("frames").add_dataframe_asset(suite.table.name)
        batch = asset.add_batch_definition_whole_dataframe("whole").get_batch({"dataframe": frame})
        report = batch.validate(
            gx.ExpectationSuite(name=suite.table.name, expectations=built),
            result_format={"result_format": "SUMMARY", "partial_unexpected_count": EXAMPLES},
            expectation_parameters=dict(limits),
        )
        by_name = {each.name: each for each in expectations}
        for result in report.results:
            configuration = result.expectation_config
            assert configuration is not None and configuration.meta is not None
            expectation = by_name[configuration.meta["check"]]
            outcomes[expectation.name] = _outcome(suite, expectation, result, frame, limits)
    finally:
        # Great Expectations keeps the last context, and with it every frame, for the life of the process.
        project_manager.set_project(None)
    return outcomes


def _outcome(
    suite: Suite, expectation: Expectation, result: Any, frame: pd.DataFrame, limits: Mapping[str, float]
) -> Outcome:
    trouble = _exception(result.exception_info)
    if trouble is not None:
        return _errored(suite, expectation, limits, trouble)
    found = result.result
    failing = found.get("unexpected_count")
    positions = [] if result.success else found.get("partial_unexpected_index_list") or []
    return Outcome(
        table=suite.table.name,
        check=expectation.name,
        severity=expectation.severity,
        status="passed" if result.success else "failed",
        meaning=expectation.meaning,
        rule=_rule(expectation, limits),
        observed=_observed(found, len(frame)),
        rows=None if expectation.is_about_header else len(frame),
        failing=failing,
        examples=_examples(suite.table, expectation, frame, positions[:EXAMPLES]),
    )


def _errored(suite: Suite, expectation: Expectation, limits: Mapping[str, float], error: str) -> Outcome:
    return Outcome(
        table=suite.table.name,
        check=expectation.name,
        severity=expectation.severity,
        status="errored",
        meaning=expectation.meaning,
        rule=_rule(expectation, limits),
        error=error,
    )


def _exception(info: Mapping[str, Any]) -> str | None:
    """Message of an exception; Great Expectations states it either directly or under one key per metric."""
    for each in (info, *info.values()):
        if isinstance(each, Mapping) and each.get("raised_exception"):
            return _one_line(str(each.get("exception_message") or "Great Expectations gave no reason"))
    return None


def _rule(expectation: Expectation, limits: Mapping[str, float]) -> str:
    given = {
        name: limits[value["$PARAMETER"]] if isinstance(value, Mapping) and "$PARAMETER" in value else value
        for name, value in expectation.kwargs.items()
        if value is not None
    }
    return f"{expectation.kind}({', '.join(f'{name}={value!r}' for name, value in given.items())})"


def _observed(found: Mapping[str, Any], rows: int) -> str:
    if "unexpected_count" in found:
        failing = found["unexpected_count"]
        return f"{failing:,} of {rows:,} rows ({_percent(failing, rows)})" if failing else "no row fails"
    value = found.get("observed_value")
    missing = found.get("details", {}).get("mismatched", {}).get("missing")
    if missing:
        return f"missing: {', '.join(missing)}"
    if isinstance(value, Mapping) and "quantiles" in value:
        pairs = zip(value["quantiles"], value["values"], strict=True)
        return ", ".join(f"{quantile:.0%}: {_shown(each)}" for quantile, each in pairs)
    if isinstance(value, list):
        return f"{len(value)} columns"
    return _shown(value)


def _percent(failing: int, rows: int) -> str:
    percent = 100 * failing / rows
    return f"{percent:.2f} %" if percent >= 0.01 else "<0.01 %"


def _shown(value: Any) -> str:
    """A value in a form to be read: numbers short, nulls named, text on one line."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "null"
    if isinstance(value, Integral) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, Real) and not isinstance(value, bool):
        number = float(value)
        return str(int(number)) if number.is_integer() else f"{number:.4g}"
    text = str(value)
    # Blanks at the ends and characters that do not print would otherwise pass unseen.
    return _one_line(text if text.isprintable() and text == text.strip() and text else repr(text))


def _one_line(text: str) -> str:
    text = re.sub(r"\s+", " ", text).strip()
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


def _words(error: Exception) -> str:
    return _one_line(f"{type(error).__name__}: {error}")


def _examples(table: Table, expectation: Expectation, frame: pd.DataFrame, positions: Sequence[int]) -> tuple[str, ...]:
    """Failing rows in words: their key and the columns in question."""
    columns = [c for c in dict.fromkeys((*table.key, *expectation.columns)) if c in frame.columns]
    rows = frame.iloc[list(positions)][columns].to_dict("records")
    return tuple(_row_in_words(row) for row in rows)


def _row_in_words(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {_shown(value)}" for name, value in row.items())


def cross_checks(contracts: Iterable[Table]) -> list[CrossCheck]:
    """The queries of `cross_checks/`, and one for every foreign key that the contracts declare."""
    files = resources.files("warehouse.quality").joinpath("cross_checks").iterdir()
    texts = [file.read_text(encoding="utf-8") for file in sorted(files, key=lambda file: file.name)]
    written = [
        CrossCheck(**{**each, "needs": tuple(each["needs"])})
        for text in texts
        for each in tomllib.loads(text).get("check", [])
    ]
    return [*written, *(_reference(table, key) for table in contracts for key in table.foreign_keys)]


def _reference(table: Table, key: ForeignKey) -> CrossCheck:
    columns = ", ".join(f'c."{name}"' for name in key.columns)
    same = " AND ".join(
        f'c."{name}" = p."{other}"' for name, other in zip(key.columns, key.references_columns, strict=True)
    )
    stated = " AND ".join(f'c."{name}" IS NOT NULL' for name in key.columns)
    return CrossCheck(
        name=f"{'_'.join(key.columns)}_in_{key.references}",
        table=table.name,
        needs=(table.name, key.references),
        severity="ERROR",
        meaning=f"Every ({', '.join(key.columns)}) stands in {key.references}.",
        sql=f'SELECT {columns}, count(*) AS "rows" FROM "{table.name}" c '
        f'ANTI JOIN "{key.references}" p ON {same} WHERE {stated} GROUP BY ALL',
    )


def audit_across(checks: Iterable[CrossCheck], query: Query, tables: Iterable[str]) -> list[Outcome]:
    """Run `checks` over `tables`, which `query` knows. A check that needs another table is errored."""
    known = set(tables)
    return [_across(check, query, known) for check in checks]


def _across(check: CrossCheck, query: Query, known: set[str]) -> Outcome:
    base: dict[str, Any] = {
        "table": check.table,
        "check": check.name,
        "severity": check.severity,
        "meaning": check.meaning,
        "rule": check.sql.strip(),
    }
    absent = [name for name in check.needs if name not in known]
    if absent:
        return Outcome(**base, status="errored", error=f"needs {', '.join(absent)}, not there yet")
    started_s = time.perf_counter()
    try:
        found = query(f'SELECT *, count(*) OVER () AS "{_FAILING}" FROM ({check.sql}) ORDER BY ALL LIMIT {EXAMPLES}')
    except Exception as error:  # whatever went wrong here is no finding about the data
        return Outcome(**base, status="errored", error=_words(error), seconds=time.perf_counter() - started_s)
    failing = found[_FAILING][0] if found.height else 0
    return Outcome(
        **base,
        status="failed" if failing else "passed",
        observed=f"{failing:,} found" if failing else "none found",
        failing=failing,
        examples=tuple(_row_in_words(row) for row in found.drop(_FAILING).iter_rows(named=True)),
        seconds=time.perf_counter() - started_s,
    )

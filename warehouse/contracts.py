"""Table contracts: the one place where a column's name, type, unit and meaning are stated.

Belongs here: the vocabulary (`Column`, `Table`) and the check of a frame against a contract.
Does not belong here: the contracts themselves (`warehouse/tables/`) and storage (`warehouse/store.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

Kind = Literal["table", "view"]

_SCALARS = (
    pl.Boolean,
    pl.Int8,
    pl.Int16,
    pl.Int32,
    pl.Int64,
    pl.Float32,
    pl.Float64,
    pl.String,
    pl.Binary,
    pl.Date,
    pl.Datetime("us"),
    pl.Datetime("us", "UTC"),
)


class ContractViolation(ValueError):
    """A frame does not satisfy its table's contract; the message names table, column and first offender."""


@dataclass(frozen=True)
class Column:
    """One column of a table.

    `dtype` must have a Delta Lake counterpart: no unsigned integers, categoricals or fixed-size arrays.
    `minimum` and `maximum` are inclusive; `allowed` lists the permitted values of a string column;
    `pattern` is a regular expression which the whole string must match.
    """

    name: str
    dtype: pl.DataType | type[pl.DataType]
    meaning: str
    unit: str | None = None
    nullable: bool = True
    allowed: tuple[str, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None
    pattern: str | None = None

    def __post_init__(self) -> None:
        if not _has_delta_type(self.dtype):
            raise ValueError(f"column {self.name}: Delta Lake has no counterpart of {self.dtype}")


@dataclass(frozen=True)
class ForeignKey:
    """`columns` of this table must stand in `references_columns` of the table `references`."""

    columns: tuple[str, ...]
    references: str
    references_columns: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """The contract of one table (or of one view, whose `sql` then defines it).

    `key` is unique and holds no null. Raises ValueError when the contract contradicts itself.
    """

    name: str
    meaning: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    group: str = "core"
    sql: str | None = None
    licence: str | None = None
    sort_by: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        names = [c.name for c in self.columns]
        repeated = {name for name in names if names.count(name) > 1}
        if repeated:
            raise ValueError(f"{self.name}: columns stated twice: {', '.join(sorted(repeated))}")
        own = (*self.key, *self.sort_by, *(name for key in self.foreign_keys for name in key.columns))
        unknown = [name for name in own if name not in names]
        if unknown:
            raise ValueError(f"{self.name}: key or sort column not among the columns: {', '.join(unknown)}")
        nullable = [name for name in self.key if self.column(name).nullable]
        if nullable:
            raise ValueError(f"{self.name}: key column may be null: {', '.join(nullable)}")

    @property
    def kind(self) -> Kind:
        return "view" if self.sql else "table"

    @property
    def schema(self) -> pl.Schema:
        return pl.Schema({c.name: c.dtype for c in self.columns})

    def column(self, name: str) -> Column:
        """Return the column called `name`; raises KeyError when the table has none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"{self.name} has no column {name!r}")

    def empty(self) -> pl.DataFrame:
        """Return a frame with this table's schema and no rows."""
        return pl.DataFrame(schema=self.schema)

    def frame(self, rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
        """Rows by column name as a frame of this table; none give an empty one. Raises as `conform` does."""
        return self.conform(pl.DataFrame(list(rows), schema=self.schema))

    def conform(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return `frame` with this table's columns, order and types.

        Missing nullable columns are filled with null. Raises ContractViolation when the frame has a column
        that the contract does not know, lacks a required one, or a value does not fit its type.
        """
        unknown = [c for c in frame.columns if c not in self.schema]
        if unknown:
            raise ContractViolation(f"{self.name}: columns not in the contract: {', '.join(unknown)}")
        missing = [c.name for c in self.columns if c.name not in frame.columns and not c.nullable]
        if missing:
            raise ContractViolation(f"{self.name}: required columns missing: {', '.join(missing)}")
        fractional = [c.name for c in self.columns if _would_lose_fractions(frame, c)]
        if fractional:
            raise ContractViolation(f"{self.name}: fractions in columns of whole numbers: {', '.join(fractional)}")
        absent = [pl.lit(None, dtype=c.dtype).alias(c.name) for c in self.columns if c.name not in frame.columns]
        try:
            # Absent columns first: a selection of nothing but literals would have one row whatever the frame
            # has.
            return frame.with_columns(absent).select(pl.col(c.name).cast(c.dtype) for c in self.columns)
        except pl.exceptions.PolarsError as error:
            raise ContractViolation(f"{self.name}: {error}") from error

    def violations(self, frame: pl.DataFrame) -> list[str]:
        """List, in words, every rule of the contract that `frame` (already conformed) breaks, with its first
        offender.

        Empty when the contract holds.
        """
        rules = [rule for column in self.columns for rule in _rules(column)]
        counts = frame.select(breaks.sum().alias(str(at)) for at, (_, _, breaks) in enumerate(rules))
        found: list[str] = []
        for (name, words, breaks), count in zip(rules, counts.row(0) if rules else (), strict=True):
            if count:
                first = frame.lazy().filter(breaks).select(name).head(1).collect().item()
                example = "" if first is None else f", first {str(first)[:80]!r}"
                found.append(f"{name} {words}: {count:,} rows do not{example}")
        if self.key and frame.height:
            repeated = frame.height - frame.select(self.key).n_unique()
            if repeated:
                first = frame.select(self.key).filter(pl.struct(self.key).is_duplicated()).row(0)
                found.append(
                    f"key ({', '.join(self.key)}) must be unique: {repeated:,} rows repeat one, first {first!r}"
                )
        return found

    def check(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Conform `frame` and return it; raises ContractViolation naming every broken rule."""
        conformed = self.conform(frame)
        found = self.violations(conformed)
        if found:
            raise ContractViolation(f"{self.name}: " + "; ".join(found))
        return conformed


def _has_delta_type(dtype: Any) -> bool:
    if isinstance(dtype, pl.List):
        return _has_delta_type(dtype.inner)
    if isinstance(dtype, pl.Struct):
        return all(_has_delta_type(part.dtype) for part in dtype.fields)
    if isinstance(dtype, pl.Decimal):
        return dtype.precision is not None
    # Classes of types that need parameters are equal to every one of their instances, so they are ruled out
    # first.
    return dtype not in (pl.List, pl.Struct, pl.Decimal) and dtype is not pl.Datetime and dtype in _SCALARS


def _would_lose_fractions(frame: pl.DataFrame, column: Column) -> bool:
    if column.name not in frame.columns or not column.dtype.is_integer():
        return False
    values = frame[column.name]
    return values.dtype.is_float() and bool((values != values.round()).any())


def _rules(column: Column) -> list[tuple[str, str, pl.Expr]]:
    """The column's rules: its name, what it must do in words, and an expression that is true where it does
    not.
    """
    value = pl.col(column.name)
    rules: list[tuple[str, str, pl.Expr]] = []
    if not column.nullable:
        rules.append((column.name, "may not be null", value.is_null()))
    if column.minimum is not None:
        rules.append((column.name, f"must be at least {column.minimum:g}", value < column.minimum))
    if column.maximum is not None:
        rules.append((column.name, f"must be at most {column.maximum:g}", value > column.maximum))
    if column.allowed is not None:
        rules.append((column.name, f"must be one of {', '.join(column.allowed)}", ~value.is_in(column.allowed)))
    if column.pattern is not None:
        rules.append((column.name, f"must match {column.pattern}", ~value.str.contains(f"^(?:{column.pattern})$")))
    return rules

"""Table contracts: the one place where a column's name, type, unit and meaning are stated.

Belongs here: the vocabulary (`Column`, `Table`) and the check of a frame against a contract.
Does not belong here: the contracts themselves (`warehouse/tables/`) and storage (`warehouse/store.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import polars as pl

Kind = Literal["table", "view"]


class ContractViolation(ValueError):
    """A frame does not satisfy its table's contract; the message names table, column and the first offenders."""


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


@dataclass(frozen=True)
class ForeignKey:
    """`columns` of this table must stand in `references_columns` of the table `references`."""

    columns: tuple[str, ...]
    references: str
    references_columns: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """The contract of one table (or of one view, whose `sql` then defines it)."""

    name: str
    meaning: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    group: str = "core"
    sql: str | None = None
    licence: str | None = None
    sort_by: tuple[str, ...] = field(default=())

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

    def conform(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return `frame` with this table's columns, order and types.

        Missing nullable columns are filled with null. Raises ContractViolation when the frame has a column that
        the contract does not know, lacks a required one, or a value does not fit its type.
        """
        unknown = [c for c in frame.columns if c not in self.schema]
        if unknown:
            raise ContractViolation(f"{self.name}: columns not in the contract: {', '.join(unknown)}")
        missing = [c.name for c in self.columns if c.name not in frame.columns and not c.nullable]
        if missing:
            raise ContractViolation(f"{self.name}: required columns missing: {', '.join(missing)}")
        try:
            return frame.select(
                pl.col(c.name).cast(c.dtype) if c.name in frame.columns else pl.lit(None, dtype=c.dtype).alias(c.name)
                for c in self.columns
            )
        except pl.exceptions.PolarsError as error:
            raise ContractViolation(f"{self.name}: {error}") from error

    def violations(self, frame: pl.DataFrame) -> list[str]:
        """List, in words, every rule of the contract that `frame` (already conformed) breaks. Empty when it holds."""
        found: list[str] = []
        counts = frame.select(
            *(pl.col(c.name).null_count().alias(f"null {c.name}") for c in self.columns if not c.nullable),
            *(
                ((pl.col(c.name) < c.minimum).sum()).alias(f"under {c.name}")
                for c in self.columns
                if c.minimum is not None
            ),
            *(
                ((pl.col(c.name) > c.maximum).sum()).alias(f"over {c.name}")
                for c in self.columns
                if c.maximum is not None
            ),
            *(
                (~pl.col(c.name).drop_nulls().is_in(list(c.allowed))).sum().alias(f"allowed {c.name}")
                for c in self.columns
                if c.allowed is not None
            ),
            *(
                (~pl.col(c.name).drop_nulls().str.contains(f"^(?:{c.pattern})$")).sum().alias(f"pattern {c.name}")
                for c in self.columns
                if c.pattern is not None
            ),
        )
        words = {
            "null": lambda c: "may not be null",
            "under": lambda c: f"must be at least {c.minimum:g}",
            "over": lambda c: f"must be at most {c.maximum:g}",
            "allowed": lambda c: f"must be one of {', '.join(c.allowed)}",
            "pattern": lambda c: f"must match {c.pattern}",
        }
        for label, count in counts.row(0, named=True).items() if counts.width else ():
            if count:
                rule, name = label.split(" ", 1)
                found.append(f"{name} {words[rule](self.column(name))}: {count:,} rows do not")
        if self.key and frame.height:
            repeated = frame.height - frame.select(self.key).n_unique()
            if repeated:
                found.append(f"key ({', '.join(self.key)}) must be unique: {repeated:,} rows repeat one")
        return found

    def check(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Conform `frame` and return it; raises ContractViolation naming every broken rule."""
        conformed = self.conform(frame)
        found = self.violations(conformed)
        if found:
            raise ContractViolation(f"{self.name}: " + "; ".join(found))
        return conformed

"""Further files of a source: rows attached to its titles by key, and tables of names.

Belongs here: joining frames. Does not belong here: opening files (read.py) and mapping columns to fields
(fields.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from pipelines.sources.blocks import TEMPLATE_COLUMN, Join, Lookup
from pipelines.sources.fields import select_where
from pipelines.sources.records import concat_frames


def narrow(join: Join, frame: pl.DataFrame, keys: pl.Series) -> pl.DataFrame:
    """The rows and columns of a joined file's `frame` that matter for the titles with these `keys`."""
    wanted = select_where(join.where, frame.schema) & pl.col(join.on).is_in(keys.implode())
    return frame.filter(wanted).select(join.columns)


def attach(titles: pl.DataFrame, join: Join, pieces: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """`titles` with the columns that `join` takes and collects. `pieces` are in order of precedence.

    A title without a match, or with a null key, gets nulls.
    """
    null_words = list(join.file_format.null_words)
    if not pieces:
        return titles.with_columns(
            *(pl.lit(None, dtype=pl.String).alias(name) for name in join.take),
            *(pl.lit(None, dtype=pl.List(pl.String)).alias(name) for name in join.collect),
        )
    rows = concat_frames(pieces).with_columns(
        pl.when(~pl.col(c).is_in(null_words)).then(pl.col(c)).alias(c) for c in join.columns if c != join.on
    )
    if join.take:
        taken = rows.unique(join.on, keep="first", maintain_order=True).select(
            join.on, *(pl.col(column).alias(f"\x1f{name}") for name, column in join.take.items())
        )
        titles = titles.join(taken, left_on=join.to, right_on=join.on, how="left", maintain_order="left")
        titles = titles.rename({f"\x1f{name}": name for name in join.take})
    for name, rule in join.collect.items():
        chosen = rows.filter(select_where(rule.where, rows.schema) & pl.col(rule.column).is_not_null())
        if rule.order_by:
            chosen = chosen.sort(
                pl.col(rule.order_by).cast(pl.Float64, strict=False), nulls_last=True, maintain_order=True
            )
        lists = chosen.group_by(join.on, maintain_order=True).agg(
            pl.col(rule.column).unique(maintain_order=True).alias(name)
        )
        titles = titles.join(lists, left_on=join.to, right_on=join.on, how="left", maintain_order="left")
    return titles


def name_table(lookup: Lookup, frame: pl.DataFrame, keys: pl.Series) -> pl.DataFrame:
    """Columns `key`, `value` of the rows of a lookup's file whose key is among `keys`."""
    null_words = list(lookup.file_format.null_words)
    texts = []
    for template in lookup.value:
        parts: list[pl.Expr] = []
        at = 0
        for match in TEMPLATE_COLUMN.finditer(template):
            column = pl.col(match.group(1))
            parts += [pl.lit(template[at : match.start()]), pl.when(~column.is_in(null_words)).then(column)]
            at = match.end()
        # One null part makes the whole text null, so that the next template is tried.
        texts.append(pl.concat_str([*parts, pl.lit(template[at:])]))
    return (
        frame.filter(pl.col(lookup.key).is_in(keys.implode()))
        .select(pl.col(lookup.key).alias("key"), pl.coalesce(texts).alias("value"))
        .drop_nulls()
        .unique("key", keep="first", maintain_order=True)
    )

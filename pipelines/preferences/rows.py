"""The shape that every construction hands over, and the ids and hashes of its rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import duckdb
import polars as pl

from warehouse.tables.preferences import PREF_PAIRS

# What `assemble` adds when all pairs are there.
ADDED_LATER = ("split", "conversation_id", "duplicate_of")
ROWS = pl.Schema({name: dtype for name, dtype in PREF_PAIRS.schema.items() if name not in ADDED_LATER})

_PART, _MESSAGE = "\x1e", "\x1d"


@dataclass(frozen=True)
class Made:
    """Pairs of one construction (`ROWS`) and what was left out: number of cases by reason."""

    rows: pl.DataFrame
    dropped: Mapping[str, int] = field(default_factory=dict)


def together(parts: Sequence[Made]) -> Made:
    """Several parts as one."""
    dropped: Counter[str] = Counter()
    for part in parts:
        dropped.update(part.dropped)
    return Made(pl.concat([part.rows for part in parts]) if parts else pl.DataFrame(schema=ROWS), dict(dropped))


def stable_hashes(texts: pl.Series) -> pl.Series:
    """64 bits of each text's MD5 [n, UInt64]: the same in every version, process and order."""
    with duckdb.connect() as connection:
        connection.register("texts", texts.alias("text").to_frame().rechunk())
        hashes = connection.sql("SELECT md5_number_lower(text) AS hash FROM texts").pl()["hash"]
    return hashes.cast(pl.UInt64)


def with_hash(frame: pl.DataFrame, name: str, *parts: str) -> pl.DataFrame:
    """`frame` with a column `name`: the stable hash [UInt64] of the columns `parts`."""
    joined = frame.select(
        pl.concat_str([pl.col(part).cast(pl.String) for part in parts], separator=_PART, ignore_nulls=False)
    )
    return frame.with_columns(stable_hashes(joined.to_series().fill_null("")).alias(name))


def finished(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` as ROWS: with pair_id and input_hash, one row a pair_id, columns that are not there null.

    Answers that are equal but for case and blanks prefer nothing: their rows must have been left out.
    """
    said = pl.col("context").list.eval(
        pl.concat_str(pl.element().struct.field("role"), pl.element().struct.field("content"), separator=_MESSAGE)
    )
    keyed = frame.with_columns(
        said.list.join(_PART).alias("said"),
        pl.col("chosen_movie_ids").list.join(" ").alias("better"),
        pl.col("rejected_movie_ids").list.join(" ").alias("worse"),
    )
    keyed = with_hash(keyed, "id", "construction", "dialogue_id", "turn", "said", "chosen", "rejected")
    keyed = with_hash(keyed, "looked_at", "version", "said", "chosen", "better", "worse")
    ready = keyed.with_columns(
        pair_id=_hexadecimal(keyed["id"]), input_hash=(pl.col("looked_at") // 2).cast(pl.Int64)
    ).unique("pair_id", keep="first", maintain_order=True)
    absent = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in ROWS.items() if name not in ready.columns]
    return ready.with_columns(absent).select(pl.col(name).cast(dtype) for name, dtype in ROWS.items())


def _hexadecimal(hashes: pl.Series) -> pl.Series:
    """Sixteen hexadecimal digits each."""
    with duckdb.connect() as connection:
        connection.register("hashes", hashes.alias("hash").to_frame().rechunk())
        return connection.sql("SELECT lpad(lower(hex(hash)), 16, '0') AS id FROM hashes").pl()["id"]


def alike(left: str, right: str) -> pl.Expr:
    """Whether two text columns are equal but for case and blanks."""
    return pl.col(left).str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars() == (
        pl.col(right).str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars()
    )

"""Parquet to records.

Belongs here: damaged files, and columns of any type as text.
Does not belong here: the meaning of columns.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

import polars as pl

from pipelines.sources.files import ByteStream, read_bytes
from pipelines.sources.records import LINE, RAW, RAW_CHARACTERS, RESERVED, Records, reject_rows


def read_parquet(stream: ByteStream) -> Iterator[Records]:
    """Records of a Parquet file in one piece, or one reject when it is damaged.

    Columns are String or List(String).
    """
    data, failure = read_bytes(stream.file, stream.limits)
    nothing = pl.DataFrame(schema={LINE: pl.Int64, RAW: pl.String})
    if not data and not failure:
        yield Records(nothing, reject_rows([]), 0)
        return
    try:
        if failure:
            raise ValueError(failure)
        lazy = pl.scan_parquet(io.BytesIO(data))
        rows = lazy.select(pl.len()).collect().item()
        if rows > stream.limits.parquet_rows:
            raise ValueError(f"{rows:,} rows, at most {stream.limits.parquet_rows:,} are read")
        frame = lazy.collect()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError, OSError) as error:
        reason = f"not readable as Parquet: {' '.join(str(error).split())[:300]}"
        yield Records(nothing, reject_rows([(1, reason, "")]), 1)
        return
    # Reserved names are kept apart by a control character, which no column of a file may have then.
    shown = {name: name.replace("\x1f", "?") for name in frame.columns if "\x1f" in name}
    if not set(shown.values()) & set(frame.columns):
        frame = frame.rename(shown)
    if not frame.width:
        yield Records(nothing, reject_rows([]), 0)
        return
    texts = pl.DataFrame([_as_text(frame[name]) for name in frame.columns if name not in RESERVED])
    yield Records(
        texts.select(
            pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias(LINE),
            pl.struct(pl.all()).struct.json_encode().str.head(RAW_CHARACTERS).alias(RAW),
            pl.all(),
        ),
        reject_rows([]),
        frame.height,
    )


def _as_text(column: pl.Series) -> pl.Series:
    """`column` as String, or as List(String) where it is a list of plain values."""
    dtype = column.dtype
    if isinstance(dtype, pl.List) and not dtype.inner.is_nested():
        return column.cast(pl.List(pl.String), strict=False)
    if dtype == pl.Binary:
        texts = [None if value is None else value.decode("utf-8", "backslashreplace") for value in column]
        return pl.Series(column.name, texts, dtype=pl.String)
    if not dtype.is_nested():
        return column.cast(pl.String, strict=False)
    try:
        return column.to_frame().select(pl.struct(column.name).struct.json_encode().alias(column.name)).to_series()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        # Polars cannot write every type as JSON, e.g. bytes inside a struct.
        return pl.Series(column.name, [None] * len(column), dtype=pl.String)

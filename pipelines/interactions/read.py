"""Reading one rating file: typed columns, and every row that is none set apart.

Does not belong here: sessions and splits (sessions.py), which film an id is (films.py).
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import polars as pl

from pipelines.interactions.releases import Layout, RatingFile
from pipelines.sources.delimited import read_delimited
from pipelines.sources.files import ByteStream, Limits, read_bytes
from pipelines.sources.records import LINE, RAW, REJECTS, ReadError, concat_rejects, reject_rows

# To be raised by whoever changes what reading gives, or how sessions and splits are made.
READER_VERSION = "1"

STARS = (0.5, 5.0)
# The first ratings are of 1995; a time after 2100 is one in milliseconds.
TIMES_S = (0, 4_102_444_800)
IDS_MAX = 2**62

RATINGS = pl.Schema(
    {
        "user_id": pl.Int64,
        "source_item_id": pl.Int64,
        "rating": pl.Float32,
        "time_s": pl.Int64,  # seconds since 1970, UTC
        "order": pl.Int64,  # the file's own order, where it states one
        "split": pl.String,  # the file's own split, where it states one
        "line": pl.Int64,
    }
)
_SPLITS = {"train": "train", "val": "valid", "valid": "valid", "test": "test"}
_WORDS = ("user", "film", "rating", "time")


@dataclass(frozen=True)
class RatingsRead:
    """What a file holds: `ratings` (RATINGS, in the file's order), `rejects` (line, reason, raw; by line), and `failure`: why it could not be
    read to its end, if so. Rows in the file = ratings.height + rejects.height.
    """

    ratings: pl.DataFrame
    rejects: pl.DataFrame
    failure: str | None = None


def read_ratings(file: RatingFile, limits: Limits | None = None) -> RatingsRead:
    """All rows of a rating file. Bad rows and bad files never raise: they are rejects.

    A row that says again what another row says of the same user and film at the same time is a reject, too. Columnar: memory is about 60 bytes a row.
    """
    limits = limits or Limits()
    if file.layout.form is None:
        return _read_parquet(file, limits)
    return _read_text(file, limits)


# ------------------------------------------------------------------------------------------------------------------ text


def _read_text(file: RatingFile, limits: Limits) -> RatingsRead:
    stream = ByteStream(file.file, limits)
    parts, rejects = [pl.DataFrame(schema=RATINGS)], []
    assert file.layout.form is not None
    try:
        for records in read_delimited(stream, file.layout.form):
            missing = [name for name in file.layout.columns if name not in records.frame.columns]
            if missing and (records.frame.height or records.rejects.height):
                raise ReadError(f"no column {missing[0]!r} in the header")
            rejects.append(records.rejects)
            if records.frame.height:
                good, bad = _typed(records.frame, file.layout)
                parts.append(good)
                rejects.append(bad)
    except ReadError as error:
        return RatingsRead(RATINGS.to_frame(), reject_rows([(1, str(error), "")]), str(error))
    ratings, repeats = _without_repeats(pl.concat(parts))
    return RatingsRead(ratings, concat_rejects([*rejects, repeats]).sort("line", maintain_order=True), stream.failure)


def _typed(frame: pl.DataFrame, layout: Layout) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Records of text as RATINGS, and those that do not fit as REJECTS."""
    user, film, rating, time = (pl.col(name) for name in layout.columns)
    typed = frame.select(
        pl.col(LINE).alias("line"),
        pl.col(RAW).alias("raw"),
        user_id=user.cast(pl.Int64, strict=False),
        source_item_id=film.cast(pl.Int64, strict=False),
        rating=rating.cast(pl.Float32, strict=False),
        time_s=time.cast(pl.Int64, strict=False),
    )
    fits = {
        "user_id": pl.col("user_id").is_between(0, IDS_MAX),
        "source_item_id": pl.col("source_item_id").is_between(0, IDS_MAX),
        "rating": pl.col("rating").is_between(*STARS),
        "time_s": pl.col("time_s").is_between(*TIMES_S),
    }
    return _judged(typed, fits, dict(zip(fits, layout.columns, strict=True)))


def _judged(typed: pl.DataFrame, fits: dict[str, pl.Expr], names: dict[str, str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows for which all of `fits` hold, as RATINGS, and the others, as REJECTS with the first column that does not fit."""
    is_good = pl.all_horizontal(expression.fill_null(False) for expression in fits.values())
    marked = typed.with_columns(is_good.alias("is_good"))
    reason = pl.coalesce(
        pl.when(~expression.fill_null(False)).then(pl.lit(f"{names[column]} is no {_MEANT[column]}"))
        for column, expression in fits.items()
    )
    good, bad = marked.filter("is_good"), marked.filter(~pl.col("is_good"))
    absent = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in RATINGS.items() if name not in typed.columns]
    return (
        good.with_columns(absent).select(pl.col(name).cast(dtype) for name, dtype in RATINGS.items()),
        bad.select("line", reason.alias("reason"), "raw").cast(REJECTS),
    )


_MEANT = {
    "user_id": "id of a user",
    "source_item_id": "id of a film",
    "rating": f"number of stars from {STARS[0]:g} to {STARS[1]:g}",
    "time_s": "time in seconds since 1970",
    "order": "position",
    "split": "split",
}


def _without_repeats(ratings: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`ratings` without rows that say exactly what an earlier row says, and those as REJECTS."""
    said = ["user_id", "source_item_id", "rating", "time_s", "order"]
    # Cheap where nothing repeats, which is the rule: a second look is taken only then.
    if ratings.select(pl.struct(said).n_unique() == pl.len()).item() if ratings.height else True:
        return ratings, REJECTS.to_frame()
    is_first = ratings.select(pl.struct(said).is_first_distinct()).to_series()
    repeats = ratings.filter(~is_first)
    raw = pl.concat_str([pl.col(name).cast(pl.String) for name in said[:4]], separator=" ", ignore_nulls=True)
    return ratings.filter(is_first), repeats.select(
        "line", pl.lit("repeats another row").alias("reason"), raw.alias("raw")
    )


# --------------------------------------------------------------------------------------------------------------- Parquet


def _read_parquet(file: RatingFile, limits: Limits) -> RatingsRead:
    data, failure = read_bytes(file.file, limits)
    if failure is None:
        try:
            frame = pl.read_parquet(io.BytesIO(data))
        except (pl.exceptions.PolarsError, OSError, ValueError) as error:
            failure = f"not a readable Parquet file: {error}"
    if failure is None:
        wanted = [*file.layout.columns, "position", "split"]
        missing = [name for name in wanted if name not in frame.columns]
        if missing:
            failure = f"no column {missing[0]!r}"
        elif frame.height > limits.parquet_rows:
            failure = f"more than {limits.parquet_rows:,} rows"
    if failure is not None:
        return RatingsRead(RATINGS.to_frame(), reject_rows([(1, failure, "")]), failure)
    user, film = file.layout.columns
    texts = frame.select(pl.col(wanted).cast(pl.String))
    typed = texts.select(
        line=pl.int_range(1, pl.len() + 1, dtype=pl.Int64),
        raw=pl.concat_str([pl.col(name).fill_null("") for name in wanted], separator=" "),
        user_id=pl.col(user).cast(pl.Int64, strict=False),
        source_item_id=pl.col(film).cast(pl.Int64, strict=False),
        order=pl.col("position").cast(pl.Int64, strict=False),
        split=pl.col("split").replace_strict(_SPLITS, default=None, return_dtype=pl.String),
    )
    fits = {
        "user_id": pl.col("user_id").is_between(0, IDS_MAX),
        "source_item_id": pl.col("source_item_id").is_between(0, IDS_MAX),
        "order": pl.col("order") >= 0,
        "split": pl.col("split").is_not_null(),
    }
    names = {"user_id": user, "source_item_id": film, "order": "position", "split": "split"}
    good, bad = _judged(typed, fits, names)
    good, repeats = _without_repeats(good)
    return RatingsRead(good, concat_rejects([bad, repeats]).sort("line", maintain_order=True))

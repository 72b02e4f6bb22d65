"""MovieLens as reviews: the tags that a user gave a film are what the user says about it, beside the stars.

Films that a tagging user rated without a tag stand beside them, with stars and no text. Does not belong here: reading ratings (`pipelines/interactions`).
"""

from __future__ import annotations

import polars as pl

from pipelines.interactions.read import IDS_MAX, TIMES_S
from pipelines.interactions.releases import RELEASES, Release
from pipelines.reviews.layouts import ReviewFile
from pipelines.reviews.read import POSITIVE_STARS, REVIEWS, FileRead
from pipelines.sources.blocks import FileFormat
from pipelines.sources.delimited import read_delimited
from pipelines.sources.files import ByteStream, Limits
from pipelines.sources.records import LINE, RAW, REJECTS, ReadError, concat_rejects, reject_rows

_COLUMNS = ("userId", "movieId", "tag", "timestamp")
_FORMS = {
    "movielens_tags": FileFormat("csv", quote='"'),
    "movielens_tags_dat": FileFormat("csv", delimiter="::", header=_COLUMNS),
}
TAG_CHARACTERS = 1_000
# Why a tag is a reject that says nothing against its file.
UNKNOWN_FILM = "the film is not in the corpus"

_TAGS = pl.Schema(
    {"user_id": pl.Int64, "source_item_id": pl.Int64, "tag": pl.String, "time_s": pl.Int64, "line": pl.Int64}
)

# What was rated and not tagged stands in another file.
_PLACED = pl.Schema({**REVIEWS, "file": pl.String()})


def release_of(file: ReviewFile) -> Release | None:
    """The release in whose folder a file lies; None for a file that lies in none."""
    folders = file.file.name.split("/")[:-1]
    return next((each for each in RELEASES if folders and folders[-1] in each.folders), None)


def read_tags(file: ReviewFile, ids: pl.DataFrame, ratings: pl.DataFrame, limits: Limits | None = None) -> FileRead:
    """Reviews of a file of tags: one a user and film, in the file's order; then the films that these users rated and did not tag.

    `ids`: what film_ids returned for its release. `ratings`: user_id, source_item_id, rating, rated_at, file, line of core_sessions for that release. Tags of films that
    the corpus does not know are rejects. Reviews have a column more than REVIEWS: `file`, of ratings without tags the one that they stand in, null for others. Never raises for what is in the file.
    """
    release = release_of(file)
    assert release is not None
    stream = ByteStream(file.file, limits or Limits())
    parts, rejects = [_TAGS.to_frame()], []
    try:
        for records in read_delimited(stream, _FORMS[file.layout.name]):
            missing = [name for name in _COLUMNS if name not in records.frame.columns]
            if missing and (records.frame.height or records.rejects.height):
                raise ReadError(f"no column {missing[0]!r} in the header")
            rejects.append(records.rejects)
            if records.frame.height:
                good, bad = _judged(records.frame, ids)
                parts.append(good)
                rejects.append(bad)
    except ReadError as error:
        return FileRead(rejects=reject_rows([(1, str(error), "")]), failure=str(error))
    tags = pl.concat(parts).join(ids, on="source_item_id", how="left", maintain_order="left")
    bad = concat_rejects(rejects).sort("line", maintain_order=True)
    stars = ratings.join(ids, on="source_item_id", how="inner").filter(pl.col("rating").is_not_null())
    rated = stars.sort("user_id", "movie_id", "rated_at", "line").unique(
        ["user_id", "movie_id"], keep="last", maintain_order=True
    )
    tagged = tags.group_by("user_id", "movie_id", maintain_order=True).agg(
        text=pl.col("tag").unique(maintain_order=True).str.join(", "),
        tagged_at=pl.col("time_s").min(),
        line=pl.col("line").min(),
    )
    both = tagged.join(
        rated.select("user_id", "movie_id", "rating"), on=["user_id", "movie_id"], how="left", maintain_order="left"
    )
    said = both.select(
        *_review(release.name), reviewed_at=pl.from_epoch("tagged_at").cast(pl.Datetime("us")), file=None
    )
    only = (
        rated.join(tags.select("user_id").unique(), on="user_id", how="semi", maintain_order="left")
        .join(tagged, on=["user_id", "movie_id"], how="anti", maintain_order="left")
        .with_columns(text=pl.lit(""))
        .select(*_review(release.name), "file", reviewed_at=pl.col("rated_at").cast(pl.Datetime("us")))
    )
    reviews = pl.concat([part.select(_PLACED.names()).cast(_PLACED) for part in (said, only)])
    return FileRead(reviews=reviews, rejects=bad, kept=tags.height, failure=stream.failure)


def _review(release: str) -> list[pl.Expr]:
    return [
        pl.concat_str(pl.lit(f"{release}-"), pl.col("user_id").cast(pl.String)).alias("user"),
        pl.col("movie_id").alias("item_id"),
        pl.lit(None, dtype=pl.String).alias("headline"),
        pl.col("text"),
        pl.col("rating").cast(pl.Float32),
        (pl.col("rating") >= POSITIVE_STARS).alias("is_positive"),
        pl.col("line").cast(pl.Int64),
    ]


def _judged(frame: pl.DataFrame, ids: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Tags that can be used, as _TAGS, and the others as REJECTS."""
    user, film, tag, time = (pl.col(name) for name in _COLUMNS)
    typed = frame.select(
        pl.col(LINE).alias("line"),
        pl.col(RAW).alias("raw"),
        user_id=user.cast(pl.Int64, strict=False),
        source_item_id=film.cast(pl.Int64, strict=False),
        tag=tag.str.replace_all(r"\s+", " ").str.strip_chars(),
        time_s=time.cast(pl.Int64, strict=False),
    ).join(ids.select("source_item_id", is_known=pl.lit(True)), on="source_item_id", how="left", maintain_order="left")
    repeats = pl.struct("user_id", "source_item_id", "tag", "time_s").is_first_distinct()
    fits = {
        "userId is no id of a user": pl.col("user_id").is_between(0, IDS_MAX),
        "movieId is no id of a film": pl.col("source_item_id").is_between(0, IDS_MAX),
        "tag is empty": pl.col("tag") != "",
        f"tag is longer than {TAG_CHARACTERS:,} characters": pl.col("tag").str.len_chars() <= TAG_CHARACTERS,
        "timestamp is no time in seconds since 1970": pl.col("time_s").is_between(*TIMES_S),
        "repeats another row": repeats,
        UNKNOWN_FILM: pl.col("is_known"),
    }
    reason = pl.coalesce(pl.when(~fit.fill_null(False)).then(pl.lit(words)) for words, fit in fits.items())
    marked = typed.with_columns(reason=reason)
    good = marked.filter(pl.col("reason").is_null()).select(_TAGS.names()).cast(_TAGS)
    return good, marked.filter(pl.col("reason").is_not_null()).select("line", "reason", "raw").cast(REJECTS)

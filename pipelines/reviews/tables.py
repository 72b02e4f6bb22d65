"""What files hold, as tables: reviews of all files of a source in each user's order of time, items as the best file describes them, released tasks.

Pure. Does not belong here: reading (`read.py`, `movielens.py`, `dialogues.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from pipelines.preferences.rows import stable_hashes
from pipelines.reviews.read import FACTS, REVIEWS, TASKS, FileRead
from pipelines.sources.records import REJECTS, printable
from pipelines.sources.text import repaired
from warehouse.tables.simulation import CORE_REVIEW_ITEMS, CORE_REVIEW_TASKS, CORE_REVIEWS

# Tags of HTML that begin a line, and others (a letter follows at once: "<3" and "a < b" are no markup), and Amazon's marks for videos and products.
_BREAK = r"(?i)</?(?:br|p|div|li|ul|ol|tr|td|h[1-6])(?:\s[^<>]{0,200})?\s*/?>"
_MARKUP = r"(?i)</?[a-z][^<>]{0,200}>|\[\[[A-Z]{2,12}:[^\]]{0,200}\]\]"
_PART = "\x1f"


@dataclass(frozen=True)
class Placed:
    """A file, what its items are, and what it holds."""

    file: str
    domain: str
    read: FileRead


def plain(texts: pl.Series) -> pl.Series:
    """`texts` without markup, damage and needless white space; empty where nothing is left. Applied again it changes nothing."""
    while True:
        # Mended first, as tags may be written as entities; and again, as a tag may stand inside another.
        mended = repaired(texts).fill_null("").str.replace_all(_BREAK, " ").str.replace_all(_MARKUP, "")
        if mended.equals(texts):
            return mended
        texts = mended


def reviews(source: str, files: Sequence[Placed]) -> tuple[pl.DataFrame, dict[str, pl.DataFrame]]:
    """Rows of CORE_REVIEWS of one source, and repeats by file (REJECTS).

    A review that says exactly what an earlier line, or a file before, says of the same item at the same time counts once. Positions follow time; what has none
    comes last, in the order of files and lines.
    """
    parts = [CORE_REVIEWS_READ.to_frame()]
    for rank, each in enumerate(files):
        parts.append(
            each.read.reviews.select(
                *REVIEWS.names(),
                domain=pl.lit(each.domain),
                # A review may stand in another file than the one that it was found by.
                file=pl.coalesce("file", pl.lit(each.file))
                if "file" in each.read.reviews.columns
                else pl.lit(each.file),
                rank=pl.lit(rank, dtype=pl.Int32),
            ).cast(CORE_REVIEWS_READ)
        )
    found = pl.concat(parts).rechunk()
    headline, text = plain(found["headline"].fill_null("")), plain(found["text"])
    found = found.with_columns(headline.alias("headline"), text.alias("text"))
    said = ["user", "item_id", "reviewed_at", "rating", "headline", "text"]
    is_first = found.select(pl.struct(said).is_first_distinct()).to_series() if found.height else pl.Series([], dtype=pl.Boolean)  # fmt: skip
    repeats = found.filter(~is_first)
    ordered = found.filter(is_first).sort(
        ["domain", "user", "reviewed_at", "rank", "line", "item_id"], nulls_last=True, maintain_order=True
    )
    numbered = ordered.with_columns(
        source=pl.lit(source),
        user_id=pl.concat_str(pl.lit(f"{source}-"), "user"),
        position=pl.int_range(pl.len(), dtype=pl.Int32).over("domain", "user"),
        headline=pl.when(pl.col("headline") != "").then("headline"),
    )
    ids = _hashed(numbered, "source", "domain", "user", "item_id", "position")
    content = _hashed(numbered, "item_id", "headline", "text", "rating", "is_positive", "reviewed_at")
    rows = numbered.with_columns(review_id=hexadecimal(ids), content_hash=(content // 2).cast(pl.Int64))
    raw = pl.concat_str("user", "item_id", "text", separator=" ")
    again = repeats.select("file", "line", reason=pl.lit("repeats another review"), raw=raw)
    return CORE_REVIEWS.conform(rows.select(CORE_REVIEWS.schema.names())), _by_file(again)


CORE_REVIEWS_READ = pl.Schema({**REVIEWS, "domain": pl.String(), "file": pl.String(), "rank": pl.Int32()})


def items(source: str, files: Sequence[Placed]) -> tuple[pl.DataFrame, dict[str, pl.DataFrame]]:
    """Rows of CORE_REVIEW_ITEMS of one source, and repeats by file (REJECTS).

    An item is as the first of `files` (best first) describes it, what that leaves out as the next one does. A line of a file of items that says exactly what an earlier one does counts
    once; in files of reviews and tasks items repeat by their nature.
    """
    schema = pl.Schema({**FACTS, "domain": pl.String(), "file": pl.String()})
    parts = [schema.to_frame()]
    for each in files:
        parts.append(
            each.read.facts.select(*FACTS.names(), domain=pl.lit(each.domain), file=pl.lit(each.file)).cast(schema)
        )
    found = pl.concat(parts).rechunk()
    found = found.with_columns(
        title=plain(found["title"]), description=plain(found["description"].fill_null(""))
    ).with_columns(description=pl.when(pl.col("description") != "").then("description"))
    found = found.filter(pl.col("title") != "")
    of_items = [each.file for each in files if each.read.reviews.is_empty() and each.read.tasks.is_empty()]
    said = ["file", *(name for name in FACTS.names() if name != "line")]
    again = found.filter(pl.col("file").is_in(of_items))
    again = again.filter(~pl.struct(said).is_first_distinct()) if again.height else again
    raw = pl.concat_str("item_id", "title", separator=" ")
    repeats = _by_file(again.select("file", "line", reason=pl.lit("repeats another item"), raw=raw))
    lists = [
        pl.col(name).filter(pl.col(name).list.len() > 0).first().alias(name) for name in ("creators", "categories")
    ]
    single = ["place", "description", "average_rating", "ratings"]
    best = found.group_by("domain", "item_id", maintain_order=True).agg(
        pl.col("title", "file", "line").first(), *lists, *(pl.col(name).drop_nulls().first() for name in single)
    )
    none = pl.lit([], dtype=pl.List(pl.String))
    rows = best.with_columns(
        pl.lit(source).alias("source"), *(pl.col(name).fill_null(none) for name in ("creators", "categories"))
    )
    return CORE_REVIEW_ITEMS.conform(rows), repeats


def _by_file(repeats: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """`repeats`: file, line, reason, raw; as REJECTS by file."""
    return {
        str(file): part.select(
            "line", "reason", pl.Series("raw", [printable(raw) for raw in part["raw"]], dtype=pl.String)
        ).cast(REJECTS)
        for (file,), part in repeats.partition_by("file", as_dict=True).items()
    }


def tasks(source: str, files: Sequence[tuple[Placed, str]]) -> pl.DataFrame:
    """Rows of CORE_REVIEW_TASKS of one source; each file with the split that its name states."""
    schema = pl.Schema({**TASKS, "domain": pl.String(), "file": pl.String(), "released_split": pl.String()})
    parts = [schema.to_frame()]
    for each, split in files:
        parts.append(
            each.read.tasks.select(
                *TASKS.names(), domain=pl.lit(each.domain), file=pl.lit(each.file), released_split=pl.lit(split)
            ).cast(schema)
        )
    found = pl.concat(parts)
    return CORE_REVIEW_TASKS.conform(
        found.select(pl.exclude("user"), source=pl.lit(source), user_id=pl.concat_str(pl.lit(f"{source}-"), "user"))
    )


def released_split(file: str) -> str:
    """The split that the name of a file of tasks states: `Book_test.jsonl`."""
    return file.removesuffix(".gz").removesuffix(".jsonl").rpartition("_")[2]


def _hashed(frame: pl.DataFrame, *parts: str) -> pl.Series:
    """Hash [n, UInt64] of the columns `parts`; null differs from every text."""
    joined = frame.select(
        pl.concat_str([pl.col(part).cast(pl.String).fill_null("\x1e") for part in parts], separator=_PART)
    ).to_series()
    return stable_hashes(joined)


def hexadecimal(hashes: pl.Series) -> pl.Series:
    """Sixteen hexadecimal digits each."""
    return pl.Series([f"{each:016x}" for each in hashes.to_list()], dtype=pl.String)

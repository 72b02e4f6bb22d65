"""Blocking: which pairs of records are worth comparing, found without looking at all pairs.

A pair is proposed when the records share an id, when two of their titles have the same key in the same or the
neighbouring year, when two titles of such years are spelled alike, or when they share a director or two actors in years
close by. Every block that could blow up is bounded, and every bound depends on the block alone: the same pairs
are proposed whether all records are looked at or only those that changed and their neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from rapidfuzz import fuzz, process

from pipelines.linking.rules import RULES

_TITLE = RULES[0]
SAME, ALIAS, HALF = (_TITLE.index(level) for level in ("same", "alias", "half"))
VERY_CLOSE, CLOSE, SIMILAR, DIFFERENT = (
    _TITLE.index(level) for level in ("very close", "close", "similar", "different")
)

# Similarity of two keys (rapidfuzz ratio, 0..100) from which a pair counts as very close, close, similar.
_SPELLING = (92.0, 84.0, 75.0)
# Two keys can only be that similar when the shorter has so much of the longer one's length: 2 min / (min + max) >= .75.
_LENGTHS = 0.6
_AFFIX = 6  # letters at the start or the end that two spellings must share to be compared
_SHORTEST_FUZZY = 5  # letters; shorter titles have too many neighbours
_BLOCK_MAX = 400  # titles of one year in a spelling block; a larger block says nothing
_YEARS_UNKNOWN_MAX = 3  # a title without a year is compared when its name was used in at most so many years
_ID_BLOCK_MAX = 50  # records that share an id; more than that and the id is a placeholder
_PERSON_BLOCK_MAX = 60  # records of one director (or pair of actors) in one year
_PERSON_YEARS = {"directors": (0, 1, 2), "actors": (0, 1)}  # how far apart the years of two records may be
_SPELLING_BLOCKS = ("start", "end", "skeleton")

ID_COLUMNS = ("imdb_id", "tmdb_id", "movielens_id", "wikidata_id", "wikipedia_slug")


@dataclass(frozen=True)
class Pairs:
    """Candidate pairs: rows `a` < `b` of the records, and the level of the title rule, each of shape [pairs]."""

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    title: NDArray[np.int8]

    @property
    def count(self) -> int:
        return len(self.a)


def occurrences(records: pl.DataFrame) -> pl.DataFrame:
    """List the title keys of records (columns title_key, alias_keys, part_keys, year): row, key, year, role.

    `row` is the position in `records`; `role` is the title level that agreement on this key amounts to.
    """
    rows = records.select(pl.concat_list("title_key"), "alias_keys", "part_keys", "year").with_row_index("row")
    role = {"title_key": SAME, "alias_keys": ALIAS, "part_keys": HALF}
    return pl.concat(
        [
            rows.select("row", "year", pl.col(column).alias("key"), pl.lit(level, dtype=pl.Int8).alias("role"))
            .explode("key")
            .drop_nulls("key")
            for column, level in role.items()
        ]
    ).unique(["row", "key"], keep="first", maintain_order=True)


def rarity(found: pl.DataFrame, records: int) -> pl.Series:
    """Count, for each record, the different years in which its display title was used by any record; shape [records]."""
    titles = found.filter(pl.col("role") < HALF)
    years = titles.group_by("key").agg(years=pl.col("year").n_unique())
    own = titles.filter(pl.col("role") == SAME).join(years, on="key", how="left")
    out = np.ones(records, dtype=np.int64)
    out[own["row"].to_numpy()] = own["years"].to_numpy()
    return pl.Series("rarity", out)


def _ordered(joined: pl.DataFrame, *extra: pl.Expr) -> pl.DataFrame:
    return joined.filter(pl.col("row") != pl.col("row_right")).select(
        pl.min_horizontal("row", "row_right").alias("a"),
        pl.max_horizontal("row", "row_right").alias("b"),
        *extra,
    )


def _neighbours(left: pl.DataFrame, right: pl.DataFrame, on: list[str], gap: int, unit: str = "row") -> pl.DataFrame:
    """Join on `on` and a year `gap` apart in either direction; `unit` numbers what is joined.

    A frame joined with itself gives each pair once, in one of its two orders.
    """
    is_self = left is right
    joins = [
        left.with_columns((pl.col("year") + step).alias("_year")).join(
            right, left_on=[*on, "_year"], right_on=[*on, "year"], coalesce=True
        )
        for step in ({gap} if is_self else {gap, -gap})
    ]
    joined = pl.concat(joins)
    return joined.filter(pl.col(unit) < pl.col(f"{unit}_right")) if is_self and gap == 0 else joined


def _title_blocks(found: pl.DataFrame) -> pl.DataFrame:
    """Distinct dated titles with the spelling blocks they fall in: key, year, start, end, skeleton."""
    usable = (pl.col("role") < HALF) & pl.col("year").is_not_null() & (pl.col("key").str.len_chars() >= _SHORTEST_FUZZY)
    skeleton = pl.col("key").str.replace_all("[aeiouyhw]", "")
    return (
        found.filter(usable)
        .select("key", "year")
        .unique(maintain_order=True)
        .with_columns(
            start=pl.col("key").str.slice(0, _AFFIX),
            end=pl.col("key").str.slice(-_AFFIX),
            skeleton=pl.when(skeleton.str.len_chars() >= 3).then(skeleton),
        )
    )


def _person_blocks(records: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Directors, and pairs of leading actors, under which dated records are looked up: row, year, key."""
    rows = records.select("year", "director_keys", "cast_keys").with_row_index("row").drop_nulls("year")
    directors = rows.select("row", "year", key="director_keys").explode("key").drop_nulls("key")
    actors = rows.filter(pl.col("cast_keys").list.len() >= 2).select(
        "row", "year", key=pl.col("cast_keys").list.head(2).list.sort().list.join("|")
    )
    return {"directors": directors, "actors": actors}


def _id_blocks(records: pl.DataFrame, column: str) -> pl.DataFrame:
    return records.select(pl.col(column).cast(pl.String).alias("key")).with_row_index("row").drop_nulls()


def _same_key(found: pl.DataFrame, dirty: pl.DataFrame) -> pl.DataFrame:
    level = pl.max_horizontal("role", "role_right").alias("title")
    whole = (pl.col("role") < HALF) | (pl.col("role_right") < HALF)  # two halves agree by accident ("Part One")
    dated = [_ordered(_neighbours(dirty, found, ["key"], gap).filter(whole), level) for gap in (0, 1)]
    few = found.group_by("key").agg(years=pl.col("year").n_unique()).filter(pl.col("years") <= _YEARS_UNKNOWN_MAX)
    full = (found.filter(pl.col("role") < HALF), dirty.filter(pl.col("role") < HALF))
    undated = [
        _ordered(left.filter(pl.col("year").is_null()).join(few, on="key", how="semi").join(right, on="key"), level)
        for left, right in (full, full[::-1])
    ]
    return pl.concat([*dated, *undated])


def _closeness() -> pl.Expr:
    """Title level of two keys that differ, from their `ratio`."""
    ratio = pl.col("ratio")
    return (
        pl.when(ratio >= _SPELLING[0])
        .then(VERY_CLOSE)
        .when(ratio >= _SPELLING[1])
        .then(CLOSE)
        .when(ratio >= _SPELLING[2])
        .then(SIMILAR)
        .otherwise(DIFFERENT)
        .cast(pl.Int8)
    )


def _spelled_alike(found: pl.DataFrame, dirty: pl.DataFrame) -> pl.DataFrame:
    """Pairs whose titles differ by a few letters, compared title by title rather than record by record."""
    nodes = _title_blocks(found).with_row_index("node").with_columns(letters=pl.col("key").str.len_chars())
    is_whole = dirty is found
    near: list[pl.DataFrame] = []
    for block in _SPELLING_BLOCKS:
        crowded = nodes.group_by(block, "year").len().filter(pl.col("len") > _BLOCK_MAX)
        right = nodes.drop_nulls(block).select("node", "key", "year", "letters", block)
        right = right.join(crowded, on=[block, "year"], how="anti")
        left = right if is_whole else right.join(dirty.select("key", "year").unique(), on=["key", "year"], how="semi")
        for gap in (0, 1):
            pairs = _neighbours(left, right, [block], gap, unit="node")
            shorter, longer = (f("letters", "letters_right") for f in (pl.min_horizontal, pl.max_horizontal))
            pairs = pairs.filter((pl.col("key") != pl.col("key_right")) & (shorter >= _LENGTHS * longer))
            ratio = process.cpdist(
                pairs["key"].to_list(), pairs["key_right"].to_list(), scorer=fuzz.ratio, workers=-1,
                dtype=np.float32, score_cutoff=_SPELLING[-1],
            )  # fmt: skip
            near.append(
                pairs.select(
                    pl.min_horizontal("node", "node_right").alias("x"),
                    pl.max_horizontal("node", "node_right").alias("y"),
                )
                .with_columns(ratio=pl.Series(ratio))
                .filter(pl.col("ratio") >= _SPELLING[-1])
            )
    close = pl.concat(near).unique(["x", "y"])
    holders = (
        found.filter(pl.col("role") < HALF)
        .join(nodes.select("node", "key", "year"), on=["key", "year"])
        .select("row", "node")
    )
    joined = close.join(holders, left_on="x", right_on="node").join(holders, left_on="y", right_on="node")
    return _ordered(joined, _closeness().alias("title"))


def _unexplained(pairs: pl.DataFrame, records: pl.DataFrame) -> pl.DataFrame:
    """Give pairs that were proposed for another reason than their titles the title level they have."""
    pairs = pairs.unique(["a", "b"])
    keys = records["title_key"]
    ratio = process.cpdist(
        keys.gather(pairs["a"]).to_list(),
        keys.gather(pairs["b"]).to_list(),
        scorer=fuzz.ratio,
        workers=-1,
        dtype=np.float32,
    )
    score = pl.Series("ratio", ratio)
    same = pl.Series("same", keys.gather(pairs["a"]) == keys.gather(pairs["b"]))
    return pairs.with_columns(score, same).select(
        "a",
        "b",
        pl.when("same").then(pl.lit(SAME, dtype=pl.Int8)).otherwise(_closeness()).alias("title"),
    )


def _shared_people(records: pl.DataFrame, dirty: pl.Series) -> pl.DataFrame:
    found, is_whole = [], dirty.len() == records.height
    for name, block in _person_blocks(records).items():
        crowded = block.group_by("key", "year").len().filter(pl.col("len") > _PERSON_BLOCK_MAX)
        block = block.join(crowded, on=["key", "year"], how="anti")
        left = block if is_whole else block.filter(pl.col("row").is_in(dirty.implode()))
        found += [_ordered(_neighbours(left, block, ["key"], gap)) for gap in _PERSON_YEARS[name]]
    return pl.concat(found)


def _shared_ids(records: pl.DataFrame, dirty: pl.Series) -> pl.DataFrame:
    found = []
    for column in ID_COLUMNS:
        ids = _id_blocks(records, column)
        placeholder = ids.group_by("key").len().filter(pl.col("len") > _ID_BLOCK_MAX)
        ids = ids.join(placeholder, on="key", how="anti")
        found.append(_ordered(ids.filter(pl.col("row").is_in(dirty.implode())).join(ids, on="key")))
    return pl.concat(found)


def _crowded(records: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """List every block that is over its bound: block, key, year (null for ids)."""
    titles = _title_blocks(found)
    over = [
        titles.group_by(pl.col(block).alias("key"), "year")
        .len()
        .filter(pl.col("len") > _BLOCK_MAX)
        .with_columns(block=pl.lit(block))
        for block in _SPELLING_BLOCKS
    ]
    over += [
        block.group_by("key", "year").len().filter(pl.col("len") > _PERSON_BLOCK_MAX).with_columns(block=pl.lit(name))
        for name, block in _person_blocks(records).items()
    ]
    over += [
        _id_blocks(records, column)
        .group_by("key")
        .len()
        .filter(pl.col("len") > _ID_BLOCK_MAX)
        .with_columns(block=pl.lit(column), year=pl.lit(None, dtype=pl.Int32))
        for column in ID_COLUMNS
    ]
    return pl.concat([each.select("block", "key", pl.col("year").cast(pl.Int32)) for each in over]).drop_nulls("key")


def _rows_in(records: pl.DataFrame, found: pl.DataFrame, blocks: pl.DataFrame) -> pl.Series:
    """Rows that fall in any of `blocks` (block, key, year)."""
    rows = [pl.Series("row", [], dtype=pl.UInt32)]
    if blocks.height:
        titles = found.filter(pl.col("role") < HALF).join(_title_blocks(found), on=["key", "year"])
        for block in _SPELLING_BLOCKS:
            some = blocks.filter(pl.col("block") == block)
            rows.append(titles.join(some, left_on=[block, "year"], right_on=["key", "year"], how="semi")["row"])
        for name, people in _person_blocks(records).items():
            some = blocks.filter(pl.col("block") == name)
            rows.append(people.join(some, on=["key", "year"], how="semi")["row"])
        for column in ID_COLUMNS:
            some = blocks.filter(pl.col("block") == column)
            rows.append(_id_blocks(records, column).join(some, on="key", how="semi")["row"])
    return pl.concat(rows).unique()


def dirty_rows(before: pl.DataFrame, after: pl.DataFrame, found: pl.DataFrame, changed: pl.Series) -> pl.Series:
    """Rows of `after` whose pairs may differ from those of `before`.

    `changed` holds the record_ids that were added, removed or edited; `found` is `occurrences(after)`. Besides the changed
    records these are the records that share a title key with one (its rarity may have moved) and the records of blocks that
    came over or fell under their bound.
    """
    old = before.filter(pl.col("record_id").is_in(changed.implode()))
    edited = after.select(pl.col("record_id").is_in(changed.implode())).to_series()
    rows = pl.int_range(after.height, dtype=pl.UInt32, eager=True).filter(edited)
    keys = pl.concat([occurrences(old)["key"], found.filter(pl.col("row").is_in(rows.implode()))["key"]]).unique()
    sharing = found.filter(pl.col("key").is_in(keys.implode()))["row"]
    was, now = _crowded(before, occurrences(before)), _crowded(after, found)
    on = ["block", "key", "year"]
    flipped = pl.concat(
        [
            was.join(now, on=on, how="anti", nulls_equal=True),
            now.join(was, on=on, how="anti", nulls_equal=True),
        ]
    )
    return pl.concat([rows, sharing, _rows_in(after, found, flipped)]).unique().sort()


def candidate_pairs(records: pl.DataFrame, found: pl.DataFrame, dirty: pl.Series | None = None) -> Pairs:
    """Propose the pairs of `records` worth comparing; with `dirty` (rows), only pairs that hold a dirty record.

    `found` is `occurrences(records)`. Each pair stands once, with its best title level.
    """
    if dirty is None:
        dirty, dirty_found = pl.Series(range(records.height), dtype=pl.UInt32), found
    else:
        dirty_found = found.filter(pl.col("row").is_in(dirty.implode()))
    titled = pl.concat([_same_key(found, dirty_found), _spelled_alike(found, dirty_found)])
    titled = titled.group_by("a", "b").agg(pl.col("title").min())
    others = pl.concat([_shared_ids(records, dirty), _shared_people(records, dirty)])
    others = _unexplained(others.join(titled, on=["a", "b"], how="anti"), records)
    pairs = pl.concat([titled, others]).sort("a", "b")
    dirty_rows = np.zeros(records.height, dtype=bool)
    dirty_rows[dirty.to_numpy()] = True
    a, b = pairs["a"].cast(pl.Int64).to_numpy(), pairs["b"].cast(pl.Int64).to_numpy()
    keep = dirty_rows[a] | dirty_rows[b]  # spelling joins whole titles, so clean holders come along
    return Pairs(a[keep], b[keep], pairs["title"].to_numpy()[keep])

"""Comparing pairs of records rule by rule: columns in, comparison levels out.

Belongs here: the features of a pair. Which pairs are compared is decided in blocking, what the levels weigh in rules.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.linking.blocking import ID_COLUMNS
from pipelines.linking.rules import ID_RULES, RULES

Int = NDArray[np.int64]

_DIRECTORS = 3
_CAST = 6
_UNKNOWN_YEAR = -1
_FEW_YEARS = 5
_CHUNK = 1 << 16  # pairs compared at once: what is gathered for them stays in the processor's cache
_BITS_PER_LEVEL = 4


@dataclass(frozen=True)
class Encoded:
    """Records as number columns, one entry a record; text is replaced by hashes that only equality is asked of.

    0 stands for "unknown" in hashed and counted columns, -1 in `year`.
    """

    source: Int
    year: Int
    rarity: Int
    length: Int
    numbers: Int
    kind: Int
    runtime: Int
    genres: Int  # bit set
    directors: Int  # [records, 3]
    cast: Int  # [records, 6]
    ids: dict[str, Int]


def _hashes(column: pl.Series) -> Int:
    hashed = column.hash(seed=1).to_numpy().view(np.int64)
    return np.where(column.is_null().to_numpy(), 0, hashed)


def _people(keys: pl.Series, width: int) -> Int:
    """Hash the first `width` keys of each list into [records, width]."""
    rows = keys.to_frame("key").with_row_index("row").with_columns(pl.col("key").list.head(width)).explode("key")
    rows = rows.drop_nulls().with_columns(slot=pl.int_range(pl.len()).over("row"))
    out = np.zeros((keys.len(), width), dtype=np.int64)
    out[rows["row"].to_numpy(), rows["slot"].to_numpy()] = _hashes(rows["key"])
    return out


def _bits(values: pl.Series) -> Int:
    """Turn lists of words of a small vocabulary into bit sets (at most 62 words; rarer ones share the last bit)."""
    rows = values.to_frame("value").with_row_index("row").explode("value").drop_nulls()
    vocabulary = rows["value"].unique().sort()
    codes = {word: 1 << min(i, 61) for i, word in enumerate(vocabulary)}
    out = np.zeros(values.len(), dtype=np.int64)
    np.bitwise_or.at(out, rows["row"].to_numpy(), rows["value"].replace_strict(codes, return_dtype=pl.Int64).to_numpy())
    return out


def encode(records: pl.DataFrame, rarity: pl.Series) -> Encoded:
    """Encode `records` (columns of core_title_records, keys included); `rarity` [records] is the number of years in which its title was used."""
    return Encoded(
        source=_hashes(records["source"]),
        year=records["year"].fill_null(_UNKNOWN_YEAR).cast(pl.Int64).to_numpy(),
        rarity=rarity.cast(pl.Int64).to_numpy(),
        length=records["title_key"].str.len_chars().cast(pl.Int64).to_numpy(),
        numbers=_hashes(
            records.select(
                pl.col("title_key").str.extract_all(r"\d+").list.sort().list.join(" ").replace("", None)
            ).to_series()
        ),
        # Sources draw the line between film, television film and video in many ways; only a short is never a feature.
        kind=records.select(
            pl.when(pl.col("kind") == "short").then(2).when(pl.col("kind").is_not_null()).then(1).otherwise(0)
        )
        .to_series()
        .cast(pl.Int64)
        .to_numpy(),
        runtime=records["runtime_min"].fill_null(0).cast(pl.Int64).to_numpy(),
        genres=_bits(records["genres"]),
        directors=_people(records["director_keys"], _DIRECTORS),
        cast=_people(records["cast_keys"], _CAST),
        ids={rule: _hashes(records[column]) for rule, column in zip(ID_RULES, ID_COLUMNS, strict=True)},
    )


def _pick(conditions: list[NDArray[np.bool_]], otherwise: int) -> NDArray[np.int8]:
    """Index of the first condition that holds, else `otherwise`."""
    return np.select(conditions, list(range(len(conditions))), otherwise).astype(np.int8)


def _shared(left: Int, right: Int) -> tuple[Int, NDArray[np.bool_]]:
    """Count names that two lists share, and tell whether both lists hold any; shapes [pairs, width] -> [pairs]."""
    count = np.zeros(left.shape[0], dtype=np.int64)
    for i in range(left.shape[1]):
        hit = np.zeros(left.shape[0], dtype=bool)
        for j in range(right.shape[1]):
            hit |= left[:, i] == right[:, j]
        count += hit & (left[:, i] != 0)
    return count, (left != 0).any(axis=1) & (right != 0).any(axis=1)


def _popcount(bits: Int) -> Int:
    return np.bitwise_count(bits).astype(np.int64)


def levels(encoded: Encoded, a: Int, b: Int, title: NDArray[np.int8]) -> NDArray[np.int8]:
    """Compare the pairs (a[i], b[i]) by every rule but the title, whose level blocking already knows.

    Returns the level of each rule, shape [pairs, rules], in the order of RULES.
    """
    out = np.empty((len(a), len(RULES)), dtype=np.int8)

    def compare_chunk(start: int) -> None:
        chunk = slice(start, start + _CHUNK)
        out[chunk] = _levels(encoded, a[chunk], b[chunk], title[chunk])

    with ThreadPoolExecutor() as threads:
        list(threads.map(compare_chunk, range(0, len(a), _CHUNK)))
    return out


def _levels(encoded: Encoded, a: Int, b: Int, title: NDArray[np.int8]) -> NDArray[np.int8]:
    e = encoded
    year_a, year_b = e.year[a], e.year[b]
    gap = np.abs(year_a - year_b)
    no_year = (year_a == _UNKNOWN_YEAR) | (year_b == _UNKNOWN_YEAR)
    rarity = np.maximum(e.rarity[a], e.rarity[b])
    length = np.minimum(e.length[a], e.length[b])
    directed, both_directed = _shared(e.directors[a], e.directors[b])
    all_directed = directed == np.maximum((e.directors[a] != 0).sum(axis=1), (e.directors[b] != 0).sum(axis=1))
    acted, both_acted = _shared(e.cast[a], e.cast[b])
    run_a, run_b = e.runtime[a], e.runtime[b]
    run_gap = np.abs(run_a - run_b)
    no_run = (run_a == 0) | (run_b == 0)
    genre_a, genre_b = e.genres[a], e.genres[b]
    common = _popcount(genre_a & genre_b)
    fewest = np.minimum(_popcount(genre_a), _popcount(genre_b))
    number_a, number_b = e.numbers[a], e.numbers[b]
    kind_a, kind_b = e.kind[a], e.kind[b]
    found = {
        "title": title,
        "year": np.where(no_year, 5, _pick([gap == 0, gap == 1, gap == 2, gap <= _FEW_YEARS], 4)).astype(np.int8),
        "rarity": _pick([rarity <= 1, rarity == 2, rarity <= 5], 3),
        "length": _pick([length <= 5, length <= 12], 2),
        "numbers": _pick(
            [(number_a == 0) & (number_b == 0), number_a == number_b, (number_a == 0) | (number_b == 0)], 3
        ),
        "directors": _pick([(directed > 0) & all_directed, directed > 0, both_directed], 3),
        "cast": _pick([acted >= 2, acted == 1, both_acted], 3),
        "runtime": _pick([~no_run & (run_gap <= 1), ~no_run & (run_gap <= 5), ~no_run & (run_gap <= 15), ~no_run], 4),
        "genres": _pick(
            [
                (genre_a == genre_b) & (fewest > 0),
                (2 * common > fewest) & (fewest > 0),
                common > 0,
                fewest > 0,
            ],
            4,
        ),
        "kind": _pick([(kind_a == kind_b) & (kind_a != 0), (kind_a != 0) & (kind_b != 0)], 2),
        "sources": _pick([e.source[a] != e.source[b]], 1),
    }
    for rule in ID_RULES:
        id_a, id_b = e.ids[rule][a], e.ids[rule][b]
        known = (id_a != 0) & (id_b != 0)
        found[rule] = _pick([known & (id_a == id_b), known], 2)
    return np.stack([found[rule.name] for rule in RULES], axis=1)


def pack(found: NDArray[np.int8]) -> Int:
    """Pack levels [pairs, rules] into one integer a pair, four bits a rule."""
    packed = np.zeros(found.shape[0], dtype=np.int64)
    for i in range(found.shape[1]):
        packed |= found[:, i].astype(np.int64) << (_BITS_PER_LEVEL * i)
    return packed


def unpack(packed: Int) -> NDArray[np.int8]:
    """Undo `pack`: shape [pairs] -> [pairs, rules]."""
    shifts = _BITS_PER_LEVEL * np.arange(len(RULES), dtype=np.int64)
    return ((packed[:, None] >> shifts) & 15).astype(np.int8)


def score_bits(found: NDArray[np.int8], bias: float) -> NDArray[np.float32]:
    """Add up the weights of the levels [pairs, rules] of each pair, in bits."""
    total = np.full(found.shape[0], bias, dtype=np.float32)
    for i, rule in enumerate(RULES):
        total += np.array([level.bits for level in rule.levels], dtype=np.float32)[found[:, i]]
    return total


def probability(bits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn log2 odds into a probability."""
    return (1.0 / (1.0 + np.exp2(-np.clip(bits, -60, 60)))).astype(np.float32)

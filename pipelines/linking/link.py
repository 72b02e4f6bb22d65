"""Entity resolution from normalised records to links, all at once or only where something changed.

Both ways give the same rows: a pair's score depends on the pair and on its blocks alone, and films are grouped inside the
connected components of the accepted pairs, so whatever lies outside the touched components can stay.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import polars as pl

from pipelines.linking import blocking, clustering, compare
from pipelines.linking.identity import assign_ids
from pipelines.linking.rules import BIAS_BITS, ID_RULES, RULES
from warehouse.tables.corpus import CORE_MOVIE_LINKS, CORE_RECORD_PAIRS

# Columns of core_title_records that linking needs.
COLUMNS = (
    "record_id", "row_hash", "source", "source_id", "title_key", "alias_keys", "part_keys", "year", "kind", "genres",
    "director_keys", "cast_keys", "runtime_min", "imdb_id", "tmdb_id", "movielens_id", "wikidata_id", "wikipedia_slug",
)  # fmt: skip

_PAIRS = list(CORE_RECORD_PAIRS.schema)
_PAIR = list(CORE_RECORD_PAIRS.key)


@dataclass(frozen=True)
class Changes:
    """What distinguishes the result of linking the changes from what was there before.

    `pairs` and `links` are rows that are new or may differ, `pairs_dropped` (record_a, record_b) and `links_dropped` (source,
    source_id) name rows that are gone.
    """

    pairs: pl.DataFrame
    pairs_dropped: pl.DataFrame
    links: pl.DataFrame
    links_dropped: pl.DataFrame


@dataclass(frozen=True)
class Linked:
    """What linking made.

    `pairs` and `links` conform to core_record_pairs and core_movie_links and hold every row; `history` lists ids that
    changed hands (movie_id, new_movie_id, event). `touched` names the films that were grouped anew. `changes` is None when
    everything was linked at once.
    """

    pairs: pl.DataFrame
    links: pl.DataFrame
    history: pl.DataFrame
    touched: pl.Series
    changes: Changes | None = None


def score_pairs(
    records: pl.DataFrame, dirty: pl.Series | None = None, found: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Propose and score pairs of `records` (COLUMNS, sorted by record_id); conforms to core_record_pairs.

    Pairs too weak to matter even as a runner-up are dropped. With `dirty` (rows), only pairs that hold such a row.
    """
    if found is None:
        found = blocking.occurrences(records)
    proposed = blocking.candidate_pairs(records, found, dirty)
    rarity = blocking.rarity(found, records.height)
    # Only records that stand in a pair are encoded: after a small change those are few.
    rows = np.unique(np.concatenate([proposed.a, proposed.b]))
    encoded = compare.encode(records[rows], rarity.gather(rows))
    a, b = np.searchsorted(rows, proposed.a), np.searchsorted(rows, proposed.b)
    found_levels = compare.levels(encoded, a, b, proposed.title)
    bits = compare.score_bits(found_levels, BIAS_BITS)
    keep = bits >= clustering.ACCEPT_BITS - clustering.MARGIN_BITS
    ids = records["record_id"].to_numpy()
    left, right = ids[proposed.a[keep]], ids[proposed.b[keep]]
    return pl.DataFrame(
        {
            "record_a": np.minimum(left, right),
            "record_b": np.maximum(left, right),
            "score_prob": compare.probability(bits[keep] + np.float32(clustering.UNRIVALLED_BITS)),
            "method": _methods(found_levels[keep]),
            "levels": compare.pack(found_levels[keep]),
        }
    ).sort("record_a", "record_b")


def _methods(levels: np.ndarray) -> pl.Series:
    column = {rule.name: levels[:, i] for i, rule in enumerate(RULES)}
    people = (column["directors"] <= 1) | (column["cast"] <= 1)
    shared_id = np.zeros(len(levels), dtype=bool)
    for rule in ID_RULES:
        shared_id |= column[rule] == 0
    titled, alias = column["title"] == blocking.SAME, column["title"] == blocking.ALIAS
    return pl.Series(
        np.select(
            [shared_id, (titled | alias) & people, titled, alias],
            ["id", "title_people", "title_year", "alias"],
            "fuzzy",
        )
    )


def _bits(pairs: pl.DataFrame) -> np.ndarray:
    return compare.score_bits(compare.unpack(pairs["levels"].to_numpy()), BIAS_BITS)


def _rows(ids: np.ndarray, wanted: pl.Series) -> np.ndarray:
    """Positions of `wanted` in the sorted array `ids`."""
    return np.searchsorted(ids, wanted.to_numpy())


def group(records: pl.DataFrame, pairs: pl.DataFrame) -> np.ndarray:
    """Label the films among `records` (record_id, source; sorted by record_id) from their scored pairs; shape [records]."""
    ids = records["record_id"].to_numpy()
    source = records["source"].rank("dense").cast(pl.Int64).to_numpy()
    return clustering.cluster(_rows(ids, pairs["record_a"]), _rows(ids, pairs["record_b"]), _bits(pairs), source)


def evidence_words(levels: pl.Series) -> pl.Series:
    """Spell out packed levels as JSON: each rule that found something, its level and its weight in bits."""
    unique = levels.unique()
    texts = []
    for row in compare.unpack(unique.to_numpy()):
        found = {
            rule.name: {"found": rule.levels[level].name, "bits": rule.levels[level].bits}
            for rule, level in zip(RULES, row, strict=True)
            if rule.levels[level].name != "unknown"
        }
        texts.append(json.dumps(found))
    words = pl.DataFrame({"levels": unique, "words": pl.Series(texts, dtype=pl.String)})
    return levels.to_frame("levels").join(words, on="levels", how="left", maintain_order="left")["words"]


def _links(records: pl.DataFrame, pairs: pl.DataFrame, ids: pl.DataFrame) -> pl.DataFrame:
    """Link rows for the records in `ids` (record_id, movie_id), each with its strongest pair inside its film."""
    inside = (
        pairs.join(ids, left_on="record_a", right_on="record_id")
        .join(ids, left_on="record_b", right_on="record_id", suffix="_b")
        .filter(pl.col("movie_id") == pl.col("movie_id_b"))
        .select("record_a", "record_b", "score_prob", "method", "levels")
    )
    sides = pl.concat(
        [
            inside.rename({"record_a": "record_id", "record_b": "partner"}),
            inside.select(
                pl.col("record_b").alias("record_id"),
                pl.col("record_a").alias("partner"),
                "score_prob",
                "method",
                "levels",
            ),
        ]
    )
    best = sides.sort("score_prob", "partner", descending=[True, False]).unique(
        "record_id", keep="first", maintain_order=True
    )
    names = records.select("record_id", "row_hash", "source", "source_id")
    best = (
        best.join(names, left_on="partner", right_on="record_id", how="left")
        .with_columns(words=evidence_words(best["levels"]))
        .select(
            "record_id",
            "method",
            "score_prob",
            # The partner as a JSON object, left open for the rules.
            evidence=pl.struct(partner_source="source", partner_id="source_id").struct.json_encode().str.head(-1)
            + pl.lit(', "rules": ')
            + pl.col("words")
            + pl.lit("}"),
        )
    )
    return (
        ids.join(names, on="record_id")
        .join(best, on="record_id", how="left")
        .with_columns(pl.col("method").fill_null("single"), pl.col("score_prob").fill_null(1.0))
        .select(CORE_MOVIE_LINKS.schema.names())
    )


def link(
    records: pl.DataFrame,
    previous_links: pl.DataFrame,
    retired_ids: pl.Series,
    before: pl.DataFrame | None = None,
    previous_pairs: pl.DataFrame | None = None,
    changed: pl.Series | None = None,
) -> Linked:
    """Link film records.

    `records`: COLUMNS of the records that are films. `previous_links` (record_id, movie_id; may be empty): the films as published
    before, whose ids are carried on. `retired_ids`: ids in core_movie_id_history, never given out again. With `before` (the
    records of the previous run), `previous_pairs` and `changed` (record_ids added, removed or edited since) only what they
    touch is scored and grouped again, and `previous_links` must then hold full core_movie_links rows.
    """
    records = records.select(COLUMNS).sort("record_id")
    ids = records["record_id"]
    if before is None or previous_pairs is None or changed is None:
        pairs = score_pairs(records)
        fresh = dropped = None
        redo = pl.Series(np.ones(records.height, dtype=bool))
    else:
        found = blocking.occurrences(records)
        dirty = blocking.dirty_rows(before.select(COLUMNS).sort("record_id"), records, found, changed)
        stale = pl.concat([ids.gather(dirty), changed]).unique()
        kept = previous_pairs.filter(
            ~pl.col("record_a").is_in(stale.implode()) & ~pl.col("record_b").is_in(stale.implode())
        )
        dropped = previous_pairs.join(kept, on=_PAIR, how="anti")
        fresh = score_pairs(records, dirty, found)
        pairs = pl.concat([kept.select(_PAIRS), fresh.select(_PAIRS)]).sort("record_a", "record_b")
        redo = _touched(records, pairs, pl.concat([stale, dropped["record_a"], dropped["record_b"]]).unique())
    some = records.filter(redo)
    inner = pairs.filter(pl.col("record_a").is_in(some["record_id"].implode())) if some.height < ids.len() else pairs
    films = some.select("record_id", "imdb_id", "tmdb_id").with_columns(label=pl.Series(group(some, inner)))
    stays = ids.filter(~redo)
    old = previous_links.select("record_id", "movie_id")
    held = old.filter(pl.col("record_id").is_in(stays.implode()))
    loose = old.join(held, on="record_id", how="anti")
    identified = assign_ids(films, loose, pl.concat([held["movie_id"], retired_ids]).unique())
    links = relinked = _links(records, inner, identified.ids)
    if stays.len():
        links = pl.concat([previous_links.join(held, on="record_id", how="semi").select(links.columns), links])
    touched = pl.concat([identified.ids["movie_id"], loose["movie_id"]]).unique()
    changes = None
    if fresh is not None and dropped is not None:
        gone = previous_links.join(links, on=["source", "source_id"], how="anti").select("source", "source_id")
        changes = Changes(fresh, dropped.join(fresh, on=_PAIR, how="anti").select(_PAIR), relinked, gone)
    return Linked(pairs, links.sort("source", "source_id"), identified.history, touched, changes)


def _touched(records: pl.DataFrame, pairs: pl.DataFrame, stale: pl.Series) -> pl.Series:
    """Tell which records lie in a component of accepted pairs that holds a stale record; boolean, shape [records]."""
    ids = records["record_id"].to_numpy()
    accepted = pairs.filter(pl.Series(_bits(pairs) >= clustering.ACCEPT_BITS))
    label = clustering.components(len(ids), _rows(ids, accepted["record_a"]), _rows(ids, accepted["record_b"]))
    hit = np.unique(label[records["record_id"].is_in(stale.implode()).to_numpy()])
    return pl.Series(np.isin(label, hit))

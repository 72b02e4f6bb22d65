"""From raw tables to the corpus: normalise, link and fuse what changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime

import polars as pl

from assets.build.tables import Built, Tell, latest_or_empty, published_metadata, published_or_empty
from pipelines.corpus.fuse import fuse, in_our_genres, signatures
from pipelines.corpus.policy import POLICY_VERSION
from pipelines.linking.keys import KEYS_VERSION
from pipelines.linking.link import COLUMNS, link
from pipelines.linking.rules import RULES_VERSION
from pipelines.sources.blocks import SourceBlock
from pipelines.sources.normalise import NORMALISE_VERSION, normalise
from warehouse.contracts import Table
from warehouse.store import Commit, NoSuchTable, StoreError, Warehouse
from warehouse.tables.corpus import (
    CORE_MOVIE_CONFLICTS,
    CORE_MOVIE_ID_HISTORY,
    CORE_MOVIE_LINKS,
    CORE_MOVIES,
    CORE_RECORD_PAIRS,
)
from warehouse.tables.enrichment import RAW_TMDB_API__DETAILS
from warehouse.tables.titles import CORE_TITLE_RECORDS, raw_table_name


def _salt(block: SourceBlock) -> int:
    text = f"{block.hash}:{NORMALISE_VERSION}:{KEYS_VERSION}"
    return int.from_bytes(hashlib.md5(text.encode(), usedforsecurity=False).digest()[:7])


def build_title_records(warehouse: Warehouse, blocks: Mapping[str, SourceBlock], full: bool, tell: Tell) -> Built:
    """Normalise the raw records that are new or differ, and drop those that are gone: core_title_records."""
    stored = latest_or_empty(warehouse, CORE_TITLE_RECORDS, ["record_id", "source", "source_id", "row_hash"])
    upserts, deletes = [], [stored.filter(~pl.col("source").is_in(list(blocks))).select("record_id")]
    for name, block in blocks.items():
        try:
            raw = warehouse.scan(raw_table_name(name))
        except NoSuchTable:
            continue
        # A record's hash covers how it was read: a new block or normaliser makes every record of the source a changed one.
        salted = pl.col("row_hash") ^ _salt(block)
        keys = raw.select("source_id", salted.alias("row_hash")).collect()
        own = stored.filter(pl.col("source") == name)
        changed = keys if full else keys.join(own, on=["source_id", "row_hash"], how="anti")
        deletes.append(own.join(keys, on="source_id", how="anti").select("record_id"))
        if changed.height:
            tell(f"normalising {changed.height:,} records of {name}")
            rows = raw.join(changed.lazy().select("source_id"), on="source_id", how="semi").collect()
            rows = normalise(rows, block).with_columns(salted)
            upserts.append(CORE_TITLE_RECORDS.conform(rows))
    changes = pl.concat([CORE_TITLE_RECORDS.empty(), *upserts])
    gone = pl.concat(deletes)
    counts = {"records changed": changes.height, "records gone": gone.height}
    if full or stored.is_empty():
        return Built((warehouse.write(CORE_TITLE_RECORDS, changes),), counts)
    return Built((warehouse.merge(CORE_TITLE_RECORDS, changes, gone),), counts)


def _film_records(warehouse: Warehouse, version: int | None = None) -> pl.DataFrame:
    return warehouse.scan(CORE_TITLE_RECORDS.name, version).filter("is_film").select(COLUMNS).collect()


def build_links(warehouse: Warehouse, now: datetime, full: bool, tell: Tell) -> Built:
    """Link the film records: core_record_pairs, core_movie_links, core_movie_id_history.

    Starts from the published links and the version of the records that they were made from; when either is missing, or
    the rules have changed, everything is linked anew, and films keep their ids all the same.
    """
    records = _film_records(warehouse)
    links = published_or_empty(warehouse, CORE_MOVIE_LINKS)
    history = published_or_empty(warehouse, CORE_MOVIE_ID_HISTORY)
    merged_away = history.filter(pl.col("event") == "merged")["movie_id"].unique()
    base = None if full else _linked_before(warehouse)
    if base is None:
        tell(f"linking {records.height:,} records")
        linked = link(records, links, merged_away)
    else:
        before, pairs = base
        changed = _changed(records, links)
        tell(f"linking {changed.len():,} changed records among {records.height:,}")
        linked = link(records, links, merged_away, before, pairs, changed)
    moves = linked.history.with_columns(changed_at=pl.lit(now, dtype=pl.Datetime("us")))
    redirects = pl.concat([history, CORE_MOVIE_ID_HISTORY.conform(moves)]).unique()
    changes = linked.changes
    if changes is not None and all(_is_latest_published(warehouse, t) for t in (CORE_RECORD_PAIRS, CORE_MOVIE_LINKS)):
        pairs_commit = warehouse.merge(CORE_RECORD_PAIRS, changes.pairs, changes.pairs_dropped)
        links_commit = warehouse.merge(
            CORE_MOVIE_LINKS, changes.links, changes.links_dropped, _linked_from(warehouse, pairs_commit)
        )
    else:
        pairs_commit = _rewritten(warehouse, CORE_RECORD_PAIRS, linked.pairs)
        links_commit = _rewritten(warehouse, CORE_MOVIE_LINKS, linked.links, _linked_from(warehouse, pairs_commit))
    commits = (pairs_commit, links_commit, warehouse.write(CORE_MOVIE_ID_HISTORY, redirects))
    counts = {
        "films": linked.links["movie_id"].n_unique(),
        "films grouped anew": linked.touched.len(),
        "ids redirected": moves.height,
    }
    return Built(commits, counts)


def _linked_from(warehouse: Warehouse, pairs: Commit) -> dict:
    """What the next run needs to know before it may build upon these links."""
    records_version = warehouse.published(CORE_TITLE_RECORDS.name)
    return {"rules": RULES_VERSION, "records_version": records_version, "pairs_version": pairs.version}


def _is_latest_published(warehouse: Warehouse, table: Table) -> bool:
    return warehouse.latest(table.name) == warehouse.published(table.name)


def _changed(records: pl.DataFrame, links: pl.DataFrame) -> pl.Series:
    """Ids of the records that were added, edited or removed since they were linked."""
    now, then = records.select("record_id", "row_hash"), links.select("record_id", "row_hash")
    on = ["record_id", "row_hash"]
    return pl.concat([now.join(then, on=on, how="anti"), then.join(now, on=on, how="anti")])["record_id"].unique()


def _linked_before(warehouse: Warehouse) -> tuple[pl.DataFrame, pl.DataFrame] | None:
    """Records and pairs of the published links, or None when they cannot be built upon."""
    state = published_metadata(warehouse, CORE_MOVIE_LINKS.name)
    if state is None or state.get("rules") != RULES_VERSION:
        return None
    if state["pairs_version"] != warehouse.published(CORE_RECORD_PAIRS.name):  # one of the two was rolled back
        return None
    try:
        return _film_records(warehouse, state["records_version"]), warehouse.read(CORE_RECORD_PAIRS.name)
    except StoreError:  # that version has been vacuumed away
        return None


def _rewritten(warehouse: Warehouse, table: Table, rows: pl.DataFrame, metadata: dict | None = None) -> Commit:
    """Make `rows` the content of `table` by merging what differs from the newest version."""
    stored = latest_or_empty(warehouse, table)
    rows = table.conform(rows)
    upserts = rows.join(stored, on=rows.columns, how="anti", nulls_equal=True)
    deletes = stored.join(rows, on=list(table.key), how="anti").select(table.key)
    return warehouse.merge(table, upserts, deletes, metadata)


def build_movies(warehouse: Warehouse, reliability: Mapping[str, float], full: bool, tell: Tell) -> Built:
    """Fuse the films whose records changed: core_movies, core_movie_conflicts."""
    policy = f"{POLICY_VERSION}:{json.dumps(dict(sorted(reliability.items())))}"
    links = warehouse.read(CORE_MOVIE_LINKS.name, ["record_id", "movie_id"])
    records = warehouse.scan(CORE_TITLE_RECORDS.name)
    enriched = in_our_genres(published_or_empty(warehouse, RAW_TMDB_API__DETAILS).filter(pl.col("status") == "found"))
    now = signatures(records.select("record_id", "row_hash", "tmdb_id").collect(), links, policy, enriched)
    # Versions that were never published may be of a run that was killed between the two tables: nothing to build upon.
    full = full or not all(_is_latest_published(warehouse, table) for table in (CORE_MOVIES, CORE_MOVIE_CONFLICTS))
    stored = latest_or_empty(warehouse, CORE_MOVIES, ["movie_id", "content_hash"])
    stale = now if full else now.join(stored, on=["movie_id", "content_hash"], how="anti")
    gone = stored.join(now, on="movie_id", how="anti").select("movie_id")
    tell(f"fusing {stale.height:,} of {now.height:,} films")
    some = links.join(stale, on="movie_id", how="semi")
    members = records.join(some.lazy().select("record_id"), on="record_id", how="semi").collect()
    fused = fuse(members, some, reliability, policy, enriched)
    counts = {"films fused": stale.height, "films gone": gone.height, "conflicts": fused.conflicts.height}
    if full or stored.is_empty():
        return Built(
            (
                warehouse.write(CORE_MOVIES, fused.movies),
                warehouse.write(CORE_MOVIE_CONFLICTS, fused.conflicts),
            ),
            counts,
        )
    settled = latest_or_empty(warehouse, CORE_MOVIE_CONFLICTS, ["movie_id", "field"])
    settled = settled.filter(pl.col("movie_id").is_in(pl.concat([stale["movie_id"], gone["movie_id"]]).implode()))
    settled = settled.join(fused.conflicts, on=["movie_id", "field"], how="anti")
    return Built(
        (
            warehouse.merge(CORE_MOVIES, fused.movies, gone),
            warehouse.merge(CORE_MOVIE_CONFLICTS, fused.conflicts, settled),
        ),
        counts,
    )

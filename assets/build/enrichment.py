"""Asking TMDB for what no catalogue knows, a batch at a time, so that nothing that was answered is lost."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from assets.build.tables import Built, Tell, latest_or_empty
from pipelines.corpus.fuse import incomplete_films
from warehouse.store import Commit, Warehouse
from warehouse.tables.corpus import CORE_MOVIE_LINKS
from warehouse.tables.enrichment import RAW_TMDB_API__DETAILS
from warehouse.tables.titles import CORE_TITLE_RECORDS

if TYPE_CHECKING:
    from pipelines.gateways.tmdb import Result, TmdbClient

BATCH = 200  # answers kept back at most; what a kill loses


def build_tmdb_details(warehouse: Warehouse, client: TmdbClient | None, now: datetime, tell: Tell) -> Built:
    """Fetch the details of films that have a TMDB id but lack director, cast, genre or plot: raw_tmdb_api__details.

    Without a `client` (there is no key) nothing is asked, and what was fetched earlier stays.
    """
    from pipelines.gateways.tmdb import to_frame, wanted  # the HTTP client is slow to import

    cached = latest_or_empty(warehouse, RAW_TMDB_API__DETAILS)
    if client is None:
        commit = warehouse.merge(RAW_TMDB_API__DETAILS, RAW_TMDB_API__DETAILS.empty())
        return Built((commit,), {"asked": 0, "cached": cached.height})
    fields = ["record_id", "tmdb_id", "directors", "cast_members", "genres", "plot"]
    records = warehouse.read(CORE_TITLE_RECORDS.name, fields)
    links = warehouse.read(CORE_MOVIE_LINKS.name, ["record_id", "movie_id"])
    ids = wanted(incomplete_films(records, links), cached)
    tell(f"asking TMDB for {len(ids):,} films, {cached.height:,} are known")
    commits: list[Commit] = []
    waiting: list[Result] = []

    def keep() -> None:
        if waiting:
            commits.append(warehouse.merge(RAW_TMDB_API__DETAILS, to_frame(waiting, now)))
            waiting.clear()
            tell(f"TMDB: {sum(c.rows_upserted for c in commits):,} of {len(ids):,} films")

    def on_result(result: Result) -> None:
        waiting.append(result)
        if len(waiting) >= BATCH:
            keep()

    try:
        summary = client.fetch(ids, on_result)
    finally:
        keep()
    if not commits:
        commits.append(warehouse.merge(RAW_TMDB_API__DETAILS, RAW_TMDB_API__DETAILS.empty()))
    return Built(
        (commits[-1],),
        {
            "asked": summary.asked,
            "found": summary.found,
            "missing": summary.missing,
            "failed": summary.failed,
            "requests": summary.requests,
        },
    )

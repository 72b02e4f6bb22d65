"""Linking what conversations mention to the corpus: only dialogues that changed, or that changed films can reach."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from assets.build.tables import Built, Tell, published_metadata, published_or_empty
from pipelines.mentions.gazetteer import Gazetteer, build_gazetteer, names_of
from pipelines.mentions.link import LINKER_VERSION, link_items, link_mentions
from pipelines.mentions.reach import in_reach
from warehouse.store import NoSuchTable, StoreError, Warehouse
from warehouse.tables.corpus import CORE_MOVIES
from warehouse.tables.dialogues import CORE_DIALOGUE_ITEMS, CORE_DIALOGUES, CORE_MENTION_HINTS, CORE_TURNS
from warehouse.tables.mentions import CORE_ITEM_LINKS, CORE_MENTIONS

FILM_COLUMNS = [
    "movie_id", "title", "original_title", "aliases", "year", "kind", "genres", "directors", "cast_members", "votes",
    "source_count", "content_hash",
]  # fmt: skip
_FILM_DOMAINS = ("film", "mixed")


def films_of(warehouse: Warehouse, version: int | None = None) -> pl.DataFrame:
    """The films as the linker takes them. Raises StoreError when that version is gone."""
    return warehouse.read(CORE_MOVIES.name, FILM_COLUMNS, version=version)


def gazetteer_of(films: pl.DataFrame, tell: Tell) -> Gazetteer:
    """The gazetteer of all names of `films`."""
    tell(f"indexing the names of {films.height:,} films")
    return build_gazetteer(films.drop("content_hash"), names_of(films))


def build_mentions(warehouse: Warehouse, datasets: Sequence[str], full: bool, tell: Tell) -> Built:
    """Link items and mentions of some `datasets`: core_item_links, core_mentions.

    What each dataset was linked from (versions of the films, the dialogues and the linker) is noted with core_mentions. Where that
    can still be read, only dialogues that differ, or in whose reach a film differs, are linked again.
    """
    movies_version = warehouse.published(CORE_MOVIES.name)
    dialogues_version = warehouse.published(CORE_DIALOGUES.name)
    films = films_of(warehouse)
    notes = (published_metadata(warehouse, CORE_MENTIONS.name) or {}).get("linked", {})
    stored_items, stored = published_or_empty(warehouse, CORE_ITEM_LINKS), published_or_empty(warehouse, CORE_MENTIONS)
    turns = published_or_empty(warehouse, CORE_TURNS)
    hints = published_or_empty(warehouse, CORE_MENTION_HINTS)
    items = published_or_empty(warehouse, CORE_DIALOGUE_ITEMS).filter(pl.col("domain").is_in(_FILM_DOMAINS))
    gazetteer: Gazetteer | None = None
    before: pl.DataFrame | None = None
    keep_items, keep = (
        [stored_items.filter(~pl.col("dataset").is_in(datasets))],
        [stored.filter(~pl.col("dataset").is_in(datasets))],
    )
    counts = {"dialogues linked": 0, "mentions": 0, "quarantined": 0}
    state = {"linker": LINKER_VERSION, "movies": movies_version, "dialogues": dialogues_version}
    for dataset in datasets:
        own, own_hints, own_items = (frame.filter(pl.col("dataset") == dataset) for frame in (turns, hints, items))
        old_items, old = (frame.filter(pl.col("dataset") == dataset) for frame in (stored_items, stored))
        note = None if full else notes.get(dataset)
        if note == state:
            keep_items.append(old_items)
            keep.append(old)
            continue
        stale: pl.Series | None = None
        if note is not None and note["linker"] == LINKER_VERSION:
            if before is None:
                before = _films_then(warehouse, note["movies"])
            was = _dialogues_then(warehouse, dataset, note["dialogues"])
            if before is not None and was is not None and note["movies"] is not None:
                stale = _changed_dialogues(warehouse, dataset, was)
                if note["movies"] != movies_version:
                    tell(f"{dataset}: finding the dialogues that changed films can reach")
                    reached = in_reach(own, own_hints, own_items, old_items, before, films)
                    stale = pl.concat([stale, reached]).unique()
        if gazetteer is None:
            gazetteer = gazetteer_of(films, tell)
        tell(f"{dataset}: linking {own_items.height:,} items")
        new_items = link_items(own_items, gazetteer, tell)
        keep_items.append(CORE_ITEM_LINKS.conform(new_items))
        if stale is not None:
            gone = ~pl.col("dialogue_id").is_in(own["dialogue_id"].unique().implode())
            is_stale = pl.col("dialogue_id").is_in(stale.implode())
            keep.append(old.filter(~is_stale & ~gone))
            own, own_hints = own.filter(is_stale), own_hints.filter(is_stale)
        number = own["dialogue_id"].n_unique()
        tell(f"{dataset}: linking the mentions of {number:,} dialogues")
        linked = CORE_MENTIONS.conform(link_mentions(own, own_hints, new_items, gazetteer, tell))
        keep.append(linked)
        counts["dialogues linked"] += number
    mentions = pl.concat(keep)
    counts["mentions"] = mentions.height
    counts["quarantined"] = int(mentions["is_quarantined"].sum())
    noted = {"linked": {**notes, **dict.fromkeys(datasets, state)}}
    return Built(
        (
            warehouse.write(CORE_ITEM_LINKS, pl.concat(keep_items)),
            warehouse.write(CORE_MENTIONS, mentions, noted),
        ),
        counts,
    )


def _films_then(warehouse: Warehouse, version: int) -> pl.DataFrame | None:
    try:
        return films_of(warehouse, version)
    except StoreError:  # that version has been vacuumed away
        return None


def _dialogues_then(warehouse: Warehouse, dataset: str, version: int | None) -> pl.DataFrame | None:
    if version is None:
        return None
    try:
        rows = warehouse.read(CORE_DIALOGUES.name, ["dialogue_id", "dataset", "content_hash"], version=version)
    except (StoreError, NoSuchTable):
        return None
    return rows.filter(pl.col("dataset") == dataset).drop("dataset")


def _changed_dialogues(warehouse: Warehouse, dataset: str, was: pl.DataFrame) -> pl.Series:
    now = warehouse.read(CORE_DIALOGUES.name, ["dialogue_id", "dataset", "content_hash"])
    now = now.filter(pl.col("dataset") == dataset).drop("dataset")
    return now.join(was, on=["dialogue_id", "content_hash"], how="anti")["dialogue_id"]

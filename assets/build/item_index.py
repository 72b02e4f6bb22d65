"""Indexing the embeddings, and opening the index: the file and the films in its order are one, or the index is not read.

Index and ids lie in one content-addressed folder (`files/ml_item_index/`), and the row of the table has both hashes. Does not belong here: how to index
(`models/item_index.py`).
"""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from assets.build.embeddings import embedded
from assets.build.files import FILES_FOLDER, FileError, checked, put, read
from assets.build.tables import Built, Tell, latest_or_empty, published_or_empty
from warehouse.store import Warehouse
from warehouse.tables.retrieval import ML_ITEM_EMBEDDINGS, ML_ITEM_INDEX

if TYPE_CHECKING:
    from models.item_index import Kind

_INDEX_FILE, _IDS_FILE = "vectors.faiss", "movie_ids.txt"


@dataclass(frozen=True)
class ItemIndex:
    """An index that was found whole: `movie_ids` in its order."""

    encoder: str
    movie_ids: list[str]
    index: Any

    def nearest(self, queries: np.ndarray, k: int) -> list[list[tuple[str, float]]]:
        """Films and cosines, the nearest first, for each of `queries` [Q, D]."""
        from models.item_index import search

        cosines, places = search(self.index, queries, min(k, len(self.movie_ids)))
        return [
            [(self.movie_ids[at], float(cosine)) for at, cosine in zip(*pair, strict=True) if at >= 0]
            for pair in zip(places.tolist(), cosines.tolist(), strict=True)
        ]


def build_item_index(
    warehouse: Warehouse, encoders: Sequence[str], full: bool, tell: Tell, kind: Kind | None = None
) -> Built:
    """Index the published embeddings of some `encoders`: their rows of ml_item_index; those of encoders without embeddings leave.

    An index is built again when its vectors, films or plan differ, when its files are gone or damaged, or with `full`. Raises IndexFailure, StoreError.
    """
    from models.item_index import build, content_hash, measured, plan, tuned, write

    stored = latest_or_empty(warehouse, ML_ITEM_INDEX)
    found = set(_names(warehouse))
    rows = [stored.filter(pl.col("encoder").is_in(list(found - set(encoders))))]
    counts: dict[str, float] = {"indexes": 0, "built": 0, "films": 0}
    for encoder in encoders:
        movie_ids, vectors = embedded(warehouse, encoder)
        if not movie_ids:
            tell(f"{encoder}: nothing is embedded, so there is nothing to index")
            continue
        ids = "".join(f"{movie_id}\n" for movie_id in movie_ids).encode()
        how = plan(len(movie_ids), kind)
        content = content_hash(vectors, ids, how)
        own = stored.filter((pl.col("encoder") == encoder) & (pl.col("content_hash") == content))
        counts["indexes"] += 1
        counts["films"] += len(movie_ids)
        if own.height and not full and _is_whole(warehouse, own.row(0, named=True), tell):
            rows.append(own)
            continue
        tell(f"{encoder}: building the {how.kind} index of {len(movie_ids):,} films")
        started = time.perf_counter()
        index = build(vectors, how)
        build_s = time.perf_counter() - started
        settled = tuned(index, how, vectors)
        beside = measured(index, vectors)
        tell(
            f"{encoder}: finds {beside.recall:.1%} of the nearest 25, {beside.p50_ms:.2f} ms a query, {beside.exact_p50_ms:.2f} ms exactly"
        )
        folder = warehouse.root / FILES_FOLDER
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".", suffix=".tmp", dir=folder) as temporary:
                path = Path(temporary) / _INDEX_FILE
                write(index, path)
                files = put(warehouse.root, ML_ITEM_INDEX.name, {_INDEX_FILE: path, _IDS_FILE: ids})
                size = path.stat().st_size
        except OSError as error:
            raise FileError(f"{folder}: cannot be written: {error.strerror or error}") from error
        counts["built"] += 1
        row = {
            "encoder": encoder,
            "kind": how.kind,
            "items": len(movie_ids),
            "dims": vectors.shape[1],
            "parameters": settled.as_json(),
            "path": files.path(_INDEX_FILE),
            "sha256": files.sha256[_INDEX_FILE],
            "ids_path": files.path(_IDS_FILE),
            "ids_sha256": files.sha256[_IDS_FILE],
            "bytes": size,
            "recall_25_share": beside.recall,
            "recall_queries": beside.queries,
            "latency_p50_ms": beside.p50_ms,
            "latency_p95_ms": beside.p95_ms,
            "exact_p50_ms": beside.exact_p50_ms,
            "build_s": build_s,
            "machine": _machine(),
            "content_hash": content,
        }
        rows.append(pl.DataFrame([row], schema=ML_ITEM_INDEX.schema))
    return Built((warehouse.write(ML_ITEM_INDEX, pl.concat(rows)),), counts)


def open_item_index(warehouse: Warehouse, encoder: str) -> ItemIndex:
    """The published index of `encoder`, its files compared with their hashes.

    Raises StoreError when there is none, FileError naming the file that is missing or damaged, IndexFailure for one that cannot be read.
    """
    from models.item_index import read as read_index

    rows = published_or_empty(warehouse, ML_ITEM_INDEX).filter(pl.col("encoder") == encoder)
    if rows.is_empty():
        raise FileError(f"{ML_ITEM_INDEX.name}: there is no index of encoder {encoder!r}: build it with `marquee run`")
    row = rows.row(0, named=True)
    movie_ids = read(warehouse.root, row["ids_path"], row["ids_sha256"]).decode().splitlines()
    path = checked(warehouse.root, row["path"], row["sha256"])
    if len(movie_ids) != row["items"]:
        raise FileError(f"{warehouse.root / row['ids_path']}: names {len(movie_ids):,} films, not {row['items']:,}")
    return ItemIndex(encoder, movie_ids, read_index(path, row["items"], row["dims"]))


def _names(warehouse: Warehouse) -> list[str]:
    return published_or_empty(warehouse, ML_ITEM_EMBEDDINGS, ["encoder"])["encoder"].unique().to_list()


def _is_whole(warehouse: Warehouse, row: dict[str, Any], tell: Tell) -> bool:
    try:
        checked(warehouse.root, row["ids_path"], row["ids_sha256"])
        checked(warehouse.root, row["path"], row["sha256"])
    except FileError as error:
        tell(f"{row['encoder']}: is indexed again: {error}")
        return False
    return True


def _machine() -> str:
    """Processor and cores."""
    name = ""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        pass  # not Linux
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{name or platform.processor() or platform.machine()}, {cores} cores"

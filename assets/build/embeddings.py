"""Embedding films: only those whose text, or whose encoder, changed. What was embedded survives a kill.

Work is kept every CHUNK films in files of the warehouse (`files/ml_item_embeddings/`), under the hash of text and encoder; a run that was
killed goes on there. The table is then written in one commit, and the files are removed. Does not belong here: the encoder
(`models/encoders.py`), the text (`pipelines/retrieval/item_text.py`).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from assets.build.files import FILES_FOLDER, FileError, address, put, read, sha256_of
from assets.build.tables import Built, Tell, latest_or_empty, published_or_empty
from pipelines.preferences.rows import stable_hashes
from pipelines.retrieval.item_text import MOVIE_COLUMNS, TEXT_VERSION, item_text
from pipelines.retrieval.scope import Scope, in_scope
from warehouse.store import StoreError, Warehouse
from warehouse.tables.corpus import CORE_MOVIES
from warehouse.tables.interactions import CORE_REC_TURNS, CORE_SESSIONS
from warehouse.tables.mentions import CORE_MENTIONS
from warehouse.tables.retrieval import ML_ITEM_EMBEDDINGS

if TYPE_CHECKING:
    from models.encoders import Encoder

CHUNK = 5_000
# Texts of which the vectors are compared with those in full precision, each time something is embedded.
COMPARED = 16
_TOLD_EVERY_S = 10

_TABLE = ML_ITEM_EMBEDDINGS.name
_CHUNK_FILE = "chunk.parquet"
_CHUNK_COLUMNS = ("text_hash", "tokens", "is_cut", "vector")


def used_films(warehouse: Warehouse) -> pl.Series:
    """Ids of the films that occur in rating sessions, in turns of recommenders, or in mentions that can be used."""
    mentions = published_or_empty(warehouse, CORE_MENTIONS, ["movie_id", "is_quarantined"])
    turns = published_or_empty(warehouse, CORE_REC_TURNS, ["history", "labels"])
    parts = [
        published_or_empty(warehouse, CORE_SESSIONS, ["movie_id"])["movie_id"],
        mentions.filter(~pl.col("is_quarantined"))["movie_id"],
        turns["history"].explode(),
        turns["labels"].explode(),
    ]
    return pl.concat([part.rename("movie_id") for part in parts]).drop_nulls().unique().sort()


def encoder_hashes(text_hash: pl.Series, fingerprint: str) -> pl.Series:
    """Hash of text, encoder and its version [N, Int64]: ml_item_embeddings.text_hash."""
    keyed = pl.select(pl.concat_str(text_hash.cast(pl.String), pl.lit(f" {TEXT_VERSION} {fingerprint}"))).to_series()
    return (stable_hashes(keyed) // 2).cast(pl.Int64).alias("text_hash")


def build_embeddings(warehouse: Warehouse, encoder: Encoder, full: bool, tell: Tell, scope: Scope = "default") -> Built:
    """Embed the films in `scope` with `encoder`: its rows of ml_item_embeddings; those of other encoders stay.

    Films that left the corpus or the scope leave the table. `full` embeds all of them again, but for what a killed run has left behind.
    Raises EncoderError, and StoreError when something cannot be stored.
    """
    from models.encoders import COSINE_MIN, EncoderError

    movies = warehouse.read(CORE_MOVIES.name, [*MOVIE_COLUMNS, "votes"])
    chosen = in_scope(movies, used_films(warehouse), scope)
    texts = item_text(chosen).sort("movie_id")
    texts = texts.with_columns(encoder_hashes(texts["text_hash"], encoder.fingerprint))
    stored = latest_or_empty(warehouse, ML_ITEM_EMBEDDINGS, ["encoder", "movie_id", "text_hash"])
    stored = stored.filter(pl.col("encoder") == encoder.name)
    todo = texts if full else texts.join(stored, on=["movie_id", "text_hash"], how="anti")
    gone = stored.join(texts, on="movie_id", how="anti")
    different = todo.unique("text_hash", maintain_order=True)
    kept = _kept(warehouse, different, tell)
    waiting = different.join(kept, on="text_hash", how="anti")
    counts: dict[str, float] = {
        "films": texts.height,
        "films left out": movies.height - texts.height,
        "embedded": waiting.height,
        "kept from a run that was cut short": kept.height,
        "removed": gone.height,
    }
    if waiting.height:
        sample = waiting["text"].gather_every(max(1, waiting.height // COMPARED)).head(COMPARED).to_list()
        counts["least cosine to float32"] = cosine = encoder.agreement(sample)
        if cosine < COSINE_MIN:
            raise EncoderError(f"{encoder.name}: vectors are {cosine:.5f} like those in float32 ({encoder.precision})")
        tell(f"{encoder.name}: embedding {waiting.height:,} films ({encoder.precision})")
        started = time.perf_counter()
        parts = [kept, *_embedded(warehouse, encoder, waiting, tell)]
        counts["documents_per_s"] = waiting.height / (time.perf_counter() - started)
        kept = pl.concat(parts)
    rows = (
        todo.select("movie_id", "text_hash")
        .join(kept, on="text_hash", how="inner")
        .select(pl.lit(encoder.name).alias("encoder"), "movie_id", *_CHUNK_COLUMNS)
    )
    counts["cut"] = int(rows["is_cut"].sum())
    commit = warehouse.merge(
        ML_ITEM_EMBEDDINGS, rows, gone, {"encoder": encoder.name, "fingerprint": encoder.fingerprint}
    )
    # Only now: the rows are safe in a version, be it one that nobody reads yet.
    shutil.rmtree(warehouse.root / FILES_FOLDER / _TABLE, ignore_errors=True)
    return Built((commit,), counts)


def _embedded(warehouse: Warehouse, encoder: Encoder, waiting: pl.DataFrame, tell: Tell) -> Iterator[pl.DataFrame]:
    """Embed in chunks, each stored before it is returned: _CHUNK_COLUMNS."""
    started = told = time.perf_counter()
    for start in range(0, waiting.height, CHUNK):
        part = waiting.slice(start, CHUNK)
        found = encoder.encode(part["text"].to_list(), tell)
        rows = pl.DataFrame(
            {
                "text_hash": part["text_hash"],
                "tokens": found.tokens,
                "is_cut": found.are_cut,
                "vector": pl.Series(found.vectors).arr.to_list(),
            },
            schema={name: ML_ITEM_EMBEDDINGS.schema[name] for name in _CHUNK_COLUMNS},
        )
        content = BytesIO()
        rows.write_parquet(content, compression="uncompressed")
        put(warehouse.root, _TABLE, {_CHUNK_FILE: content.getvalue()})
        now = time.perf_counter()
        done = start + part.height
        if now - told >= _TOLD_EVERY_S or done == waiting.height:
            told = now
            speed = done / (now - started)
            left_s = (waiting.height - done) / speed
            tell(
                f"{encoder.name}: {done:,} of {waiting.height:,} films ({done / waiting.height:.0%}), {speed:,.0f} a second, {left_s / 60:,.0f} min left"
            )
        yield rows


def _kept(warehouse: Warehouse, wanted: pl.DataFrame, tell: Tell) -> pl.DataFrame:
    """Chunks that a run before has left behind, as far as they are wanted."""
    folder = warehouse.root / FILES_FOLDER / _TABLE
    schema = pl.Schema({name: ML_ITEM_EMBEDDINGS.schema[name] for name in _CHUNK_COLUMNS})
    parts = [pl.DataFrame(schema=schema)]
    for path in sorted(folder.glob(f"*/{_CHUNK_FILE}")):
        if path.parent.name.startswith("."):
            continue
        try:
            digest = sha256_of(path)
            if address({_CHUNK_FILE: digest}) != path.parent.name:
                raise FileError(f"{path}: is damaged")
            content = read(warehouse.root, path.relative_to(warehouse.root).as_posix(), digest)
            part = pl.read_parquet(BytesIO(content))
            if part.schema != schema:
                raise FileError(f"{path}: has other columns")
            parts.append(part)
        except (OSError, FileError, pl.exceptions.PolarsError) as error:
            tell(f"its films are embedded again: {error}")
    return (
        pl.concat(parts).unique("text_hash", keep="first", maintain_order=True).join(wanted, on="text_hash", how="semi")
    )


def embedded(warehouse: Warehouse, encoder: str, version: int | None = None) -> tuple[list[str], np.ndarray]:
    """Films that an encoder has embedded, in order of their ids, and their vectors [N, D]; none where it has embedded none.

    Raises StoreError when vectors are not of one length.
    """
    rows = published_or_empty(warehouse, ML_ITEM_EMBEDDINGS, ["encoder", "movie_id", "vector"], version)
    rows = rows.filter(pl.col("encoder") == encoder).sort("movie_id")
    sizes = rows["vector"].list.len().unique().to_list()
    if len(sizes) > 1:
        raise StoreError(f"{_TABLE}: vectors of {encoder} have {' and '.join(map(str, sorted(sizes)))} dimensions")
    flat = rows["vector"].explode(empty_as_null=False).to_numpy()
    return rows["movie_id"].to_list(), np.array(flat, dtype=np.float32).reshape(rows.height, sizes[0] if sizes else 0)

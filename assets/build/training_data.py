"""Writing the folder that retrievers are trained and evaluated from, out of tables: plain files, read by models/data.py.

Belongs here: which interactions become sequences and examples, numbering films, the files and their manifest.
Does not belong here: how interactions become tables (pipelines/interactions/), what is learned from the folder (models/).
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from assets.build.files import sha256_of
from pipelines.dialogues.layouts import LAYOUTS
from pipelines.interactions.releases import LICENCE, RELEASES
from warehouse.store import Warehouse
from warehouse.tables.dialogues import DATASETS
from warehouse.tables.interactions import CORE_REC_TURNS, CORE_SESSIONS
from warehouse.tables.retrieval import ML_ITEM_EMBEDDINGS

SETTINGS = ("leave_one_out", "sessions", "dialogues")
ItemSet = Literal["seen", "embedded"]
Ids = Literal["movie", "source"]

# Of ratings; a dialogue may come back to a film, so that the film mentioned last need not be the last of the history.
_LAST = pl.col("history").list.last().alias("last_mentioned")

# All dialogue datasets together.
DIALOGUES = "dialogues"

ITEMS, VECTORS, SEQUENCES, MANIFEST = "items.parquet", "vectors.npy", "sequences.parquet", "manifest.json"
EXAMPLES = {"valid": "validation.parquet", "test": "test.parquet"}

# Folders beside the one that is written, and how long one that was left there is taken for somebody's work.
_UNFINISHED, _REPLACED, _LEFT_S = ".tmp", ".old", 86_400

_INTS = pa.list_(pa.int32())
_ITEMS_SCHEMA = pa.schema([("item", pa.int32()), ("movie_id", pa.string()), ("count", pa.int64())])
_SEQUENCES_SCHEMA = pa.schema([("sequence_id", pa.string()), ("items", _INTS), ("first_target", pa.int32())])
_EXAMPLES_SCHEMA = pa.schema(
    [
        ("example_id", pa.string()),
        ("cluster_id", pa.string()),
        ("position", pa.int32()),
        ("history", _INTS),
        ("labels", _INTS),
        ("are_repeats", pa.list_(pa.bool_())),
        ("last_item", pa.int32()),
    ]
)


class NoTrainingData(ValueError):
    """The tables hold nothing that was asked for; the message says what is missing."""


@dataclass(frozen=True)
class _Interactions:
    """What is written, with films still under their keys (movie_id or the release's id).

    `sequences`: sequence_id, items. `is_last_target`: whether of each only the last film is a target, and not all but the first.
    `examples`: split, example_id, cluster_id, position, history, labels, last_mentioned. `datasets`: the dialogue datasets in them. `counts`: what was left out.
    """

    sequences: pl.DataFrame
    examples: pl.DataFrame
    is_last_target: bool = False
    datasets: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)


def write_training_data(
    warehouse: Warehouse,
    dataset: str,
    setting: str,
    folder: Path,
    encoder: str | None,
    items: ItemSet = "embedded",
    *,
    ids: Ids = "movie",
    core: int | None = None,
    datasets: Sequence[str] = (),
    evaluate_on: Sequence[str] = (),
) -> dict[str, Any]:
    """Write the training folder of `dataset` to `folder` and return its manifest.

    `dataset`: a MovieLens release, a dialogue dataset, several joined by `+`, or "dialogues" (those in `datasets`; all where none are named).
    `encoder`: whose vectors of ml_item_embeddings are written; None for id-only models. `items`: "embedded", all films that have a vector, or "seen",
    those that occur in the interactions. `ids`: "source" keeps the release's own film ids, so that a benchmark's pool is exactly its own.
    `core`: keep users and films with at least that many ratings, counted again until all have. `evaluate_on`: dialogue datasets whose held-out
    conversations are the examples; those trained on where none are named.

    Interactions with a film that the corpus lacks, or that has no vector, are left out and counted in the manifest. The same tables give the same
    bytes. A folder that is there already is replaced as a whole, once the new one is complete; equal content is left alone.
    Raises NoTrainingData where there is nothing to train on or to recommend, ValueError for arguments that contradict each other.
    """
    if setting not in SETTINGS:
        raise ValueError(f"no setting {setting!r}; known: {', '.join(SETTINGS)}")
    if encoder is None and items == "embedded":
        raise ValueError("items='embedded' are films with a vector: name an encoder, or ask for items='seen'")
    if setting == "dialogues":
        if ids == "source" or core is not None:
            raise ValueError("dialogues have neither a release's film ids nor a k-core: ids='movie', core=None")
        named = _datasets(dataset, datasets)
        evaluated = _datasets("+".join(evaluate_on), ()) if evaluate_on else named
        found = _of_dialogues(warehouse, named, evaluated)
        licence = _licence(found.datasets)
    else:
        if dataset not in {release.name for release in RELEASES}:
            raise ValueError(f"no MovieLens release {dataset!r}; known: {', '.join(r.name for r in RELEASES)}")
        if datasets or evaluate_on:
            raise ValueError("datasets and evaluate_on are for setting='dialogues'")
        evaluated = ()
        found = _of_ratings(warehouse, dataset, setting, ids, core)
        licence = LICENCE
    if not found.sequences.height:
        raise NoTrainingData(f"{dataset}, {setting}: no training sequence in the warehouse")

    keys, vectors = _pool(warehouse, found, dataset, encoder, items, ids)
    kept = _with_known_films(found, keys)
    if not kept.sequences.height:
        left_out = ", ".join(f"{what}: {number:,}" for what, number in sorted(kept.counts.items()))
        raise NoTrainingData(f"{dataset}, {setting}: no training sequence has a target ({left_out})")
    manifest: dict[str, Any] = {
        "dataset": dataset,
        "setting": setting,
        "encoder": encoder,
        "items": len(keys),
        "dims": 0 if vectors is None else int(vectors.shape[1]),
        "licence": licence,
        "ids": ids,
        "item_set": items,
        "core": core,
        "evaluated_on": list(evaluated),
        "sequences": kept.sequences.height,
        "targets": int((kept.sequences["items"].list.len() - kept.sequences["first_target"]).sum()),
        "examples": {split: kept.examples.filter(pl.col("split") == split).height for split in EXAMPLES},
        "left_out": dict(sorted(kept.counts.items())),
    }
    return _placed(folder, lambda beside: _write_files(beside, kept, keys, vectors), manifest)


# ------------------------------------------------------------------------------------------------------- from the tables


def _datasets(dataset: str, datasets: Sequence[str]) -> tuple[str, ...]:
    """The dialogue datasets that are meant, in the order of DATASETS."""
    asked = (datasets or DATASETS) if dataset == DIALOGUES else dataset.split("+")
    unknown = [name for name in asked if name not in DATASETS]
    if unknown or (datasets and dataset != DIALOGUES):
        raise ValueError(
            f"no dialogue dataset {(unknown or [dataset])[0]!r}; known: {DIALOGUES}, {', '.join(DATASETS)}"
        )
    return tuple(name for name in DATASETS if name in asked)


def _licence(datasets: Sequence[str]) -> str:
    """What the datasets' layouts state."""
    own = [layout for layout in LAYOUTS if layout.is_dialogues]
    stated = {name: [layout.licence for layout in own if layout.dataset == name] for name in datasets}
    parts = {
        name: dict.fromkeys(part for licence in many for part in licence.split("; ")) for name, many in stated.items()
    }
    return "; ".join(f"{name}: {', '.join(licences)}" for name, licences in parts.items())


def _of_dialogues(warehouse: Warehouse, named: Sequence[str], evaluated: Sequence[str]) -> _Interactions:
    """A training sequence a label of a train turn; an example a turn that is held out."""
    turns = warehouse.scan(CORE_REC_TURNS.name).filter(pl.col("dataset").is_in([*named, *evaluated])).collect()
    turns = turns.sort("dialogue_id", "turn")
    train = turns.filter((pl.col("split") == "train") & pl.col("dataset").is_in(named))
    labelled = train.select(
        "dialogue_id", "turn", "history", "labels", number=pl.int_ranges(pl.col("labels").list.len())
    ).explode("labels", "number")
    sequences = labelled.select(
        sequence_id=pl.concat_str("dialogue_id", "turn", "number", separator=":"),
        items=pl.concat_list("history", "labels"),
    )
    held_out = turns.filter((pl.col("split") != "train") & pl.col("dataset").is_in(evaluated))
    examples = held_out.select(
        "split",
        example_id=pl.concat_str("dialogue_id", "turn", separator=":"),
        cluster_id="conversation_id",
        position="turn",
        history="history",
        labels="labels",
        last_mentioned="last_mentioned",
    )
    used = set(train["dataset"]) | set(held_out["dataset"])
    return _Interactions(sequences, examples, True, tuple(name for name in DATASETS if name in used))


def _of_ratings(warehouse: Warehouse, release: str, setting: str, ids: Ids, core: int | None) -> _Interactions:
    rows = (
        warehouse.scan(CORE_SESSIONS.name)
        .filter(pl.col("release") == release)
        .select("user_id", "position", "source_item_id", "movie_id", "session", "session_split", "leave_one_out_split")
        .collect()
        .sort("user_id", "position")
    )
    counts: dict[str, int] = {}
    if ids == "source":
        rows = rows.with_columns(key=pl.col("source_item_id").cast(pl.String))
    else:
        rows = rows.with_columns(key="movie_id")
    if core is not None:
        whole, rows = rows.height, _core(rows, core)
        counts[f"ratings outside the {core}-core"] = whole - rows.height
        rows = rows.with_columns(leave_one_out_split=_left_out())
    user = pl.concat_str(pl.lit(release), "user_id", separator=":")
    if setting == "leave_one_out":
        made = _leave_one_out(rows, user)
    else:
        made = _sessions(rows, user)
    return replace(made, counts=counts)


def _core(rows: pl.DataFrame, core: int) -> pl.DataFrame:
    """The ratings left when users and films with fewer than `core` are taken out until none is. A film that the corpus lacks counts by its id."""
    film = pl.coalesce("key", pl.col("source_item_id").cast(pl.String))
    while True:
        kept = rows.filter((pl.len().over("user_id") >= core) & (pl.len().over(film) >= core))
        if kept.height == rows.height:
            return kept
        rows = kept


def _left_out() -> pl.Expr:
    """The split by leaving one out, of rows by user and position."""
    from_end = pl.len().over("user_id") - 1 - pl.int_range(pl.len()).over("user_id")
    is_train = (pl.len().over("user_id") < 3) | (from_end > 1)
    return pl.when(is_train).then(pl.lit("train")).when(from_end == 1).then(pl.lit("valid")).otherwise(pl.lit("test"))


def _leave_one_out(rows: pl.DataFrame, user: pl.Expr) -> _Interactions:
    """One sequence a user; the film before the last is the label of valid, the last of test, after all before it."""
    by_user = rows.group_by("user_id", maintain_order=True)
    keys, split, position = pl.col("key"), pl.col("leave_one_out_split"), pl.col("position")
    users = by_user.agg(
        train=keys.filter(split == "train"),
        valid=keys.filter(split == "valid"),
        test=keys.filter(split == "test"),
        valid_at=position.filter(split == "valid").first(),
        test_at=position.filter(split == "test").first(),
    ).with_columns(cluster_id=user)
    sequences = users.select(sequence_id="cluster_id", items="train")
    examples = [
        users.filter(pl.col(split).list.len() > 0).select(
            split=pl.lit(split),
            example_id=pl.concat_str("cluster_id", f"{split}_at", separator=":"),
            cluster_id="cluster_id",
            position=f"{split}_at",
            history=history,
            labels=split,
        )
        for split, history in (("valid", pl.col("train")), ("test", pl.concat_list("train", "valid")))
    ]
    return _Interactions(sequences, pl.concat(examples).with_columns(_LAST))


def _sessions(rows: pl.DataFrame, user: pl.Expr) -> _Interactions:
    """One sequence a session of train; the last film of each session that is held out is a label, after those before it."""
    by_session = rows.group_by("user_id", "session", maintain_order=True)
    found = by_session.agg("key", pl.col("session_split").first(), pl.col("position").last()).with_columns(
        cluster_id=user
    )
    found = found.with_columns(session_id=pl.concat_str("cluster_id", "session", separator=":"))
    is_train = pl.col("session_split") == "train"
    sequences = found.filter(is_train).select(sequence_id="session_id", items="key")
    examples = found.filter(~is_train & (pl.col("key").list.len() > 1)).select(
        split="session_split",
        example_id=pl.concat_str("session_id", "position", separator=":"),
        cluster_id="cluster_id",
        position="position",
        history=pl.col("key").list.head(pl.col("key").list.len() - 1),
        labels=pl.col("key").list.tail(1),
    )
    return _Interactions(sequences, examples.with_columns(_LAST))


# ------------------------------------------------------------------------------------------------------------ the films


def _pool(
    warehouse: Warehouse, found: _Interactions, dataset: str, encoder: str | None, items: ItemSet, ids: Ids
) -> tuple[pl.Series, np.ndarray | None]:
    """The keys of the films that can be recommended, sorted, and their vectors [N, D], if there is an encoder.

    Raises NoTrainingData when there are none, ValueError when a film of `seen` has no vector.
    """
    columns = [found.sequences["items"], found.examples["history"], found.examples["labels"]]
    seen = pl.concat([column.explode().cast(pl.String) for column in columns]).drop_nulls().unique()
    if ids == "source":
        # In order of the ids as numbers.
        seen = seen.cast(pl.Int64).sort().cast(pl.String)
    else:
        seen = seen.sort()
    if encoder is None:
        return seen, None
    known = (
        warehouse.scan(ML_ITEM_EMBEDDINGS.name)
        .filter(pl.col("encoder") == encoder)
        .select("movie_id", "vector")
        .collect()
        .sort("movie_id")
    )
    if known.is_empty():
        raise NoTrainingData(f"ml_item_embeddings holds no vector of encoder {encoder!r}")
    if ids == "source":
        of_source = (
            warehouse.scan(CORE_SESSIONS.name)
            .filter((pl.col("release") == dataset) & pl.col("movie_id").is_not_null())
            .select(key=pl.col("source_item_id").cast(pl.String), movie_id="movie_id")
            .unique()
            .collect()
        )
        known = (
            seen.alias("key")
            .to_frame()
            .join(of_source, on="key", how="inner", maintain_order="left")
            .join(known, on="movie_id", how="inner", maintain_order="left")
            .select("key", "vector")
        )
    else:
        known = known.rename({"movie_id": "key"})
    if items == "seen":
        lacking = seen.filter(~seen.is_in(known["key"].implode()))
        if len(lacking):
            raise ValueError(
                f"{len(lacking):,} of {len(seen):,} films in the interactions have no vector of {encoder}, "
                f"first {lacking[0]}: items='embedded' leaves them out"
            )
        known = known.filter(pl.col("key").is_in(seen.implode()))
    if known.is_empty():
        raise NoTrainingData(f"no film of {dataset} has a vector of encoder {encoder!r}")
    return known["key"], _matrix(known, encoder)


def _matrix(known: pl.DataFrame, encoder: str) -> np.ndarray:
    """The column `vector` as float32 [N, D]. Raises ValueError naming the film whose vector is of another length, or not of numbers."""
    lengths = known["vector"].list.len()
    odd = known.filter(lengths != lengths[0])
    if odd.height:
        raise ValueError(
            f"the vector of {odd['key'][0]} by {encoder} has {odd['vector'][0].len()} dimensions, others have {lengths[0]}"
        )
    flat = known["vector"].explode().to_numpy()
    matrix = np.ascontiguousarray(flat, dtype=np.float32).reshape(known.height, int(lengths[0]))
    bad = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    if len(bad):
        raise ValueError(f"the vector of {known['key'][int(bad[0])]} by {encoder} has values that are no numbers")
    return matrix


def _with_known_films(found: _Interactions, keys: pl.Series) -> _Interactions:
    """`found` with the numbers of films in place of their keys.

    Films without a number are taken out, then what has no target or label any more; both are counted.
    """
    numbers = pl.DataFrame({"key": keys, "item": pl.int_range(len(keys), dtype=pl.Int32, eager=True)})
    counts = dict(found.counts)

    def count(what: str, number: int) -> None:
        if number:
            counts[what] = counts.get(what, 0) + number

    def numbered(frame: pl.DataFrame, column: str, what: str) -> pl.DataFrame:
        """The lists of `column` as numbers, null where a film has none."""
        flat = frame.select("row", column).filter(pl.col(column).list.len() > 0).explode(column)
        joined = flat.rename({column: "key"}).join(numbers, on="key", how="left", maintain_order="left")
        lacking = joined.filter(pl.col("item").is_null())
        count(f"{what}: not in the corpus", lacking["key"].null_count())
        count(f"{what}: no vector", lacking["key"].count())
        lists = joined.group_by("row", maintain_order=True).agg(pl.col("item").alias(column))
        none = pl.lit([], dtype=pl.List(pl.Int32))
        with_lists = frame.drop(column).join(lists, on="row", how="left", maintain_order="left")
        return with_lists.with_columns(pl.col(column).fill_null(none))

    sequences = numbered(found.sequences.with_row_index("row"), "items", "films of sequences")
    has_target = pl.col("items").list.drop_nulls().list.len() > 1
    if found.is_last_target:
        has_target = pl.col("items").list.last().is_not_null()
    kept = sequences.filter(has_target).with_columns(pl.col("items").list.drop_nulls())
    count("sequences without a target", sequences.height - kept.height)
    first = pl.col("items").list.len() - 1 if found.is_last_target else pl.lit(1)
    kept = kept.select("sequence_id", "items", first.cast(pl.Int32).alias("first_target")).sort("sequence_id")

    examples = numbered(found.examples.with_row_index("row"), "history", "films of histories")
    examples = numbered(examples, "labels", "labels")
    examples = examples.with_columns(pl.col("history", "labels").list.drop_nulls())
    last = numbers.rename({"key": "last_mentioned", "item": "last_item"})
    examples = examples.join(last, on="last_mentioned", how="left", maintain_order="left")
    labelled = examples.filter(pl.col("labels").list.len() > 0)
    count("examples without a label", examples.height - labelled.height)
    return replace(found, sequences=kept, examples=_with_repeats(labelled).sort("example_id"), counts=counts)


def _with_repeats(examples: pl.DataFrame) -> pl.DataFrame:
    """`examples` with `are_repeats`: for each label, whether it is in the history."""
    flat = examples.select("row", "labels").explode("labels").rename({"labels": "item"})
    before = examples.select("row", "history").explode("history").rename({"history": "item"}).unique()
    marked = flat.join(before.with_columns(is_repeat=True), on=["row", "item"], how="left", maintain_order="left")
    lists = marked.group_by("row", maintain_order=True).agg(are_repeats=pl.col("is_repeat").fill_null(False))
    return examples.join(lists, on="row", how="left", maintain_order="left")


# ------------------------------------------------------------------------------------------------------------ the folder


def _item_frame(kept: _Interactions, keys: pl.Series) -> pl.DataFrame:
    """Rows of items.parquet. `count`: ratings of a film in the training sequences, a sequence's first one too; of dialogues, how often it is a label."""
    counted = pl.col("items").list.tail(1) if kept.is_last_target else pl.col("items")
    counts = kept.sequences.select(item=counted).explode("item").group_by("item").agg(count=pl.len().cast(pl.Int64))
    items = pl.DataFrame({"item": pl.int_range(len(keys), dtype=pl.Int32, eager=True), "movie_id": keys})
    return items.join(counts, on="item", how="left", maintain_order="left").with_columns(pl.col("count").fill_null(0))


def _write_files(folder: Path, kept: _Interactions, keys: pl.Series, vectors: np.ndarray | None) -> None:
    """Write all files but the manifest."""
    _write_parquet(folder / ITEMS, _item_frame(kept, keys), _ITEMS_SCHEMA)
    _write_parquet(folder / SEQUENCES, kept.sequences, _SEQUENCES_SCHEMA)
    for split, name in EXAMPLES.items():
        _write_parquet(folder / name, kept.examples.filter(pl.col("split") == split), _EXAMPLES_SCHEMA)
    if vectors is not None:
        np.save(folder / VECTORS, vectors, allow_pickle=False)


def _write_parquet(path: Path, frame: pl.DataFrame, schema: pa.Schema) -> None:
    """Write the columns of `schema`, in its types: readers need not know polars' own."""
    table = frame.select(schema.names).to_arrow(compat_level=pl.CompatLevel.oldest())
    pq.write_table(table.cast(schema), path, compression="zstd")


def _placed(folder: Path, write: Callable[[Path], None], manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Put what `write` writes into `folder`, with the manifest and the hashes in it; returns the manifest.

    Written beside, synced and renamed. A folder of the same content stays as it is. Raises FileExistsError when `folder` holds something else
    than training files.
    """
    if folder.exists() and not (folder / MANIFEST).is_file() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} holds no training files and is not replaced")
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=_UNFINISHED, dir=folder.parent))
    try:
        write(beside)
        hashes = {path.name: sha256_of(path) for path in sorted(beside.iterdir())}
        digest = hashlib.sha256("".join(f"{name} {sha256}\n" for name, sha256 in hashes.items()).encode()).hexdigest()
        whole = {**manifest, "data_hash": digest, "files": hashes}
        text = json.dumps(whole, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        (beside / MANIFEST).write_text(text, encoding="utf-8")
        if _is_whole(folder, text, hashes):
            return whole
        for path in beside.iterdir():
            _sync(path)
        _sync(beside)
        beside.chmod(0o755)
        if folder.exists():
            # Two renames: a folder cannot be renamed onto one with files in it. A kill between them leaves the old one beside, whole.
            old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=_REPLACED, dir=folder.parent))
            os.rename(folder, old)
            os.rename(beside, folder)
            shutil.rmtree(old)
        else:
            os.rename(beside, folder)
        _sync(folder.parent)
        return whole
    finally:
        if beside.exists():
            shutil.rmtree(beside)


def _sweep(folder: Path) -> None:
    """Remove what runs that were killed left beside `folder` a day ago or longer."""
    for path in folder.parent.glob(f".{glob.escape(folder.name)}.*"):
        if path.suffix in (_UNFINISHED, _REPLACED) and path.stat().st_mtime < time.time() - _LEFT_S:
            shutil.rmtree(path)


def _is_whole(folder: Path, manifest: str, hashes: Mapping[str, str]) -> bool:
    """Whether `folder` holds exactly these files, undamaged."""
    try:
        if (folder / MANIFEST).read_text(encoding="utf-8") != manifest:
            return False
        return all(sha256_of(folder / name) == sha256 for name, sha256 in hashes.items())
    except OSError:
        return False


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Training folders as batches: Parquet columns to arrays, arrays to padded tensors.

Belongs here: reading and checking a folder, what of a sequence is trained on, the order of an epoch. Does not belong here: how folders are made, what is done with a batch.

Sequences stay in two arrays, values and offsets, as Arrow holds them; a batch is gathered from them without a Python list.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.weights import sha256

# Padding in item tensors. It stands here and not with the models, so that reading data needs none.
PAD = -1

Ints = NDArray[np.int64]
Small = NDArray[np.int32]


class DataError(ValueError):
    """A training folder that cannot be trained on. Names the file, and the row where one is to blame."""


@dataclass(frozen=True)
class Lists:
    """R lists of item numbers: list r is `values[offsets[r]:offsets[r + 1]]`. `values [V]` int32, `offsets [R + 1]` int64."""

    values: Small
    offsets: Ints

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Ints:
        """Length of each list [R]."""
        return np.diff(self.offsets)


@dataclass(frozen=True)
class Sequences:
    """R windows into lists of items. Window r is `values[starts[r]:ends[r]]`; its positions from `first_targets[r]` on are targets."""

    values: Small
    starts: Ints
    ends: Ints
    first_targets: Ints
    clipped: int  # sequences that were longer than the limit
    dropped: int  # sequences without a target

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def lengths(self) -> Ints:
        """Length of each window [R]."""
        return self.ends - self.starts

    @property
    def target_count(self) -> int:
        """Targets of one pass."""
        return int((self.lengths - self.first_targets).sum())

    def popularity(self, items: int) -> Ints:
        """How often each item is a target in one pass [items]: what in-batch negatives are drawn by."""
        positions = np.arange(len(self.values) + 1)
        # +1 where targets begin and -1 where they end: above zero in between. Windows overlap in inputs, never in targets.
        change = np.zeros(len(positions), dtype=np.int64)
        np.add.at(change, self.starts + self.first_targets, 1)
        np.add.at(change, self.ends, -1)
        is_target = np.cumsum(change)[:-1] > 0
        return np.bincount(self.values[is_target], minlength=items)


@dataclass(frozen=True)
class Examples:
    """What is ranked in validation: E histories and their labels."""

    histories: Lists
    labels: Lists

    def __len__(self) -> int:
        return len(self.histories)

    def take(self, rows: Ints) -> Examples:
        """Some of the examples."""
        return Examples(_take(self.histories, rows), _take(self.labels, rows))


@dataclass(frozen=True)
class Batch:
    """`items [B, L]` int64, right-padded with PAD; `lengths [B]`; `first_target [B]`."""

    items: Tensor
    lengths: Tensor
    first_target: Tensor

    def to(self, device: torch.device) -> Batch:
        """On `device`; from pinned memory the copy does not wait."""
        if device.type == "cpu":
            return self
        parts = (self.items, self.lengths, self.first_target)
        return Batch(*(part.pin_memory().to(device, non_blocking=True) for part in parts))


@dataclass(frozen=True)
class Folder:
    """A training folder. `vectors [N, D]` float32 is a memory map, read when it is used; None where there is none."""

    path: Path
    manifest: dict[str, Any]
    movie_ids: list[str]
    vectors: NDArray[np.float32] | None

    @property
    def items(self) -> int:
        """How many items there are."""
        return len(self.movie_ids)

    @property
    def data_hash(self) -> str:
        """Hash of the files, as the manifest states it."""
        return str(self.manifest["data_hash"])


def open_folder(path: Path, needs_vectors: bool) -> Folder:
    """Manifest, items and vectors of a folder. Raises DataError where one is missing, empty or does not fit the others."""
    manifest_file = path / "manifest.json"
    try:
        manifest = json.loads(manifest_file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{manifest_file}: cannot be read: {error}") from None
    for key in ("dataset", "data_hash"):
        if not isinstance(manifest, dict) or not isinstance(manifest.get(key), str):
            raise DataError(f"{manifest_file}: key {key!r} is missing")
    names = ("items.parquet", "sequences.parquet", "validation.parquet")
    _verify(path, manifest, (*names, "vectors.npy") if needs_vectors else names)
    movie_ids = read_movie_ids(path / "items.parquet")
    return Folder(path, manifest, movie_ids, _vectors(path / "vectors.npy", len(movie_ids)) if needs_vectors else None)


def read_movie_ids(file: Path) -> list[str]:
    """movie_id of each item, in the order of item numbers. Raises DataError."""
    table = _read(file, {"item": pa.int32(), "movie_id": pa.string()})
    numbers = table["item"].to_numpy()
    wrong = np.flatnonzero(numbers != np.arange(len(numbers)))
    if len(wrong):
        raise DataError(
            f"{file}: row {wrong[0] + 1}: item is {numbers[wrong[0]]}, not {wrong[0]}: items are numbered by row"
        )
    movie_ids: list[str] = table["movie_id"].to_pylist()
    if len(set(movie_ids)) != len(movie_ids):
        raise DataError(f"{file}: a movie_id stands in two rows")
    return movie_ids


def read_sequences(file: Path, items: int, max_history: int, long_sequences: str = "latest") -> Sequences:
    """Training sequences, cut to windows of at most `max_history` inputs and one more item.

    "latest" keeps the latest window of a longer sequence; "windows" cuts it into windows that together hold each target once, each with the inputs of its own window. A window that does
    not start its sequence never asks for its first item, whose history it lacks. Sequences without a target are dropped and counted. Raises DataError.
    """
    table = _read(file, {"items": pa.list_(pa.int32()), "first_target": pa.int32()})
    lists = _lists(file, table, "items", items)
    first = table["first_target"].to_numpy().astype(np.int64)
    lengths = lists.lengths
    wrong = np.flatnonzero((first < 0) | (first > lengths))
    if len(wrong):
        row = wrong[0]
        raise DataError(f"{file}: row {row + 1}: first_target {first[row]} is not within its {lengths[row]} items")
    has_target = first < lengths
    starts, ends, first = lists.offsets[:-1][has_target], lists.offsets[1:][has_target], first[has_target]
    if not len(starts):
        raise DataError(f"{file}: no sequence has a target")
    is_long = ends - starts > max_history + 1
    dropped, clipped = int((~has_target).sum()), int(is_long.sum())
    cut_starts, cut_ends, cut_first = _latest(starts, ends, first, max_history)
    if long_sequences == "windows" and clipped:
        # Each window starts at the last item of the one before: targets do not overlap, and none is left out.
        beyond = np.maximum(0, -(-(ends - starts - 1 - max_history) // max_history))
        row = np.repeat(np.arange(len(starts)), beyond)
        nth = np.arange(len(row)) - np.repeat(np.cumsum(beyond) - beyond, beyond) + 1
        more_ends = ends[row] - nth * max_history
        more = _latest(starts[row], more_ends, first[row], max_history)
        cut_starts, cut_ends, cut_first = (
            np.concatenate(pair) for pair in zip((cut_starts, cut_ends, cut_first), more, strict=True)
        )
        kept = cut_first < cut_ends - cut_starts
        order = np.argsort(cut_starts[kept], kind="stable")
        cut_starts, cut_ends, cut_first = cut_starts[kept][order], cut_ends[kept][order], cut_first[kept][order]
    return Sequences(lists.values, cut_starts, cut_ends, cut_first, clipped, dropped)


def read_examples(file: Path, items: int, limit: int = 0, seed: int = 0) -> Examples:
    """Validation or test examples; with a `limit`, so many of them drawn by `seed`. Raises DataError for an empty file or an example without a label."""
    table = _read(file, {"history": pa.list_(pa.int32()), "labels": pa.list_(pa.int32())})
    examples = Examples(_lists(file, table, "history", items), _lists(file, table, "labels", items))
    empty = np.flatnonzero(examples.labels.lengths == 0)
    if len(empty):
        raise DataError(f"{file}: row {empty[0] + 1}: labels are empty")
    if limit and limit < len(examples):
        rows = np.random.default_rng([seed, 2]).choice(len(examples), limit, replace=False)
        return examples.take(np.sort(rows))
    return examples


def epoch_order(
    lengths: Ints, batch_size: int, bucket_batches: int, seed: int, epoch: int, parts: int = 1
) -> list[Ints]:
    """The batches of an epoch as row numbers: a function of its arguments alone, so that a run resumes at a position of it.

    Rows are shuffled and cut into buckets of `bucket_batches` batches; within a bucket they are sorted by length, so that a batch holds little padding, and the batches are shuffled again. A
    last batch of fewer than `parts` rows joins the one before, so that each of `parts` processes has a row. Raises ValueError where there are fewer rows than parts.
    """
    if len(lengths) < parts:
        raise ValueError(f"{len(lengths)} sequences are too few for {parts} processes")
    random = np.random.default_rng([seed, 1, epoch])
    rows = random.permutation(len(lengths))
    span = batch_size * bucket_batches
    batches = []
    for start in range(0, len(rows), span):
        bucket = rows[start : start + span]
        if bucket_batches > 1:
            bucket = bucket[np.argsort(lengths[bucket], kind="stable")]
        batches += [bucket[at : at + batch_size] for at in range(0, len(bucket), batch_size)]
    if len(batches[-1]) < parts and len(batches) > 1:
        batches[-2:] = [np.concatenate(batches[-2:])]
    return [batches[index] for index in random.permutation(len(batches))]


def collate(sequences: Sequences, rows: Ints) -> Batch:
    """Windows `rows` as a padded batch."""
    starts, lengths = sequences.starts[rows], sequences.ends[rows] - sequences.starts[rows]
    return Batch(
        _padded(sequences.values, starts, lengths),
        torch.from_numpy(lengths),
        torch.from_numpy(sequences.first_targets[rows]),
    )


def histories(examples: Examples, rows: slice, max_history: int) -> tuple[Tensor, Tensor]:
    """The latest `max_history` items of some histories: `items [B, L]` right-padded, `lengths [B]`."""
    ends = examples.histories.offsets[1:][rows]
    lengths = np.minimum(ends - examples.histories.offsets[:-1][rows], max_history)
    return _padded(examples.histories.values, ends - lengths, lengths), torch.from_numpy(lengths)


def flat(lists: Lists, rows: slice) -> tuple[Tensor, Tensor]:
    """Some lists end to end: which list each entry is of (from 0) [M], and the entries [M], both int64."""
    offsets = lists.offsets[rows.start : rows.stop + 1]
    values = lists.values[offsets[0] : offsets[-1]].astype(np.int64)
    of = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    return torch.from_numpy(of), torch.from_numpy(values)


def batches_of(count: int, size: int) -> Iterator[slice]:
    """0..count in slices of at most `size`."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def _latest(starts: Ints, ends: Ints, first: Ints, max_history: int) -> tuple[Ints, Ints, Ints]:
    cut = np.maximum(0, ends - starts - max_history - 1)
    return starts + cut, ends, np.where(cut > 0, np.maximum(first - cut, 1), first)


def _padded(values: Small, starts: Ints, lengths: Ints) -> Tensor:
    columns = np.arange(lengths.max(initial=0))
    is_item = columns < lengths[:, None]
    # Positions beyond the end read the first value and are overwritten.
    items = values[np.where(is_item, starts[:, None] + columns, 0)] if len(values) else np.zeros(is_item.shape)
    return torch.from_numpy(np.where(is_item, items, PAD).astype(np.int64))


def _take(lists: Lists, rows: Ints) -> Lists:
    lengths = lists.lengths[rows]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    at = np.arange(offsets[-1]) + np.repeat(lists.offsets[:-1][rows] - offsets[:-1], lengths)
    return Lists(lists.values[at], offsets)


def _read(file: Path, columns: dict[str, pa.DataType]) -> pa.Table:
    """Columns of a Parquet file, each of the type stated, without nulls, and with at least one row."""
    try:
        stored = pq.read_schema(file)
        missing = [name for name in columns if name not in stored.names]
        if missing:
            raise DataError(f"{file}: column {missing[0]!r} is missing")
        table = pq.read_table(file, columns=list(columns), partitioning=None)
        table = table.cast(pa.schema([pa.field(name, kind) for name, kind in columns.items()])).combine_chunks()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{file}: cannot be read: {error}") from None
    if not table.num_rows:
        raise DataError(f"{file}: empty: it has no rows")
    for name in columns:
        if table[name].null_count:
            raise DataError(f"{file}: column {name!r} has {table[name].null_count} nulls")
    return table


def _lists(file: Path, table: pa.Table, column: str, items: int) -> Lists:
    chunk = table[column].chunk(0)
    offsets = chunk.offsets.to_numpy().astype(np.int64)
    inner = chunk.values
    if inner.null_count:
        raise DataError(f"{file}: column {column!r} has a null among its items")
    values = inner.to_numpy()
    wrong = np.flatnonzero((values < 0) | (values >= items))
    if len(wrong):
        row = int(np.searchsorted(offsets, wrong[0], side="right"))
        raise DataError(
            f"{file}: row {row}: column {column!r}: item {values[wrong[0]]} is out of range: there are {items} items"
        )
    return Lists(values, offsets)


def _verify(folder: Path, manifest: dict[str, Any], names: tuple[str, ...]) -> None:
    """Whether files are those that the manifest states, where it states their hashes: its data_hash says what a model was trained on."""
    stated = manifest.get("files", {})
    for name in names:
        file = folder / name
        if isinstance(stated, dict) and name in stated and file.exists() and sha256(file) != stated[name]:
            raise DataError(f"{file}: is not the file that manifest.json states: it was changed or cut short")


def _vectors(file: Path, items: int) -> NDArray[np.float32]:
    if not file.exists():
        raise DataError(f"{file}: missing, but the model reads text: items have no vectors")
    try:
        vectors = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be read: {error}") from None
    if vectors.ndim != 2 or vectors.dtype != np.float32:
        raise DataError(f"{file}: must be float32 [N, D], not {vectors.dtype} {list(vectors.shape)}")
    if len(vectors) != items:
        raise DataError(f"{file}: {len(vectors)} vectors for {items} items")
    return vectors

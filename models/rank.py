"""`python -m models.rank --config FILE`: ranks the whole catalogue for every example, with a trained model or a baseline.

Belongs here: places of labels among all films and among negatives, the top of the list, and their file. Does not belong here: metrics
(they are computed from the file under many protocols), what baselines score (`baselines.py`), which films are negatives (`negatives.py`).

A place is exact: one more than the number of films with a higher score, or with an equal one and an earlier place in the fixed order of ties
(`hashing.order`). A score of -inf says that the system cannot rank the film; NaN and +inf are errors.

Examples are scored in chunks, so that about `CHUNK_BYTES` of scores and what is made of them is held at a time, whatever the size of the
catalogue, and results are written chunk by chunk.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import baselines, negatives
from models.checkpoint import ITEMS, CheckpointError, device_of, load_model
from models.checkpoint import read_config as read_model_config
from models.config import ConfigError, read_file, section_of
from models.data import DataError, open_folder, read_movie_ids
from models.hashing import order
from models.retriever import PAD, RetrieverConfig
from models.weights import WeightsError

# Scores of a chunk and what is computed from them: four numbers of eight bytes for each example and film.
CHUNK_BYTES = 512 * 2**20
_BYTES_PER_SCORE = 32
_ROWS_MAX = 512

# The head of the catalogue: as few films as make up this share of the training targets. All others are the tail.
HEAD_SHARE = 0.8

SPLIT_FILES = {"train": "sequences.parquet", "valid": "validation.parquet", "test": "test.parquet"}

Ints = NDArray[np.int64]
# Scores [B, N] of examples from their ids and histories, on any device.
Scorer = Callable[[Sequence[str], Sequence[Ints]], Tensor]

INTS = pa.list_(pa.int32())
EXAMPLE_COLUMNS = {
    "example_id": pa.string(),
    "cluster_id": pa.string(),
    "position": pa.int32(),
    "history": INTS,
    "labels": INTS,
    "are_repeats": pa.list_(pa.bool_()),
}
RANKINGS = pa.schema(
    [
        *((name, kind) for name, kind in EXAMPLE_COLUMNS.items()),
        ("train_counts", pa.list_(pa.int64())),
        ("are_tail", pa.list_(pa.bool_())),
        ("ranks_all", INTS),
        ("ranks_masked", INTS),
        ("ranks_uniform", INTS),
        ("ranks_popularity", INTS),
        ("top", INTS),
        ("top_scores", pa.list_(pa.float32())),
        ("pool_items", pa.int64()),
    ]
)
# Key of the file's metadata under which it says what was ranked, as JSON.
ABOUT = b"marquee"


class RankError(ValueError):
    """A file or a score that cannot be used; the message names it."""


@dataclass(frozen=True)
class RankConfig:
    """What to rank with (`model`, a folder, or `baseline`), on which split of which training folder, and where to."""

    data: Path
    out: Path
    split: Literal["valid", "test"] = "test"
    model: Path | None = None
    baseline: str | None = None
    seed: int = 0
    top: int = 100
    device: str = "auto"

    def __post_init__(self) -> None:
        if (self.model is None) == (self.baseline is None):
            raise ConfigError("either model or baseline must be stated, and not both")
        if self.baseline not in (None, *baselines.BASELINES):
            raise ConfigError(f"baseline must be one of {', '.join(baselines.BASELINES)}, not {self.baseline!r}")
        if self.top < 1:
            raise ConfigError(f"top must be at least 1, not {self.top}")


class Catalogue(NamedTuple):
    """`movie_ids [N]` and `counts [N]` of the items, in the order of their numbers."""

    movie_ids: list[str]
    counts: Ints


class Examples(NamedTuple):
    """Examples as they are in the file, one list entry an example.

    `mentions`: the history, followed by the film mentioned last (column `last_item`, where the folder has one) if that is another than its last,
    because it was mentioned before. Baselines, which go by the latest film, read these.
    """

    ids: list[str]
    clusters: list[str]
    positions: Ints
    histories: list[Ints]
    mentions: list[Ints]
    labels: list[Ints]
    are_repeats: list[list[bool]]


class Placed(NamedTuple):
    """For each label of a chunk, places from 1 and 0 where there is none [M]; and the lists' tops, [B, k] each, -1 where they end."""

    all: Ints
    masked: Ints
    uniform: Ints
    popularity: Ints
    top: Ints
    top_scores: NDArray[np.float32]


# -- reading -----------------------------------------------------------------------------------------------


def read_config(path: Path) -> list[RankConfig]:
    """What a TOML or JSON file asks for: one ranking, or those of its list `runs`. Raises ConfigError, naming file and key."""
    table = read_file(path)
    stated = table["runs"] if set(table) == {"runs"} else [table]
    if not isinstance(stated, list) or not all(isinstance(each, Mapping) for each in stated):
        raise ConfigError(f"{path}: runs must be a list of tables")
    folder = path.resolve().parent
    configs = [section_of(RankConfig, each, path, "rank") for each in stated]
    return [
        replace(each, data=folder / each.data, out=folder / each.out, model=each.model and folder / each.model)
        for each in configs
    ]


def _table(path: Path, columns: Mapping[str, pa.DataType]) -> pa.Table:
    try:
        table = pq.read_table(path, columns=list(columns))
    except (OSError, pa.ArrowException) as error:
        raise RankError(f"{path}: cannot be read: {error}") from error
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise RankError(f"{path}: has no column {', '.join(missing)}")
    try:
        table = table.cast(pa.schema(list(columns.items()))).combine_chunks()
    except (pa.ArrowException, ValueError) as error:
        raise RankError(f"{path}: {error}") from error
    for name in columns:
        if table[name].null_count:
            raise RankError(f"{path}: column {name} has nulls")
    return table


def read_manifest(folder: Path) -> dict[str, Any]:
    """What a training folder says of itself. Raises RankError."""
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RankError(f"{path}: cannot be read: {error}") from error
    missing = [name for name in ("dataset", "setting", "data_hash") if not isinstance(manifest.get(name), str)]
    if missing:
        raise RankError(f"{path}: {missing[0]} is missing")
    return manifest


def read_catalogue(path: Path) -> Catalogue:
    """The items of an `items.parquet`. Raises RankError unless they are numbered 0..N-1 in the order of rows."""
    table = _table(path, {"item": pa.int64(), "movie_id": pa.string(), "count": pa.int64()})
    if not np.array_equal(table["item"].to_numpy(), np.arange(table.num_rows)):
        raise RankError(f"{path}: items are not numbered 0 to {table.num_rows - 1} in the order of rows")
    counts = table["count"].to_numpy()
    if (counts < 0).any():
        raise RankError(f"{path}: count is negative in row {int(np.argmax(counts < 0)) + 1}")
    movie_ids = table["movie_id"].to_pylist()
    if len(set(movie_ids)) < len(movie_ids):
        raise RankError(f"{path}: a movie_id stands in two rows")
    return Catalogue(movie_ids, counts)


def _lists(path: Path, table: pa.Table, name: str, items: int) -> list[Ints]:
    """A column of item lists as arrays. Raises RankError for a number that is no item."""
    column = table[name].chunk(0) if table.num_rows else pa.array([], table[name].type)
    values, ends = column.flatten().to_numpy(zero_copy_only=False), np.cumsum(column.value_lengths().to_numpy())
    bad = np.flatnonzero((values < 0) | (values >= items))
    if len(bad):
        row = int(np.searchsorted(ends, bad[0], side="right"))
        raise RankError(f"{path}: row {row + 1}: {name} holds {values[bad[0]]}, which is no item of 0 to {items - 1}")
    return np.split(values.astype(np.int64), ends[:-1]) if len(ends) else []


def read_examples(path: Path, items: int) -> Examples:
    """The examples of a split. Raises RankError naming file and row."""
    table = _table(path, EXAMPLE_COLUMNS)
    ids, labels = table["example_id"].to_pylist(), _lists(path, table, "labels", items)
    repeats = table["are_repeats"].to_pylist()
    for row, (own, marks) in enumerate(zip(labels, repeats, strict=True), start=1):
        if len(own) != len(marks):
            raise RankError(f"{path}: row {row}: {len(own)} labels, but {len(marks)} are_repeats")
        if len(np.unique(own)) < len(own):
            raise RankError(f"{path}: row {row}: a label stands in it twice")
    if len(set(ids)) < len(ids):
        raise RankError(f"{path}: an example_id stands in two rows")
    histories = _lists(path, table, "history", items)
    return Examples(
        ids,
        table["cluster_id"].to_pylist(),
        table["position"].to_numpy(),
        histories,
        _mentions(path, histories, items),
        labels,
        repeats,
    )


def _mentions(path: Path, histories: list[Ints], items: int) -> list[Ints]:
    if "last_item" not in pq.read_schema(path).names:
        return histories
    found = []
    for row, (history, last) in enumerate(
        zip(histories, pq.read_table(path, columns=["last_item"])["last_item"].to_pylist(), strict=True), start=1
    ):
        if last is not None and not 0 <= last < items:
            raise RankError(f"{path}: row {row}: last_item is {last}, which is no item of 0 to {items - 1}")
        is_again = last is not None and (not len(history) or history[-1] != last)
        found.append(np.append(history, last) if is_again else history)
    return found


def read_sequences(path: Path, items: int) -> baselines.Sequences:
    """The training sequences. Raises RankError naming file and row."""
    table = _table(path, {"items": INTS, "first_target": pa.int64()})
    found = _lists(path, table, "items", items)
    starts = np.concatenate([[0], np.cumsum([len(each) for each in found])]).astype(np.int64)
    joined = np.concatenate(found) if found else np.empty(0, np.int64)
    return baselines.Sequences(joined, starts, table["first_target"].to_numpy())


# -- ranking -----------------------------------------------------------------------------------------------


def tail(counts: Ints) -> NDArray[np.bool_]:
    """Which items are in the tail [N]: not among the most frequent targets that together make up HEAD_SHARE of all.

    Items of equal count are taken in the order of ties. Where nothing was counted, all are in the tail.
    """
    ties = order(len(counts))
    ranked = ties[np.argsort(-counts[ties], kind="stable")]
    before = np.cumsum(counts[ranked]) - counts[ranked]
    is_tail = np.ones(len(counts), dtype=bool)
    is_tail[ranked[(before < HEAD_SHARE * counts.sum()) & (counts[ranked] > 0)]] = False
    return is_tail


def place(
    scores: Tensor,
    rows: Ints,
    labels: Ints,
    seen: Sequence[Ints],
    uniform: Sequence[Ints],
    popularity: Sequence[Ints],
    top: int,
    ties: Ints,
) -> Placed:
    """Places of labels and tops of lists from `scores [B, N]`.

    Label m is item labels[m] of example rows[m]; `seen`, `uniform` and `popularity` hold for each example the different items of its
    history and its negatives. `ties`: items in the order in which equal scores are ranked. Raises RankError for NaN or +inf.
    """
    device, (examples, items) = scores.device, scores.shape
    if bool((scores.isnan() | (scores == torch.inf)).any()):
        raise RankError("a score is NaN or infinite: the system is broken")
    in_order = torch.from_numpy(ties).to(device)
    column_of = np.empty(items, np.int64)
    column_of[ties] = np.arange(items)
    scores = scores.index_select(1, in_order)
    row = torch.from_numpy(rows).to(device)
    column = torch.from_numpy(column_of[labels]).to(device)
    own = scores[row, column]

    def beaten_by(lists: Sequence[Ints]) -> Tensor:
        """For each label, how many items of its example's list come before it."""
        width = max([1, *(len(each) for each in lists)])
        padded = np.full((examples, width), -1, np.int64)
        for at, each in enumerate(lists):
            padded[at, : len(each)] = column_of[each]
        columns = torch.from_numpy(padded).to(device)[row]
        values = scores[row[:, None], columns.clamp(min=0)]
        comes_first = (values > own[:, None]) | ((values == own[:, None]) & (columns < column[:, None]))
        return (comes_first & (columns >= 0)).sum(1)

    above = torch.zeros(len(rows), dtype=torch.int64, device=device)
    places = torch.arange(items, device=device)
    for some in torch.arange(len(rows), device=device).split(max(1, examples)):
        theirs = scores[row[some]]
        above[some] = (theirs > own[some, None]).sum(1)
        above[some] += ((theirs == own[some, None]) & (places < column[some, None])).sum(1)
    can_rank = own > -torch.inf
    all_places = (above + 1) * can_rank
    found = [all_places, (above + 1 - beaten_by(seen)) * can_rank]
    found += [(beaten_by(each) + 1) * can_rank for each in (uniform, popularity)]
    columns, values = _top(scores, min(top, items))
    best = torch.where(values > -torch.inf, in_order[columns], -1)
    every, masked, by_uniform, by_popularity = (each.cpu().numpy() for each in found)
    return Placed(every, masked, by_uniform, by_popularity, best.cpu().numpy(), values.float().cpu().numpy())


def _top(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Columns and values of the k best of each row, of equal ones those further left."""
    last = scores.topk(k, dim=1).values[:, -1:]
    is_above, is_last = scores > last, scores == last
    room = k - is_above.sum(1, keepdim=True)
    chosen = is_above | (is_last & (is_last.cumsum(1, dtype=torch.int32) <= room))
    columns = chosen.nonzero()[:, 1].view(len(scores), k)
    values, by_value = scores.gather(1, columns).sort(dim=1, descending=True, stable=True)
    return columns.gather(1, by_value), values


def rank(
    examples: Examples, catalogue: Catalogue, scorer: Scorer, top: int, read: Sequence[Ints]
) -> Iterator[pa.RecordBatch]:
    """Rows of RANKINGS, chunk by chunk. `read`: what the scorer is given of each example, `histories` or `mentions`.

    Raises RankError naming the examples whose scores are broken.
    """
    items = len(catalogue.movie_ids)
    ties, is_tail = order(items), tail(catalogue.counts)
    by_popularity = negatives.ByPopularity(catalogue.counts)
    size = max(1, min(_ROWS_MAX, CHUNK_BYTES // (_BYTES_PER_SCORE * max(1, items))))
    for start in range(0, len(examples.ids), size):
        part = slice(start, start + size)
        ids, histories, labels = examples.ids[part], examples.histories[part], examples.labels[part]
        seen = [np.unique(each) for each in histories]
        left_out = [np.union1d(each, own) for each, own in zip(seen, labels, strict=True)]
        lengths = [len(own) for own in labels]
        rows = np.repeat(np.arange(len(ids)), lengths)
        flat = np.concatenate(labels)
        try:
            placed = place(
                scorer(ids, read[part]),
                rows,
                flat,
                seen,
                [negatives.uniform(each, items, out) for each, out in zip(ids, left_out, strict=True)],
                [by_popularity.draw(each, out) for each, out in zip(ids, left_out, strict=True)],
                top,
                ties,
            )
        except RankError as error:
            raise RankError(f"examples {ids[0]} to {ids[-1]}: {error}") from error
        repeats = np.array([mark for marks in examples.are_repeats[part] for mark in marks], dtype=bool)
        tops = placed.top >= 0
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        top_offsets = np.concatenate([[0], np.cumsum(tops.sum(1))])
        columns: dict[str, pa.Array] = {
            "example_id": pa.array(ids, pa.string()),
            "cluster_id": pa.array(examples.clusters[part], pa.string()),
            "position": pa.array(examples.positions[part], pa.int32()),
            "history": pa.array(histories, INTS),
            "labels": _listed(flat, offsets, INTS),
            "are_repeats": _listed(repeats, offsets, pa.list_(pa.bool_())),
            "train_counts": _listed(catalogue.counts[flat], offsets, pa.list_(pa.int64())),
            "are_tail": _listed(is_tail[flat], offsets, pa.list_(pa.bool_())),
            "ranks_all": _listed(placed.all, offsets, INTS, placed.all == 0),
            "ranks_masked": _listed(placed.masked, offsets, INTS, (placed.masked == 0) | repeats),
            "ranks_uniform": _listed(placed.uniform, offsets, INTS, placed.uniform == 0),
            "ranks_popularity": _listed(placed.popularity, offsets, INTS, placed.popularity == 0),
            "top": _listed(placed.top[tops], top_offsets, INTS),
            "top_scores": _listed(placed.top_scores[tops], top_offsets, pa.list_(pa.float32())),
            "pool_items": pa.array(np.full(len(ids), items), pa.int64()),
        }
        yield pa.RecordBatch.from_pydict(columns, schema=RANKINGS)


def _listed(
    values: NDArray[Any], offsets: Ints, kind: pa.ListType, is_null: NDArray[np.bool_] | None = None
) -> pa.ListArray:
    flat = pa.array(values, kind.value_type, mask=is_null)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat, type=kind)


# -- systems -----------------------------------------------------------------------------------------------


def baseline_scorer(config: RankConfig, catalogue: Catalogue) -> Scorer:
    """Scores of a baseline, float64 on the CPU."""
    assert config.baseline is not None
    items = len(catalogue.movie_ids)
    score = baselines.build(
        config.baseline,
        catalogue.counts,
        lambda: read_sequences(config.data / SPLIT_FILES["train"], items),
        config.seed,
    )
    return lambda ids, histories: torch.from_numpy(score(ids, histories))


class ModelScorer:
    """Scores of a trained retriever. Its items may be others than the catalogue's: they are matched by movie_id.

    Films that the model does not know get -inf, and are passed over in histories; how many is in `unknown_items`, `unknown_in_histories`. Vectors of
    films come from the training folder that is ranked. Of longer histories the latest `max_history` films count.
    Raises RankError, CheckpointError, DataError or WeightsError for folders that cannot be used.
    """

    def __init__(self, folder: Path, data: Path, catalogue: Catalogue, device: str) -> None:
        theirs = read_movie_ids(folder / ITEMS)
        number = {movie_id: at for at, movie_id in enumerate(catalogue.movie_ids)}
        here = np.array([number.get(movie_id, -1) for movie_id in theirs], dtype=np.int64)
        vectors = None
        if RetrieverConfig.of(read_model_config(folder)["model"]).has_text:
            if (here < 0).any():
                lacking = theirs[int(np.argmax(here < 0))]
                raise RankError(
                    f"{data}: has no vector of {lacking} and {int((here < 0).sum()) - 1:,} more films of {folder}"
                )
            stored = open_folder(data, needs_vectors=True).vectors
            assert stored is not None
            vectors = stored[here]
        self._device = torch.device(device_of(device))
        self._model = load_model(folder, vectors, str(self._device))
        with torch.no_grad():
            self._matrix, self._bias = self._model.item_matrix(), self._model.item_bias()
        known = np.flatnonzero(here >= 0)
        self._items = len(catalogue.movie_ids)
        self._known = None if np.array_equal(here, np.arange(self._items)) else torch.from_numpy(known).to(self._device)
        self._here = torch.from_numpy(here[known]).to(self._device)
        self._number = np.full(self._items, -1, np.int64)
        self._number[here[known]] = known
        self.unknown_items = int((self._number < 0).sum())
        self.unknown_in_histories = 0

    @torch.no_grad()
    def __call__(self, ids: Sequence[str], histories: Sequence[Ints]) -> Tensor:
        numbers = [self._number[each] for each in histories]
        self.unknown_in_histories += sum(int((each < 0).sum()) for each in numbers)
        read = [each[each >= 0][-self._model.config.max_history :] for each in numbers]
        lengths = torch.tensor([len(each) for each in read])
        items = torch.full((len(read), max(1, int(lengths.max()))), PAD, dtype=torch.int64)
        for row, each in zip(items, read, strict=True):
            row[: len(each)] = torch.from_numpy(each)
        states = self._model.query(items.to(self._device), lengths.to(self._device))
        scores = torch.nn.functional.linear(states, self._matrix, self._bias).float()
        if self._known is None:
            return scores
        whole = torch.full((len(read), self._items), -torch.inf, device=self._device)
        whole[:, self._here] = scores[:, self._known]
        return whole


# -- writing -----------------------------------------------------------------------------------------------


def write(path: Path, batches: Iterator[pa.RecordBatch], about: Mapping[str, Any]) -> dict[str, int]:
    """Write rankings beside `path` and rename them into place; returns counts of labels, and of those that have no place."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    counts = {"examples": 0, "labels": 0, "labels_that_cannot_be_ranked": 0}
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(beside, "wb") as file:
            with pq.ParquetWriter(
                file, RANKINGS.with_metadata({ABOUT: json.dumps(about).encode()}), compression="zstd"
            ) as writer:
                for batch in batches:
                    writer.write_batch(batch)
                    ranks = batch["ranks_all"].flatten()
                    counts["examples"] += batch.num_rows
                    counts["labels"] += len(ranks)
                    counts["labels_that_cannot_be_ranked"] += ranks.null_count
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    return counts


def run(config: RankConfig, say: Callable[[Mapping[str, Any]], None]) -> dict[str, int]:
    """Rank as `config` says; returns counts. Raises RankError."""
    started = time.perf_counter()
    manifest = read_manifest(config.data)
    catalogue = read_catalogue(config.data / "items.parquet")
    if not catalogue.movie_ids:
        raise RankError(f"{config.data / 'items.parquet'}: there are no items")
    examples = read_examples(config.data / SPLIT_FILES[config.split], len(catalogue.movie_ids))
    if config.model is None:
        scorer, read = baseline_scorer(config, catalogue), examples.mentions
    else:
        scorer, read = ModelScorer(config.model, config.data, catalogue, config.device), examples.histories
    about = {
        "system": config.baseline or str(config.model),
        "seed": config.seed,
        "split": config.split,
        "dataset": manifest["dataset"],
        "setting": manifest["setting"],
        "data_hash": manifest["data_hash"],
    }

    def told() -> Iterator[pa.RecordBatch]:
        done = 0
        for batch in rank(examples, catalogue, scorer, config.top, read):
            yield batch
            done += batch.num_rows
            say({"event": "progress", "text": f"ranked {done:,} of {len(examples.ids):,} examples"})

    counts = write(config.out, told(), about)
    if isinstance(scorer, ModelScorer):
        counts["films_unknown_to_the_model"] = scorer.unknown_items
        counts["films_of_histories_passed_over"] = scorer.unknown_in_histories
    seconds = time.perf_counter() - started
    text = f"{about['system']}: {counts['examples']:,} examples of {manifest['dataset']} ranked in {seconds:.1f} s"
    say({"event": "done", "text": text, "seconds": round(seconds, 3), **counts})
    return counts


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m models.rank", description="Rank the catalogue for every example.")
    parser.add_argument(
        "--config", type=Path, required=True, help="TOML or JSON file: RankConfig, or a list of them as `runs`"
    )
    path = parser.parse_args(arguments).config
    try:
        # In one process, because starting one takes longer than a small ranking.
        for config in read_config(path):
            run(config, lambda event: print(json.dumps(event), flush=True))
    except (ConfigError, RankError, CheckpointError, DataError, WeightsError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

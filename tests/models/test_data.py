"""Training folders: reading them, cutting sequences, order of epochs, batches; and what is said of bad ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.data import (
    DataError,
    batches_of,
    collate,
    epoch_order,
    flat,
    histories,
    open_folder,
    read_examples,
    read_sequences,
)
from models.weights import sha256

ITEMS = 50


def _sequences(path: Path, rows: list[list[int]], first: list[int]) -> Path:
    table = pa.table({"sequence_id": pa.array([str(i) for i in range(len(rows))]), "items": pa.array(rows, pa.list_(pa.int32())), "first_target": pa.array(first, pa.int32())})  # fmt: skip
    pq.write_table(table, path)
    return path


def _examples(path: Path, pairs: list[tuple[list[int], list[int]]]) -> Path:
    table = pa.table({"history": pa.array([h for h, _ in pairs], pa.list_(pa.int32())), "labels": pa.array([y for _, y in pairs], pa.list_(pa.int32()))})  # fmt: skip
    pq.write_table(table, path)
    return path


def _items(folder: Path, numbers: list[int]) -> None:
    table = pa.table({"item": pa.array(numbers, pa.int32()), "movie_id": [f"m{n}" for n in range(len(numbers))], "count": pa.array([1] * len(numbers), pa.int64())})  # fmt: skip
    pq.write_table(table, folder / "items.parquet")
    (folder / "manifest.json").write_text(json.dumps({"dataset": "toy", "setting": "sessions", "data_hash": "h"}))


sequences_strategy = st.lists(st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=30), min_size=1, max_size=8)


def _targets(sequences) -> list[tuple[list[int], int]]:
    """(inputs, target) of all windows, as a model would be asked."""
    asked = []
    for start, end, first in zip(sequences.starts, sequences.ends, sequences.first_targets, strict=True):
        window = sequences.values[start:end].tolist()
        asked += [(window[:at], window[at]) for at in range(first, len(window))]
    return asked


@given(rows=sequences_strategy, limit=st.integers(1, 12), first=st.integers(0, 3))
def test_windows_hold_each_target_once_and_never_too_much_history(tmp_path_factory, rows, limit, first) -> None:
    rows = [[*row, *([1] * first), 2] for row in rows]  # each has a target
    path = _sequences(tmp_path_factory.mktemp("w") / "s.parquet", rows, [first] * len(rows))
    for kind in ("latest", "windows"):
        sequences = read_sequences(path, ITEMS, limit, kind)
        asked = _targets(sequences)
        assert sequences.target_count == len(asked)
        assert sequences.clipped == sum(len(row) > limit + 1 for row in rows)
        assert all(len(inputs) <= limit for inputs, _ in asked)
        np.testing.assert_array_equal(sequences.popularity(ITEMS), np.bincount([t for _, t in asked], minlength=ITEMS))
    # "windows" asks for every target of every row; only an empty history is asked for at the start of a sequence.
    wanted = sorted(row[at] for row in rows for at in range(first, len(row)))
    assert sorted(target for _, target in asked) == wanted
    assert sum(not inputs for inputs, _ in asked) == (len(rows) if first == 0 else 0)


def test_latest_keeps_the_end(tmp_path: Path) -> None:
    path = _sequences(tmp_path / "s.parquet", [list(range(10)), [3, 4], [7]], [0, 1, 1])
    sequences = read_sequences(path, ITEMS, 4)
    assert (sequences.clipped, sequences.dropped) == (1, 1)
    batch = collate(sequences, np.array([1, 0]))
    assert batch.items.tolist() == [[3, 4, -1, -1, -1], [5, 6, 7, 8, 9]]
    assert batch.lengths.tolist() == [2, 5]
    assert batch.first_target.tolist() == [1, 1]  # item 5 has a history that the window lacks


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=60),
    size=st.integers(1, 9),
    buckets=st.integers(1, 4),
    epoch=st.integers(0, 3),
)
def test_an_epoch_holds_each_row_once_in_an_order_that_is_a_function(lengths, size, buckets, epoch) -> None:
    array = np.array(lengths)
    batches = epoch_order(array, size, buckets, 42, epoch)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    assert max(map(len, batches)) <= size
    again = epoch_order(array, size, buckets, 42, epoch)
    assert [b.tolist() for b in batches] == [b.tolist() for b in again]


def test_order_differs_by_epoch_and_seed_and_buckets_save_padding() -> None:
    lengths = np.random.default_rng(0).integers(1, 200, 2000)

    def padded(batches) -> int:
        return sum(int(lengths[batch].max()) * len(batch) for batch in batches)

    orders = [
        epoch_order(lengths, 20, buckets, seed, epoch)
        for buckets, seed, epoch in [(50, 1, 0), (50, 1, 1), (50, 2, 0), (1, 1, 0)]
    ]
    assert len({np.concatenate(order).tobytes() for order in orders}) == 4
    assert padded(orders[0]) < 1.1 * lengths.sum() < padded(orders[3])
    assert len({len(batch) for batch in orders[0]}) == 1


def test_every_process_gets_a_row_of_each_batch() -> None:
    batches = epoch_order(np.ones(13, dtype=np.int64), 4, 1, 0, 0, parts=2)
    assert sorted(map(len, batches)) == [4, 4, 5]
    with pytest.raises(ValueError, match="too few"):
        epoch_order(np.ones(1, dtype=np.int64), 4, 1, 0, 0, parts=2)


def test_histories_keep_their_latest_items(tmp_path: Path) -> None:
    examples = read_examples(_examples(tmp_path / "v.parquet", [([1, 2, 3], [4]), ([], [5, 6])]), ITEMS)
    items, lengths = histories(examples, slice(0, 2), 2)
    assert items.tolist() == [[2, 3], [-1, -1]]
    assert lengths.tolist() == [2, 0]
    of, labels = flat(examples.labels, slice(0, 2))
    assert (of.tolist(), labels.tolist()) == ([0, 1, 1], [4, 5, 6])
    items, lengths = histories(examples, slice(1, 2), 2)
    assert items.shape == (1, 0)
    assert lengths.tolist() == [0]
    assert torch.equal(flat(examples.histories, slice(0, 2))[1], torch.tensor([1, 2, 3]))


def test_a_sample_of_examples_is_seeded(tmp_path: Path) -> None:
    path = _examples(tmp_path / "v.parquet", [(list(range(n % 4)), [n]) for n in range(30)])
    some = read_examples(path, ITEMS, limit=5, seed=1)
    assert len(some) == 5
    np.testing.assert_array_equal(some.labels.values, read_examples(path, ITEMS, limit=5, seed=1).labels.values)
    np.testing.assert_array_equal(some.histories.lengths, some.labels.values % 4)
    assert some.labels.values.tolist() != read_examples(path, ITEMS, limit=5, seed=2).labels.values.tolist()


def test_slices_cover() -> None:
    assert [(s.start, s.stop) for s in batches_of(5, 2)] == [(0, 2), (2, 4), (4, 5)]


def test_bad_sequences_name_file_and_row(tmp_path: Path) -> None:
    path = tmp_path / "sequences.parquet"
    for rows, first, reason in [
        ([[1], [2, 50]], [0, 0], r"row 2: column 'items': item 50 is out of range: there are 50 items"),
        ([[1, -1]], [0], r"row 1: .*item -1"),
        ([[1], [1, 2]], [0, 3], r"row 2: first_target 3"),
        ([[1]], [1], "no sequence has a target"),
        ([], [], "empty"),
    ]:
        _sequences(path, rows, first)
        with pytest.raises(DataError, match=rf"sequences\.parquet: {reason}"):
            read_sequences(path, ITEMS, 5)
    _sequences(path, [[1, None]], [0])  # type: ignore[list-item]
    with pytest.raises(DataError, match="null"):
        read_sequences(path, ITEMS, 5)
    pq.write_table(pa.table({"items": pa.array([[1]], pa.list_(pa.int32()))}), path)
    with pytest.raises(DataError, match=r"column 'first_target' is missing"):
        read_sequences(path, ITEMS, 5)
    path.write_bytes(b"PAR1")
    with pytest.raises(DataError, match="cannot be read"):
        read_sequences(path, ITEMS, 5)
    with pytest.raises(DataError, match="cannot be read"):
        read_sequences(tmp_path / "none.parquet", ITEMS, 5)


def test_bad_examples_name_file_and_row(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="row 2: labels are empty"):
        read_examples(_examples(tmp_path / "v.parquet", [([1], [2]), ([1], [])]), ITEMS)


def test_bad_folders_say_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"manifest\.json: cannot be read"):
        open_folder(tmp_path, False)
    _items(tmp_path, [0, 2])
    with pytest.raises(DataError, match="row 2: item is 2, not 1"):
        open_folder(tmp_path, False)
    _items(tmp_path, [0, 1])
    assert open_folder(tmp_path, False).movie_ids == ["m0", "m1"]
    with pytest.raises(DataError, match=r"vectors\.npy: missing"):
        open_folder(tmp_path, True)
    np.save(tmp_path / "vectors.npy", np.ones((3, 4), dtype=np.float32))
    with pytest.raises(DataError, match="3 vectors for 2 items"):
        open_folder(tmp_path, True)
    np.save(tmp_path / "vectors.npy", np.ones((2, 4)))
    with pytest.raises(DataError, match="float32"):
        open_folder(tmp_path, True)
    np.save(tmp_path / "vectors.npy", np.array([{}, {}]), allow_pickle=True)
    with pytest.raises(DataError, match="cannot be read"):
        open_folder(tmp_path, True)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(DataError, match="'dataset' is missing"):
        open_folder(tmp_path, False)


def test_a_file_that_is_not_the_manifests_is_refused(tmp_path: Path) -> None:
    _items(tmp_path, [0, 1])
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["files"] = {"items.parquet": sha256(tmp_path / "items.parquet")}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert open_folder(tmp_path, False).items == 2
    with (tmp_path / "items.parquet").open("ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match=r"items\.parquet: is not the file that manifest\.json states"):
        open_folder(tmp_path, False)

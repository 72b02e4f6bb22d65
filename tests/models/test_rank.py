"""Places and lists against sorting everything, files of rankings, and what happens to broken input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models import rank
from models.config import ConfigError
from models.hashing import order
from models.rank import ABOUT, RankError, main, place, read_config, tail
from models.retriever import RetrieverConfig, build
from models.weights import save

INT_LISTS = pa.list_(pa.int32())

EXAMPLES: list[dict[str, Any]] = [
    {
        "example_id": "d1:2",
        "cluster_id": "d1",
        "position": 2,
        "history": [0, 3],
        "labels": [1, 3],
        "are_repeats": [False, True],
    },
    {
        "example_id": "d1:4",
        "cluster_id": "d1",
        "position": 4,
        "history": [0, 3, 1],
        "labels": [2],
        "are_repeats": [False],
    },
    {"example_id": "d2:0", "cluster_id": "d2", "position": 0, "history": [], "labels": [4], "are_repeats": [False]},
]


def write_folder(folder: Path, examples: list[dict[str, Any]] = EXAMPLES, items: int = 6, **more: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    schema = pa.schema([*rank.EXAMPLE_COLUMNS.items(), *more.pop("columns", [])])
    pq.write_table(pa.Table.from_pylist(examples, schema=schema), folder / "test.parquet")
    counts = [5, 4, 3, 2, 1, 0] + [0] * (items - 6)
    movie_ids = more.pop("movie_ids", [f"m{number}" for number in range(items)])
    pq.write_table(
        pa.table(
            {
                "item": pa.array(range(items), pa.int32()),
                "movie_id": movie_ids,
                "count": pa.array(counts[:items], pa.int64()),
            }
        ),
        folder / "items.parquet",
    )
    sequences = [{"sequence_id": "s", "items": [0, 1, 2, 0, 3], "first_target": 1}]
    kinds = pa.schema([("sequence_id", pa.string()), ("items", INT_LISTS), ("first_target", pa.int32())])
    pq.write_table(pa.Table.from_pylist(sequences, schema=kinds), folder / "sequences.parquet")
    (folder / "manifest.json").write_text(
        json.dumps({"dataset": "redial", "setting": "dialogues", "data_hash": "h" * 64})
    )
    return folder


def run(tmp_path: Path, **config: Any) -> pa.Table:
    out = tmp_path / "out" / "rankings.parquet"
    stated = {"data": str(tmp_path / "data"), "out": str(out), **config}
    (tmp_path / "rank.json").write_text(json.dumps(stated))
    assert main(["--config", str(tmp_path / "rank.json")]) == 0
    return pq.read_table(out)


# -- places --------------------------------------------------------------------------------------------------


@given(st.data())
@settings(max_examples=60)
def test_places_equal_sorting_everything(data: st.DataObject) -> None:
    items, examples = data.draw(st.integers(2, 12)), data.draw(st.integers(1, 4))
    # Few different scores, so that there are many ties.
    values = st.sampled_from([0.0, 0.5, 1.0, float("-inf")])
    scores = np.array([data.draw(st.lists(values, min_size=items, max_size=items)) for _ in range(examples)])
    numbers = st.integers(0, items - 1)
    rows = np.array(sorted(data.draw(st.lists(st.integers(0, examples - 1), min_size=1, max_size=6))))
    labels = np.array([data.draw(numbers) for _ in rows])
    lists = [[np.array(sorted(data.draw(st.sets(numbers))), np.int64) for _ in range(examples)] for _ in range(3)]
    ties, top = order(items), data.draw(st.integers(1, 14))
    placed = place(torch.from_numpy(scores), rows, labels, *lists, top, ties)
    tie_of = np.argsort(ties)
    sorted_items = [sorted(range(items), key=lambda item: (-row[item], tie_of[item])) for row in scores]
    for at, (row, label) in enumerate(zip(rows, labels, strict=True)):
        can_rank = np.isfinite(scores[row, label])
        assert placed.all[at] == (sorted_items[row].index(label) + 1 if can_rank else 0)
        seen, uniform, popular = (set(each[row].tolist()) - {label} for each in lists)
        for got, among in (
            (placed.masked, set(range(items)) - seen),
            (placed.uniform, uniform | {label}),
            (placed.popularity, popular | {label}),
        ):
            assert got[at] == (
                [item for item in sorted_items[row] if item in among].index(label) + 1 if can_rank else 0
            )
    for row in range(examples):
        rankable = [item for item in sorted_items[row] if np.isfinite(scores[row, item])][: min(top, items)]
        assert [item for item in placed.top[row].tolist() if item >= 0] == rankable


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers_are_an_error(bad: float) -> None:
    none = [np.array([], np.int64)]
    with pytest.raises(RankError, match="NaN or infinite"):
        place(torch.tensor([[0.0, bad]]), np.array([0]), np.array([0]), none, none, none, 1, order(2))


def test_the_tail_is_what_is_left_of_four_fifths() -> None:
    # 50 + 30 make up four fifths of 100.
    assert tail(np.array([10, 50, 30, 10, 0])).tolist() == [True, False, False, True, True]
    # 50 alone does not, so the film that crosses the bound is in the head.
    assert tail(np.array([50, 29, 21, 0])).tolist() == [False, False, False, True]
    assert tail(np.zeros(3, np.int64)).all()


# -- files ---------------------------------------------------------------------------------------------------


def test_a_ranking_by_hand(tmp_path: Path) -> None:
    write_folder(tmp_path / "data")
    table = run(tmp_path, baseline="popularity", top=4)
    rows = {row["example_id"]: row for row in table.to_pylist()}
    assert rows["d1:2"]["ranks_all"] == [2, 4]
    # Film 0 of the history is out of the way; the repeat is not to be found in a list without the history.
    assert rows["d1:2"]["ranks_masked"] == [1, None]
    assert rows["d1:4"]["ranks_masked"] == [1]
    assert rows["d2:0"]["ranks_all"] == rows["d2:0"]["ranks_masked"] == [5]
    # With so few films the negatives are all that are neither in history nor labels.
    assert rows["d1:2"]["ranks_uniform"] == rows["d1:2"]["ranks_popularity"] == [1, 2]
    assert rows["d1:2"]["train_counts"] == [4, 2]
    assert rows["d1:2"]["are_tail"] == [False, True]
    assert rows["d1:2"]["top"] == [0, 1, 2, 3] and rows["d1:2"]["top_scores"] == [5, 4, 3, 2]
    assert {row["pool_items"] for row in rows.values()} == {6}
    about = json.loads(table.schema.metadata[ABOUT])
    assert (about["system"], about["dataset"], about["data_hash"], about["split"]) == (
        "popularity",
        "redial",
        "h" * 64,
        "test",
    )


@pytest.mark.parametrize("baseline", ["random", "popularity", "copy_last", "markov"])
def test_every_baseline_ranks_every_label(tmp_path: Path, baseline: str) -> None:
    write_folder(tmp_path / "data")
    table = run(tmp_path, baseline=baseline)
    assert table["ranks_all"].combine_chunks().flatten().null_count == 0
    assert all(sorted(top) == list(range(6)) for top in table["top"].to_pylist())


def test_chunks_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "data")
    whole = run(tmp_path, baseline="markov")
    monkeypatch.setattr(rank, "CHUNK_BYTES", 1)
    assert run(tmp_path, baseline="markov").combine_chunks().equals(whole.combine_chunks())


def test_copy_last_follows_the_film_mentioned_last_where_the_folder_states_it(tmp_path: Path) -> None:
    again = [{**example, "last_item": last} for example, last in zip(EXAMPLES, [0, None, None], strict=True)]
    write_folder(tmp_path / "data", again, columns=[("last_item", pa.int32())])
    first = [top[0] for top in run(tmp_path, baseline="copy_last")["top"].to_pylist()]
    assert first == [0, 1, 0]
    write_folder(tmp_path / "data", [{**again[0], "last_item": 9}], columns=[("last_item", pa.int32())])
    assert main(["--config", str(tmp_path / "rank.json")]) == 1


def test_no_examples_give_an_empty_file(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", [])
    assert run(tmp_path, baseline="markov").num_rows == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": [9], "are_repeats": [False]}, "row 2: labels holds 9, which is no item of 0 to 5"),
        ({"history": [-1]}, "row 2: history holds -1"),
        ({"are_repeats": []}, "row 2: 1 labels, but 0 are_repeats"),
        ({"labels": [1, 1], "are_repeats": [False, False]}, "row 2: a label stands in it twice"),
        ({"example_id": "d1:2"}, "an example_id stands in two rows"),
    ],
)
def test_broken_examples_name_file_and_row_and_write_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], words: str
) -> None:
    write_folder(tmp_path / "data", [EXAMPLES[0], {**EXAMPLES[1], **change}])
    (tmp_path / "rank.json").write_text(
        json.dumps({"data": str(tmp_path / "data"), "out": str(tmp_path / "out" / "r.parquet"), "baseline": "random"})
    )
    assert main(["--config", str(tmp_path / "rank.json")]) == 1
    assert words in (said := capsys.readouterr().err) and "test.parquet" in said
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True


def test_a_failure_half_way_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "data")
    before = run(tmp_path, baseline="popularity")
    monkeypatch.setattr(rank, "CHUNK_BYTES", 1)
    whole = rank.place
    calls = []

    def fails(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise RankError("no more")
        return whole(*arguments)

    monkeypatch.setattr(rank, "place", fails)
    assert main(["--config", str(tmp_path / "rank.json")]) == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["rankings.parquet"]
    assert pq.read_table(tmp_path / "out" / "rankings.parquet").equals(before)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"baselin": "random"}, "unknown key 'baselin'"),
        ({"baseline": "oracle"}, "baseline"),
        ({}, "either model or baseline"),
        ({"baseline": "random", "model": "m"}, "either model or baseline"),
        ({"baseline": "random", "split": "train"}, "split"),
        ({"baseline": "random", "top": 0}, "top must be at least 1"),
        ({"baseline": "random", "seed": "1"}, "seed"),
    ],
)
def test_configurations_that_cannot_be_followed_name_file_and_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], config: dict[str, Any], words: str
) -> None:
    path = tmp_path / "rank.json"
    path.write_text(json.dumps({"data": "d", "out": "o", **config}))
    assert main(["--config", str(path)]) == 1
    said = capsys.readouterr().err
    assert words in said and "rank.json" in said


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rank.toml"
    path.write_text('data = "d"\nout = "o.parquet"\nbaseline = "random"\n')
    (config,) = read_config(path)
    assert (config.data, config.out) == (tmp_path / "d", tmp_path / "o.parquet")


def test_several_rankings_are_asked_for_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "rank.json"
    runs = [{"data": "d", "out": f"{name}.parquet", "baseline": name} for name in ("random", "markov")]
    path.write_text(json.dumps({"runs": runs}))
    assert [(each.baseline, each.out.name) for each in read_config(path)] == [
        ("random", "random.parquet"),
        ("markov", "markov.parquet"),
    ]
    path.write_text(json.dumps({"runs": {"data": "d"}}))
    with pytest.raises(ConfigError, match=r"rank\.json: runs must be a list"):
        read_config(path)


# -- models --------------------------------------------------------------------------------------------------


def write_model(folder: Path, movie_ids: list[str], vectors: np.ndarray | None = None) -> torch.nn.Module:
    torch.manual_seed(1)
    text = {"features": "text", "text_dims": vectors.shape[1], "has_item_bias": False} if vectors is not None else {}
    config = RetrieverConfig(arch="gru4rec", items=len(movie_ids), width=8, blocks=1, max_history=2, **text)
    model = build(config, torch.from_numpy(vectors) if vectors is not None else None).eval()
    folder.mkdir()
    save(folder / "weights.safetensors", dict(model.state_dict()))
    (folder / "config.json").write_text(json.dumps({"model": config.as_dict()}))
    (folder / "summary.json").write_text("{}")
    pq.write_table(
        pa.table(
            {"item": pa.array(range(len(movie_ids)), pa.int32()), "movie_id": movie_ids, "count": [1] * len(movie_ids)}
        ),
        folder / "items.parquet",
    )
    return model


def test_a_model_ranks_as_it_scores(tmp_path: Path) -> None:
    write_folder(tmp_path / "data")
    model = write_model(tmp_path / "model", [f"m{number}" for number in range(6)])
    table = run(tmp_path, model=str(tmp_path / "model"))
    # Only the latest two films of a history are read.
    with torch.no_grad():
        scores = model.score(model.query(torch.tensor([[0, 3], [3, 1], [-1, -1]]), torch.tensor([2, 2, 0])))
    # An untrained model scores an empty history alike: then the order is that of ties.
    assert table["top"].to_pylist() == [*scores[:2].argsort(dim=1, descending=True).tolist(), order(6).tolist()]
    assert np.allclose(table["top_scores"].to_pylist(), scores.sort(dim=1, descending=True).values, atol=1e-6)


def test_films_the_model_does_not_know_have_no_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_folder(tmp_path / "data")
    # It knows three of the six films, in another order, and one that the data lacks.
    model = write_model(tmp_path / "model", ["m3", "other", "m0", "m2"])
    rows = {row["example_id"]: row for row in run(tmp_path, model=str(tmp_path / "model")).to_pylist()}
    assert rows["d2:0"]["ranks_all"] == rows["d2:0"]["ranks_uniform"] == [None]
    assert rows["d1:2"]["ranks_all"][0] is None and rows["d1:2"]["ranks_all"][1] is not None
    assert sorted(rows["d1:4"]["top"]) == [0, 2, 3]
    with torch.no_grad():
        scores = model.score(model.query(torch.tensor([[2, 0]]), torch.tensor([2])))[0]
    number = {0: 2, 2: 3, 3: 0}
    assert rows["d1:4"]["top"] == sorted(number, key=lambda item: -float(scores[number[item]]))
    done = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (done["labels_that_cannot_be_ranked"], done["films_unknown_to_the_model"]) == (2, 3)
    # Film 1 is in one history.
    assert done["films_of_histories_passed_over"] == 1


def test_a_model_that_reads_text_takes_its_vectors_from_the_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vectors = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    write_folder(tmp_path / "data")
    np.save(tmp_path / "data" / "vectors.npy", vectors)
    model = write_model(tmp_path / "model", ["m5", "m4", "m3", "m2", "m1", "m0"], vectors[::-1].copy())
    rows = run(tmp_path, model=str(tmp_path / "model")).to_pylist()
    with torch.no_grad():
        scores = model.score(model.query(torch.tensor([[5, 2]]), torch.tensor([2])))[0]
    assert [5 - item for item in rows[0]["top"]] == scores.argsort(descending=True).tolist()

    write_folder(tmp_path / "data", movie_ids=["m0", "m1", "m2", "m3", "m4", "new"])
    assert main(["--config", str(tmp_path / "rank.json")]) == 1
    assert "has no vector of m5" in capsys.readouterr().err

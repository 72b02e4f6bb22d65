"""Training folders: what is in them, what is left out and counted, and that nothing is half-written."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.build.sessions import build_sessions
from assets.build.training_data import NoTrainingData, write_training_data
from warehouse.store import Warehouse
from warehouse.tables.interactions import CORE_REC_TURNS, CORE_SESSIONS
from warehouse.tables.retrieval import ML_ITEM_EMBEDDINGS


def film(number: int) -> str:
    return f"mv{number:016x}"


def session_rows(
    rows: Sequence[tuple[int, int, int, int | None]], release: str = "ml-1m", splits: dict[int, str] | None = None
) -> pl.DataFrame:
    """user, session, film's id in the release, number of the film (None: the corpus lacks it); each user's in order."""
    splits = splits or {}
    frame = pl.DataFrame(
        rows, schema=["user_id", "session", "source_item_id", "film"], orient="row", infer_schema_length=None
    )
    place = pl.int_range(pl.len()).over("user_id")
    from_end = pl.len().over("user_id") - 1 - place
    left_out = pl.when(pl.len().over("user_id") < 3).then(pl.lit("train"))
    left_out = left_out.when(from_end == 0).then(pl.lit("test")).when(from_end == 1).then(pl.lit("valid"))
    return CORE_SESSIONS.check(
        frame.select(
            pl.lit(release).alias("release"),
            "user_id",
            place.cast(pl.Int32).alias("position"),
            "source_item_id",
            pl.col("film").map_elements(film, pl.String).alias("movie_id"),
            pl.col("session").cast(pl.Int32),
            session_split=pl.col("session").replace_strict(splits, default="train", return_dtype=pl.String),
            leave_one_out_split=left_out.otherwise(pl.lit("train")),
            file=pl.lit("f"),
            line=pl.int_range(1, pl.len() + 1),
        )
    )


def vector_rows(vectors: dict[int, list[float]], encoder: str = "minilm") -> pl.DataFrame:
    return ML_ITEM_EMBEDDINGS.check(
        pl.DataFrame(
            [(encoder, film(n), n, 3, False, v) for n, v in vectors.items()],
            schema=ML_ITEM_EMBEDDINGS.schema,
            orient="row",
        )
    )


def turn_rows(rows: Sequence[tuple[str, int, str, list[int], list[int]]]) -> pl.DataFrame:
    """dialogue, turn, split, history, labels."""
    made = []
    for dialogue, turn, split, history, labels in rows:
        before = [film(n) for n in history]
        named = [film(n) for n in labels]
        last = before[-1] if before else None
        repeats = [label in before for label in named]
        made.append((dialogue, turn, dialogue.split("-")[0], split, dialogue, before, last, named, repeats, turn))
    return CORE_REC_TURNS.check(pl.DataFrame(made, schema=CORE_REC_TURNS.schema, orient="row"))


def stored(root: Path, **tables: pl.DataFrame) -> Warehouse:
    warehouse = Warehouse(root)
    contracts = {"sessions": CORE_SESSIONS, "vectors": ML_ITEM_EMBEDDINGS, "turns": CORE_REC_TURNS}
    for name, rows in tables.items():
        warehouse.write(contracts[name], rows)
        warehouse.publish([contracts[name].name])
    return warehouse


def read(folder: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(folder / f"{name}.parquet")


RATED = session_rows([(1, 0, 7, 1), (1, 0, 8, 2), (1, 0, 9, 3), (1, 0, 7, 1), (2, 0, 8, 2), (2, 0, 10, None)])


def test_leave_one_out_by_hand(tmp_path: Path) -> None:
    warehouse = stored(tmp_path / "w", sessions=RATED)
    manifest = write_training_data(warehouse, "ml-1m", "leave_one_out", tmp_path / "d", None, "seen", ids="source")
    assert read(tmp_path / "d", "items").rows() == [(0, "7", 1), (1, "8", 2), (2, "9", 0), (3, "10", 1)]
    assert read(tmp_path / "d", "sequences").rows() == [("ml-1m:1", [0, 1], 1), ("ml-1m:2", [1, 3], 1)]
    assert read(tmp_path / "d", "validation").rows() == [("ml-1m:1:2", "ml-1m:1", 2, [0, 1], [2], [False], 1)]
    assert read(tmp_path / "d", "test").rows() == [("ml-1m:1:3", "ml-1m:1", 3, [0, 1, 2], [0], [True], 2)]
    assert manifest["items"] == 4 and manifest["dims"] == 0 and manifest["left_out"] == {}
    assert manifest["targets"] == 2 and manifest["examples"] == {"valid": 1, "test": 1}
    assert "research use" in manifest["licence"]
    assert json.loads((tmp_path / "d" / "manifest.json").read_text()) == manifest


def test_types_are_those_that_were_agreed(tmp_path: Path) -> None:
    warehouse = stored(tmp_path / "w", sessions=RATED)
    write_training_data(warehouse, "ml-1m", "leave_one_out", tmp_path / "d", None, "seen")
    ints = pa.list_(pa.int32())
    assert dict(zip(*_fields(tmp_path / "d" / "items.parquet"), strict=True)) == {
        "item": pa.int32(), "movie_id": pa.string(), "count": pa.int64(),
    }  # fmt: skip
    assert dict(zip(*_fields(tmp_path / "d" / "sequences.parquet"), strict=True)) == {
        "sequence_id": pa.string(), "items": ints, "first_target": pa.int32(),
    }  # fmt: skip
    assert dict(zip(*_fields(tmp_path / "d" / "test.parquet"), strict=True)) == {
        "example_id": pa.string(), "cluster_id": pa.string(), "position": pa.int32(), "history": ints, "labels": ints,
        "are_repeats": pa.list_(pa.bool_()), "last_item": pa.int32(),
    }  # fmt: skip


def _fields(path: Path) -> tuple[list[str], list[pa.DataType]]:
    schema = pq.read_schema(path)
    types = [pa.list_(t.value_type) if pa.types.is_list(t) else t for t in schema.types]
    return schema.names, types


def test_films_without_vector_are_left_out_and_counted(tmp_path: Path) -> None:
    vectors = {1: [1.0, 0.0], 2: [0.0, 1.0], 99: [0.6, 0.8]}
    warehouse = stored(tmp_path / "w", sessions=RATED, vectors=vector_rows(vectors))
    manifest = write_training_data(warehouse, "ml-1m", "leave_one_out", tmp_path / "d", "minilm")
    # The pool is all films with a vector, rated or not; film 3, the label of valid, has none.
    assert read(tmp_path / "d", "items").rows() == [(0, film(1), 1), (1, film(2), 1), (2, film(99), 0)]
    found = np.load(tmp_path / "d" / "vectors.npy", mmap_mode="r", allow_pickle=False)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array(list(vectors.values()), dtype=np.float32))
    assert read(tmp_path / "d", "sequences").rows() == [("ml-1m:1", [0, 1], 1)]
    assert read(tmp_path / "d", "validation").is_empty()
    assert read(tmp_path / "d", "test").rows() == [
        # The film rated last before it has no vector.
        ("ml-1m:1:3", "ml-1m:1", 3, [0, 1], [0], [True], None)
    ]
    assert manifest["left_out"] == {
        "examples without a label": 1,
        "films of histories: no vector": 1,
        "films of sequences: not in the corpus": 1,
        "labels: no vector": 1,
        "sequences without a target": 1,
    }
    assert manifest["dims"] == 2


def test_seen_films_with_vectors_are_all_or_an_error(tmp_path: Path) -> None:
    rated = session_rows([(1, 0, 7, 1), (1, 0, 8, 2), (1, 0, 9, 1), (1, 0, 8, 2)])
    warehouse = stored(tmp_path / "w", sessions=rated, vectors=vector_rows({1: [1.0], 2: [-1.0], 5: [1.0]}))
    write_training_data(warehouse, "ml-1m", "leave_one_out", tmp_path / "d", "minilm", "seen", ids="source")
    # Two ids that are one film have one vector, and stay two.
    assert read(tmp_path / "d", "items")["movie_id"].to_list() == ["7", "8", "9"]
    assert np.load(tmp_path / "d" / "vectors.npy").tolist() == [[1.0], [-1.0], [1.0]]
    lacking = stored(tmp_path / "v", sessions=RATED, vectors=vector_rows({1: [1.0], 2: [-1.0]}))
    with pytest.raises(ValueError, match=f"1 of 3 films in the interactions have no vector of minilm, first {film(3)}"):
        write_training_data(lacking, "ml-1m", "leave_one_out", tmp_path / "e", "minilm", "seen")
    assert not (tmp_path / "e").exists()


def test_sessions_by_hand(tmp_path: Path) -> None:
    rated = session_rows(
        [
            (1, 0, 1, 1),
            (1, 0, 2, 2),
            (1, 1, 3, 3),
            (1, 2, 1, 1),
            (1, 2, 3, 3),
            (1, 2, 2, 2),
            (2, 3, 1, 1),
            (2, 3, 2, 2),
        ],
        splits={2: "valid", 3: "test"},
    )
    warehouse = stored(tmp_path / "w", sessions=rated)
    manifest = write_training_data(warehouse, "ml-1m", "sessions", tmp_path / "d", None, "seen")
    assert read(tmp_path / "d", "sequences").rows() == [("ml-1m:1:0", [0, 1], 1)]
    assert read(tmp_path / "d", "validation").rows() == [("ml-1m:1:2:5", "ml-1m:1", 5, [0, 2], [1], [False], 2)]
    assert read(tmp_path / "d", "test").rows() == [("ml-1m:2:3:1", "ml-1m:2", 1, [0], [1], [False], 0)]
    # The session of one film has nothing to be learned.
    assert manifest["left_out"] == {"sequences without a target": 1}


def test_the_core_is_counted_again_until_it_holds(tmp_path: Path) -> None:
    rows = [(user, 0, item, item) for user in (1, 2, 3) for item in (1, 2, 3, 4)]
    # Film 9 goes, which only user 4 has rated, and with it user 4, who has two ratings left.
    rated = session_rows([*rows, (4, 0, 1, 1), (4, 0, 3, 3), (4, 0, 9, 9)])
    warehouse = stored(tmp_path / "w", sessions=rated)
    manifest = write_training_data(warehouse, "ml-1m", "leave_one_out", tmp_path / "d", None, "seen", core=3)
    assert manifest["left_out"] == {"ratings outside the 3-core": 3}
    assert read(tmp_path / "d", "test")["cluster_id"].to_list() == ["ml-1m:1", "ml-1m:2", "ml-1m:3"]
    # What is left is split anew.
    assert read(tmp_path / "d", "test")["labels"].to_list() == [[3]] * 3
    assert read(tmp_path / "d", "sequences")["items"].to_list() == [[0, 1]] * 3


TURNS = turn_rows(
    [
        ("redial-1", 1, "train", [], [1]),
        ("redial-1", 3, "train", [1], [2, 1]),
        ("redial-2", 1, "valid", [1], [3, 1]),
        ("inspired-1", 1, "train", [4], [5]),
        ("inspired-2", 1, "test", [4, 9], [5, 9]),
    ]
)


def test_dialogues_by_hand(tmp_path: Path) -> None:
    warehouse = stored(tmp_path / "w", turns=TURNS)
    manifest = write_training_data(
        warehouse, "redial", "dialogues", tmp_path / "d", None, "seen", evaluate_on=("inspired", "redial")
    )
    assert read(tmp_path / "d", "items").select("movie_id", "count").rows() == [
        (film(1), 2), (film(2), 1), (film(3), 0), (film(4), 0), (film(5), 0), (film(9), 0),
    ]  # fmt: skip
    assert read(tmp_path / "d", "sequences").rows() == [
        ("redial-1:1:0", [0], 0),
        ("redial-1:3:0", [0, 1], 1),
        ("redial-1:3:1", [0, 0], 1),
    ]
    assert read(tmp_path / "d", "validation").rows() == [("redial-2:1", "redial-2", 1, [0], [2, 0], [False, True], 0)]
    assert read(tmp_path / "d", "test").rows() == [("inspired-2:1", "inspired-2", 1, [3, 5], [4, 5], [False, True], 5)]
    assert manifest["evaluated_on"] == ["redial", "inspired"]
    assert manifest["licence"].startswith("redial: CC BY 4.0") and "inspired" in manifest["licence"]


def test_several_datasets_may_be_named_in_two_ways(tmp_path: Path) -> None:
    warehouse = stored(tmp_path / "w", turns=TURNS)
    folders = [tmp_path / name for name in "abc"]
    hashes = [
        write_training_data(warehouse, *asked, folder, None, "seen", **more)["data_hash"]
        for folder, asked, more in (
            (folders[0], ("redial+inspired", "dialogues"), {}),
            (folders[1], ("dialogues", "dialogues"), {"datasets": ("inspired", "redial")}),
            (folders[2], ("dialogues", "dialogues"), {}),
        )
    ]
    assert len(set(hashes)) == 1
    assert read(folders[0], "sequences").height == 4


def test_a_label_without_a_vector_costs_its_row_and_no_other(tmp_path: Path) -> None:
    warehouse = stored(tmp_path / "w", turns=TURNS, vectors=vector_rows({1: [1.0], 3: [2.0], 9: [3.0]}))
    manifest = write_training_data(warehouse, "dialogues", "dialogues", tmp_path / "d", "minilm")
    assert read(tmp_path / "d", "sequences").rows() == [("redial-1:1:0", [0], 0), ("redial-1:3:1", [0, 0], 1)]
    assert read(tmp_path / "d", "test").rows() == [("inspired-2:1", "inspired-2", 1, [2], [2], [True], 2)]
    assert manifest["left_out"] == {
        "films of histories: no vector": 1,
        "films of sequences: no vector": 3,
        "labels: no vector": 1,
        "sequences without a target": 2,
    }


def test_same_tables_same_bytes(tmp_path: Path) -> None:
    vectors = vector_rows({1: [1.0, 2.0], 2: [0.5, 0.0]})
    first = stored(tmp_path / "w", sessions=RATED, vectors=vectors)
    other = stored(tmp_path / "v", sessions=RATED.reverse(), vectors=vectors.reverse())
    one = write_training_data(first, "ml-1m", "leave_one_out", tmp_path / "a", "minilm")
    two = write_training_data(other, "ml-1m", "leave_one_out", tmp_path / "b", "minilm")
    assert one == two
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    third = stored(tmp_path / "x", sessions=RATED, vectors=vector_rows({1: [1.0, 2.5], 2: [0.5, 0.0]}))
    assert (
        write_training_data(third, "ml-1m", "leave_one_out", tmp_path / "c", "minilm")["data_hash"] != one["data_hash"]
    )


def test_equal_content_is_left_alone_and_damage_is_mended(tmp_path: Path) -> None:
    warehouse = stored(tmp_path / "w", sessions=RATED)
    folder = tmp_path / "d"
    manifest = write_training_data(warehouse, "ml-1m", "leave_one_out", folder, None, "seen")
    (folder / "made_from.json").write_text("of whoever asked")
    before = (folder / "items.parquet").stat().st_mtime_ns
    assert write_training_data(warehouse, "ml-1m", "leave_one_out", folder, None, "seen") == manifest
    assert (folder / "items.parquet").stat().st_mtime_ns == before
    assert (folder / "made_from.json").exists()
    (folder / "items.parquet").write_bytes(b"cut short")
    write_training_data(warehouse, "ml-1m", "leave_one_out", folder, None, "seen")
    assert read(folder, "items").height == 3
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_fault_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse = stored(tmp_path / "w", sessions=RATED)
    folder = tmp_path / "d"
    write_training_data(warehouse, "ml-1m", "leave_one_out", folder, None, "seen")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_training_data(warehouse, "ml-1m", "leave_one_out", folder, None, "seen", ids="source")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d", "w"]


def test_what_a_killed_run_left_is_swept_up_a_day_later(tmp_path: Path) -> None:
    warehouse = stored(tmp_path / "w", sessions=RATED)
    for name, age_s in ((".d.abc.tmp", 90_000), (".d.def.old", 90_000), (".d.new.tmp", 60), (".other.abc.tmp", 90_000)):
        left = tmp_path / name
        left.mkdir()
        (left / "items.parquet").write_bytes(b"half")
        at = left.stat().st_mtime - age_s
        os.utime(left, (at, at))
    write_training_data(warehouse, "ml-1m", "leave_one_out", tmp_path / "d", None, "seen")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".d.new.tmp", ".other.abc.tmp", "d", "w"]


def test_a_folder_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    warehouse = stored(tmp_path / "w", sessions=RATED)
    with pytest.raises(FileExistsError, match="no training files"):
        write_training_data(warehouse, "ml-1m", "leave_one_out", tmp_path, None, "seen")
    assert (tmp_path / "mine.txt").read_text() == "keep"


@pytest.mark.parametrize(
    ("arguments", "more", "message"),
    [
        (("ml-1m", "leave_one_out", None), {}, "name an encoder"),
        (("ml-2m", "leave_one_out", "minilm"), {}, "no MovieLens release 'ml-2m'"),
        (("ml-1m", "by_moon", "minilm"), {}, "no setting 'by_moon'"),
        (("ml-1m", "sessions", "minilm"), {"evaluate_on": ("redial",)}, "are for setting='dialogues'"),
        (("redail", "dialogues", "minilm"), {}, "no dialogue dataset 'redail'"),
        (("dialogues", "dialogues", "minilm"), {"datasets": ("readit",)}, "no dialogue dataset 'readit'"),
        (("redial", "dialogues", "minilm"), {"ids": "source"}, "neither a release's film ids nor a k-core"),
        (("redial", "dialogues", "minilm"), {"core": 5}, "neither a release's film ids nor a k-core"),
    ],
)
def test_contradictions_are_said(arguments: Any, more: dict[str, Any], message: str, tmp_path: Path) -> None:
    dataset, setting, encoder = arguments
    warehouse = stored(tmp_path / "w", sessions=RATED, turns=TURNS)
    with pytest.raises(ValueError, match=message):
        write_training_data(warehouse, dataset, setting, tmp_path / "d", encoder, **more)


def test_nothing_to_train_on_is_said(tmp_path: Path) -> None:
    warehouse = stored(tmp_path / "w", sessions=RATED, vectors=vector_rows({77: [1.0]}), turns=TURNS.head(0))
    for dataset, setting, encoder, message in (
        ("ml-100k", "sessions", "minilm", "no training sequence in the warehouse"),
        ("redial", "dialogues", "minilm", "no training sequence in the warehouse"),
        ("ml-1m", "leave_one_out", "qwen", "holds no vector of encoder 'qwen'"),
        ("ml-1m", "leave_one_out", "minilm", "no training sequence has a target .*labels: no vector: 2"),
    ):
        with pytest.raises(NoTrainingData, match=message):
            write_training_data(warehouse, dataset, setting, tmp_path / "d", encoder)
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ({1: [1.0, 2.0], 2: [1.0]}, f"the vector of {film(2)} by minilm has 1 dimensions, others have 2"),
        ({1: [1.0], 2: [float("nan")]}, f"the vector of {film(2)} by minilm has values that are no numbers"),
    ],
)
def test_damaged_vectors_are_named(vectors: dict[int, list[float]], message: str, tmp_path: Path) -> None:
    warehouse = stored(tmp_path / "w", sessions=RATED, vectors=vector_rows(vectors))
    with pytest.raises(ValueError, match=message):
        write_training_data(warehouse, "ml-1m", "leave_one_out", tmp_path / "d", "minilm")


@pytest.mark.real_data
def test_ml_1m_is_the_known_benchmark(real_data: Path, tmp_path: Path) -> None:
    """Popularity, full ranking, history masked: the figures that others measured on this file."""
    source = real_data / "movielens" / "ml-1m" / "interactions_leave_one_out.parquet"
    if not source.is_file():
        pytest.skip("the ml-1m interactions are not here")
    folder = tmp_path / "sources" / "ml-1m"
    folder.mkdir(parents=True)
    (folder / source.name).write_bytes(source.read_bytes())
    warehouse = Warehouse(tmp_path / "w")
    build_sessions(warehouse, tmp_path / "sources", False, lambda _: None)
    warehouse.publish([CORE_SESSIONS.name])
    manifest = write_training_data(warehouse, "ml-1m", "leave_one_out", tmp_path / "d", None, "seen", ids="source")
    assert (manifest["items"], manifest["sequences"]) == (3_416, 6_040)
    assert manifest["examples"] == {"valid": 6_040, "test": 6_040} and manifest["left_out"] == {}
    counts = read(tmp_path / "d", "items")["count"].to_numpy().astype(float)
    test = read(tmp_path / "d", "test")
    places = []
    for history, labels in test.select("history", "labels").iter_rows():
        scores = counts.copy()
        scores[history] = -1
        places.append(int((scores > scores[labels[0]]).sum()) + 1)
    found = np.array(places)
    assert round(float((found <= 10).mean()), 4) == 0.0353
    assert round(float(np.where(found <= 10, 1 / np.log2(found + 1), 0).mean()), 4) == 0.0175

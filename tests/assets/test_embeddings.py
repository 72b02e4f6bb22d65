"""Embedding films and indexing them: only what changed, nothing lost by a kill, nothing taken that is damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from assets.build import embeddings
from assets.build.embeddings import build_embeddings
from assets.build.files import FileError
from assets.build.item_index import build_item_index, open_item_index
from models.encoders import Encoded, EncoderError
from warehouse.store import Warehouse
from warehouse.tables.corpus import CORE_MOVIES
from warehouse.tables.interactions import CORE_REC_TURNS, CORE_SESSIONS
from warehouse.tables.retrieval import ML_ITEM_EMBEDDINGS, ML_ITEM_INDEX


class FakeEncoder:
    """Gives each text a direction of its own, and remembers what it was asked."""

    precision = "nowhere, float32"

    def __init__(self, name: str = "minilm", fingerprint: str = "1", dies_after: int | None = None) -> None:
        self.name, self.fingerprint, self.dies_after = name, fingerprint, dies_after
        self.seen: list[str] = []
        self.cosine = 1.0

    def encode(self, texts: list[str], tell: object = None) -> Encoded:
        if self.dies_after is not None and len(self.seen) + len(texts) > self.dies_after:
            raise KeyboardInterrupt
        self.seen += texts
        vectors = np.array([np.random.default_rng(list(text.encode())).normal(size=8) for text in texts], np.float32)
        return Encoded(
            vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
            np.array([len(text.split()) for text in texts], dtype=np.int32),
            np.array([len(text) > 40 for text in texts]),
        )

    def agreement(self, texts: list[str]) -> float:
        return self.cosine


def movie_id(number: int) -> str:
    return f"mv{number:016x}"


def movies(numbers: range | list[int], plots: dict[int, str] | None = None) -> pl.DataFrame:
    rows = [
        {
            "movie_id": movie_id(k), "title": f"Film {k}", "year": 1950 + k, "kind": "movie", "votes": k * 10 if k % 3 else None,
            "plot": (plots or {}).get(k), "source_count": 1, "record_count": 1, "is_complete": False, "content_hash": k,
            **{name: [] for name, dtype in CORE_MOVIES.schema.items() if dtype == pl.List(pl.String)},
        }
        for k in numbers
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=CORE_MOVIES.schema)


def make(root: Path, films: pl.DataFrame) -> Warehouse:
    warehouse = Warehouse(root)
    warehouse.write(CORE_MOVIES, films)
    warehouse.publish([CORE_MOVIES.name])
    return warehouse


def build(
    warehouse: Warehouse, encoder: FakeEncoder, full: bool = False, scope: object = "all", told: list | None = None
):
    built = build_embeddings(warehouse, encoder, full, (told if told is not None else []).append, scope)  # type: ignore[arg-type]
    warehouse.publish([ML_ITEM_EMBEDDINGS.name])
    return built


def stored(warehouse: Warehouse) -> pl.DataFrame:
    return warehouse.read(ML_ITEM_EMBEDDINGS.name).sort("encoder", "movie_id")


def test_films_are_embedded_once_and_again_when_their_text_changes(tmp_path: Path) -> None:
    warehouse = make(tmp_path, movies(range(12)))
    assert build(warehouse, FakeEncoder()).counts["embedded"] == 12
    again = FakeEncoder()
    assert not build(warehouse, again).commits[0].changed and again.seen == []

    warehouse.write(CORE_MOVIES, movies([*range(1, 12), 20], {3: "Something happens."}))
    warehouse.publish([CORE_MOVIES.name])
    changed = FakeEncoder()
    built = build(warehouse, changed)
    assert sorted(changed.seen) == ["Title: Film 20\nYear: 1970", "Title: Film 3\nYear: 1953\nPlot: Something happens."]
    assert built.counts["removed"] == 1
    fresh = make(tmp_path / "fresh", movies([*range(1, 12), 20], {3: "Something happens."}))
    build(fresh, FakeEncoder())
    assert stored(warehouse).equals(stored(fresh))


def test_another_version_of_the_encoder_embeds_everything_again_and_another_encoder_stands_beside(
    tmp_path: Path,
) -> None:
    warehouse = make(tmp_path, movies(range(5)))
    build(warehouse, FakeEncoder())
    assert build(warehouse, FakeEncoder(fingerprint="2")).counts["embedded"] == 5
    assert build(warehouse, FakeEncoder("other")).counts["embedded"] == 5
    assert stored(warehouse).group_by("encoder").len().sort("encoder").rows() == [("minilm", 5), ("other", 5)]


def test_full_embeds_all_again_to_the_same(tmp_path: Path) -> None:
    warehouse = make(tmp_path, movies(range(5)))
    build(warehouse, FakeEncoder())
    again = FakeEncoder()
    assert not build(warehouse, again, full=True).commits[0].changed
    assert len(again.seen) == 5


@pytest.mark.parametrize("full", [False, True])
def test_a_killed_run_loses_no_more_than_a_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: bool) -> None:
    monkeypatch.setattr(embeddings, "CHUNK", 4)
    warehouse = make(tmp_path, movies(range(10)))
    with pytest.raises(KeyboardInterrupt):
        build(warehouse, FakeEncoder(dies_after=9), full)
    assert warehouse.latest(ML_ITEM_EMBEDDINGS.name) is None
    second = FakeEncoder()
    counts = build(warehouse, second, full).counts
    assert (counts["kept from a run that was cut short"], counts["embedded"], len(second.seen)) == (8, 2, 2)
    assert not (tmp_path / "files" / "ml_item_embeddings").exists()
    whole = make(tmp_path / "whole", movies(range(10)))
    build(whole, FakeEncoder())
    assert stored(warehouse).equals(stored(whole))


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"PAR1PAR1"])
def test_a_damaged_chunk_is_told_of_and_embedded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes
) -> None:
    monkeypatch.setattr(embeddings, "CHUNK", 4)
    warehouse = make(tmp_path, movies(range(10)))
    with pytest.raises(KeyboardInterrupt):
        build(warehouse, FakeEncoder(dies_after=9))
    chunk = min((tmp_path / "files" / "ml_item_embeddings").glob("*/chunk.parquet"))
    chunk.write_bytes(damage)
    told: list[str] = []
    assert build(warehouse, FakeEncoder(), told=told).counts["embedded"] == 6
    assert any(str(chunk) in text for text in told)


def test_films_with_the_same_text_are_encoded_once(tmp_path: Path) -> None:
    twins = movies([1, 2]).with_columns(title=pl.lit("Twin"), year=pl.lit(1960, pl.Int32))
    warehouse = make(tmp_path, twins)
    encoder = FakeEncoder()
    build(warehouse, encoder)
    assert len(encoder.seen) == 1 and stored(warehouse).height == 2


def test_vectors_unlike_those_in_full_precision_are_refused(tmp_path: Path) -> None:
    warehouse = make(tmp_path, movies(range(3)))
    encoder = FakeEncoder()
    encoder.cosine = 0.9
    with pytest.raises(EncoderError, match=r"minilm: vectors are 0\.90000 like those in float32"):
        build(warehouse, encoder)
    assert warehouse.latest(ML_ITEM_EMBEDDINGS.name) is None


def test_used_films_come_first_and_those_left_out_are_counted(tmp_path: Path) -> None:
    warehouse = make(tmp_path, movies(range(10)))
    session = {
        "release": "ml-1m", "user_id": 1, "position": 0, "source_item_id": 1, "movie_id": movie_id(0), "session": 0, "session_split": "train",
        "leave_one_out_split": "train", "file": "ratings.dat", "line": 1,
    }  # fmt: skip
    turn = {
        "dialogue_id": "redial-d", "turn": 1, "dataset": "redial", "split": "train", "conversation_id": "c", "history": [movie_id(6)],
        "labels": [movie_id(3)], "are_repeats": [False], "input_hash": 1,
    }  # fmt: skip
    warehouse.write(CORE_SESSIONS, pl.DataFrame([session], schema=CORE_SESSIONS.schema))
    warehouse.write(CORE_REC_TURNS, pl.DataFrame([turn], schema=CORE_REC_TURNS.schema))
    warehouse.publish([CORE_SESSIONS.name, CORE_REC_TURNS.name])
    used = [movie_id(k) for k in (0, 3, 6)]
    assert build(warehouse, FakeEncoder(), scope="used").counts["films left out"] == 7
    assert stored(warehouse)["movie_id"].to_list() == used
    build(warehouse, FakeEncoder(), scope=5)
    assert stored(warehouse)["movie_id"].to_list() == sorted([*used, movie_id(7), movie_id(8)])


# -- the index ---------------------------------------------------------------------------------------------


def index(warehouse: Warehouse, full: bool = False, told: list | None = None, encoders: tuple[str, ...] = ("minilm",)):
    built = build_item_index(warehouse, encoders, full, (told if told is not None else []).append)
    warehouse.publish([ML_ITEM_INDEX.name])
    return built


def indexed(root: Path, films: int = 12) -> Warehouse:
    warehouse = make(root, movies(range(films)))
    build(warehouse, FakeEncoder())
    index(warehouse)
    return warehouse


def row_of(warehouse: Warehouse) -> dict:
    return warehouse.read(ML_ITEM_INDEX.name).row(0, named=True)


def test_index_finds_each_film_by_its_own_vector(tmp_path: Path) -> None:
    warehouse = indexed(tmp_path)
    found = open_item_index(warehouse, "minilm")
    rows = stored(warehouse)
    nearest = found.nearest(np.array(rows["vector"].to_list(), dtype=np.float32), 3)
    assert [each[0][0] for each in nearest] == rows["movie_id"].to_list()
    assert all(each[0][1] == pytest.approx(1, abs=1e-6) and len(each) == 3 for each in nearest)
    row = row_of(warehouse)
    assert (row["kind"], row["items"], row["dims"], row["recall_25_share"]) == ("flat", 12, 8, 1.0)


def test_index_is_built_again_only_when_its_content_changes(tmp_path: Path) -> None:
    warehouse = indexed(tmp_path)
    before = row_of(warehouse)
    assert index(warehouse).counts["built"] == 0 and row_of(warehouse) == before
    warehouse.write(CORE_MOVIES, movies(range(1, 12)))
    warehouse.publish([CORE_MOVIES.name])
    build(warehouse, FakeEncoder())
    assert index(warehouse).counts["built"] == 1
    assert (row_of(warehouse)["items"], open_item_index(warehouse, "minilm").movie_ids[0]) == (11, movie_id(1))
    # The index that was published before is still whole: nothing was overwritten.
    assert (tmp_path / before["path"]).is_file() and row_of(warehouse)["path"] != before["path"]
    assert index(warehouse, full=True).counts["built"] == 1


@pytest.mark.parametrize("column", ["path", "ids_path"])
@pytest.mark.parametrize("damage", ["truncated", "changed", "missing"])
def test_damaged_index_is_named_not_read_and_built_again(tmp_path: Path, column: str, damage: str) -> None:
    warehouse = indexed(tmp_path)
    path = tmp_path / row_of(warehouse)[column]
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content[:-5] if damage == "truncated" else content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(FileError, match=str(path)):
        open_item_index(warehouse, "minilm")
    told: list[str] = []
    assert index(warehouse, told=told).counts["built"] == 1
    assert any(str(path) in text for text in told)
    assert len(open_item_index(warehouse, "minilm").movie_ids) == 12


def test_without_index_or_embeddings_it_says_so(tmp_path: Path) -> None:
    warehouse = make(tmp_path, movies(range(3)))
    with pytest.raises(FileError, match="no index of encoder 'minilm'"):
        open_item_index(warehouse, "minilm")
    told: list[str] = []
    assert index(warehouse, told=told).counts["indexes"] == 0
    assert told == ["minilm: nothing is embedded, so there is nothing to index"]


def test_indexes_of_other_encoders_stay(tmp_path: Path) -> None:
    warehouse = indexed(tmp_path)
    build(warehouse, FakeEncoder("other"))
    index(warehouse, encoders=("other",))
    assert warehouse.read(ML_ITEM_INDEX.name)["encoder"].sort().to_list() == ["minilm", "other"]

"""`marquee recommend`: what answers, what it says, and how it ends."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from assets.build.embeddings import build_embeddings
from assets.build.item_index import build_item_index
from assets.commands.recommend import recommend
from models import checkpoint, weights
from models.encoders import Encoder, profile
from models.retriever import RetrieverConfig, build
from warehouse.store import Warehouse
from warehouse.tables.corpus import CORE_MOVIES
from warehouse.tables.retrieval import ML_ITEM_EMBEDDINGS, ML_ITEM_INDEX, RETRIEVERS

PLOTS = {
    "Snow Road": "Two brothers cross the frozen north with a sledge of medicine.",
    "The Robot Nurse": "A robot looks after an old man and learns to dream.",
    "Steel Hearts": "Machines that think begin to love the engineers who built them.",
    "Summer Wedding": "Three sisters plan a wedding by the sea, and everything goes wrong.",
    "Bridesmaids at Sea": "A comedy about friends, a ship and a marriage.",
    "Iron Mind": "An android awakes and wonders who made it.",
}


def movie_id(number: int) -> str:
    return f"mv{number:016x}"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse with six films, embedded and indexed."""
    films = [
        {
            "movie_id": movie_id(k), "title": title, "year": 1990 + k, "kind": "movie", "plot": plot, "source_count": 1, "record_count": 1,
            "is_complete": False, "content_hash": k, **{name: [] for name, dtype in CORE_MOVIES.schema.items() if dtype == pl.List(pl.String)},
        }
        for k, (title, plot) in enumerate(PLOTS.items())
    ]  # fmt: skip
    warehouse = Warehouse(tmp_path_factory.mktemp("warehouse"))
    warehouse.write(CORE_MOVIES, pl.DataFrame(films, schema=CORE_MOVIES.schema))
    warehouse.publish([CORE_MOVIES.name])
    build_embeddings(warehouse, Encoder(profile("minilm"), "cpu"), False, lambda _: None, "all")
    warehouse.publish([ML_ITEM_EMBEDDINGS.name])
    build_item_index(warehouse, ["minilm"], False, lambda _: None)
    warehouse.publish([ML_ITEM_INDEX.name])
    return warehouse.root


def store_retriever(
    root: Path, name: str, features: str, value: float, trained_on: str = "dialogues", films: int = 5
) -> str:
    """An untrained LRURec that knows the first films, as a finished run leaves it; returns its model_id."""
    import torch

    warehouse = Warehouse(root)
    torch.manual_seed(0)
    has_text = features != "id"
    config = RetrieverConfig(
        arch="lrurec", items=films, width=8, blocks=1, dropout=0.0, max_history=4, features=features, text_dims=384 if has_text else 0,  # type: ignore[arg-type]
        scoring="tied", has_item_bias=True, has_start=True,
    )  # fmt: skip
    model = build(config, torch.ones(films, 384) if has_text else None)
    folder = root / "files" / RETRIEVERS["lrurec"].name / name
    folder.mkdir(parents=True)
    weights.save(folder / checkpoint.WEIGHTS, model.state_dict())
    rows = {
        "item": pa.array(range(films), pa.int32()),
        "movie_id": [movie_id(k) for k in range(films)],
        "count": pa.array([1] * films, pa.int64()),
    }
    pq.write_table(pa.table(rows), folder / checkpoint.ITEMS)
    (folder / checkpoint.CONFIG).write_text(json.dumps({"model": asdict(config), "encoder": "minilm"}))
    (folder / checkpoint.SUMMARY).write_text("{}")
    sha256 = weights.sha256(folder / checkpoint.WEIGHTS)
    model_id = f"{len(name):x}{sha256[1:16]}"
    row = {
        "model_id": model_id, "system": "lrurec", "arch": "lrurec", "preset": "tiny", "stage": "dialogues" if trained_on == "dialogues" else "sessions",
        "trained_on": trained_on, "seed": 42, "path": folder.relative_to(root).as_posix(), "sha256": sha256, "parameters": 1, "items": films,
        "config": "{}", "data_hash": "d", "steps": 1, "epochs": 1.0, "ended_by": "steps", "best_step": 1,
        "validation_metric": "recall@10", "validation_value": value, "interactions": 1, "train_s": 1.0, "device": "cpu", "warnings": [],
    }  # fmt: skip
    table = RETRIEVERS["lrurec"]
    before = warehouse.read(table.name) if warehouse.published(table.name) is not None else table.empty()
    warehouse.write(table, pl.concat([before, pl.DataFrame([row], schema=table.schema)]))
    warehouse.publish([table.name])
    return model_id


@pytest.fixture
def trained(root: Path, tmp_path: Path) -> Path:
    """A copy of the warehouse that retrievers may be added to."""
    import shutil

    return Path(shutil.copytree(root, tmp_path / "copy"))


def run(root: Path, *arguments: object) -> Result:
    return CliRunner().invoke(recommend, [*map(str, arguments), "--warehouse", str(root)])


def films(done: Result) -> list[dict]:
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_description_is_answered_by_the_index(root: Path) -> None:
    done = run(root, "artificial people who have feelings", "-k", 3, "--format", "json")
    found = films(done)
    assert {film["title"] for film in found} == {"The Robot Nurse", "Steel Hearts", "Iron Mind"}
    assert [film["rank"] for film in found] == [1, 2, 3]
    assert found[0]["score"] >= found[1]["score"] >= found[2]["score"]
    assert "answered from the index of 6 films by minilm" in done.stderr


def test_titles_without_a_retriever_are_answered_by_their_text_and_it_says_so(root: Path) -> None:
    done = run(root, "summer wedding (1993)", "-k", 1, "--format", "json")
    assert [film["title"] for film in films(done)] == ["Bridesmaids at Sea"]
    assert done.stderr.splitlines()[:2] == ["history: Summer Wedding (1993)", "no retriever is trained"]


@pytest.mark.parametrize("features", ["id", "text", "text+id"])
def test_titles_are_answered_by_the_best_retriever(trained: Path, features: str) -> None:
    store_retriever(trained, "ratings", features, 0.9, trained_on="ml-1m")
    store_retriever(trained, "worse", features, 0.1)
    best = store_retriever(trained, "the-better", features, 0.2)
    done = run(trained, "Snow Road; Steel Hearts; Iron Mind", "--format", "json")
    found = films(done)
    # Two films of the five it knows are the history; it does not know the third.
    assert sorted(film["title"] for film in found) == ["Bridesmaids at Sea", "Summer Wedding", "The Robot Nurse"]
    assert [film["score"] for film in found] == sorted((film["score"] for film in found), reverse=True)
    assert "lrurec does not know Iron Mind (1995), and passes over it" in done.stderr
    assert f"answered by lrurec (model {best}, dialogues, trained on dialogues, seed 42) among 5 films" in done.stderr
    assert "trained on ml-1m" in run(trained, "Snow Road;", "--dataset", "ml-1m").stderr
    assert "answered from the index" in run(trained, "Snow Road", "--retriever", "text").stderr


def test_order_of_the_history_matters_to_the_score(trained: Path) -> None:
    store_retriever(trained, "one", "id", 0.1)
    one, other = (
        films(run(trained, wish, "--format", "json")) for wish in ("Snow Road; Steel Hearts", "Steel Hearts; Snow Road")
    )
    assert {film["title"]: film["score"] for film in one} != {film["title"]: film["score"] for film in other}


def test_table_and_csv(root: Path) -> None:
    table = run(root, "a wedding", "-k", 2)
    assert "title" in table.stdout and "2 rows" in table.stdout and "movie_id" not in table.stdout
    csv = run(root, "a wedding", "-k", 2, "--format", "csv").stdout.splitlines()
    assert csv[0] == "rank,title,year,genres,score,movie_id" and len(csv) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Snow Raod; Iron Mind"], "no film is called 'Snow Raod': did you mean Snow Road (1990)"),
        (["  "], "say what you like"),
        (["robots", "--retriever", "lrurec"], "'robots' is no title, and a retriever reads titles"),
        (["Snow Road", "--retriever", "gru4rec"], "there is no retriever gru4rec: trained are none"),
        (["Snow Road", "--dataset", "ml-1m"], "there is no retriever lrurec on ml-1m: trained are none"),
        (["a wedding", "--encoder", "other"], "no index of encoder 'other'"),
    ],
)
def test_what_cannot_be_answered_is_said(root: Path, arguments: list[str], message: str) -> None:
    done = run(root, *arguments)
    assert done.exit_code != 0 and message in f"{done.output}{done.exception}"
    assert done.stdout == ""


def test_damaged_weights_are_named_and_not_loaded(trained: Path) -> None:
    store_retriever(trained, "one", "id", 0.1)
    file = trained / "files" / RETRIEVERS["lrurec"].name / "one" / checkpoint.WEIGHTS
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    done = run(trained, "Snow Road")
    assert done.exit_code != 0 and f"{file}: is damaged" in f"{done.output}{done.exception}"

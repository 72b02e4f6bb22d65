"""Checkpoints that are damaged, models that are loaded, weights taken over between lists of films."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.checkpoint import (
    CHECKPOINTS,
    LATEST,
    PREVIOUS,
    CheckpointError,
    Progress,
    load_model,
    read_checkpoint,
    save_checkpoint,
    take_over,
)
from models.config import TrainingConfig
from models.data import read_movie_ids
from models.retriever import RetrieverConfig, build
from models.training import build_optimizer
from models.weights import save
from tests.toy_training import toy_folder


def _two_checkpoints(out: Path) -> None:
    """Checkpoints of step 1 (the previous one) and step 2 (the latest)."""
    torch.manual_seed(0)
    model = build(RetrieverConfig.of({"arch": "gru4rec", "items": 9, "width": 4}))
    optimizer = build_optimizer(model, TrainingConfig())
    for step in (1, 2):
        states, *_ = model.training_states(torch.tensor([[1, 2, 3]]), torch.tensor([3]), torch.tensor([1]))
        model.score(states).sum().backward()
        optimizer.step()
        progress = Progress(accumulation=1, step=step, warnings=["w"])
        save_checkpoint(out, "identity", progress, model.state_dict(), model.state_dict(), optimizer)


def test_a_checkpoint_comes_back_whole(tmp_path: Path) -> None:
    _two_checkpoints(tmp_path)
    resumed = read_checkpoint(tmp_path, "identity", pytest.fail)
    assert resumed is not None
    assert resumed.progress == Progress(accumulation=1, step=2, warnings=["w"])
    assert {float(state["step"]) for state in resumed.optimizer.values()} == {2.0}
    assert sorted(path.name for path in (tmp_path / CHECKPOINTS).iterdir()) == [LATEST, PREVIOUS]


@given(share=st.floats(0, 0.999))
def test_one_cut_short_is_said_and_the_one_before_is_taken(tmp_path_factory, share: float) -> None:
    out = tmp_path_factory.mktemp("cut")
    _two_checkpoints(out)
    latest = out / CHECKPOINTS / LATEST
    latest.write_bytes(latest.read_bytes()[: int(share * latest.stat().st_size)])
    said: list[str] = []
    resumed = read_checkpoint(out, "identity", said.append)
    assert resumed is not None
    assert resumed.progress.step == 1
    assert len(said) == 1
    assert "back to step 1" in said[0] and LATEST in said[0]


def test_one_flipped_byte_is_noticed(tmp_path: Path) -> None:
    _two_checkpoints(tmp_path)
    for name in (LATEST, PREVIOUS):
        path = tmp_path / CHECKPOINTS / name
        damaged = bytearray(path.read_bytes())
        damaged[-9] ^= 1
        path.write_bytes(bytes(damaged))
    with pytest.raises(CheckpointError, match=r"not those that were written.*resume never"):
        read_checkpoint(tmp_path, "identity", print)


def test_a_kill_between_the_two_renames_leaves_the_one_before(tmp_path: Path) -> None:
    _two_checkpoints(tmp_path)
    (tmp_path / CHECKPOINTS / LATEST).unlink()
    resumed = read_checkpoint(tmp_path, "identity", pytest.fail)
    assert resumed is not None
    assert resumed.progress.step == 1


def test_one_of_another_configuration_is_refused(tmp_path: Path) -> None:
    _two_checkpoints(tmp_path)
    with pytest.raises(CheckpointError, match="another configuration"):
        read_checkpoint(tmp_path, "other", print)
    assert read_checkpoint(tmp_path / "nothing", "identity", print) is None


# Models


CONFIG = RetrieverConfig.of({"arch": "gru4rec", "items": 30, "width": 4, "features": "text+id", "text_dims": 4})


def _model_folder(path: Path, data: Path, config: RetrieverConfig = CONFIG, seed: int = 0):
    torch.manual_seed(seed)
    model = build(config, torch.ones(config.items, 4) if config.has_text else None)
    with torch.no_grad():
        for values in model.parameters():
            values.normal_()
    path.mkdir()
    save(path / "weights.safetensors", model.state_dict())
    (path / "config.json").write_text(json.dumps({"model": config.as_dict()}))
    (path / "items.parquet").write_bytes((data / "items.parquet").read_bytes())
    (path / "summary.json").write_text("{}")
    return model


def test_a_finished_folder_gives_its_model(tmp_path: Path) -> None:
    data = toy_folder(tmp_path / "data")
    model = _model_folder(tmp_path / "m", data).eval()
    vectors = torch.ones(30, 4)
    loaded = load_model(tmp_path / "m", vectors)
    history, lengths = torch.tensor([[1, 2]]), torch.tensor([2])
    torch.testing.assert_close(loaded.query(history, lengths), model.query(history, lengths), rtol=0, atol=0)
    assert not loaded.training
    (tmp_path / "m" / "summary.json").unlink()
    with pytest.raises(CheckpointError, match="no finished model"):
        load_model(tmp_path / "m", vectors)


def test_a_folder_whose_files_do_not_fit_is_refused(tmp_path: Path) -> None:
    data = toy_folder(tmp_path / "data")
    _model_folder(tmp_path / "m", data)
    (tmp_path / "m" / "config.json").write_text(json.dumps({"model": replace(CONFIG, width=8).as_dict()}))
    with pytest.raises(CheckpointError, match=r"weights\.safetensors: does not fit"):
        load_model(tmp_path / "m", torch.ones(30, 4))
    (tmp_path / "m" / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json: cannot be read"):
        load_model(tmp_path / "m")


def test_rows_of_shared_films_are_taken_over_by_movie_id(tmp_path: Path) -> None:
    old = _model_folder(tmp_path / "m", toy_folder(tmp_path / "old", items=30))
    # Same names in another order, one film gone (m29), two new (x, y).
    movie_ids = ["x", *(f"m{number}" for number in reversed(range(29))), "y"]
    torch.manual_seed(1)
    model = build(replace(CONFIG, items=31), torch.ones(31, 4))
    fresh = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    taken = take_over(model, movie_ids, tmp_path / "m")
    assert (taken.shared, taken.new, taken.left) == (29, 2, 1)
    assert "29 films shared, 2 new, 1 left behind" in str(taken)
    theirs = read_movie_ids(tmp_path / "m" / "items.parquet")
    for name, tensor in model.state_dict().items():
        source = old.state_dict()[name]
        if name in ("item_embedding.weight", "bias"):
            for row, movie_id in enumerate(movie_ids):
                wanted = source[theirs.index(movie_id)] if movie_id in theirs else fresh[name][row]
                assert torch.equal(tensor[row], wanted)
        else:
            assert torch.equal(tensor, source)


def test_what_only_one_model_has_is_said(tmp_path: Path) -> None:
    data = toy_folder(tmp_path / "data")
    _model_folder(tmp_path / "m", data, replace(CONFIG, has_start=False))
    model = build(replace(CONFIG, has_item_bias=False), torch.ones(30, 4))
    taken = take_over(model, read_movie_ids(data / "items.parquet"), tmp_path / "m")
    assert (taken.initialised, taken.unused) == (("start",), ("bias",))
    assert "lacks them: start" in str(taken) and "not used here: bias" in str(taken)


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    data = toy_folder(tmp_path / "data")
    _model_folder(tmp_path / "m", data)
    model = build(replace(CONFIG, width=8), torch.ones(30, 4))
    with pytest.raises(CheckpointError, match="another architecture or size"):
        take_over(model, read_movie_ids(data / "items.parquet"), tmp_path / "m")

"""The command as it is used: in processes of its own, killed, asked twice, on a machine with little installed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any

import pytest
import torch

from models import checkpoint
from models.config import ConfigError, TrainingConfig, read_file, read_run, section_of
from models.train import main
from models.weights import load, sha256
from tests.toy_training import toy_config, toy_folder

REPOSITORY = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY), "PYTHONSAFEPATH": "1"}
for variable in ("WORLD_SIZE", "RANK", "DAGSTER_PIPES_CONTEXT", "DAGSTER_PIPES_MESSAGES"):
    ENVIRONMENT.pop(variable, None)

# Hides everything that a bare GPU box does not have.
BARE = """
import sys
REFUSED = {"safetensors", "tensorboard", "tensorflow", "pandas", "polars", "duckdb", "deltalake", "dagster", "dagster_pipes", "scipy", "transformers",
    "sentence_transformers", "faiss", "pydantic", "orjson", "rich", "matplotlib", "sklearn", "pipelines", "warehouse", "assets"}
class Hidden:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in REFUSED else self.finder.find_spec(name, path, target)
sys.meta_path = [Hidden(finder) for finder in sys.meta_path]
from models.train import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return toy_folder(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def _command(config: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "models.train", "--config", str(config), *more]


def _run(config: Path, *more: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(_command(config, *more), cwd=REPOSITORY, env={**ENVIRONMENT, **environment}, capture_output=True, text=True)  # fmt: skip


def _lines(capsys) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def _content(out: Path) -> dict[str, str]:
    return {path.name: sha256(path) for path in out.iterdir() if path.is_file()}


def test_a_bare_machine_trains(data: Path, tmp_path: Path) -> None:
    config = toy_config(tmp_path / "run.json", data, tmp_path / "out")
    result = subprocess.run([sys.executable, "-c", BARE, "--config", str(config)], cwd=REPOSITORY, env=ENVIRONMENT, capture_output=True, text=True)  # fmt: skip
    assert result.returncode == 0, result.stderr
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert any("no TensorBoard log" in line.get("message", "") for line in lines)
    assert lines[-1]["event"] == "done"
    assert lines[-1]["ended_by"] == "epochs"
    assert {"progress", "metric", "done"} == {line["event"] for line in lines}


def test_a_finished_folder_is_whole(data: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    assert main(["--config", str(toy_config(tmp_path / "run.json", data, out))]) == 0
    assert {path.name for path in out.iterdir()} - {"tensorboard", ".lock"} == {
        "weights.safetensors", "config.json", "items.parquet", "metrics.jsonl", "summary.json", "MODEL_CARD.md",
    }  # fmt: skip
    summary = json.loads((out / "summary.json").read_text())
    assert {"steps", "epochs", "ended_by", "best_step", "validation_metric", "validation_value", "train_loss", "interactions", "train_s",
            "interactions_per_s", "parameters", "device", "warnings"} <= summary.keys()  # fmt: skip
    assert (summary["steps"], summary["epochs"], summary["device"]) == (24, 3.0, "cpu, fp32")
    resolved = json.loads((out / "config.json").read_text())
    assert resolved["model"]["items"] == resolved["items"] == 30
    assert resolved["items_sha256"] == sha256(data / "items.parquet") == sha256(out / "items.parquet")
    assert str(tmp_path) not in (out / "config.json").read_text()
    card = (out / "MODEL_CARD.md").read_text()
    assert "lrurec" in card and "toy" in card and f"{summary['validation_value']:.4f}" in card
    model = checkpoint.load_model(out)
    assert sum(values.numel() for values in model.parameters()) == summary["parameters"]
    tensors, metadata = load(out / "weights.safetensors")
    assert metadata["arch"] == "lrurec"
    assert set(tensors) == set(model.state_dict())


def test_a_second_run_does_nothing_and_another_one_overwrites_nothing(data: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    config = toy_config(tmp_path / "run.json", data, out)
    assert main(["--config", str(config)]) == 0
    before = _content(out)
    capsys.readouterr()
    # Saying it more often, or in a file elsewhere, makes no other model.
    again = toy_config(tmp_path / "again.json", data, out, training={"log_every": 1})
    assert main(["--config", str(again)]) == 0
    (line,) = _lines(capsys)
    assert line["event"] == "done" and "holds this model already" in line["message"]
    for changes in ({"seed": 8}, {"training": {"lr": 1e-4}}, {"model": {"width": 8}}):
        assert main(["--config", str(toy_config(tmp_path / "other.json", data, out, **changes))]) == 1
        assert "finished model of another configuration" in capsys.readouterr().err
    other = toy_folder(tmp_path / "data2", seed=1)
    assert main(["--config", str(toy_config(tmp_path / "other.json", other, out))]) == 1
    assert "data_hash" in capsys.readouterr().err
    assert _content(out) == before


def test_a_folder_of_somebody_else_is_left_alone(data: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("x")
    assert main(["--config", str(toy_config(tmp_path / "run.json", data, out))]) == 1
    assert "is no model folder: it holds thesis.tex" in capsys.readouterr().err
    assert (out / "thesis.tex").read_text() == "x"


@pytest.mark.slow
def test_kill_9_at_random_moments_gives_the_same_bytes(data: Path, tmp_path: Path) -> None:
    training = {"max_epochs": 20, "patience": 0, "log_every": 5}
    model = {"dropout": 0.3}
    whole = toy_config(tmp_path / "whole.json", data, tmp_path / "whole", training=training, model=model)
    assert main(["--config", str(whole)]) == 0
    after_each_step = {**training, "checkpoint_every_s": 0.0}
    killed = toy_config(tmp_path / "killed.json", data, tmp_path / "killed", training=after_each_step, model=model)
    latest = tmp_path / "killed" / "checkpoint" / "latest.safetensors"
    moments = random.Random(5)
    resumed_at = []
    for _ in range(2):
        process = subprocess.Popen(_command(killed), cwd=REPOSITORY, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if "going on from step" in event.get("message", ""):
                resumed_at.append(event["step"])
            if event["event"] == "metric":
                break
        time.sleep(moments.random() * 0.3)
        process.kill()
        process.wait()
        process.stdout.close()
        assert process.returncode == -signal.SIGKILL
        assert latest.exists() or latest.with_name("previous.safetensors").exists()
    last = _run(killed)
    assert last.returncode == 0, last.stderr
    resumed_at += [json.loads(line)["step"] for line in last.stdout.splitlines() if "going on from step" in line]
    assert len(resumed_at) == 2 and 0 < resumed_at[0] < resumed_at[1]
    assert sha256(tmp_path / "killed" / "weights.safetensors") == sha256(tmp_path / "whole" / "weights.safetensors")

    def untimed(out: Path) -> list[str]:
        return [line for line in (out / "metrics.jsonl").read_text().splitlines() if "per_s" not in line]

    assert untimed(tmp_path / "killed") == untimed(tmp_path / "whole")
    assert not (tmp_path / "killed" / "checkpoint").exists()


@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_stops_with_a_checkpoint(data: Path, tmp_path: Path, number: signal.Signals, status: int) -> None:
    training = {"max_epochs": 10_000, "patience": 0}
    config = toy_config(tmp_path / "run.json", data, tmp_path / "out", training=training)
    process = subprocess.Popen(_command(config), cwd=REPOSITORY, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
    assert process.stdout is not None
    while json.loads(process.stdout.readline())["event"] != "metric":
        pass
    process.send_signal(number)
    out, err = process.communicate()
    assert process.returncode == status
    assert f"stopped by {number.name}" in err
    last = json.loads(out.splitlines()[-1])
    assert last["event"] == "interrupted"
    assert (tmp_path / "out" / "checkpoint" / "latest.safetensors").exists()
    assert not (tmp_path / "out" / "summary.json").exists()


def test_resume_never_starts_anew_and_another_configuration_does_not_resume(data: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    config = toy_config(tmp_path / "run.json", data, out)
    run = read_run(config)
    out.mkdir()
    (out / "checkpoint").mkdir()
    (out / "checkpoint" / "latest.safetensors").write_bytes(b"damaged")
    assert main(["--config", str(config)]) == 1
    assert "latest.safetensors" in capsys.readouterr().err
    assert main(["--config", str(config), "--resume", "never"]) == 0
    assert run.training.max_epochs == 3


def test_two_runs_into_one_folder_do_not_mix(data: Path, tmp_path: Path, capsys) -> None:
    from models.train import locked

    config = toy_config(tmp_path / "run.json", data, tmp_path / "out")
    with locked(tmp_path / "out"):
        assert main(["--config", str(config)]) == 1
    assert "another run" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(data: Path, tmp_path: Path) -> None:
    """torchrun with gloo: the same weights as one process with the joined batch, up to the order of sums."""
    training = {"max_epochs": 1}
    model = {"dropout": 0.0}
    one = toy_config(tmp_path / "one.json", data, tmp_path / "one", training=training, model=model)
    two = toy_config(tmp_path / "two.json", data, tmp_path / "two", training=training, model=model)
    assert main(["--config", str(one)]) == 0
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "models.train", "--config", str(two)]  # fmt: skip
    result = subprocess.run(command, cwd=REPOSITORY, env=ENVIRONMENT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    alone, _ = load(tmp_path / "one" / "weights.safetensors")
    together, _ = load(tmp_path / "two" / "weights.safetensors")
    for name, tensor in alone.items():
        torch.testing.assert_close(together[name], tensor, atol=2e-5, rtol=0)
    summaries = [json.loads((tmp_path / name / "summary.json").read_text()) for name in ("one", "two")]
    assert summaries[0]["interactions"] == summaries[1]["interactions"]
    assert summaries[0]["validation_value"] == pytest.approx(summaries[1]["validation_value"], abs=1e-9)
    assert summaries[0]["train_loss"] == pytest.approx(summaries[1]["train_loss"], abs=1e-5)


def test_weights_of_another_list_of_films_are_taken_over(data: Path, tmp_path: Path, capsys) -> None:
    assert main(["--config", str(toy_config(tmp_path / "a.json", data, tmp_path / "a"))]) == 0
    bigger = toy_folder(tmp_path / "bigger", items=40)
    config = toy_config(tmp_path / "b.json", bigger, tmp_path / "b", init_from=str(tmp_path / "a"))
    capsys.readouterr()
    assert main(["--config", str(config)]) == 0
    assert any("30 films shared, 10 new, 0 left behind" in line.get("message", "") for line in _lines(capsys))
    origin = json.loads((tmp_path / "b" / "config.json").read_text())["init_from"]
    assert origin == {"weights_sha256": sha256(tmp_path / "a" / "weights.safetensors")}
    assert origin["weights_sha256"] in (tmp_path / "b" / "MODEL_CARD.md").read_text()
    unfinished = toy_config(tmp_path / "c.json", bigger, tmp_path / "c", init_from=str(tmp_path / "none"))
    assert main(["--config", str(unfinished)]) == 1
    assert "no finished model" in capsys.readouterr().err


def test_text_models_need_vectors(data: Path, tmp_path: Path, capsys) -> None:
    config = toy_config(tmp_path / "run.json", data, tmp_path / "out", model={"features": "text"})
    assert main(["--config", str(config)]) == 0
    lacking = toy_folder(tmp_path / "lacking")
    (lacking / "vectors.npy").unlink()
    config = toy_config(tmp_path / "run.json", lacking, tmp_path / "out2", model={"features": "text"})
    assert main(["--config", str(config)]) == 1
    assert "vectors.npy: missing" in capsys.readouterr().err


def test_long_histories_are_counted_and_said(data: Path, tmp_path: Path, capsys) -> None:
    config = toy_config(
        tmp_path / "run.json", data, tmp_path / "out", model={"max_history": 4}, training={"max_epochs": 1}
    )
    assert main(["--config", str(config)]) == 0
    (text,) = [line["message"] for line in _lines(capsys) if "longer than max_history 4" in line.get("message", "")]
    assert text.endswith("their latest items are kept")


def test_under_pipes_dagster_hears_of_it(data: Path, tmp_path: Path) -> None:
    pipes = pytest.importorskip("dagster_pipes")
    context = {
        "asset_keys": ["ml_retriever_lrurec"], "code_version_by_asset_key": {"ml_retriever_lrurec": None},
        "provenance_by_asset_key": {"ml_retriever_lrurec": None}, "partition_key": None, "partition_key_range": None,
        "partition_time_window": None, "run_id": "run", "job_name": None, "retry_number": 0, "extras": {},
    }  # fmt: skip
    messages = tmp_path / "messages"
    config = toy_config(tmp_path / "run.json", data, tmp_path / "out")
    result = _run(config, DAGSTER_PIPES_CONTEXT=pipes.encode_param({"data": context}), DAGSTER_PIPES_MESSAGES=pipes.encode_param({"path": str(messages)}))  # fmt: skip
    assert result.returncode == 0, result.stderr
    told = [json.loads(line) for line in messages.read_text().splitlines()]
    methods = [message["method"] for message in told]
    assert methods[0] == "opened" and methods[-1] == "closed" and "log" in methods
    (made,) = [message["params"] for message in told if message["method"] == "report_asset_materialization"]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert made["metadata"]["validation_value"]["raw_value"] == summary["validation_value"]


def test_reinforcement_learning_is_handed_its_configuration(data: Path, tmp_path: Path, monkeypatch) -> None:
    handed = []
    module = types.ModuleType("models.rl")
    module.run_rl = handed.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "models.rl", module)
    config = toy_config(tmp_path / "run.json", data, tmp_path / "out", task="rl", rl={"method": "dpo"})
    assert main(["--config", str(config)]) == 0
    assert [(run.task, run.rl["method"]) for run in handed] == [("rl", "dpo")]


# Configuration


def test_a_preset_is_overridden_key_by_key(data: Path, tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text(
        'arch = "lrurec"\npreset = "lrurec"\ndata = "d"\nout = "o"\n[model]\nwidth = 32\n[training]\nlr = 1\n'
    )
    run = read_run(config)
    assert (run.model["width"], run.model["blocks"]) == (32, 2)
    assert (run.training.lr, run.training.clip_norm) == (1.0, 5.0)
    assert (run.task, run.seed, run.data, run.out) == ("train", 42, tmp_path / "d", tmp_path / "o")


@pytest.mark.parametrize(
    "text, reason",
    [
        ("arch = ", "not readable"),
        ('arch = "lrurec"\ndata = "d"', "key 'out' is missing"),
        ('arch = "lrurec"\ndata = "d"\nout = "o"\nsede = 1', "unknown key 'sede'; did you mean 'seed'"),
        ('arch = "lrurec"\ndata = "d"\nout = "o"\nseed = -1', "seed must be"),
        ('arch = "lrurec"\ndata = "d"\nout = "o"\nseed = true', "seed must be"),
        ('arch = "lrurec"\ndata = 1\nout = "o"', "data must be a text"),
        ('arch = "lrurec"\ndata = "d"\nout = "o"\ntask = "x"', "task must be one of train, rl"),
        ('arch = "lrurec"\ndata = "d"\nout = "o"\npreset = "x"', "preset"),
        ('arch = "lrurec"\ndata = "d"\nout = "o"\nmodel = 1', "model must be a table"),
        ('arch = "lrurec"\ndata = "d"\nout = "o"\n[training]\nlearning_rate = 1', r"\[training\] unknown key 'learning_rate'"),
        ('arch = "lrurec"\ndata = "d"\nout = "o"\n[training]\nlr = "x"', r"\[training\] lr must be of type float"),
        ('arch = "lrurec"\ndata = "d"\nout = "o"\n[training]\nbatch_size = 1.5', r"batch_size must be of type int"),
        ('arch = "lrurec"\ndata = "d"\nout = "o"\n[training]\nbatch_size = 0', "batch_size must be at least 1"),
        ('arch = "lrurec"\ndata = "d"\nout = "o"\n[training]\nlr = nan', "lr must be"),
        ('arch = "lrurec"\ndata = "d"\nout = "o"\n[training]\nlr = 0', "lr must be"),
        ('arch = "lrurec"\ndata = "d"\nout = "o"\n[training]\nloss = "bpr"', "loss must be one of 'full'"),
        ('arch = "lrurec"\ndata = "d"\nout = "o"\n[training]\nbeta1 = 1', "beta1 must be less than 1"),
        ('arch = "lrurec"\ndata = "d"\nout = "o"\n[training]\nmax_epochs = 0', "never end"),
        ('arch = "lrurec"\ndata = "d"\nout = "o"\n[training]\naccumulation = 1000', "accumulation 1000 is more"),
    ],
)  # fmt: skip
def test_a_bad_configuration_names_file_and_key(tmp_path: Path, text: str, reason: str) -> None:
    config = tmp_path / "run.toml"
    config.write_text(text)
    with pytest.raises(ConfigError, match=rf"run\.toml.*({reason})"):
        read_run(config)


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"arch": "lstm"}, "arch must be one of"),
        ({"model": {"witdh": 3}}, "witdh"),
        ({"model": {"items": 3}}, "items is not for a file to say"),
        ({"model": {"width": 0}}, "width must be"),
        ({"model": {"features": "poster"}}, "features|vectors"),
    ],
)
def test_a_bad_model_section_names_file_and_key(data: Path, tmp_path: Path, changes: dict, reason: str, capsys) -> None:
    config = toy_config(tmp_path / "run.json", data, tmp_path / "out", **changes)
    assert main(["--config", str(config)]) == 1
    error = capsys.readouterr().err
    assert "run.json" in error
    assert any(word in error for word in reason.split("|"))
    assert not (tmp_path / "out").exists()


def test_files_that_are_no_configuration(tmp_path: Path) -> None:
    for name, content, reason in [
        ("a.yaml", b"a: 1", "toml or .json"),
        ("a.json", b"[]", "table"),
        ("a.json", b"\xff", "cannot be read"),
    ]:
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=reason):
            read_file(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_file(tmp_path / "none.toml")
    assert section_of(TrainingConfig, {"lr": 2}, "f", "training").lr == 2.0

"""The loop: what a step computes, when it stops, what happens when something goes wrong. In this process, on a toy folder."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.checkpoint import Progress, read_checkpoint
from models.config import TrainingConfig
from models.data import Examples, Lists, read_examples, read_sequences
from models.reporting import Reporter
from models.retriever import ARCHITECTURES, RetrieverConfig, build
from models.training import (
    Interrupted,
    Run,
    Setting,
    TrainingError,
    _NotFinite,
    build_optimizer,
    evaluate,
    learning_rate,
    total_steps,
)
from tests.toy_training import toy_folder

ITEMS = 30
BASE = TrainingConfig(
    batch_size=8, lr=5e-3, schedule="constant", max_epochs=2, device="cpu", precision="fp32", validation_masked=False, checkpoint_every_s=1e9
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return toy_folder(tmp_path_factory.mktemp("toy"), items=ITEMS)


@pytest.fixture
def make(folder: Path, tmp_path: Path):
    """Runs over the toy folder, each in a folder of its own unless `out` is given."""
    made = []

    def run(config: TrainingConfig = BASE, out: str = "", arch: str = "lrurec", resume: bool = False, **model) -> Run:
        place = tmp_path / (out or f"out{len(made)}")
        place.mkdir(exist_ok=True)
        torch.manual_seed(7)
        values = {"items": ITEMS, "width": 8, "blocks": 1, "max_history": 16, "dropout": 0.0, **model}
        retriever_config = RetrieverConfig.of({"arch": arch, **values})
        vectors = torch.randn(ITEMS, 4) if retriever_config.has_text else None
        retriever = build(retriever_config, vectors)
        reporter = Reporter(place, stream=io.StringIO())
        made.append(reporter)
        warnings: list[str] = []
        result = Run(
            retriever,
            read_sequences(folder / "sequences.parquet", ITEMS, 16),
            read_examples(folder / "validation.parquet", ITEMS),
            config,
            seed=7,
            out=place,
            identity="same",
            reporter=reporter,
            setting=Setting.of(config),
            resumed=read_checkpoint(place, "same", warnings.append) if resume else None,
        )
        reporter.open_logs(result.progress.metrics_bytes, result.progress.step)
        return result

    yield run
    for reporter in made:
        reporter.close()


def _weights(run: Run) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in run.model.state_dict().items()}


def _events(run: Run, event: str) -> list[dict]:
    lines = [json.loads(line) for line in run.reporter.stream.getvalue().splitlines()]  # type: ignore[attr-defined]
    return [line for line in lines if line["event"] == event]


def _same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# Rates, limits, groups


def test_rate_warms_up_and_follows_the_cosine() -> None:
    config = replace(BASE, lr=1.0, schedule="cosine", warmup_steps=4, final_lr_share=0.1)
    rates = [learning_rate(config, step, 12) for step in range(14)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4] == 1.0
    assert rates[8] == pytest.approx(0.1 + 0.9 * 0.5)  # half way
    assert rates[12] == rates[13] == pytest.approx(0.1)
    constant = replace(config, schedule="constant")
    assert learning_rate(constant, 11, 12) == 1.0


def test_the_schedule_ends_at_the_first_limit() -> None:
    config = replace(BASE, max_epochs=3, max_steps=50, max_interactions=0)
    assert total_steps(config, 10, 400) == 30
    assert total_steps(replace(config, max_steps=20), 10, 400) == 20
    assert total_steps(replace(config, max_interactions=401), 10, 400) == 11


def test_norms_biases_and_eigenvalues_do_not_decay(make) -> None:
    run = make()
    decayed, kept = build_optimizer(run.model, BASE).param_groups
    names = {id(values): name for name, values in run.model.named_parameters()}
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.01, 0.0)
    assert all(values.ndim >= 2 and "norm" not in names[id(values)] for values in decayed["params"])
    kept_names = {names[id(values)] for values in kept["params"]}
    assert {"bias", "start"} <= kept_names
    assert any("log_nu" in name for name in kept_names)
    assert len(decayed["params"]) + len(kept["params"]) == len(names)


# A step


@pytest.mark.parametrize("arch", ["lrurec", "sasrec", "gru4rec"])
def test_eight_at_once_are_eight_times_one(make, arch: str) -> None:
    whole, parts = make(arch=arch), make(replace(BASE, accumulation=8), arch=arch)
    rows = whole._epoch(0)[0]
    assert len(rows) == 8
    loss, targets, _, norm = whole._accumulate(rows)
    loss8, targets8, _, norm8 = parts._accumulate(rows)
    assert (targets8, loss8, norm8) == (targets, pytest.approx(loss, abs=1e-6), pytest.approx(norm, abs=1e-6))
    for one, other in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(one.grad, other.grad, atol=1e-6, rtol=0)


@pytest.mark.parametrize("loss", ["full", "sampled", "in_batch", "sampled_in_batch"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_loss_learns_the_ring(make, loss: str, precision: str) -> None:
    run = make(replace(BASE, loss=loss, precision=precision, max_epochs=12, lr=2e-2, patience=0, negatives=20))
    before = evaluate(run.model, run.examples, False)
    outcome = run.fit()
    assert outcome.ended_by == "epochs"
    assert outcome.progress.best_value is not None
    assert outcome.progress.best_value > 0.9 > before["recall@10"]


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("features", ["id", "text+id"])
def test_every_architecture_trains_and_resumes(make, arch: str, features: str) -> None:
    model = {"features": features, "text_dims": 4 if features != "id" else 0, "dropout": 0.2}
    whole = make(arch=arch, **model)
    whole.fit()
    first = make(replace(BASE, max_steps=5), arch=arch, out="parts", **model)
    first.fit()
    second = make(arch=arch, out="parts", resume=True, **model)
    assert second.progress.step == 5
    second.progress.validated_step = -1  # as the limit of the first run asked for one that the whole run has not
    second.progress.best_value = None
    outcome = second.fit()
    assert _same(_weights(whole), _weights(second))
    assert outcome.progress.last_epoch_loss < math.log(ITEMS) + 0.3


def test_the_clipped_norm_is_the_one_asked_for(make) -> None:
    run = make(replace(BASE, clip_norm=0.01))
    *_, norm = run._accumulate(run._epoch(0)[0])
    clipped = math.sqrt(
        sum(float(values.grad.square().sum()) for values in run.model.parameters() if values.grad is not None)
    )
    assert norm > 0.01
    assert clipped == pytest.approx(0.01, rel=1e-3)


# Validation


class _Fixed(nn.Module):
    """Scores that are given: a state is the row number of its history's first item."""

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        self.scores = nn.Parameter(scores)
        self.config = RetrieverConfig.of({"arch": "lrurec", "items": scores.shape[1], "max_history": 2})
        self.device = scores.device

    def item_matrix(self) -> Tensor:
        return self.scores.T

    def item_bias(self) -> None:
        return None

    def query(self, items: Tensor, lengths: Tensor) -> Tensor:
        return torch.eye(len(self.scores))[: len(items)]


def _lists(rows: list[list[int]]) -> Lists:
    return Lists(np.array([x for row in rows for x in row], dtype=np.int32), np.cumsum([0, *map(len, rows)]))


def test_validation_by_hand() -> None:
    scores = torch.arange(20.0).repeat(2, 1)  # item 19 is first, item 10 tenth
    examples = Examples(_lists([[0, 19, 18], [1]]), _lists([[17, 9], [19]]))
    plain = evaluate(_Fixed(scores), examples, False)  # places 3, 11, 1
    assert plain["recall@10"] == pytest.approx(2 / 3)
    assert plain["ndcg@10"] == pytest.approx((1 / 2 + 1) / 3)
    # Histories are masked as a whole, beyond what the model reads: places 1, 9, 1.
    masked = evaluate(_Fixed(scores), examples, True)
    assert masked["recall@10"] == 1.0
    assert masked["ndcg@10"] == pytest.approx((1 + 1 / math.log2(10) + 1) / 3)


def test_ties_count_against_the_label_and_masked_labels_not_at_all() -> None:
    ties = torch.zeros(1, 20)
    assert evaluate(_Fixed(ties), Examples(_lists([[]]), _lists([[3]])), False)["recall@10"] == 0.0
    repeat = Examples(_lists([[3]]), _lists([[3, 4]]))
    assert evaluate(_Fixed(torch.arange(20.0)[None]), repeat, True)["recall@10"] == 0.0  # item 4 alone: place 16
    with pytest.raises(ValueError, match="no label is left"):
        evaluate(_Fixed(ties), Examples(_lists([[3]]), _lists([[3]])), True)


def test_scores_that_are_no_numbers_are_no_ranking() -> None:
    with pytest.raises(_NotFinite):
        evaluate(_Fixed(torch.full((1, 20), torch.nan)), Examples(_lists([[]]), _lists([[3]])), False)


# Stopping and going on


def test_limits_end_a_run_and_are_named(make) -> None:
    for change, ended_by in [
        ({"max_steps": 3}, "steps"),
        ({"max_interactions": 50}, "interactions"),
        ({"max_epochs": 1}, "epochs"),
    ]:
        outcome = make(replace(BASE, **change)).fit()
        assert outcome.ended_by == ended_by
        assert outcome.progress.validated_step == outcome.progress.step  # the last step is judged, too
    assert outcome.progress.step == 8


def test_early_stopping_keeps_the_best_weights(make) -> None:
    run = make(replace(BASE, max_epochs=50, patience=2, lr=1e-2))
    outcome = run.fit()
    assert outcome.ended_by == "early_stopping"
    logged = [line for line in _events(run, "metric") if "validation/recall@10" in line]
    values = {line["step"]: line["validation/recall@10"] for line in logged}
    assert outcome.progress.best_step == max(values, key=lambda step: (values[step], -step))
    assert len([step for step in values if step > outcome.progress.best_step]) == 2
    run.model.load_state_dict(outcome.weights)
    assert evaluate(run.model, run.examples, False)["recall@10"] == outcome.progress.best_value


def test_the_log_has_all_figures(make) -> None:
    run = make(replace(BASE, log_every=4))
    run.fit()
    lines = [json.loads(line) for line in (run.out / "metrics.jsonl").read_text().splitlines()]
    assert {line["name"] for line in lines} == {
        "train/loss", "train/lr", "train/grad_norm", "train/interactions_per_s", "train/padding_share", "train/epoch_loss",
        "validation/recall@10", "validation/ndcg@10",
    }  # fmt: skip
    assert all(line.keys() == {"step", "epoch", "name", "value"} for line in lines)
    epoch_losses = [line["value"] for line in lines if line["name"] == "train/epoch_loss"]
    assert len(epoch_losses) == 2
    assert epoch_losses[0] > epoch_losses[1]
    shares = [line["value"] for line in lines if line["name"] == "train/padding_share"]
    assert all(0 <= share < 1 for share in shares)


@pytest.mark.parametrize("stop_at", [0, 3, 8, 11])
def test_a_stopped_run_goes_on_to_the_same_bytes(make, stop_at: int) -> None:
    config = replace(BASE, log_every=5)
    model = {"dropout": 0.3}
    whole = make(config, **model)
    expected = whole.fit()
    first = make(config, out="stopped", **model)
    if stop_at == 0:
        first.signal = 15
    else:
        step = first._step

        def step_then_stop() -> None:
            step()
            if first.progress.step == stop_at:
                first.signal = 15

        first._step = step_then_stop  # type: ignore[method-assign]
    with pytest.raises(Interrupted):
        first.fit()
    assert first.progress.step == stop_at
    second = make(config, out="stopped", resume=True, **model)
    outcome = second.fit()
    assert _same(_weights(whole), _weights(second))
    assert _same(expected.weights, outcome.weights)
    assert outcome.progress.interactions == expected.progress.interactions

    def untimed(run: Run) -> list[str]:
        return [line for line in (run.out / "metrics.jsonl").read_text().splitlines() if "per_s" not in line]

    assert untimed(whole) == untimed(second)


# Things that go wrong


def _out_of_memory_above(run: Run, rows: int, error: Exception) -> None:
    states = run.model.training_states

    def fails(items: Tensor, *rest) -> tuple[Tensor, Tensor, Tensor]:
        if len(items) > rows:
            raise error
        return states(items, *rest)

    run.model.training_states = fails  # type: ignore[method-assign]


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory.\nTried"), RuntimeError("DefaultCPUAllocator: can't allocate memory")],
    ids=["gpu", "cpu"],
)
def test_out_of_memory_halves_batches_and_says_so_once_each(make, error: Exception) -> None:
    run = make()
    _out_of_memory_above(run, 2, error)
    outcome = run.fit()
    assert outcome.progress.accumulation == 4
    assert [text.split(" parts")[0] for text in outcome.progress.warnings] == [
        f"out of memory at step 1: batches are computed in {parts}" for parts in (2, 4)
    ]
    assert [event["message"] for event in _events(run, "warning")] == outcome.progress.warnings
    # Nothing is lost and nothing doubled: as if it had been configured so.
    assert _same(outcome.weights, make(replace(BASE, accumulation=4)).fit().weights)


def test_out_of_memory_with_one_sequence_is_an_error(make) -> None:
    run = make()
    _out_of_memory_above(run, 0, torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(TrainingError, match="single sequence at step 1, rows"):
        run.fit()


def test_other_errors_are_not_taken_for_memory(make) -> None:
    run = make()
    _out_of_memory_above(run, 0, RuntimeError("shapes do not fit"))
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        run.fit()


def _spoil(run: Run, step: int, what: str) -> None:
    """Make the loss, or one gradient, of a step no number."""
    accumulate = run._accumulate

    def spoiled(rows):
        loss, targets, cells, norm = accumulate(rows)
        if run.progress.step == step:
            return (math.nan, targets, cells, norm) if what == "loss" else (loss, targets, cells, math.inf)
        return loss, targets, cells, norm

    run._accumulate = spoiled  # type: ignore[method-assign]


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_state(make, what: str) -> None:
    run = make()
    _spoil(run, 10, what)
    outcome = run.fit()
    assert outcome.ended_by == "nan"
    assert (outcome.progress.step, outcome.progress.best_step) == (10, 8)
    (warning,) = outcome.progress.warnings
    assert warning.startswith(f"{what}") and "step 11, epoch 1, batch rows [" in warning
    assert all(bool(tensor.isfinite().all()) for tensor in outcome.weights.values())
    assert _same(outcome.weights, make(replace(BASE, max_steps=8)).fit().weights)


def test_no_number_before_any_validation_is_an_error_with_the_place(make) -> None:
    run = make()
    _spoil(run, 2, "loss")
    with pytest.raises(TrainingError, match="loss is nan at step 3, epoch 0, batch rows"):
        run.fit()
    resumed = read_checkpoint(run.out, "same", print)
    assert resumed is not None
    assert resumed.progress.step == 2
    assert all(bool(tensor.isfinite().all()) for tensor in resumed.model.values())


def test_weights_that_are_no_numbers_stop_validation(make) -> None:
    run = make()
    step = run._step

    def breaks() -> None:
        step()
        if run.progress.step == 8:
            with torch.no_grad():
                next(run.model.parameters()).fill_(torch.nan)

    run._step = breaks  # type: ignore[method-assign]
    with pytest.raises(TrainingError, match="scores are no numbers in validation; stopped, and no weights"):
        run.fit()
    assert read_checkpoint(run.out, "same", print) is None  # nothing broken was saved


def test_a_device_that_is_not_there_is_an_error() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ValueError, match="no GPU"):
        Setting.of(replace(BASE, device="cuda"))
    assert Setting.of(replace(BASE, device="auto", precision="auto")) == Setting(torch.device("cpu"), torch.float32)
    assert str(Setting.of(replace(BASE, precision="bf16"))) == "cpu, bf16"


def test_progress_goes_through_json() -> None:
    progress = Progress(accumulation=2, epoch_loss=0.1 + 0.2, best_value=None, warnings=["x"])
    assert Progress(**json.loads(json.dumps(progress.__dict__))) == progress

"""The loop of reinforcement learning: that it learns what is rewarded, what it logs, how it ends, and the run of a configuration."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from models import checkpoint, rl
from models.alignment import advantages, dpo, grpo, kl_of_items, kl_of_sets, label_nll, simpo
from models.candidate_sets import ABOUT, REWARDS, Group, SetsError, Turn, write_rows
from models.checkpoint import CheckpointError, load_model
from models.config import ConfigError, read_run
from models.draw import draw_round, rows_of
from models.retriever import Retriever, RetrieverConfig
from models.rl import Live, NotANumber, Outcome, RlConfig, align, collate, frozen, objective, run_rl, still
from models.rl_health import effective_share, entropy, learned_nothing, overlap, verdict
from models.sampling import plackett_luce
from models.weights import load
from tests.models.rl_folders import ITEMS, SHAPE, a_policy, by_place, turns_of, write_data, write_model

torch.set_num_threads(1)

METHODS: dict[str, dict[str, Any]] = {
    "dpo": {"method": "dpo"},
    "dpo with reference": {"method": "dpo", "has_reference": True, "beta": 1.0},
    "simpo": {"method": "simpo", "gamma": 0.1},
    "simpo by length": {"method": "simpo", "beta": 2.0, "gamma": 0.5, "is_length_normalised": True},
    "grpo": {"method": "grpo"},
    "grpo, kl of items": {"method": "grpo", "kl": "items"},
    "grpo, kl of sets": {"method": "grpo", "kl": "sets", "beta": 0.02},
    "clipped grpo": {"method": "grpo", "is_clipped": True},
}


def options(**keys: Any) -> RlConfig:
    return RlConfig(**{"rewards": Path("rewards.parquet"), "warmup_steps": 0, "patience": 0, "max_epochs": 2, **keys})


def groups_of(
    policy: Retriever, turns: list[Turn] | None = None, sets: int = 4, k: int = 8, seed: int = 1
) -> list[Group]:
    """Sets drawn by the policy, rewarded by place."""
    drawn = draw_round(policy, turns_of() if turns is None else turns, sets, k, torch.Generator().manual_seed(seed))
    return [replace(group, rewards=by_place(group.turn, group.candidates)) for group in drawn]


# Learning


def learn(keys: dict[str, Any]) -> Outcome:
    """A policy over 200 items that is shown sets of 10; each of 8 turns has one hidden item, rewarded by its place in the set. The likelihood of labels takes no part."""
    shape = RetrieverConfig(arch="gru4rec", items=200, width=16, blocks=1, dropout=0.1, max_history=8, initial_std=0.1)
    turns = [Turn(f"d:{at}", (at,), (100 + 10 * at,)) for at in range(8)]
    live = Live(turns, by_place, sets=8, k=10, seed=1, max_rounds=3)
    wanted = options(lr=0.02, warmup_steps=5, batch_size=8, max_epochs=40, has_nll=False, **keys)
    return align(a_policy(shape, seed=5), live, wanted, seed=1, refresh_every=1)


def rise(log: list[float], count: int = 1) -> tuple[float, float]:
    return float(np.mean(log[:count])), float(np.mean(log[-count:]))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_raises_the_reward_and_the_share_of_sets_with_a_label(method: str) -> None:
    log = learn(METHODS[method]).log
    before, after = rise(log["health/reward_mean"], 5)
    assert after > 1.5 * before
    before, after = rise(log["health/drawn_label_share"])
    assert after > 2 * before
    assert log["health/kl_to_start"][-1] > 0.01


@pytest.mark.parametrize("method", ["dpo", "simpo", "grpo"])
def test_with_the_sign_of_its_loss_turned_a_method_lowers_the_reward(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the test above would notice."""
    loss = {"dpo": dpo, "simpo": simpo, "grpo": grpo}[method]
    monkeypatch.setattr(rl, method, lambda *arguments: -loss(*arguments))
    log = learn({"method": method}).log
    before, after = rise(log["health/reward_mean"], 5)
    assert after < before
    before, after = rise(log["health/drawn_label_share"])
    assert after < before


def test_from_frozen_rewards_the_likelihood_of_better_sets_rises() -> None:
    policy = a_policy()
    groups = groups_of(policy)
    outcome = align(policy, frozen(groups), options(method="grpo", lr=0.01, max_epochs=8, has_nll=False), seed=1)
    batch = collate(groups, policy.config.max_history, policy.device)
    now = plackett_luce(still(policy).logits(batch), batch.candidates).double()
    gain = now - batch.behaviour
    weights = advantages(batch.rewards)
    assert (gain * weights.values).sum() > 0
    # It has left the sets it learns from, and says how far.
    assert outcome.log["health/log_ratio_abs"][0] < 1e-4 < outcome.log["health/log_ratio_abs"][-1]
    assert outcome.log["health/effective_share"][0] == pytest.approx(1)
    assert outcome.log["health/effective_share"][-1] < 1


# A step


@pytest.mark.parametrize("method", METHODS)
def test_the_objective_is_that_of_its_formula(method: str) -> None:
    """Against the losses, turn by turn."""
    policy, start = a_policy(), a_policy(seed=4)
    groups = [*groups_of(a_policy()), *groups_of(a_policy(), seed=2)]
    wanted = options(**METHODS[method])
    batch = collate(groups, policy.config.max_history, policy.device)
    found, figures = objective(policy, still(start), batch, wanted)
    logits, other = (still(each).logits(batch).double() for each in (policy, start))
    expected = []
    for row, group in enumerate(groups):
        sets = torch.from_numpy(group.candidates)[None]
        own, reference = (plackett_luce(each[row : row + 1], sets)[0] for each in (logits, other))
        nll = label_nll(logits[row : row + 1], torch.tensor([group.turn.labels]))
        keys = list(zip(group.has_label.tolist(), group.rewards.tolist(), strict=True))
        if wanted.method == "grpo":
            weights = advantages(torch.from_numpy(group.rewards)[None]).values
            behaviour = torch.from_numpy(group.log_probs)[None]
            value = grpo(own[None], weights, behaviour, 0.2) if wanted.is_clipped else grpo(own[None], weights)
            if wanted.kl == "items":
                value = value + wanted.beta * kl_of_items(logits[row : row + 1], other[row : row + 1])
            if wanted.kl == "sets":
                value = value + wanted.beta * kl_of_sets(own, reference).mean()
        elif max(keys) == min(keys):
            value = torch.zeros(1)
        else:
            w, m = keys.index(max(keys)), keys.index(min(keys))
            if wanted.method == "simpo":
                value = simpo(own[w], own[m], wanted.beta, wanted.gamma, 8 if wanted.is_length_normalised else None)
            elif wanted.has_reference:
                value = dpo(own[w], own[m], wanted.beta, reference[w], reference[m])
            else:
                value = dpo(own[w], own[m], wanted.beta)
        expected.append((nll + value).item())
    assert found.item() == pytest.approx(np.mean(expected), rel=1e-4)
    assert figures["train/loss"] == pytest.approx(figures["train/nll"] + figures["train/rl_loss"], rel=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_in_parts_has_the_gradient_of_the_whole(method: str) -> None:
    groups = groups_of(a_policy())
    start = still(a_policy(seed=4))
    gradients, figures = [], []
    for parts in (1, 3, 5):
        policy = a_policy().eval()
        figures.append(rl._accumulate(policy, start, groups, options(**METHODS[method]), parts))
        gradients.append(torch.cat([each.grad.flatten() for each in policy.parameters() if each.grad is not None]))
    for gradient, figure in zip(gradients[1:], figures[1:], strict=True):
        assert torch.allclose(gradients[0], gradient, atol=1e-5)
        assert figure["train/loss"] == pytest.approx(figures[0]["train/loss"], rel=1e-4)


def test_turns_without_a_pair_or_spread_add_only_the_likelihood_of_labels() -> None:
    policy = a_policy()
    groups = [replace(group, rewards=np.zeros(4), has_label=np.zeros(4, dtype=bool)) for group in groups_of(policy)]
    batch = collate(groups, policy.config.max_history, policy.device)
    for method in ("dpo", "simpo", "grpo"):
        loss, figures = objective(policy, still(policy), batch, options(method=method))
        assert figures["train/rl_loss"] == 0
        assert figures["health/zero_variance_share"] == 1
        assert loss.item() == pytest.approx(figures["train/nll"])
    assert objective(policy, still(policy), batch, options(method="dpo"))[1]["health/no_label_share"] == 1


def test_the_starting_policy_stays_as_it_was() -> None:
    policy = a_policy()
    start = rl.frozen_copy(policy)
    before = {name: each.clone() for name, each in start.state_dict().items()}
    align(policy, frozen(groups_of(policy)), options(method="grpo", lr=0.1), seed=1)
    assert all(torch.equal(each, before[name]) for name, each in start.state_dict().items())
    assert not any(each.requires_grad for each in start.parameters())
    assert rl.weight_change(policy, start) > 0.01


def test_vectors_of_items_are_not_copied() -> None:
    shape = replace(SHAPE, features="text", text_dims=3)
    torch.manual_seed(1)
    from models.retriever import build

    policy = build(shape, torch.randn(ITEMS, 3))
    assert rl.frozen_copy(policy).vectors is policy.vectors
    assert rl.frozen_copy(policy).text_projection.weight is not policy.text_projection.weight


# Ending


def test_the_same_seed_gives_the_same_weights() -> None:
    runs = []
    for seed in (1, 1, 2):
        policy = a_policy()
        runs.append(align(policy, frozen(groups_of(policy)), options(batch_size=5, lr=0.01), seed=seed))
    assert all(torch.equal(each, runs[1].weights[name]) for name, each in runs[0].weights.items())
    assert runs[0].log == runs[1].log
    assert any(not torch.equal(each, runs[2].weights[name]) for name, each in runs[0].weights.items())


def test_the_best_step_on_validation_is_kept_and_patience_ends_the_run() -> None:
    values = iter([0.1, 0.3, 0.2, 0.25, 0.9])
    policy = a_policy()
    seen: list[dict[str, torch.Tensor]] = []

    def validate(model: Retriever) -> float:
        seen.append({name: each.clone() for name, each in model.state_dict().items()})
        return next(values)

    wanted = options(batch_size=6, max_epochs=9, patience=2, lr=0.01)
    outcome = align(policy, frozen(groups_of(policy)), wanted, seed=1, validate=validate)
    assert (outcome.ended_by, outcome.steps, outcome.best_step, outcome.validation_value) == (
        "early_stopping",
        6,
        2,
        0.3,
    )
    assert outcome.epochs == 3
    assert all(torch.equal(each, seen[1][name]) for name, each in policy.state_dict().items())
    assert outcome.log["validation/ndcg@10"] == [0.1, 0.3, 0.2, 0.25]


def test_a_run_that_never_beats_its_start_says_so_and_keeps_it() -> None:
    policy = a_policy()
    before = {name: each.clone() for name, each in policy.state_dict().items()}
    outcome = align(policy, frozen(groups_of(policy)), options(lr=0.01), seed=1, validate=lambda _: 0.5)
    assert outcome.best_step == 0
    assert any("no step was better" in text for text in outcome.warnings)
    assert all(torch.equal(each, before[name]) for name, each in policy.state_dict().items())


def test_a_loss_that_is_no_number_ends_the_run_at_the_best_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = iter(range(100))
    true = rl.objective

    def broken(*arguments: Any) -> Any:
        loss, figures = true(*arguments)
        if next(steps) == 3:
            return loss * math.nan, {**figures, "train/loss": math.nan}
        return loss, figures

    monkeypatch.setattr(rl, "objective", broken)
    policy = a_policy()
    outcome = align(policy, frozen(groups_of(policy)), options(batch_size=6, max_epochs=5, lr=0.01), seed=1)
    assert (outcome.ended_by, outcome.steps, outcome.best_step) == ("nan", 3, 2)
    assert any(text.startswith("step 4, turns d") for text in outcome.warnings)
    assert any("weights of step 2 were kept" in text for text in outcome.warnings)
    assert all(each.isfinite().all() for each in policy.state_dict().values())


def test_weights_that_break_in_the_last_step_are_not_kept() -> None:
    policy = a_policy()
    outcome = align(policy, frozen(groups_of(policy)), options(lr=1e38, max_epochs=3), seed=1)
    assert (outcome.ended_by, outcome.best_step) == ("nan", 0)
    assert all(each.isfinite().all() for each in policy.state_dict().values())


def test_a_broken_start_is_an_error() -> None:
    policy = a_policy()
    groups = groups_of(policy)
    with torch.no_grad():
        next(policy.parameters()).fill_(math.nan)
    with pytest.raises(ValueError, match="to start from are no numbers"):
        align(policy, frozen(groups), options(), seed=1)
    with pytest.raises(ValueError, match="no turns"):
        align(a_policy(), frozen([]), options(), seed=1)


def test_out_of_memory_halves_the_batch_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    true = rl.objective

    def scarce(policy: Retriever, start: Any, batch: Any, wanted: RlConfig) -> Any:
        if len(batch.rewards) > 3:
            raise torch.OutOfMemoryError("out of memory")
        return true(policy, start, batch, wanted)

    policy = a_policy()
    with monkeypatch.context() as patch:
        patch.setattr(rl, "objective", scarce)
        outcome = align(policy, frozen(groups_of(policy)), options(batch_size=12, max_epochs=1, lr=0.01), seed=1)
    assert [text for text in outcome.warnings if "memory" in text] == [
        "out of memory at step 1: batches are computed in 2 parts",
        "out of memory at step 1: batches are computed in 4 parts",
    ]
    assert outcome.steps == 1
    monkeypatch.setattr(rl, "objective", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("out of memory")))
    with pytest.raises(torch.OutOfMemoryError):
        align(policy, frozen(groups_of(policy)), options(batch_size=12), seed=1)


# Fresh sets


def test_turns_whose_sets_are_all_alike_are_drawn_for_again() -> None:
    turns = turns_of(6)
    asked: list[str] = []

    def rewarder(turn: Turn, candidates: np.ndarray) -> list[float]:
        asked.append(turn.example_id)
        # The first turn never has any spread; the second has one in its second round.
        if turn == turns[0] or (turn == turns[1] and asked.count(turn.example_id) < 2):
            return [0.3] * len(candidates)
        return list(np.linspace(0, 1, len(candidates)))

    groups = Live(turns, rewarder, sets=3, k=4, seed=1, max_rounds=3)(a_policy(), 0)
    assert [group.turn for group in groups] == turns
    assert [group.resamples for group in groups] == [2, 1, 0, 0, 0, 0]
    assert asked.count(turns[0].example_id) == 3


@pytest.mark.parametrize("rewards", [[math.nan, 0.0], [0.0, math.inf], [0.0], [[0.0, 1.0]]])
def test_what_is_no_reward_is_refused_by_the_name_of_its_turn(rewards: Any) -> None:
    live = Live(turns_of(2), lambda *_: rewards, sets=2, k=3, seed=1)
    with pytest.raises(NotANumber, match="d00:0"):
        live(a_policy(), 0)


# Configuration


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"beta": 0.0}, "beta must be more than 0"),
        ({"lr": -1.0}, "lr must be more than 0"),
        ({"sets": 1}, "sets must be at least 2"),
        ({"max_epochs": 0}, "max_epochs must be at least 1"),
        ({"gamma": -0.1}, "gamma must be at least 0"),
        ({"dropout": 1.0}, "dropout"),
        ({"method": "grpo", "has_reference": True}, "has_reference is of method 'dpo'"),
        ({"method": "dpo", "kl": "items"}, "kl is of method 'grpo'"),
        ({"method": "grpo", "is_length_normalised": True}, "is_length_normalised is of method 'simpo'"),
    ],
)
def test_options_that_mean_nothing_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        options(**keys)


def configured(folder: Path, rewards: str = "rewards.parquet", **keys: Any) -> Path:
    """A configuration file with data, model and rewards beside it."""
    if not (folder / "data").exists():
        data = write_data(folder / "data")
        write_model(folder / "model", data)
        rows = [row | {"reward": reward} for group in groups_of(a_policy()) for row, reward in zip(rows_of(0, group), group.rewards, strict=True)]  # fmt: skip
        write_rows(folder / "rewards.parquet", rows, REWARDS, {})
    table = {
        "task": "rl",
        "arch": "gru4rec",
        "preset": "tiny",
        "data": "data",
        "out": "out",
        "init_from": "model",
        "rl": {"rewards": rewards, "method": "grpo", "max_epochs": 2, "lr": 0.01, "warmup_steps": 1, "batch_size": 5},
    }
    table = {**table, **{key: value for key, value in keys.items() if key != "rl"}}
    table["rl"] = {**table["rl"], **keys.get("rl", {})}
    file = folder / "run.json"
    file.write_text(json.dumps(table))
    return file


def test_a_run_leaves_a_model_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from models.train import main

    assert main(["--config", str(configured(tmp_path, rl={"dropout": 0.2}))]) == 0
    out = tmp_path / "out"
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["steps"], summary["epochs"], summary["validation_metric"]) == (6, 2, "ndcg@10")
    assert summary["interactions"] == 2 * sum(len(turn.labels) for turn in turns_of())
    config = checkpoint.read_config(out)
    assert config["rl"]["method"] == "grpo" and "rewards" not in config["rl"]
    assert config["training"]["lr"] == 0.01 and config["training"]["loss"] == "grpo"
    model = load_model(out)
    assert model.config == replace(SHAPE, dropout=0.2)
    stored, _ = load(out / "weights.safetensors")
    assert all(torch.equal(each, model.state_dict()[name]) for name, each in stored.items())
    logged = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    names = {line["name"] for line in logged}
    assert names >= {
        "train/loss", "train/rl_loss", "train/nll", "health/zero_variance_share", "health/label_share", "health/reward_mean",
        "health/reward_std", "health/entropy", "health/kl_to_start", "health/overlap", "health/drawn_overlap", "health/resamples",
        "health/drawn_label_share", "health/effective_share", "health/weight_change", "validation/ndcg@10",
    }  # fmt: skip
    assert len({(line["step"], line["name"]) for line in logged}) == len(logged)
    assert not (out / "checkpoint").exists()
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["event"] == "done"


def test_a_finished_run_is_not_run_again_and_another_is_not_written_over_it(tmp_path: Path) -> None:
    run_rl(read_run(configured(tmp_path)))
    before = (tmp_path / "out" / "metrics.jsonl").stat().st_mtime_ns
    run_rl(read_run(configured(tmp_path)))
    assert (tmp_path / "out" / "metrics.jsonl").stat().st_mtime_ns == before
    with pytest.raises(CheckpointError, match="another configuration"):
        run_rl(read_run(configured(tmp_path, rl={"beta": 0.2})))


def test_a_run_that_was_killed_gives_the_same_weights_when_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true, calls = rl._accumulate, iter(range(100))

    def killed(*arguments: Any) -> Any:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return true(*arguments)

    file = configured(tmp_path)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(rl, "_accumulate", killed)
        run_rl(read_run(file))
    assert not (tmp_path / "out" / "summary.json").exists()
    run_rl(read_run(file))
    run_rl(read_run(configured(tmp_path, out="other")))
    for name in ("weights.safetensors", "metrics.jsonl"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


@pytest.mark.parametrize(
    ("keys", "kind", "message"),
    [
        ({"rl": {"betta": 0.1}}, ConfigError, "betta"),
        ({"init_from": ""}, ConfigError, "init_from is missing"),
        ({"arch": "lrurec"}, ConfigError, "arch is 'lrurec', but the model of init_from is 'gru4rec'"),
        ({"rewards": "nowhere.parquet"}, SetsError, "nowhere.parquet"),
        ({"init_from": "nowhere"}, CheckpointError, "nowhere"),
        ({"rl": {"sets": 9}}, SetsError, "9 sets a turn"),
    ],
)
def test_a_run_that_cannot_be_is_refused_before_anything_is_written(
    tmp_path: Path, keys: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        run_rl(read_run(configured(tmp_path, **keys)))
    assert not (tmp_path / "out").exists()


def test_a_model_of_other_items_is_refused(tmp_path: Path) -> None:
    file = configured(tmp_path)
    table = pq.read_table(tmp_path / "model" / "items.parquet")
    pq.write_table(
        table.set_column(1, "movie_id", [[f"nm{item}" for item in range(ITEMS)]]), tmp_path / "model" / "items.parquet"
    )
    with pytest.raises(CheckpointError, match="other items"):
        run_rl(read_run(file))


def test_a_run_on_sets_of_another_policy_says_so(tmp_path: Path) -> None:
    file = configured(tmp_path)
    rows = pq.read_table(tmp_path / "rewards.parquet").to_pylist()
    write_rows(tmp_path / "rewards.parquet", [{**row, "log_prob": row["log_prob"] - 1} for row in rows], REWARDS, {})
    assert json.loads(pq.read_schema(tmp_path / "rewards.parquet").metadata[ABOUT]) == {}
    run_rl(read_run(file))
    warnings = json.loads((tmp_path / "out" / "summary.json").read_text())["warnings"]
    assert any("not drawn from the starting policy: their likelihoods differ by 1.00 nats" in text for text in warnings)


# Health


def test_figures_of_health_by_hand() -> None:
    """Sets {0, 1}, {1, 2}, {3, 4}: overlaps 1/3, 0, 0. Entropy of (1/2, 1/2): log 2. Weights 1, 1, 2: (4^2) / (3 * 6)."""
    sets = torch.tensor([[[0, 1], [1, 2], [3, 4]], [[5, 6], [6, 5], [5, 6]]])
    assert overlap(sets).tolist() == pytest.approx([1 / 9, 1])
    assert overlap(sets[:, :1]).tolist() == [1, 1]
    logits = torch.tensor([[0.0, 0.0, -math.inf], [0.0, -1e9, -1e9]])
    assert entropy(logits).tolist() == pytest.approx([math.log(2), 0])
    assert effective_share(torch.tensor([0.0, 0.0, math.log(2)])).item() == pytest.approx(16 / 18)
    assert effective_share(torch.tensor([900.0, 0.0])).item() == pytest.approx(0.5)


GOOD = {
    "health/zero_variance_share": [0.5, 1.0, 0.4],
    "health/pair_share": [0.0, 0.5],
    "train/rl_loss": [0.0, 0.3],
    "health/weight_change": [0.0, 0.1],
    "health/kl_to_start": [0.0, 0.2],
    "health/log_ratio_abs": [1e-5, 2.0],
    "health/effective_share": [1.0, 0.5],
    "health/drawn_label_share": [0.1, 0.2],
}


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("health/zero_variance_share", [1.0, 1.0], "learned nothing: all sets of every turn had the same reward"),
        ("health/pair_share", [0.0, 0.0], "learned nothing: there was no pair"),
        ("train/rl_loss", [0.0, -0.0], "learned nothing: the loss of reinforcement was zero"),
        ("health/weight_change", [0.0, 1e-9], "learned nothing: the weights changed by 1.0e-09"),
        ("health/kl_to_start", [0.0, 1e-8], "learned nothing: the policy draws as it did at the start"),
        ("health/zero_variance_share", [0.99, 0.97], "98% of the turns had sets of equal reward"),
        ("health/log_ratio_abs", [0.3, 0.3], "not drawn from the starting policy"),
        ("health/effective_share", [1.0, 0.04], "they count for 4.0% of their number"),
        ("health/drawn_label_share", [0.2, 0.1], "sets hold a label less often than at the start: 10.0% of them, before 20.0%"),
    ],
)  # fmt: skip
def test_the_verdict_names_what_went_wrong(name: str, values: list[float], message: str) -> None:
    assert verdict(GOOD) == []
    assert learned_nothing({}) == []
    (found,) = verdict({**GOOD, name: values})
    assert message in found
    assert bool(learned_nothing({**GOOD, name: values})) == message.startswith("learned nothing")


def test_a_run_of_equal_rewards_learned_nothing() -> None:
    policy = a_policy()
    groups = [replace(group, rewards=np.full(4, 0.5), has_label=np.ones(4, dtype=bool)) for group in groups_of(policy)]
    for method in ("dpo", "simpo", "grpo"):
        outcome = align(policy, frozen(groups), options(method=method, has_nll=False), seed=1)
        assert any(text.startswith("learned nothing: all sets") for text in outcome.warnings)
        assert any(text.startswith("learned nothing: the loss") for text in outcome.warnings)

"""Aligning a retriever with rewards of its candidate sets: the loop, from frozen rewards or with somebody who rewards fresh sets.

Belongs here: what a step does, what is logged, when it ends, and the run of a configuration (`run_rl`, task "rl" of `models.train`).
Does not belong here: the losses (`alignment.py`), drawing (`sampling.py`, `draw.py`), files of sets (`candidate_sets.py`), the verdict (`rl_health.py`).

Frozen rewards belong to sets that the starting policy drew. From the first step on the policy is another one: how far it is from those sets is logged as `health/log_ratio*` and
`health/effective_share`. With a rewarder, fresh sets are drawn every so many steps.
"""

from __future__ import annotations

import copy
import math
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.alignment import (
    advantages,
    choose_pairs,
    dpo,
    grpo,
    kl_of_items,
    kl_of_sets,
    label_nll,
    preference_margin,
    simpo,
    total,
)
from models.candidate_sets import Group, Turn, history_tensors, holds_label, label_tensor
from models.config import ConfigError, RunConfig, TrainingConfig
from models.draw import draw_round
from models.retriever import Retriever
from models.rl_health import effective_share, entropy, overlap, verdict
from models.sampling import plackett_luce, sample_sets
from models.training import build_optimizer, learning_rate


@dataclass(frozen=True)
class RlConfig:
    """The table [rl] of a configuration. Defaults are RAR's (section A.2) where it states them; what they leave open is taken from [training].

    `rewards`: rewards.parquet. `sets`: use the first so many sets of a turn, 0 for all; DPO and SimPO compare the best of them with the worst.
    `beta`: strength of preferences (dpo, simpo), or of the KL term (grpo). `gamma`: margin of simpo. `is_length_normalised`: simpo divides log-likelihoods by the size of a set.
    `has_reference`: dpo measures against the starting policy. `kl`: what grpo adds, times beta: the exact divergence from the starting policy of a first draw ("items"), or its estimate
    from the sets ("sets", k3). `is_clipped`: grpo with importance weights, clipped at 1 +- `clip`. `has_nll`: whether the likelihood of labels is part of the loss (equation 6).
    `patience`: epochs without a better validation before training stops, 0 for never. `probe_turns`: turns on which the policy is measured after each epoch.
    """

    rewards: Path
    method: Literal["dpo", "simpo", "grpo"] = "dpo"
    sets: int = 0
    beta: float = 0.1
    gamma: float = 0.05
    is_length_normalised: bool = False
    has_reference: bool = False
    kl: Literal["none", "items", "sets"] = "none"
    is_clipped: bool = False
    clip: float = 0.2
    has_nll: bool = True
    dropout: float = 0.1
    lr: float = 1e-4
    warmup_steps: int = 100
    batch_size: int = 32
    max_epochs: int = 10
    patience: int = 3
    probe_turns: int = 256

    def __post_init__(self) -> None:
        for key, least in (("sets", 0), ("warmup_steps", 0), ("batch_size", 1), ("max_epochs", 1), ("patience", 0), ("probe_turns", 1)):  # fmt: skip
            if getattr(self, key) < least:
                raise ConfigError(f"{key} must be at least {least}, not {getattr(self, key)}")
        for key in ("beta", "lr", "clip"):
            if not 0 < getattr(self, key) < math.inf:
                raise ConfigError(f"{key} must be more than 0, not {getattr(self, key)}")
        if not 0 <= self.gamma < math.inf or not 0 <= self.dropout < 1:
            raise ConfigError("gamma must be at least 0, and dropout at least 0 and less than 1")
        if self.sets == 1:
            raise ConfigError("sets must be at least 2: one set has nothing to be compared with")
        of_method = {
            "dpo": ("has_reference",),
            "simpo": ("is_length_normalised",),
            "grpo": ("kl", "is_clipped"),
        }
        for method, keys in of_method.items():
            for key in keys:
                if method != self.method and getattr(self, key) not in (False, "none"):
                    raise ConfigError(f"{key} is of method {method!r}, not of {self.method!r}")


# Sets of all turns for the policy as it is at a step, always of the same turns in the same order.
Source = Callable[[Retriever, int], Sequence[Group]]
# Rewards [G] of the sets [G, k] of a turn.
Rewarder = Callable[[Turn, NDArray[np.int64]], Sequence[float]]
# Takes step, epochs, and figures by name.
Record = Callable[[int, float, dict[str, float]], None]


class NotANumber(ValueError):
    """A rewarder has returned what is no reward; the message names the turn."""


def frozen(groups: Sequence[Group]) -> Source:
    """The same sets at every step."""
    return lambda policy, step: groups


@dataclass(frozen=True)
class Live:
    """Draws sets from the policy as it is and has them rewarded: on-policy. Turns whose sets are all of one reward are drawn for again, in up to `max_rounds` rounds."""

    turns: Sequence[Turn]
    rewarder: Rewarder
    sets: int
    k: int
    seed: int
    max_rounds: int = 4

    def __call__(self, policy: Retriever, step: int) -> list[Group]:
        generator = torch.Generator(policy.device).manual_seed(self.seed * 1_000_003 + step)
        found: dict[str, Group] = {}
        left = list(self.turns)
        for number in range(self.max_rounds):
            for group in draw_round(policy, left, self.sets, self.k, generator):
                rewards = np.asarray(self.rewarder(group.turn, group.candidates), dtype=np.float64)
                if rewards.shape != group.log_probs.shape or not np.isfinite(rewards).all():
                    raise NotANumber(
                        f"turn {group.turn.example_id!r}: rewards of {self.sets} sets are {rewards.tolist()}"
                    )
                found[group.turn.example_id] = Group(
                    group.turn, group.candidates, group.log_probs, rewards, group.has_label, number
                )
            left = [turn for turn in left if np.ptp(found[turn.example_id].rewards) == 0]
            if not left:
                break
        return [found[turn.example_id] for turn in self.turns]


class Batch(NamedTuple):
    """Some turns and their sets: `items [B, L]`, `lengths [B]`, `labels [B, P]`, `candidates [B, G, k]`; `behaviour` (log-likelihoods when drawn), `rewards`, `has_label [B, G]`."""

    items: Tensor
    lengths: Tensor
    labels: Tensor
    candidates: Tensor
    behaviour: Tensor
    rewards: Tensor
    has_label: Tensor


def collate(groups: Sequence[Group], max_history: int, device: torch.device) -> Batch:
    """Groups as tensors."""
    turns = [group.turn for group in groups]
    columns = (np.stack([getattr(group, name) for group in groups]) for name in ("candidates", "log_probs", "rewards", "has_label"))  # fmt: skip
    tensors = (*history_tensors(turns, max_history), label_tensor(turns), *(torch.from_numpy(each) for each in columns))
    return Batch(*(each.to(device) for each in tensors))


class Still(NamedTuple):
    """A policy as it is now, without dropout and gradients, with the vectors of all items [N, H] computed once."""

    policy: Retriever
    item_matrix: Tensor
    bias: Tensor | None

    @torch.no_grad()
    def logits(self, batch: Batch) -> Tensor:
        """Scores of all items after the histories of a batch, `[B, N]` float32."""
        states = self.policy.query(batch.items, batch.lengths).float()
        scores = states @ self.item_matrix.T
        return scores if self.bias is None else scores + self.bias

    @torch.no_grad()
    def draw(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Fresh sets, as many and as large as those of the batch, `[B, G, k]`."""
        states = self.policy.query(batch.items, batch.lengths).float()
        sets, k = batch.candidates.shape[1:]
        return sample_sets(states, self.item_matrix, self.bias, sets, k, generator).items


@torch.no_grad()
def still(policy: Retriever) -> Still:
    """A policy in evaluation mode, which it must stay in while this is used."""
    return Still(policy, policy.item_matrix().float(), policy.item_bias())


def objective(policy: Retriever, start: Still, batch: Batch, options: RlConfig) -> tuple[Tensor, dict[str, float]]:
    """The loss of a batch, a scalar (RAR, equation 6), and its figures. `start`: the policy before the first step."""
    logits = policy.score(policy.query(batch.items, batch.lengths)).float()
    start_logits = start.logits(batch) if options.has_reference or options.kl != "none" else None
    nll = label_nll(logits, batch.labels) if options.has_nll else None
    if options.method == "grpo":
        rl, figures = _grpo(logits, start_logits, batch, options)
    else:
        rl, figures = _pairwise(logits, start_logits, batch, options)
    has_spread = batch.rewards.amax(-1) > batch.rewards.amin(-1)
    loss = total(nll, rl)
    figures |= {
        "train/loss": loss.item(),
        "train/rl_loss": rl.mean().item(),
        "health/zero_variance_share": 1 - has_spread.double().mean().item(),
        "health/label_share": batch.has_label.double().mean().item(),
        "health/reward_mean": batch.rewards.mean().item(),
        "health/reward_std": batch.rewards.std(correction=0).item(),
    }
    if nll is not None:
        figures["train/nll"] = nll.mean().item()
    return loss, figures


def _grpo(
    logits: Tensor, start_logits: Tensor | None, batch: Batch, options: RlConfig
) -> tuple[Tensor, dict[str, float]]:
    log_probs = plackett_luce(logits, batch.candidates)
    weights = advantages(batch.rewards).values
    if options.is_clipped:
        loss = grpo(log_probs, weights, batch.behaviour, options.clip)
    else:
        loss = grpo(log_probs, weights)
    figures: dict[str, float] = {}
    if start_logits is not None:
        if options.kl == "items":
            divergence = kl_of_items(logits, start_logits)
        else:
            divergence = kl_of_sets(log_probs, plackett_luce(start_logits, batch.candidates)).mean(-1)
        loss = loss + options.beta * divergence
        figures["train/kl"] = divergence.mean().item()
    return loss, figures


def _pairwise(
    logits: Tensor, start_logits: Tensor | None, batch: Batch, options: RlConfig
) -> tuple[Tensor, dict[str, float]]:
    """The loss of pairs, 0 for turns that have none."""
    pairs = choose_pairs(batch.rewards, batch.has_label)
    rows = torch.arange(len(logits), device=logits.device)[:, None]
    chosen = batch.candidates[rows, torch.stack([pairs.winner, pairs.loser], 1)]
    winner, loser = plackett_luce(logits, chosen).unbind(1)
    references: tuple[Tensor, ...] = ()
    if start_logits is not None:
        references = plackett_luce(start_logits, chosen).unbind(1)
    margin = preference_margin(winner, loser, *references)
    if options.method == "dpo":
        loss = dpo(winner, loser, options.beta, *references)
    else:
        loss = simpo(
            winner, loser, options.beta, options.gamma, chosen.shape[-1] if options.is_length_normalised else None
        )
    figures = {
        "health/pair_share": pairs.is_pair.double().mean().item(),
        "health/tie_share": pairs.is_tie.double().mean().item(),
        "health/no_label_share": pairs.holds_no_label.double().mean().item(),
    }
    if pairs.is_pair.any():
        figures["health/preference_accuracy"] = (margin[pairs.is_pair] > 0).double().mean().item()
        figures["health/preference_margin"] = margin[pairs.is_pair].mean().item()
    return torch.where(pairs.is_pair, loss, 0.0), figures


@torch.no_grad()
def probe(
    policy: Retriever, start: Still, groups: Sequence[Group], seed: int, batch_size: int = 32
) -> dict[str, float]:
    """Measures the policy without dropout on some turns: how it draws now, how far it is from the start and from the sets it learns from.

    Fresh sets are drawn by `seed`: what they hold is known without anybody's reward. Where scores are no numbers, a figure is NaN.
    """
    now = still(policy.eval())
    generator = torch.Generator(policy.device).manual_seed(seed)
    found: dict[str, list[Tensor]] = defaultdict(list)
    for at in range(0, len(groups), batch_size):
        batch = collate(groups[at : at + batch_size], policy.config.max_history, policy.device)
        logits = now.logits(batch)
        if not bool(logits.isfinite().all()):
            return {"health/entropy": math.nan}
        drawn = now.draw(batch, generator)
        found["entropy"].append(entropy(logits))
        # In single precision, rounding would be as large as the divergence after a first step.
        found["kl_to_start"].append(kl_of_items(logits.double(), start.logits(batch).double()))
        found["log_ratio"].append(plackett_luce(logits, batch.candidates).double() - batch.behaviour)
        found["drawn_label_share"].append(holds_label(drawn, batch.labels).double())
        found["drawn_overlap"].append(overlap(drawn))
        found["overlap"].append(overlap(batch.candidates))
    ratios = torch.cat(found["log_ratio"])
    figures = {f"health/{name}": torch.cat(values).mean().item() for name, values in found.items()}
    return figures | {
        "health/log_ratio_abs": ratios.abs().mean().item(),
        "health/effective_share": effective_share(ratios).item(),
    }


@dataclass
class Outcome:
    """What came of a run. `weights`: those of the best step, on the CPU. `log`: values of each figure in order of steps."""

    steps: int = 0
    epochs: float = 0.0
    ended_by: str = "epochs"
    best_step: int = 0
    validation_value: float = -math.inf
    train_loss: float | None = None
    interactions: int = 0
    train_s: float = 0.0
    warnings: list[str] = field(default_factory=list)
    log: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    weights: dict[str, Tensor] = field(default_factory=dict)


def align(
    policy: Retriever,
    source: Source,
    options: RlConfig,
    *,
    seed: int,
    training: TrainingConfig | None = None,
    refresh_every: int = 0,
    validate: Callable[[Retriever], float] | None = None,
    record: Record = lambda *_: None,
    warn: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Train `policy` in place on the sets of `source`, asked again every `refresh_every` steps (0: never), and leave it at its best step.

    `validate`: the figure that decides which step is best, asked before the first step and after each epoch; without it the last one is best. `training`: decay, betas and clipping of the
    optimizer. A loss or gradient that is no number ends the run at the best step before. A batch that does not fit into the device's memory is computed in halves from then on.
    The same arguments give the same weights on the same device. Raises ValueError for no turns, and what `source` raises.
    """
    started, spent_elsewhere = time.perf_counter(), 0.0
    outcome = Outcome()
    start = still(frozen_copy(policy))
    groups = source(policy, 0)
    if not groups:
        raise ValueError("there are no turns to learn from")
    per_epoch = math.ceil(len(groups) / options.batch_size)
    steps = per_epoch * options.max_epochs
    config = optimizer_config(options, training or TrainingConfig())
    optimizer = build_optimizer(policy, config)
    probed = np.random.default_rng([seed, 3]).permutation(len(groups))[: options.probe_turns]
    parts, since_best = 1, 0

    def say(text: str) -> None:
        outcome.warnings.append(text)
        warn(text)

    def note(figures: dict[str, float]) -> None:
        for name, value in figures.items():
            outcome.log[name].append(value)
        record(outcome.steps, outcome.epochs, figures)

    def look() -> bool:
        """Measure and validate; keep the weights if they are the best so far. False where the policy's scores are no numbers."""
        nonlocal since_best, spent_elsewhere
        begun = time.perf_counter()
        figures = probe(policy, start, [groups[row] for row in probed], seed)
        if not all(map(math.isfinite, figures.values())):
            return False
        figures["health/weight_change"] = weight_change(policy, start.policy)
        figures["health/resamples"] = float(np.mean([group.resamples for group in groups]))
        value = float(outcome.steps)
        if validate is not None:
            value = figures["validation/ndcg@10"] = validate(policy)
        note(figures)
        since_best += 1
        if value > outcome.validation_value:
            since_best = 0
            outcome.validation_value, outcome.best_step = value, outcome.steps
            outcome.weights = {name: each.detach().cpu().clone() for name, each in policy.state_dict().items()}
        spent_elsewhere += time.perf_counter() - begun
        return True

    if options.warmup_steps >= steps:
        say(
            f"the warm-up of {options.warmup_steps} steps is no shorter than the run of {steps}: the full rate is never reached"
        )
    if not look():
        raise ValueError("the scores of the policy to start from are no numbers")
    for epoch in range(options.max_epochs):
        policy.train()
        torch.manual_seed(seed * 1_000_003 + epoch)
        losses: list[float] = []
        order = np.random.default_rng([seed, 1, epoch]).permutation(len(groups))
        for rows in np.array_split(order, per_epoch):
            if refresh_every and outcome.steps and outcome.steps % refresh_every == 0:
                groups = source(policy, outcome.steps)
            chosen = [groups[row] for row in rows]
            for parameters in optimizer.param_groups:
                parameters["lr"] = learning_rate(config, outcome.steps, steps)
            while True:
                try:
                    optimizer.zero_grad(set_to_none=True)
                    figures = _accumulate(policy, start, chosen, options, parts)
                    break
                except torch.OutOfMemoryError:
                    if parts >= len(chosen):
                        raise
                    parts *= 2
                    say(f"out of memory at step {outcome.steps + 1}: batches are computed in {parts} parts")
            norm = torch.nn.utils.clip_grad_norm_(policy.parameters(), config.clip_norm or math.inf).item()
            if not (math.isfinite(figures["train/loss"]) and math.isfinite(norm)):
                outcome.ended_by = "nan"
                names = ", ".join(group.turn.example_id for group in chosen[:3])
                say(f"step {outcome.steps + 1}, turns {names}, ...: loss or gradient is no number")
                break
            optimizer.step()
            outcome.steps += 1
            outcome.epochs = outcome.steps / per_epoch
            outcome.interactions += sum(len(group.turn.labels) for group in chosen)
            losses.append(figures["train/loss"])
            note({**figures, "train/gradient_norm": norm, "train/lr": optimizer.param_groups[0]["lr"]})
        outcome.train_loss = float(np.mean(losses)) if losses else outcome.train_loss
        if outcome.ended_by != "nan" and not look():
            outcome.ended_by = "nan"
            say(f"after step {outcome.steps}: scores are no numbers")
        if outcome.ended_by == "nan":
            say(f"the weights of step {outcome.best_step} were kept")
            break
        if options.patience and validate is not None and since_best >= options.patience:
            outcome.ended_by = "early_stopping"
            break
    for text in verdict(outcome.log):
        say(text)
    if validate is not None and outcome.best_step == 0 and outcome.steps:
        say("no step was better on validation than the start: the starting weights were kept")
    policy.load_state_dict(outcome.weights)
    policy.eval()
    outcome.train_s = time.perf_counter() - started - spent_elsewhere
    return outcome


def optimizer_config(options: RlConfig, training: TrainingConfig) -> TrainingConfig:
    """[training] with what [rl] says otherwise."""
    return replace(
        training,
        lr=options.lr,
        schedule="cosine",
        warmup_steps=options.warmup_steps,
        final_lr_share=0.0,
        batch_size=options.batch_size,
        accumulation=1,
        max_epochs=options.max_epochs,
        max_steps=0,
        max_interactions=0,
        patience=options.patience,
        validation_metric="ndcg@10",
        precision="fp32",
    )


def _accumulate(
    policy: Retriever, start: Still, groups: Sequence[Group], options: RlConfig, parts: int
) -> dict[str, float]:
    """Gradients of a batch, computed in so many parts, and the means of its figures over turns."""
    sums: dict[str, float] = defaultdict(float)
    weights: dict[str, float] = defaultdict(float)
    for rows in np.array_split(np.arange(len(groups)), parts):
        batch = collate([groups[row] for row in rows], policy.config.max_history, policy.device)
        loss, figures = objective(policy, start, batch, options)
        share = len(rows) / len(groups)
        (loss * share).backward()
        for name, value in figures.items():
            sums[name] += share * value
            weights[name] += share
    return {name: value / weights[name] for name, value in sums.items()}


def frozen_copy(policy: Retriever) -> Retriever:
    """The policy as it is now, without dropout and gradients. Vectors of items, which nobody changes, are shared."""
    shared = {id(each): each for each in policy.buffers()}
    copied = copy.deepcopy(policy, shared)
    return copied.eval().requires_grad_(False)


@torch.no_grad()
def weight_change(policy: Retriever, start: Retriever) -> float:
    """Size of the change of all weights, as a share of their size at the start."""
    pairs = list(zip(policy.parameters(), start.parameters(), strict=True))
    change = sum((own.double() - other.double()).square().sum().item() for own, other in pairs)
    size = sum(other.double().square().sum().item() for _, other in pairs)
    return math.sqrt(change / size) if size else math.sqrt(change)


def run_rl(config: RunConfig) -> Path:
    """The run of a configuration of task "rl": aligns the model of `init_from` with the rewards of [rl], and leaves a model folder in `config.out`, which is returned.

    The model keeps the shape it has, but for dropout; of [model] nothing is used. A folder that holds the finished result already stays as it is. A run that was killed starts anew, to the same weights.
    Raises ConfigError, DataError, CheckpointError, WeightsError, SetsError.
    """
    from models import checkpoint, train
    from models.candidate_sets import read_rewards, read_turns
    from models.config import section_of
    from models.data import open_folder, read_examples
    from models.draw import SEQUENCES, load_config
    from models.reporting import Reporter
    from models.retriever import build
    from models.training import Setting, evaluate
    from models.weights import sha256

    if config.init_from is None:
        raise ConfigError(f"{config.file}: init_from is missing: reinforcement learning starts from a trained model")
    options = section_of(RlConfig, config.rl, config.file, "rl")
    rewards = config.file.resolve().parent / options.rewards
    if config.training.threads:
        torch.set_num_threads(config.training.threads)
    shape = replace(load_config(config.init_from), dropout=options.dropout)
    if shape.arch != config.arch:
        raise ConfigError(f"{config.file}: arch is {config.arch!r}, but the model of init_from is {shape.arch!r}")
    device = Setting.of(config.training).device
    folder = open_folder(config.data, needs_vectors=shape.has_text)
    groups = read_rewards(rewards, read_turns(folder.path / SEQUENCES, folder.items), folder.items, options.sets)
    # An outcome is fixed by what the file holds, wherever it lies.
    stated: dict[str, Any] = {key: value for key, value in vars(options).items() if key != "rewards"}
    resolved = train.resolved_table(
        replace(config, training=optimizer_config(options, config.training)),
        folder,
        shape.as_dict(),
        sha256(folder.path / checkpoint.ITEMS),
    )
    resolved["training"]["loss"] = options.method
    resolved["rl"] = {**stated, "rewards_sha256": sha256(rewards)}
    with train.locked(config.out):
        reporter = Reporter(config.out)
        try:
            if train.is_finished(config.out, resolved):
                summary = checkpoint.read_summary(config.out) or {}
                reporter.event("done", **{**summary, "message": f"{config.out} holds this model already"})
                return config.out
            examples = read_examples(
                folder.path / "validation.parquet", folder.items, config.training.validation_examples, config.seed
            )
            torch.manual_seed(config.seed)
            policy = build(shape, checkpoint.as_tensor(folder.vectors))
            taken = checkpoint.take_over(policy, folder.movie_ids, config.init_from)
            if taken.new or taken.left or taken.initialised:
                raise checkpoint.CheckpointError(f"{config.init_from}: is of other items than {config.data}: {taken}")
            policy.to(device)
            reporter.open_logs(0, 0)
            reporter.event(
                "progress", message=f"{options.method} on {len(groups):,} turns with {len(groups[0].rewards)} sets each"
            )
            is_masked = config.training.validation_masked
            outcome = align(
                policy,
                frozen(groups),
                options,
                seed=config.seed,
                training=config.training,
                validate=lambda model: evaluate(model, examples, is_masked)["ndcg@10"],
                record=reporter.metrics,
                warn=reporter.warn,
            )
            summary = {
                "steps": outcome.steps,
                "epochs": outcome.epochs,
                "ended_by": outcome.ended_by,
                "best_step": outcome.best_step,
                "validation_metric": "ndcg@10",
                "validation_value": outcome.validation_value,
                "train_loss": outcome.train_loss,
                "interactions": outcome.interactions,
                "train_s": outcome.train_s,
                "interactions_per_s": outcome.interactions / outcome.train_s if outcome.train_s else None,
                "parameters": policy.parameter_count(),
                "device": str(Setting(device, torch.float32)),
                "warnings": outcome.warnings,
            }
            train.finish(config.out, resolved, outcome.weights, summary, folder)
            reporter.done(summary)
        finally:
            reporter.close()
    return config.out

"""The training loop: steps, validation, early stopping, checkpoints; on one processor, a GPU, or several processes.

Belongs here: what happens from the first step to the last. Does not belong here: reading files (`data.py`), losses (`losses.py`), what lies in a model folder (`checkpoint.py`), the command (`train.py`).

A run is a function of configuration, data and seed. The order of an epoch is drawn from (seed, epoch), everything random within a step from (seed, step, process, part). So a checkpoint needs no state
of a generator, and a run that was killed goes on to the same bytes.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from models import losses
from models.checkpoint import Progress, Resumed, save_checkpoint
from models.config import TrainingConfig
from models.data import Batch, Examples, Ints, Sequences, batches_of, collate, epoch_order, flat, histories
from models.distributed import World
from models.reporting import Reporter
from models.retriever import Retriever

# Scores of validation held at a time: 2**24 floats are 64 MiB.
SCORES = 2**24
METRIC_K = 10
# Parameters of a recurrence that are no matrices but would decay to something: kept out of weight decay, whatever their shape.
UNDECAYED = ("norm", "log_nu", "log_theta", "log_gamma", "lambda")


class TrainingError(RuntimeError):
    """Training cannot go on. Says where it was."""


class Interrupted(Exception):
    """A signal asked to stop; the state is in a checkpoint."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


class _NotFinite(Exception):
    """A loss, gradient or score that is no number."""


@dataclass(frozen=True)
class Setting:
    """Where and in what precision a run computes."""

    device: torch.device
    dtype: torch.dtype

    @classmethod
    def of(cls, config: TrainingConfig, local_rank: int = 0) -> Setting:
        """As configured; raises ConfigError-like ValueError for a device that is not there."""
        name = config.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        device = torch.device("cuda", local_rank) if name == "cuda" else torch.device(name)
        if device.type == "cuda" and not torch.cuda.is_available():
            raise ValueError(f"device {config.device!r}: this machine has no GPU that torch can use")
        is_wide = config.precision == "fp32" or (
            config.precision == "auto" and not (device.type == "cuda" and torch.cuda.is_bf16_supported())
        )
        return cls(device, torch.float32 if is_wide else torch.bfloat16)

    def autocast(self) -> Any:
        """The context in which states are computed."""
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    def __str__(self) -> str:
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type
        return f"{name}, {'bf16' if self.dtype == torch.bfloat16 else 'fp32'}"


@dataclass
class Outcome:
    """How a run ended: the weights to keep, and why it stopped."""

    weights: dict[str, Tensor]
    ended_by: str
    progress: Progress


class Objective(nn.Module):
    """A retriever under a loss: batch -> mean loss, number of targets. What DistributedDataParallel wraps."""

    def __init__(self, model: Retriever, config: TrainingConfig, popularity: Tensor, setting: Setting) -> None:
        super().__init__()
        self.model, self.config, self.setting = model, config, setting
        self.register_buffer("popularity", popularity, persistent=False)
        self._states = torch.compile(model) if config.is_compiled else model

    def forward(self, items: Tensor, lengths: Tensor, first_target: Tensor, seed: int) -> tuple[Tensor, int]:
        generator = torch.Generator(device=items.device).manual_seed(seed)
        with self.setting.autocast():
            states, targets, _ = self._states(items, lengths, first_target, generator)
            matrix, bias = self.model.item_matrix(), self.model.item_bias()
            return self._loss(states, targets, matrix, bias, generator), len(targets)

    def _loss(
        self, states: Tensor, targets: Tensor, matrix: Tensor, bias: Tensor | None, generator: torch.Generator
    ) -> Tensor:
        name, popularity = self.config.loss, self.popularity
        assert isinstance(popularity, Tensor)
        if name == "full":
            return losses.full_softmax(states, targets, matrix, bias)
        if name == "in_batch":
            return losses.in_batch(states, targets, matrix, bias, popularity)
        negatives = losses.uniform_negatives(len(targets), self.config.negatives, len(matrix), generator)
        if name == "sampled":
            return losses.sampled_softmax(states, targets, matrix, bias, negatives)
        return losses.sampled_in_batch(states, targets, matrix, bias, negatives, popularity)


def build_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW, in one fused kernel a step. Matrices and embeddings decay; norms, biases, start states and eigenvalues (anything of one dimension) do not."""
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for name, values in model.named_parameters():
        if values.requires_grad:
            is_kept = values.ndim < 2 or any(part in name for part in UNDECAYED)
            (kept if is_kept else decayed).append(values)
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": kept, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=config.lr, betas=(config.beta1, config.beta2), fused=True
    )


def learning_rate(config: TrainingConfig, step: int, total_steps: int) -> float:
    """Rate of the step after `step` others. Linear warm-up to lr over `warmup_steps`; then constant, or a half cosine that reaches lr * final_lr_share at `total_steps`."""
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return config.lr
    done = min(1.0, (step - config.warmup_steps) / max(1, total_steps - config.warmup_steps))
    return config.lr * (config.final_lr_share + (1 - config.final_lr_share) * (1 + math.cos(math.pi * done)) / 2)


def total_steps(config: TrainingConfig, steps_an_epoch: int, targets_an_epoch: int) -> int:
    """Steps until the first limit, for the schedule."""
    limits = []
    if config.max_steps:
        limits.append(config.max_steps)
    if config.max_epochs:
        limits.append(config.max_epochs * steps_an_epoch)
    if config.max_interactions:
        limits.append(math.ceil(config.max_interactions * steps_an_epoch / targets_an_epoch))
    return min(limits)


@torch.no_grad()
def evaluate(
    model: Retriever,
    examples: Examples,
    is_masked: bool,
    world: World | None = None,
    poll: Callable[[], None] | None = None,
) -> dict[str, float]:
    """Recall@10 and NDCG@10 over all items, averaged over labels.

    A label's place is 1 + the number of other items that score as high or higher, so that ties count against it; recall is 1 for places up to 10, NDCG 1 / log2(place + 1). With `is_masked`, films
    of the history are taken out of the list, and labels among them out of the average. Processes share the examples. `poll` is called between chunks. Raises _NotFinite for scores that are no
    numbers, ValueError where no label is left.
    """
    world = world or World()
    device, limit = model.device, model.config.max_history
    was_training = model.training
    model.eval()
    found, gained, count = 0.0, 0.0, 0.0
    try:
        matrix, bias = model.item_matrix(), model.item_bias()
        size = max(1, min(512, SCORES // len(matrix)))
        for number, rows in enumerate(batches_of(len(examples), size)):
            if number % world.size != world.rank:
                continue
            if poll is not None:
                poll()
            items, lengths = histories(examples, rows, limit)
            states = model.query(items.to(device), lengths.to(device)).float()
            scores = torch.addmm(bias, states, matrix.T) if bias is not None else states @ matrix.T
            if not bool(scores.isfinite().all()):
                raise _NotFinite("scores are no numbers in validation")
            of, labels = (part.to(device) for part in flat(examples.labels, rows))
            if is_masked:
                seen_of, seen = (part.to(device) for part in flat(examples.histories, rows))
                scores[seen_of, seen] = -torch.inf
            own = scores[of, labels]
            places = torch.cat([
                (scores[of[part]] >= own[part, None]).sum(1) for part in batches_of(len(of), size)
            ])[own > -torch.inf].double()  # fmt: skip
            is_found = places <= METRIC_K
            found += float(is_found.sum())
            gained += float((is_found / torch.log2(places + 1)).sum())
            count += len(places)
    finally:
        model.train(was_training)
    found, gained, count = world.sum([found, gained, count], device)
    if not count:
        raise ValueError("no label is left to validate on: all of them are films of their history, which are masked")
    return {f"recall@{METRIC_K}": found / count, f"ndcg@{METRIC_K}": gained / count}


@dataclass
class Run:
    """One training run, ready to go."""

    model: Retriever
    sequences: Sequences
    examples: Examples
    config: TrainingConfig
    seed: int
    out: Path
    identity: str
    reporter: Reporter
    setting: Setting
    world: World = field(default_factory=World)
    resumed: Resumed | None = None

    def __post_init__(self) -> None:
        self.model.to(self.setting.device).train()
        popularity = torch.from_numpy(self.sequences.popularity(self.model.config.items)).to(self.setting.device)
        self.objective: nn.Module = Objective(self.model, self.config, popularity, self.setting)
        self.optimizer = build_optimizer(self.model, self.config)
        self.progress = Progress(accumulation=self.config.accumulation)
        self.best: dict[str, Tensor] = {}
        if self.resumed is not None:
            self._restore(self.resumed)
        if self.world.size > 1:
            ids = [self.setting.device.index] if self.setting.device.type == "cuda" else None
            # A batch may leave a parameter out (the start state, where no history is empty).
            self.objective = DistributedDataParallel(
                self.objective, device_ids=ids, broadcast_buffers=False, find_unused_parameters=True
            )
        self.signal = 0
        self._order: list[Ints] = []
        self._order_epoch = -1
        self._saved_at = time.monotonic()
        self.steps_an_epoch = len(self._epoch(self.progress.epoch))
        self.total_steps = total_steps(self.config, self.steps_an_epoch, self.sequences.target_count)

    def _restore(self, resumed: Resumed) -> None:
        self.progress, self.best = resumed.progress, resumed.best
        self.model.load_state_dict(resumed.model)
        state = self.optimizer.state_dict()
        state["state"] = resumed.optimizer
        self.optimizer.load_state_dict(state)

    # The loop

    def fit(self) -> Outcome:
        """Train until a limit, early stopping or a signal. Raises Interrupted, TrainingError."""
        progress = self.progress
        with _signals(self):
            while True:
                try:
                    if self._is_validation_due() and self._validate():
                        return self._outcome("early_stopping")
                    if ended_by := self._limit():
                        if progress.validated_step != progress.step:
                            self._validate()
                        return self._outcome(ended_by)
                    self._poll()
                    self._save_if_due()
                    self._step()
                except _NotFinite as error:
                    return self._stop_at_nan(str(error))

    def _limit(self) -> str | None:
        progress, config = self.progress, self.config
        if config.max_steps and progress.step >= config.max_steps:
            return "steps"
        if config.max_interactions and progress.interactions >= config.max_interactions:
            return "interactions"
        if config.max_epochs and progress.epoch >= config.max_epochs:
            return "epochs"
        return None

    def _poll(self) -> None:
        """Stop where a signal said so, in all processes at the same step."""
        number = self.world.agree(self.signal, self.setting.device)
        if number:
            self._save()
            raise Interrupted(number)

    def _poll_alone(self) -> None:
        # Amid validation processes are not in step; a process alone need not wait for its end.
        if self.world.size == 1:
            self._poll()

    def _epoch(self, epoch: int) -> list[Ints]:
        if self._order_epoch != epoch:
            config = self.config
            self._order = epoch_order(
                self.sequences.lengths, config.batch_size, config.bucket_batches, self.seed, epoch, self.world.size
            )
            self._order_epoch = epoch
        return self._order

    # A step

    def _step(self) -> None:
        started = time.perf_counter()
        progress, config = self.progress, self.config
        rows = self._epoch(progress.epoch)[progress.position]
        rate = learning_rate(config, progress.step, self.total_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss, targets, cells, norm = self._gradients(rows)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            # The step is not taken: this is the last good state.
            self._save()
            what = f"loss is {loss}" if not math.isfinite(loss) else f"gradient norm is {norm}"
            raise _NotFinite(f"{what} at step {progress.step + 1}, epoch {progress.epoch}, batch rows {_shown(rows)}")
        self.optimizer.step()

        progress.step += 1
        progress.position += 1
        progress.interactions += targets
        progress.epoch_loss += loss * targets
        progress.epoch_targets += targets
        progress.window_loss += loss * targets
        progress.window_targets += targets
        progress.window_cells += cells
        progress.window_padding += cells - int(self.sequences.lengths[rows].sum())
        if progress.position == len(self._epoch(progress.epoch)):
            progress.last_epoch_loss = progress.epoch_loss / progress.epoch_targets
            progress.epoch_loss, progress.epoch_targets = 0.0, 0
            progress.epoch, progress.position = progress.epoch + 1, 0
        elapsed = time.perf_counter() - started
        progress.train_s += elapsed
        progress.window_s += elapsed
        if progress.step % config.log_every == 0:
            self._log(rate, norm)

    def _gradients(self, rows: Ints) -> tuple[float, int, int, float]:
        """Gradients of the batch's mean loss, clipped: mean loss, targets, cells of the padded batch, norm before clipping. Halves what is computed at once when memory runs out."""
        while True:
            try:
                return self._accumulate(rows)
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                reason = str(error).splitlines()[0]
            # Out of the handler, so that the failed pass and its tensors are gone.
            self._halve(rows, reason)

    def _halve(self, rows: Ints, reason: str) -> None:
        progress = self.progress
        self.optimizer.zero_grad(set_to_none=True)
        if self.setting.device.type == "cuda":
            torch.cuda.empty_cache()
        if self.world.size > 1:
            raise TrainingError(
                f"out of memory in process {self.world.rank} at step {progress.step + 1}: raise accumulation ({reason})"
            )
        if progress.accumulation >= len(rows):
            raise TrainingError(
                f"out of memory with a single sequence at step {progress.step + 1}, rows {_shown(rows)} ({reason})"
            )
        progress.accumulation = min(2 * progress.accumulation, len(rows))
        message = f"out of memory at step {progress.step + 1}: batches are computed in {progress.accumulation} parts from here on, {reason}"
        progress.warnings.append(message)
        self.reporter.warn(message)

    def _accumulate(self, rows: Ints) -> tuple[float, int, int, float]:
        device, world = self.setting.device, self.world
        mine = rows[world.rank :: world.size]
        parts = np.array_split(mine, min(self.progress.accumulation, len(mine)))
        self.optimizer.zero_grad(set_to_none=True)
        # Summed on the device: fetching a number waits for all that was launched before.
        total = torch.zeros((), dtype=torch.float64, device=device)
        targets, cells = 0, 0
        is_split = len(parts) > 1 or world.size > 1
        for number, part in enumerate(parts):
            seed = _seed(self.seed, self.progress.step, world.rank, number)
            torch.manual_seed(seed)
            batch: Batch = collate(self.sequences, part).to(device)
            is_last = number == len(parts) - 1
            with nullcontext() if is_last or world.size == 1 else self.objective.no_sync():  # type: ignore[operator]
                loss, count = self.objective(batch.items, batch.lengths, batch.first_target, seed)
                # Sums of parts are divided by the batch's number of targets at the end, which architectures that draw their targets know only then.
                (loss * count if is_split else loss).backward()
            total += loss.detach().double() * count
            targets += count
            cells += batch.items.numel()
        loss_sum, all_targets, all_cells = float(total), targets, cells
        if world.size > 1:
            loss_sum, targets_sum, cells_sum = world.sum([loss_sum, targets, cells], device)
            all_targets, all_cells = int(targets_sum), int(cells_sum)
        gradients = [values.grad for values in self.model.parameters() if values.grad is not None]
        if is_split:
            # DistributedDataParallel has divided by the number of processes.
            torch._foreach_mul_(gradients, world.size / all_targets)
        if self.config.clip_norm:
            norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        else:
            norm = nn.utils.get_total_norm(gradients)
        return loss_sum / all_targets, all_targets, all_cells, float(norm)

    # Validation, logs, checkpoints

    def _is_validation_due(self) -> bool:
        progress = self.progress
        if not progress.step or progress.validated_step == progress.step:
            return False
        if self.config.validate_every:
            return progress.step % self.config.validate_every == 0
        return progress.position == 0

    def _validate(self) -> bool:
        """Validate, keep the weights if they are the best; whether to stop early."""
        progress, config = self.progress, self.config
        values = evaluate(self.model, self.examples, config.validation_masked, self.world, self._poll_alone)
        value = values[config.validation_metric]
        progress.validated_step = progress.step
        if progress.best_value is None or value > progress.best_value:
            progress.best_value, progress.best_step, progress.stale = value, progress.step, 0
            self.best = _copied(self.model)
        else:
            progress.stale += 1
        logged = {f"validation/{name}": figure for name, figure in values.items()}
        if progress.last_epoch_loss is not None and progress.position == 0:
            logged["train/epoch_loss"] = progress.last_epoch_loss
        self.reporter.metrics(progress.step, self._epochs(), logged)
        return bool(config.patience and progress.stale >= config.patience)

    def _log(self, rate: float, norm: float) -> None:
        progress = self.progress
        self.reporter.metrics(
            progress.step,
            self._epochs(),
            {
                "train/loss": progress.window_loss / progress.window_targets,
                "train/lr": rate,
                "train/grad_norm": norm,
                "train/interactions_per_s": progress.window_targets / progress.window_s,
                "train/padding_share": progress.window_padding / progress.window_cells,
            },
        )
        self.reporter.event(
            "progress", step=progress.step, of_steps=self.total_steps, share=round(progress.step / self.total_steps, 4)
        )
        progress.window_loss, progress.window_s = 0.0, 0.0
        progress.window_targets = progress.window_cells = progress.window_padding = 0

    def _epochs(self) -> float:
        return self.progress.epoch + self.progress.position / self.steps_an_epoch

    def _save_if_due(self) -> None:
        # Only the first process saves, and it need not ask the others.
        if self.world.is_main and time.monotonic() - self._saved_at >= self.config.checkpoint_every_s:
            self._save()

    def _save(self) -> None:
        if not self.world.is_main:
            return
        self.progress.metrics_bytes = self.reporter.metrics_bytes
        save_checkpoint(self.out, self.identity, self.progress, self.model.state_dict(), self.best, self.optimizer)
        self._saved_at = time.monotonic()

    def _outcome(self, ended_by: str) -> Outcome:
        # A kill while the folder is finished costs nothing.
        self._save()
        return Outcome(self.best, ended_by, self.progress)

    def _stop_at_nan(self, reason: str) -> Outcome:
        if not self.best:
            raise TrainingError(f"{reason}; stopped, and no weights were validated before")
        message = f"{reason}; stopped, the weights of step {self.progress.best_step} are kept"
        self.progress.warnings.append(message)
        self.reporter.warn(message)
        return Outcome(self.best, "nan", self.progress)


def _copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in model.state_dict().items()}


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence([*parts, 3]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _shown(rows: Ints) -> str:
    """Rows of `sequences` in the file's order of windows, from 0."""
    head = ", ".join(map(str, rows[:8]))
    return f"[{head}{f', ... {len(rows)} in all' if len(rows) > 8 else ''}]"


def _is_out_of_memory(error: Exception) -> bool:
    # On a CPU torch raises a plain RuntimeError.
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


@contextmanager
def _signals(run: Run) -> Iterator[None]:
    """SIGTERM and SIGINT ask the loop to stop; what was there before is put back."""

    def note(number: int, _: FrameType | None) -> None:
        run.signal = number

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

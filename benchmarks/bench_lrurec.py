"""Training LRURec on ml-1m against an obvious implementation of the same model in the same run, and the linear recurrence by itself.

    python benchmarks/bench_lrurec.py [--data FOLDER | --sources FOLDER] [--steps N] [--threads N]

`--data` is a training folder (leave-one-out, ids). Without it, one is made from the ml-1m release under `--sources` (MARQUEE_REAL_DATA, or ../shared/data); where there is none, the benchmark says so
and stops. Both models start from equal weights and get equal batches: preset "lrurec" (width 64, 2 blocks, batch 128, length 200, full softmax, AdamW, dropout .2), an epoch unless
told otherwise. The obvious one pads each batch on the left to a power of two and doubles, and takes the cross-entropy of all [B * L, N] logits as one tensor.

Interactions are targets: positions that exist and are predicted. `loss` is the mean of each tenth of the run; `first_loss_without_dropout` is that of the first batch, where both must agree to rounding.
The authors' own code trains 4,190 interactions a second on two cores like those of the target.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from benchmarks.machine import GB, PROJECT, Target, machine, own_peak_bytes, print_line, tell

if TYPE_CHECKING:
    from torch import Tensor, nn

    from models.architectures.lrurec import LRURec
    from models.data import Batch

AUTHORS_INTERACTIONS_PER_S = 4190
BATCH, LENGTH, WIDTH = 128, 200, 128
SEED = 42


def folder_of(sources: Path, temporary: Path) -> Path | None:
    """A training folder made from ml-1m; None where the release is not there."""
    from assets.build.sessions import build_sessions
    from assets.build.training_data import write_training_data
    from warehouse.store import Warehouse

    release = sources / "movielens" / "ml-1m"
    if not release.is_dir():
        return None
    # By itself: other releases beside it would be read as well.
    shutil.copytree(release, temporary / "sources" / "movielens" / "ml-1m")
    warehouse = Warehouse(temporary / "warehouse")
    commits = build_sessions(warehouse, temporary / "sources", True, tell).commits
    warehouse.publish({commit.table: commit.version for commit in commits})
    folder = temporary / "ml-1m"
    write_training_data(warehouse, "ml-1m", "leave_one_out", folder, None, "seen", ids="source")
    return folder


def obvious(model: LRURec) -> nn.Module:
    """The same model as one would write it first, with the same weights. Called with a batch, it gives the mean loss."""
    import torch
    from torch import nn
    from torch.nn import functional

    def complex_map(weight: Tensor, bias: Tensor) -> nn.Linear:
        made = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.complex64)
        with torch.no_grad():
            made.weight.copy_(weight)
            made.bias.copy_(bias)
        return made

    class Recurrence(nn.Module):
        def __init__(self, of: Any) -> None:
            super().__init__()
            states, width = of.states, of.outward.out_features
            with torch.no_grad():
                inward = torch.view_as_complex(of.inward.weight.view(states, 2, width).transpose(1, 2).contiguous())
                bias = torch.view_as_complex(of.inward.bias.view(states, 2).contiguous())
                outward = of.outward.weight.view(width, states, 2) * torch.tensor([1.0, -1.0])
                self.inward = complex_map(inward, bias)
                self.outward = complex_map(
                    torch.view_as_complex(outward.contiguous()), of.outward.bias.to(torch.complex64)
                )
                self.logs = nn.Parameter(torch.stack([of.log_nu, of.log_theta, of.log_gamma]).clone())

        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            nu, theta, gamma = torch.exp(self.logs)
            h = self.inward(x.to(torch.complex64)) * gamma
            lam = torch.exp(torch.complex(-nu, theta))
            batch, length, width = h.shape
            half = 1
            while half < length:
                h = h.reshape(batch, length // (2 * half), 2 * half, width)
                exists = mask.reshape(batch, length // (2 * half), 2 * half, 1)
                first, second = h[:, :, :half], h[:, :, half:]
                powers = torch.stack([lam**k for k in range(1, half + 1)])
                second = second + powers * first[:, :, -1:] * exists[:, :, half - 1 : half]
                h = torch.cat([first, second], 2)
                half *= 2
            return self.outward(h.reshape(batch, length, width)).real

    class Block(nn.Module):
        def __init__(self, of: Any, dropout: float) -> None:
            super().__init__()
            self.recurrence = Recurrence(of.recurrence)
            self.inner, self.outer = of.feed_forward.inner, of.feed_forward.outer
            self.norms = nn.ModuleList([of.around_recurrence.norm, of.around_feed_forward.norm])
            self.dropout = nn.Dropout(dropout)

        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            x = self.norms[0](x + self.dropout(self.recurrence(x, mask)))
            inner = self.dropout(functional.gelu(self.inner(x)))
            return self.norms[1](x + self.dropout(self.outer(inner)))

    class Obvious(nn.Module):
        def __init__(self, of: LRURec) -> None:
            super().__init__()
            self.items, self.bias, self.norm = of.item_embedding, of.bias, of.norm
            self.dropout = nn.Dropout(of.config.dropout)
            self.blocks = nn.ModuleList(Block(block, of.config.dropout) for block in of.blocks)

        def forward(self, batch: Batch) -> tuple[Tensor, int]:
            rows, longest = batch.items.shape
            inputs, length = longest - 1, 2 ** math.ceil(math.log2(max(longest - 1, 1)))
            items = torch.zeros(rows, length, dtype=torch.int64)
            labels = torch.full((rows, length), -100)
            mask = torch.zeros(rows, length)
            for row, count in enumerate((batch.lengths - 1).tolist()):
                items[row, length - count :] = batch.items[row, :count]
                labels[row, length - count :] = batch.items[row, 1 : count + 1]
                mask[row, length - count :] = 1
            assert self.items is not None and inputs >= 0
            x = self.dropout(self.norm(self.items(items)))
            for block in self.blocks:
                x = block(x, mask)
            logits = x @ self.items.weight.T + self.bias
            loss = functional.cross_entropy(logits.view(-1, logits.shape[-1]), labels.view(-1))
            return loss, int(mask.sum())

    return Obvious(model)


def ours(model: LRURec, is_bfloat16: bool) -> Callable[[Batch], tuple[Tensor, int]]:
    """Mean loss and number of targets of a batch, as training computes them."""
    import torch

    from models.losses import full_softmax

    def loss_of(batch: Batch) -> tuple[Tensor, int]:
        with torch.autocast("cpu", torch.bfloat16, enabled=is_bfloat16):
            states, targets, _ = model(batch.items, batch.lengths, batch.first_target)
            return full_softmax(states, targets, model.item_matrix(), model.item_bias()), len(targets)

    return loss_of


def trained(module: nn.Module, loss_of: Callable[[Batch], tuple[Tensor, int]], batches: list[Batch], settings: dict[str, Any], is_fused: bool) -> dict[str, object]:  # fmt: skip
    """Train on the batches in their order; the first step, which allocates, is not timed."""
    import torch

    torch.manual_seed(SEED)
    module.eval()
    with torch.no_grad():
        first = float(loss_of(batches[0])[0])
    module.train()
    optimizer = torch.optim.AdamW(
        module.parameters(), lr=settings["lr"], weight_decay=settings["weight_decay"], fused=is_fused or None
    )
    losses, interactions, started, used = [], 0, 0.0, 0.0
    for number, batch in enumerate(batches):
        if number == 1:
            started, used, interactions = time.perf_counter(), time.process_time(), 0
        loss, targets = loss_of(batch)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), settings["clip_norm"])
        optimizer.step()
        interactions += targets
        losses.append(loss.item())
    seconds, used = time.perf_counter() - started, time.process_time() - used
    tenth = max(len(losses) // 10, 1)
    return {
        "interactions_per_s": round(interactions / seconds),
        "interactions_per_core_s": round(interactions / used),
        "seconds": round(seconds, 2),
        "first_loss_without_dropout": round(first, 5),
        "loss": [round(sum(part) / len(part), 4) for at in range(0, len(losses), tenth) if (part := losses[at : at + tenth])],
        "peak_memory_gb": round(own_peak_bytes() / GB, 2),
    }  # fmt: skip


def scans() -> dict[str, object]:
    """Milliseconds of the recurrence alone, forwards and with its gradient, and what a copy of its input takes."""
    import torch

    from models.scan import scan, step

    torch.manual_seed(SEED)
    lam = torch.polar(0.8 + 0.19 * torch.rand(WIDTH), 2 * math.pi * torch.rand(WIDTH)).requires_grad_()

    def least(run: Callable[[], object]) -> float:
        run()
        times = []
        for _ in range(7):
            started = time.perf_counter()
            run()
            times.append(time.perf_counter() - started)
        return round(min(times) * 1e3, 3)

    figures: dict[str, object] = {}
    for name, batch in (("training", BATCH), ("one history", 1)):
        x = torch.randn(LENGTH, batch, WIDTH, dtype=torch.complex64).transpose(0, 1).requires_grad_()
        gradient = torch.randn_like(x)
        of_batch: dict[str, float] = {"copy_ms": least(x.detach().clone)}
        for way, is_blocked in (("in_time_order", False), ("in_blocks", True), ("as_chosen", None)):
            with torch.no_grad():
                of_batch[f"{way}_ms"] = least(lambda x=x, b=is_blocked: scan(lam, x, b))  # type: ignore[misc]
            of_batch[f"{way}_and_gradient_ms"] = least(
                lambda x=x, b=is_blocked, g=gradient: torch.autograd.grad(scan(lam, x, b), (lam, x), g)  # type: ignore[misc]
            )
        state, now = x.detach()[:, 0].clone(), x.detach()[:, 1].clone()
        of_batch["step_ms"] = least(lambda state=state, now=now: step(lam.detach(), state, now))  # type: ignore[misc]
        figures[name] = of_batch
    return figures


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(os.environ.get("MARQUEE_REAL_DATA") or PROJECT.parent / "shared" / "data")
    parser.add_argument("--data", type=Path, help="training folder of ml-1m, leave-one-out, ids")
    parser.add_argument("--sources", type=Path, default=default, help="folder that holds movielens/ml-1m")
    parser.add_argument("--steps", type=int, default=0, help="steps of each model (an epoch)")
    parser.add_argument("--threads", type=int, default=0, help="threads (torch's choice)")
    options = parser.parse_args(arguments)
    import torch

    from models.architectures.lrurec import LRURec
    from models.data import collate, epoch_order, open_folder, read_sequences
    from models.presets import preset
    from models.retriever import RetrieverConfig, build

    if options.threads:
        torch.set_num_threads(options.threads)
    where = {**machine(), "torch": torch.__version__, "threads": torch.get_num_threads()}
    settings = preset("lrurec", "lrurec")
    with TemporaryDirectory(prefix="marquee-bench-") as temporary:
        path = options.data or folder_of(options.sources, Path(temporary))
        if path is None:
            tell(f"skipped: {options.sources} holds no movielens/ml-1m; name a training folder with --data")
            return
        folder = open_folder(path, needs_vectors=False)
        sequences = read_sequences(path / "sequences.parquet", folder.items, settings["model"]["max_history"])
    order = epoch_order(sequences.lengths, settings["training"]["batch_size"], 1, SEED, 0)
    batches = [collate(sequences, rows) for rows in order[: options.steps or None]]
    if len(batches) < 2:
        raise SystemExit("two steps are needed at least: the first is not timed")

    def fresh() -> LRURec:
        torch.manual_seed(SEED)
        model = build(RetrieverConfig.of({**settings["model"], "arch": "lrurec", "items": folder.items}))
        assert isinstance(model, LRURec)
        return model

    figures: dict[str, Any] = {
        "items": folder.items,
        "sequences": len(sequences),
        "steps": len(batches),
        "parameters": fresh().parameter_count(),
    }
    for name, is_bfloat16 in (("ours", False), ("ours_bfloat16", True)):
        model = fresh()
        figures[name] = trained(model, ours(model, is_bfloat16), batches, settings["training"], True)
        tell(f"{name}: {figures[name]}")
    baseline = obvious(fresh())
    figures["obvious"] = trained(baseline, baseline, batches, settings["training"], False)
    tell(f"obvious: {figures['obvious']}")
    figures["scan"] = scans()
    speed, other = figures["ours"]["interactions_per_s"], figures["obvious"]["interactions_per_s"]
    figures["times_as_fast_as_obvious"] = round(speed / other, 2)
    own, others = (figures[name]["interactions_per_core_s"] for name in ("ours", "obvious"))
    figures["times_as_fast_as_obvious_in_core_seconds"] = round(own / others, 2)
    figures["times_as_fast_as_authors"] = round(speed / AUTHORS_INTERACTIONS_PER_S, 2)
    figures["last_loss_over_obvious"] = round(figures["ours"]["loss"][-1] / figures["obvious"]["loss"][-1], 4)
    targets = [
        Target("ours.interactions_per_s", speed, 2 * AUTHORS_INTERACTIONS_PER_S, is_upper=False),
        Target("last_loss_over_obvious", figures["last_loss_over_obvious"], 1.01),
    ]
    what = "training LRURec on ml-1m, full softmax, against an obvious implementation; the targets hold for 2 cores"
    print_line("lrurec", what, figures, targets, where)


if __name__ == "__main__":
    main()

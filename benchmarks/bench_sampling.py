"""Drawing candidate sets and taking the best 25 of all films, against the obvious implementations of both in one run.

    python benchmarks/bench_sampling.py [--items N] [--repeats R] [--device cpu|cuda] [--threads T]

Eight sets of 25 films out of N (337,731 unless told otherwise) are drawn without replacement for 64 histories: by models.sampling, and by adding Gumbel noise to a tensor
[64, 8, N] and taking its top 25. The best 25 are taken for 1,000 histories: by models.sampling, by sorting the whole matrix of scores, and by torch.topk of the whole matrix. States and
films are random vectors of width 64. Each runs in a process of its own; its memory is the most that the process held less what it holds with the inputs alone. The first call of each warms up and is not
timed, but for sorting, which is called once. `cpu_seconds` are those of all cores; on a machine that is busy with other things they say more than the clock. Both ways of drawing must give sets of equal mean log-likelihood; the difference is stated in standard errors. The best must be the same items.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.machine import GB, Target, environment, machine, print_line, tell, watch

MOVIES = 337_731
HISTORIES_DRAWN, SETS, SIZE = 64, 8, 25
HISTORIES_RANKED = 1_000
WIDTH = 64
SEED = 42
DRAWING = ("draw", "draw_obvious")
RANKING = ("rank", "rank_obvious", "rank_topk")


def measure(what: str, items: int, repeats: int, device: str, threads: int) -> dict[str, Any]:
    """Seconds of a call (median), and what came of it."""
    import torch

    from models.sampling import plackett_luce, sample_sets, top_k

    if threads:
        torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(SEED)
    # In place: inputs must not hold more than they are, for what calls hold is what is more.
    matrix = torch.randn(items, WIDTH, generator=generator).mul_(0.3).to(device)
    bias = torch.randn(items, generator=generator).to(device)
    rows = HISTORIES_DRAWN if what in DRAWING else HISTORIES_RANKED
    states = torch.randn(rows, WIDTH, generator=generator).to(device)
    noise = torch.Generator(device).manual_seed(SEED)

    def draw_obvious() -> torch.Tensor:
        gumbel = -torch.empty(rows, SETS, items, device=device).exponential_(generator=noise).log()
        return ((states @ matrix.T + bias)[:, None] + gumbel).topk(SIZE).indices

    calls: dict[str, Callable[[], torch.Tensor]] = {
        "inputs": lambda: states,
        "draw": lambda: sample_sets(states, matrix, bias, SETS, SIZE, noise).items,
        "draw_obvious": draw_obvious,
        "rank": lambda: top_k(states, matrix, bias, SIZE).items,
        "rank_obvious": lambda: (states @ matrix.T + bias).argsort(dim=1, descending=True)[:, :SIZE].clone(),
        "rank_topk": lambda: (states @ matrix.T + bias).topk(SIZE).indices,
    }
    call = calls[what]
    is_called_once = what == "rank_obvious" and device == "cpu"

    def timed() -> tuple[float, float, torch.Tensor]:
        started, cpu = time.perf_counter(), time.process_time()
        found = call()
        if device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter() - started, time.process_time() - cpu, found

    if not is_called_once:
        timed()
    times, cpu_times, results = zip(*(timed() for _ in range(1 if is_called_once else repeats)), strict=True)
    figures: dict[str, Any] = {"seconds": statistics.median(times), "cpu_seconds": statistics.median(cpu_times)}
    if device != "cpu":
        figures["device_bytes"] = torch.cuda.max_memory_allocated()
    figures["peak_bytes"] = _peak_bytes()
    if what in DRAWING:
        # After the memory was read: checking costs memory, too.
        likelihoods = torch.cat([plackett_luce(states @ matrix.T + bias, each) for each in results]).double()
        # Histories differ; sets of one history are drawn independently.
        figures["log_likelihood"] = likelihoods.mean().item()
        figures["standard_error"] = (likelihoods.var(dim=1).mean() / likelihoods.numel()).sqrt().item()
    elif what in RANKING:
        figures["items_sha256"] = hashlib.sha256(results[0].cpu().numpy().tobytes()).hexdigest()
    return figures


def _peak_bytes() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def compared(found: dict[str, dict[str, Any]], ours: str, other: str, rows: int) -> dict[str, Any]:
    """Throughput and memory of two ways to do the same."""
    inputs = found["inputs"]
    key = "device_bytes" if "device_bytes" in inputs else "peak_bytes"
    memory = {name: (found[name][key] - inputs[key]) / GB for name in (ours, other)}
    return {
        "seconds": round(found[ours]["seconds"], 4),
        "cpu_seconds": round(found[ours]["cpu_seconds"], 4),
        "histories_per_s": round(rows / found[ours]["seconds"], 1),
        "memory_gb": round(memory[ours], 3),
        "obvious_seconds": round(found[other]["seconds"], 4),
        "obvious_cpu_seconds": round(found[other]["cpu_seconds"], 4),
        "obvious_histories_per_s": round(rows / found[other]["seconds"], 1),
        "obvious_memory_gb": round(memory[other], 3),
        "times_as_fast": round(found[other]["seconds"] / found[ours]["seconds"], 2),
        "times_less_cpu": round(found[other]["cpu_seconds"] / found[ours]["cpu_seconds"], 2),
        "share_of_memory": round(memory[ours] / memory[other], 4) if memory[other] > 0 else None,
    }


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=MOVIES, help=f"films ({MOVIES})")
    parser.add_argument("--repeats", type=int, default=5, help="calls that are timed (5)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=0, help="threads of the processor (0: torch's choice)")
    parser.add_argument("--measure", choices=("inputs", *DRAWING, *RANKING), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure:
        print(json.dumps(measure(options.measure, options.items, options.repeats, options.device, options.threads)))
        return
    where = machine()
    found: dict[str, dict[str, Any]] = {}
    with TemporaryDirectory(prefix="marquee-bench-") as temporary:
        for what in ("inputs", *DRAWING, *RANKING):
            own = (
                "--items",
                options.items,
                "--repeats",
                options.repeats,
                "--device",
                options.device,
                "--threads",
                options.threads,
            )
            cost = watch((sys.executable, __file__, "--measure", what, *own), environment(Path(temporary)))
            found[what] = json.loads(cost.out.splitlines()[-1])
            tell(f"{what}: {found[what]['seconds']:.3f} s")
    draws, obvious = (found[name] for name in DRAWING)
    error = (draws["standard_error"] ** 2 + obvious["standard_error"] ** 2) ** 0.5
    drawing = compared(found, *DRAWING, HISTORIES_DRAWN)
    drawing |= {
        "log_likelihood": round(draws["log_likelihood"], 3),
        "obvious_log_likelihood": round(obvious["log_likelihood"], 3),
        "standard_errors_apart": round(abs(draws["log_likelihood"] - obvious["log_likelihood"]) / error, 2),
    }
    ranking = compared(found, "rank", "rank_obvious", HISTORIES_RANKED)
    ranking["is_same"] = found["rank"]["items_sha256"] == found["rank_obvious"]["items_sha256"]
    against_topk = compared(found, "rank", "rank_topk", HISTORIES_RANKED)
    ranking |= {
        f"topk_{key.removeprefix('obvious_')}": value for key, value in against_topk.items() if "obvious" in key
    }
    figures = {
        "items": options.items,
        "device": options.device,
        "threads": options.threads,
        "draw": {"histories": HISTORIES_DRAWN, "sets": SETS, "k": SIZE, **drawing},
        "rank": {"histories": HISTORIES_RANKED, "k": SIZE, **ranking},
    }
    targets = [
        Target("draw.times_as_fast", drawing["times_as_fast"], 1, is_upper=False),
        Target("draw.standard_errors_apart", drawing["standard_errors_apart"], 4),
        Target("rank.times_as_fast", ranking["times_as_fast"], 1, is_upper=False),
        Target("rank.is_same", float(ranking["is_same"]), 1, is_upper=False),
    ]
    what = "drawing candidate sets and taking the best films, against noise for all films and sorting all scores"
    print_line("sampling", what, figures, targets, where)


if __name__ == "__main__":
    main()

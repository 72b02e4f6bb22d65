"""Whether a run of reinforcement learning learned: what is measured of policy and sets, and the verdict in words.

Belongs here: measures as pure functions of tensors, thresholds, the verdict. Does not belong here: when they are taken (`rl.py`).
torch is not imported, so that the verdict can be asked for without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

# Under this divergence from the start (nats, of the first draw) a policy draws the same sets as before.
KL_MOVED = 1e-6
# Relative change of the weights that rounding alone can bring about.
WEIGHTS_MOVED = 1e-7
# Share of turns without any spread of rewards above which a run rests on few turns.
ZERO_VARIANCE_MANY = 0.9
# Effective share of the stored sets, as weighted for the present policy, under which they say little about it.
EFFECTIVE_SHARE_LOW = 0.1
# Nats by which the likelihood of stored sets may differ from the one they were drawn with, before the first step.
BEHAVIOUR_DIFFERS = 0.05

Log = Mapping[str, Sequence[float]]


def learned_nothing(log: Log) -> list[str]:
    """Reasons to say that a run learned nothing from its rewards, in words; empty where it did. `log`: values of each figure, in order of steps.

    Figures: `health/zero_variance_share`, `health/pair_share`, `health/kl_to_start`, `health/weight_change`, `train/rl_loss`. Missing ones are not judged.
    """
    found = []
    if _all(log, "health/zero_variance_share", lambda share: share >= 1):
        found.append("learned nothing: all sets of every turn had the same reward")
    if _all(log, "health/pair_share", lambda share: share <= 0):
        found.append("learned nothing: there was no pair of a better and a worse set")
    if _all(log, "train/rl_loss", lambda loss: loss == 0):
        found.append("learned nothing: the loss of reinforcement was zero at every step")
    if (last := _last(log, "health/weight_change")) is not None and last < WEIGHTS_MOVED:
        found.append(f"learned nothing: the weights changed by {last:.1e} of their size")
    if (last := _last(log, "health/kl_to_start")) is not None and last < KL_MOVED:
        found.append(f"learned nothing: the policy draws as it did at the start (KL {last:.1e} nats)")
    return found


def verdict(log: Log) -> list[str]:
    """`learned_nothing`, and what else a reader of the run should know."""
    found = learned_nothing(log)
    shares = log.get("health/zero_variance_share", ())
    if shares and not found and (mean := sum(shares) / len(shares)) > ZERO_VARIANCE_MANY:
        found.append(f"{mean:.0%} of the turns had sets of equal reward and taught nothing")
    first = next(iter(log.get("health/log_ratio_abs", ())), None)
    if first is not None and first > BEHAVIOUR_DIFFERS:
        found.append(
            f"the stored sets were not drawn from the starting policy: their likelihoods differ by {first:.2f} nats"
        )
    if (last := _last(log, "health/effective_share")) is not None and last < EFFECTIVE_SHARE_LOW:
        found.append(f"the policy has left the sets that it learns from: they count for {last:.1%} of their number")
    rewards = log.get("health/drawn_label_share", ())
    if len(rewards) > 1 and rewards[-1] < rewards[0]:
        found.append(
            f"sets hold a label less often than at the start: {rewards[-1]:.1%} of them, before {rewards[0]:.1%}"
        )
    return found


def overlap(candidates: Tensor) -> Tensor:
    """Mean Jaccard overlap of the sets of a turn, over all pairs of them: `[B, G, k]` -> `[B]`; 1 for a single set."""
    sets, size = candidates.shape[1:]
    if sets < 2:
        return candidates.new_ones(len(candidates)).double()
    shared = (candidates[:, :, None, :, None] == candidates[:, None, :, None, :]).flatten(3).sum(-1).double()
    jaccard = shared / (2 * size - shared)
    return (jaccard.sum((1, 2)) - sets) / (sets * (sets - 1))


def entropy(logits: Tensor) -> Tensor:
    """Entropy of a first draw in nats: `logits [B, N]` -> `[B]`."""
    own = logits.log_softmax(-1)
    return -(own.exp() * own.clamp(min=-1e30)).sum(-1)


def effective_share(log_ratios: Tensor) -> Tensor:
    """Share of sets that importance weights e^log_ratio leave in effect: (sum w)^2 / (n sum w^2), in 0..1. `[...]` -> a scalar."""
    flat = log_ratios.flatten().double()
    return (2 * flat.logsumexp(0) - (2 * flat).logsumexp(0)).exp() / len(flat)


def _all(log: Log, name: str, holds: Callable[[float], bool]) -> bool:
    values = log.get(name, ())
    return bool(values) and all(holds(value) for value in values)


def _last(log: Log, name: str) -> float | None:
    values = log.get(name, ())
    return values[-1] if values else None

r"""Losses that align a retriever with the reward of its candidate sets: online DPO, SimPO, GRPO, and the likelihood of labels beside them.

Pure functions of log-likelihoods of candidate sets (`sampling.plackett_luce`); one value an example, which the caller averages. Symbols: log p(C), the
log-likelihood of set C under the policy that is trained; C_w, C_l, the better and the worse of two sets; r_i, the reward of set i of g; s_j, the score of item j.
Numbers of equations are RAR's.

Without a reference model, and as all sets are of one size, RAR's DPO is SimPO without margin; :math:`dpo(w, l, \beta) = simpo(w, l, \beta, 0)`, and both stand beside the same
likelihood of labels.

Does not belong here: what sets are drawn and rewarded (`draw.py`), when (`rl.py`), losses of plain training (`losses.py`).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from models.data import PAD


class Pairs(NamedTuple):
    """Which two sets of an example are compared. All `[B]`: numbers of the sets, and why there is no pair where there is none."""

    winner: Tensor
    loser: Tensor
    is_pair: Tensor
    is_tie: Tensor
    holds_no_label: Tensor


class Advantages(NamedTuple):
    """Standardised rewards `values [B, g]`, and `has_no_spread [B]`: groups of equal rewards, from which nothing can be learned."""

    values: Tensor
    has_no_spread: Tensor


def preference_margin(
    winner: Tensor,
    loser: Tensor,
    winner_reference: Tensor | None = None,
    loser_reference: Tensor | None = None,
) -> Tensor:
    r"""How much more the policy prefers C_w than the reference does: :math:`\log p(C_w)/p_{ref}(C_w) - \log p(C_l)/p_{ref}(C_l)`.

    All `[B]`; without reference, its terms are left out. Raises ValueError when one of them is there without the other.
    """
    if (winner_reference is None) != (loser_reference is None):
        raise ValueError("a reference is needed for both sets of a pair, or for neither")
    if winner_reference is None or loser_reference is None:
        return winner - loser
    return (winner - winner_reference) - (loser - loser_reference)


def dpo(
    winner: Tensor,
    loser: Tensor,
    beta: float,
    winner_reference: Tensor | None = None,
    loser_reference: Tensor | None = None,
) -> Tensor:
    r"""Preference loss of a pair: `winner`, `loser`: log p(C_w), log p(C_l), `[B]`, under policy and reference -> `[B]`.

    .. math:: -\log\sigma\Big(\beta\log\frac{p(C_w)}{p_{ref}(C_w)} - \beta\log\frac{p(C_l)}{p_{ref}(C_l)}\Big)

    Source: RAR, equation 4; Rafailov et al. 2023. Without reference (RAR's final runs) the reference's terms are left out.
    """
    return -logsigmoid(beta * preference_margin(winner, loser, winner_reference, loser_reference))


def simpo(winner: Tensor, loser: Tensor, beta: float, gamma: float, length: int | None = None) -> Tensor:
    r"""Preference loss with a target margin: log-likelihoods `[B]` -> `[B]`.

    .. math:: -\log\sigma(\beta\log p(C_w) - \beta\log p(C_l) - \gamma)

    Source: RAR, equation 7, which does not divide by the length of a set. `length`: divide log-likelihoods by it, as Meng et al. 2024 do; beta and gamma are then of another size.
    """
    scale = beta if length is None else beta / length
    return -logsigmoid(scale * (winner - loser) - gamma)


def advantages(rewards: Tensor) -> Advantages:
    r"""Rewards standardised within their group: `[B, g]` -> :math:`(r_i - mean(r)) / std(r)`, with the population's deviation (divided by g).

    A group of equal rewards has no deviation to divide by: its advantages are 0. Source: RAR, before equation 5; Shao et al. 2024.
    """
    rewards = rewards.double()
    centred = rewards - rewards.mean(-1, keepdim=True)
    spread = centred.square().mean(-1, keepdim=True).sqrt()
    # The mean of equal numbers may differ from them by rounding; squares of tiny differences may be zero.
    has_no_spread = (rewards.amax(-1) == rewards.amin(-1)) | (spread[:, 0] == 0)
    values = torch.where(has_no_spread[:, None], 0.0, centred / spread.masked_fill(has_no_spread[:, None], 1.0))
    return Advantages(values, has_no_spread)


def grpo(
    log_probs: Tensor,
    group_advantages: Tensor,
    behaviour: Tensor | None = None,
    clip: float | None = None,
) -> Tensor:
    r"""Policy gradient over a group: `log_probs`, `group_advantages [B, g]` -> `[B]`. RAR, equation 5, without its KL term.

    .. math:: -\frac{1}{g}\sum_i \hat{A}_i \log p(C_i)

    With `clip` (epsilon) and `behaviour [B, g]`, the log-likelihoods under the policy that the sets were drawn from, the clipped surrogate with importance weights instead:

    .. math:: -\frac{1}{g}\sum_i \min(\rho_i \hat{A}_i, \mathrm{clip}(\rho_i, 1-\epsilon, 1+\epsilon) \hat{A}_i), \quad \rho_i = p(C_i) / p_{behaviour}(C_i)

    Its gradient is that of the first where the policies are equal. Source: Schulman et al. 2017, Shao et al. 2024. Raises ValueError when one of the two is given without the other.
    """
    group_advantages = group_advantages.to(log_probs.dtype)
    if (behaviour is None) != (clip is None):
        raise ValueError(
            "clipping needs the log-likelihoods under the policy that sets were drawn from, and these need a clip"
        )
    if behaviour is None or clip is None:
        return -(group_advantages * log_probs).mean(-1)
    ratio = (log_probs - behaviour.to(log_probs.dtype)).exp()
    return -torch.minimum(ratio * group_advantages, ratio.clamp(1 - clip, 1 + clip) * group_advantages).mean(-1)


def kl_of_items(logits: Tensor, reference: Tensor) -> Tensor:
    r"""Exact divergence of the policy's distribution of a first draw from the reference's: logits `[B, N]` -> :math:`KL(p \| p_{ref})`, `[B]`, in nats."""
    own, other = logits.log_softmax(-1), reference.log_softmax(-1)
    # Items that cannot be drawn add nothing; 0 times infinity would be NaN.
    return torch.where(own > -torch.inf, own.exp() * (own - other), 0.0).sum(-1)


def kl_of_sets(log_probs: Tensor, reference: Tensor) -> Tensor:
    r"""Estimate of the divergence of the policy's distribution of sets from the reference's (k3): `[B, g]` -> :math:`\rho - 1 - \log\rho`, :math:`\rho = p_{ref}(C) / p(C)`.

    Never negative; unbiased over sets drawn from the policy itself. Over sets drawn from another policy it is not. Source: Schulman 2020; Shao et al. 2024, equation 4.
    """
    log_ratio = reference.to(log_probs.dtype) - log_probs
    return torch.expm1(log_ratio) - log_ratio


def label_nll(logits: Tensor, labels: Tensor) -> Tensor:
    r"""Supervised term: the mean of :math:`-\log p(y)` over the labels of an example: `logits [B, N]`, `labels [B, P]` filled up with -1 -> `[B]`.

    Source: RAR, algorithm 1, line 16. Raises ValueError for an example without labels.
    """
    is_label = labels != PAD
    if not bool(is_label.any(-1).all()):
        raise ValueError("an example has no labels")
    found = logits.gather(1, labels.clamp(min=0)) - logits.logsumexp(1, keepdim=True)
    return -torch.where(is_label, found, 0.0).sum(-1) / is_label.sum(-1)


def total(nll: Tensor | None, rl: Tensor) -> Tensor:
    """The whole objective, `[B]` -> a scalar: the mean of their sum. Source: RAR, equation 6. `nll` None leaves the supervised term out."""
    return rl.mean() if nll is None else (nll + rl).mean()


def choose_pairs(rewards: Tensor, has_label: Tensor) -> Pairs:
    """The best and the worst set of each example: `rewards`, `has_label [B, g]`.

    A set with a label is better than one without, then the higher reward; of equals the first drawn. No pair where all are equal: a tie when they hold a label,
    else "no label", and both are to be drawn again. Source: RAR, section A.2.
    """
    if rewards.shape[-1] < 2:
        raise ValueError("a pair needs at least two sets an example")
    rewards = rewards.double()
    best = rewards.masked_fill(~has_label, -torch.inf).argmax(-1)
    worst_without = (~has_label).int().argmax(-1)
    worst_with = rewards.argmin(-1)
    worst = torch.where(has_label.all(-1), worst_with, worst_without)
    holds_no_label = ~has_label.any(-1)
    is_tie = has_label.all(-1) & (rewards.amax(-1) == rewards.amin(-1))
    return Pairs(best, worst, ~holds_no_label & ~is_tie, is_tie, holds_no_label)

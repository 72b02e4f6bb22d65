"""Choosing among all items: candidate sets drawn without replacement, their likelihood, and the exact best k.

Belongs here: Gumbel-top-k, Plackett-Luce, top-k over a scored corpus; tensors in, tensors out.
Does not belong here: what the sets are drawn for (`draw.py`, `rl.py`), losses made of their likelihood (`alignment.py`).

Items are looked at in blocks of neighbours. The k best items lie in the k blocks with the best maxima, whatever "best" means:
so one pass over all items reduces each block to one number, and only k blocks are looked into. Drawing needs no more than that:
the largest of the perturbed scores of a block is itself a Gumbel variable, located at the block's log-sum-exp.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

# Items of a block. Noise is drawn for N / BLOCK blocks and for the k * BLOCK items of the blocks looked into: least at sqrt(N / k), 116 for
# k = 25 of 337,731.
BLOCK = 128
# Bytes of scores, and of noise where sets are drawn, that are held at once: histories are gone through in chunks.
CHUNK_BYTES = 64 * 2**20
# Copies of the noise of 8 bytes that are held at once while it is made into places.
_NOISE_COPIES = 4


class Best(NamedTuple):
    """The best items: `items [B, k]` int64, best first, and their `scores [B, k]`."""

    items: Tensor
    scores: Tensor


class Draws(NamedTuple):
    """Candidate sets in draw order: `items [B, G, k]` int64, and the log-likelihood `log_probs [B, G]` float64 of each set."""

    items: Tensor
    log_probs: Tensor


@torch.no_grad()
def top_k(
    states: Tensor,
    item_matrix: Tensor,
    bias: Tensor | None,
    k: int,
    *,
    block: int = BLOCK,
    chunk_bytes: int = CHUNK_BYTES,
) -> Best:
    """The k items with the largest `states @ item_matrix.T + bias`; of equal scores the smaller item number comes first.

    `states [B, H]`, `item_matrix [N, H]`, `bias [N]`. Exact. Beside its arguments it holds `chunk_bytes` of scores and a block's
    maximum for every `block` of them. Raises ValueError for k out of 1..N, for shapes that do not fit, and for scores that are no numbers.
    """
    n = item_matrix.shape[0]
    _check(k, n)
    rows = chunk_bytes // (n * states.element_size())
    found = [_best(scores, k, block) for scores in _scored(states, item_matrix, bias, rows)]
    if not found:
        empty = states.new_zeros(0, k)
        return Best(empty.long(), empty)
    return Best(torch.cat([each.items for each in found]), torch.cat([each.scores for each in found]))


@torch.no_grad()
def sample_sets(
    states: Tensor,
    item_matrix: Tensor,
    bias: Tensor | None,
    sets: int,
    k: int,
    generator: torch.Generator,
    *,
    block: int = BLOCK,
    chunk_bytes: int = CHUNK_BYTES,
) -> Draws:
    """`sets` candidate sets of k items for each state, drawn without replacement in proportion to exp(score), and their likelihood.

    Shapes as in `top_k`; beside its arguments it holds about `chunk_bytes` of scores, copies of them and noise. The same generator state,
    device and arguments give the same sets. Raises as `gumbel_top_k`.
    """
    n = item_matrix.shape[0]
    _check(k, n)
    blocks = -(-n // block)
    noise = 8 * _NOISE_COPIES * sets * (blocks + min(k, blocks) * block)
    rows = chunk_bytes // (2 * n * states.element_size() + noise)
    items, log_probs = [], []
    for scores in _scored(states, item_matrix, bias, rows):
        items.append(gumbel_top_k(scores, sets, k, generator, block=block))
        log_probs.append(plackett_luce(scores, items[-1]).double())
    if not items:
        return Draws(
            torch.zeros(0, sets, k, dtype=torch.int64, device=states.device),
            torch.zeros(0, sets, dtype=torch.float64, device=states.device),
        )
    return Draws(torch.cat(items), torch.cat(log_probs))


@torch.no_grad()
def gumbel_top_k(logits: Tensor, sets: int, k: int, generator: torch.Generator, *, block: int = BLOCK) -> Tensor:
    """Sets of k items drawn one after the other without replacement in proportion to exp(logit): `[B, G, k]` in draw order.

    `logits [B, N]`; items of logit -inf are never drawn. Exact: an item's place among its logit plus Gumbel noise is its place in
    the draw. Noise is drawn top down, B * G * (N / block + k * block) numbers of 64 bits instead of B * G * N: for each block its largest
    perturbed logit, and for the items of the k blocks with the largest of these their own, given that largest one.

    Raises ValueError for k out of 1..N, for logits that are NaN or +inf, and for a row with fewer than k items that can be drawn.
    Source: Gumbel-top-k: Vieira 2014; Kool et al. 2019. Top down: Kool, van Hoof and Welling 2020 (ancestral Gumbel-top-k, JMLR 21).
    """
    rows, n = logits.shape
    _check(k, n)
    if sets < 1:
        raise ValueError(f"{sets} sets are to be drawn; at least one is needed")
    blocks = _in_blocks(logits, block)
    masses = blocks.logsumexp(-1).double()
    if not bool((masses < torch.inf).all()):
        raise ValueError("logits to draw from are NaN or +inf")
    looked_into = min(k, blocks.shape[1])
    largest, chosen = (masses[:, None] + _gumbel((rows, sets, blocks.shape[1]), logits, generator)).topk(looked_into)
    row = torch.arange(rows, device=logits.device)[:, None, None]
    inside = blocks[row, chosen].double()
    perturbed = given_maximum(inside + _gumbel(inside.shape, logits, generator), largest)
    values, places = perturbed.flatten(2).topk(k)
    if bool((values == -torch.inf).any()):
        raise ValueError(f"fewer than {k} items of a row can be drawn: the logits of the others are -inf")
    return chosen.gather(2, places.div(block, rounding_mode="floor")) * block + places % block


def given_maximum(perturbed: Tensor, maximum: Tensor) -> Tensor:
    """Gumbel variables `perturbed [..., M]` as they would be had their largest been `maximum [...]`.

    Each is moved by its distribution function, so that it becomes a Gumbel variable cut off at `maximum`; the largest becomes
    `maximum` itself. Order is kept, and nothing moves when `maximum` is the largest already. Those at -inf stay there.
    Source: Kool et al. 2019 (Stochastic beams and where to find them, appendix B.3).
    """
    ceiling = maximum[..., None]
    gap = perturbed - perturbed.amax(-1, keepdim=True)
    shift = ceiling - perturbed + torch.log(-torch.expm1(gap))
    moved = ceiling - shift.relu() - torch.log1p(torch.exp(-shift.abs()))
    return torch.where(perturbed > -torch.inf, moved, -torch.inf)


def plackett_luce(logits: Tensor, draws: Tensor) -> Tensor:
    r"""Log-likelihood of sets drawn one item after the other: `logits [B, N]`, `draws [B, G, k]` in draw order -> `[B, G]`.

    .. math:: \log P(c_1 .. c_k) = \sum_i s_{c_i} - \log \sum_{j \notin \{c_1 .. c_{i-1}\}} e^{s_j}

    What is left before a draw is summed from what was not drawn, never by taking away what was: nothing is lost when the drawn items
    hold nearly all mass. Items that no set of the row holds are summed once for all its sets, so there is no [B, G, N]. Differentiable.
    A set must not hold an item twice. Source: RAR, equation 3, with the order of the draw for sigma.
    """
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    # Stands for -inf, of which gradients would be NaN where nothing else is left.
    nothing = torch.finfo(logits.dtype).min / 4
    drawn = draws.flatten(1)
    scores = logits.gather(1, drawn)
    in_no_set = logits.scatter(1, drawn, nothing).logsumexp(1)
    is_in_set = (drawn[:, None, :, None] == draws[:, :, None, :]).any(-1)
    is_repeated = (drawn[:, :, None] == drawn[:, None, :]).tril(-1).any(-1)
    in_other_sets = scores[:, None].masked_fill(is_in_set | is_repeated[:, None], nothing)
    left_over = torch.cat([in_other_sets, in_no_set[:, None, None].expand(-1, draws.shape[1], 1)], -1).logsumexp(-1)
    of_set = scores.view(draws.shape)
    remaining = torch.cat([left_over[..., None], of_set.flip(-1)], -1).logcumsumexp(-1)[..., 1:].flip(-1)
    return (of_set - remaining).sum(-1)


def _check(k: int, n: int) -> None:
    if not 1 <= k <= n:
        raise ValueError(f"k is {k}; there are {n} items")


def _scored(states: Tensor, item_matrix: Tensor, bias: Tensor | None, rows: int) -> Iterator[Tensor]:
    """Scores of `rows` states at a time, at least one; the buffer is used again for the next."""
    n, width = item_matrix.shape
    if states.ndim != 2 or states.shape[1] != width or (bias is not None and bias.shape != (n,)):
        shape = None if bias is None else tuple(bias.shape)
        raise ValueError(f"states {tuple(states.shape)}, items {(n, width)} and bias {shape} do not fit")
    rows = max(1, rows)
    buffer = states.new_empty(min(rows, len(states)), n)
    items = item_matrix.to(states.dtype).T
    for part in states.split(rows):
        scores = torch.mm(part, items, out=buffer[: len(part)])
        if bias is not None:
            scores += bias
        yield scores


def _in_blocks(scores: Tensor, block: int) -> Tensor:
    """`[B, N]` as `[B, C, block]`, the last block filled up with -inf."""
    return pad(scores, (0, -scores.shape[1] % block), value=-torch.inf).unflatten(1, (-1, block))


def _gumbel(shape: tuple[int, ...] | torch.Size, like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard Gumbel noise in float64: minus the logarithm of exponential noise, which is never taken to be zero."""
    noise = torch.empty(shape, dtype=torch.float64, device=like.device).exponential_(generator=generator)
    return noise.clamp_(min=torch.finfo(torch.float64).tiny).log_().neg_()


def _best(scores: Tensor, k: int, block: int) -> Best:
    n = scores.shape[1]
    whole = n - n % block
    maxima = scores[:, :whole].unflatten(1, (-1, block)).amax(-1)
    if whole < n:
        maxima = torch.cat([maxima, scores[:, whole:].amax(-1, keepdim=True)], 1)
    if bool(maxima.isnan().any()):
        raise ValueError("scores of items are NaN")
    chosen = _first_best(maxima, torch.arange(maxima.shape[1], device=scores.device).expand_as(maxima), k)
    numbers = (chosen[..., None] * block + torch.arange(block, device=scores.device)).flatten(1)
    inside = scores.gather(1, numbers.clamp(max=n - 1)).masked_fill(numbers >= n, -torch.inf)
    items = _first_best(inside, numbers, k)
    return Best(items, scores.gather(1, items))


def _first_best(values: Tensor, numbers: Tensor, k: int) -> Tensor:
    """The `numbers [B, M]` (under 2^31) of the k largest `values [B, M]` (all of them if fewer), largest first, of equal ones the smaller first."""
    # One whole number holds both: above, the value's bits in an order that agrees with the values; below, the number counted downwards.
    bits = (values.float() + 0.0).view(torch.int32)
    rising = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).long()
    keys = (rising << 32) + (0x7FFFFFFF - numbers)
    return 0x7FFFFFFF - (keys.topk(min(k, keys.shape[1])).values & 0xFFFFFFFF)

"""The linear recurrence h_t = lambda * h_{t-1} + x_t with a complex diagonal lambda, h_0 = 0, over whole batches of sequences.

Belongs here: the recurrence, its gradient, its step. Does not belong here: where lambda and x come from (`models/architectures/lrurec.py`).

Two ways to compute it, one function to call. *In time order*: one fused multiply-add over all sequences for each time. It reads x once and writes h once, so that it runs at the
speed of copying memory; its depth is L. *In blocks* (a two-level parallel scan): L is cut into about sqrt(L) blocks, all blocks are scanned together, the last states are carried from block to
block, and each block adds its carry times the powers of lambda; its depth is 2 sqrt(L), at about twice the work. The first is the faster one wherever a step over all sequences keeps the
cores busy, the second where a step is too small to pay for its call: few sequences, or a wide device. `is_blocked` chooses; both are equal up to rounding.

Memory: h is the only tensor of the size of x that is made and kept (x itself is not), and the backward pass makes one more. In blocks, one more each where sequences differ in length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Below this many numbers a step, the call of a kernel costs more than its work on a CPU (measured by benchmarks/bench_lrurec.py).
SMALL_STEP = 2048


def step(lam: Tensor, state: Tensor, x: Tensor) -> Tensor:
    """One step for serving: state [B, D], x [B, D] -> lambda * state + x [B, D]. Its cost does not depend on how long the history is."""
    return torch.addcmul(x, lam, state)


def scan(lam: Tensor, x: Tensor, is_blocked: bool | None = None) -> Tensor:
    """States of all times: lam [D] complex, x [B, L, D] complex -> h [B, L, D]; differentiable in both, once.

    Padding on the right needs no mask: a state depends on nothing after it. `is_blocked` forces one of the two ways. Raises ValueError when shapes or types do not fit.
    """
    if x.dim() != 3:
        raise ValueError(f"scan takes x [B, L, D], not {tuple(x.shape)}")
    batch, length, width = x.shape
    rows = x.transpose(0, 1).reshape(length * batch, width)
    return scan_rows(lam, rows, [batch] * length, is_blocked).view(length, batch, width).transpose(0, 1)


def scan_rows(lam: Tensor, x: Tensor, sizes: Sequence[int], is_blocked: bool | None = None) -> Tensor:
    """States of sequences of different lengths without padding.

    x [M, D] holds the rows of time 0 of all sequences, then those of time 1, and so on; sequences are in order of falling length, so that the `sizes[t]` sequences that reach time t are the
    first ones. Returns h [M, D] in the same order. Raises ValueError when shapes, sizes or types do not fit.
    """
    if not (lam.is_complex() and x.dtype == lam.dtype):
        raise ValueError(f"scan takes complex lambda and x of one type, not {lam.dtype} and {x.dtype}")
    if lam.dim() != 1 or x.dim() != 2 or x.shape[1] != lam.shape[0]:
        raise ValueError(f"scan takes lambda [D] and x [M, D], not {tuple(lam.shape)} and {tuple(x.shape)}")
    sizes = tuple(sizes)
    if sum(sizes) != x.shape[0] or any(a < b for a, b in pairwise(sizes)):
        raise ValueError(f"sizes must fall and sum up to {x.shape[0]} rows; they sum up to {sum(sizes)}")
    if is_blocked is None:
        is_blocked = x.device.type != "cpu" or x.numel() < SMALL_STEP * len(sizes)
    return _Scan.apply(lam, x, sizes, is_blocked)


class _Scan(torch.autograd.Function):
    """Forward: the recurrence. Backward: the same recurrence against time with the conjugate of lambda (g_t = dL/dh_t):

    d_t = g_t + conj(lambda) d_{t+1};   dL/dx_t = d_t;   dL/dlambda = sum_t d_t conj(h_{t-1})
    """

    @staticmethod
    def forward(ctx, lam: Tensor, x: Tensor, sizes: tuple[int, ...], is_blocked: bool) -> Tensor:
        h = (_in_blocks if is_blocked else _in_time_order)(lam, x, sizes, False)
        ctx.save_for_backward(lam, h)
        ctx.sizes, ctx.is_blocked = sizes, is_blocked
        return h

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        lam, h = ctx.saved_tensors
        conjugate = lam.conj().resolve_conj()
        d = (_in_blocks if ctx.is_blocked else _in_time_order)(conjugate, grad.resolve_conj(), ctx.sizes, True)
        of_lam = _product_with_previous(d, h, ctx.sizes) if ctx.needs_input_grad[0] else None
        return of_lam, d, None, None


def _in_time_order(lam: Tensor, x: Tensor, sizes: tuple[int, ...], is_reversed: bool) -> Tensor:
    """One step after the other; h_t is written in place."""
    h = torch.empty_like(x, memory_format=torch.contiguous_format)
    times = list(zip(h.split(sizes), x.split(sizes), strict=True))
    before: Tensor | None = None
    for h_t, x_t in reversed(times) if is_reversed else times:
        both = 0 if before is None else min(len(before), len(x_t))
        if before is not None:
            torch.addcmul(x_t[:both], lam, before[:both], out=h_t[:both])
        if both < len(x_t):
            h_t[both:] = x_t[both:]
        before = h_t
    return h


def _product_with_previous(d: Tensor, h: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """sum over rows of d_t * conj(h_{t-1}) -> [D]."""
    if not sizes:
        return d.new_zeros(d.shape[1])
    if sizes[0] == sizes[-1]:
        return torch.linalg.vecdot(h[: -sizes[0]], d[sizes[0] :], dim=0) if len(sizes) > 1 else d.new_zeros(d.shape[1])
    total = d.new_zeros(sizes[0], d.shape[1])
    states = h.split(sizes)
    for t, d_t in enumerate(d.split(sizes)[1:]):
        total[: len(d_t)].addcmul_(d_t, states[t][: len(d_t)].conj_physical())
    return total.sum(0)


def _in_blocks(lam: Tensor, x: Tensor, sizes: tuple[int, ...], is_reversed: bool) -> Tensor:
    """The two-level parallel scan, on a padded copy [blocks, T, B, D]."""
    length, batch, width = len(sizes), max(sizes, default=0), x.shape[1]
    if not x.shape[0]:
        return torch.empty_like(x)
    per_block = math.isqrt(length - 1) + 1
    blocks = -(-length // per_block)
    h = x.new_zeros(blocks * per_block * batch, width)
    is_full = sizes[-1] == batch
    at: Tensor | slice
    if is_full:
        at = slice(0, len(x))
    else:
        counts = torch.tensor(sizes, device=x.device)
        at = (torch.arange(batch, device=x.device)[None] < counts[:, None]).flatten().nonzero().squeeze(1)
    h[at] = x
    h = h.view(blocks, per_block, batch, width)
    # Against time, the first row of a block is the last one reached.
    order = range(per_block - 1, -1, -1) if is_reversed else range(per_block)
    for before, now in pairwise(order):
        torch.addcmul(h[:, now], lam, h[:, before], out=h[:, now])
    # Powers in double precision: rounding of a phase grows with the power.
    double = torch.complex128
    powers = lam.to(double)[None] ** torch.arange(1, per_block + 1, device=x.device)[:, None]
    if is_reversed:
        powers = powers.flip(0)
    whole, powers = powers[order[-1]].to(x.dtype), powers.to(x.dtype)
    carry = h[:, order[-1]].clone()
    across = range(blocks - 1, -1, -1) if is_reversed else range(blocks)
    for before, now in pairwise(across):
        torch.addcmul(carry[now], whole, carry[before], out=carry[now])
    later, earlier = (h[:-1], carry[1:]) if is_reversed else (h[1:], carry[:-1])
    later.addcmul_(powers[:, None], earlier[:, None])
    return h.view(-1, width)[at]

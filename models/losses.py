"""Losses of retrieval: what a state should have said, against all items or against some of them.

Pure functions of `states [M, H]`, `targets [M]`, `items [N, H]` and `bias [N]`; all return the mean over the M rows. With s_ij = states_i . items_j + bias_j
and y the label of row i, all of them are

    L_i = -log( exp(s_iy) / Z_i ),   Z_i = exp(s_iy) + sum over the negatives j of w_j exp(s_ij)

and differ in the negatives and their weights w_j:

    full_softmax      every other item, w_j = 1
    sampled_softmax   S items a row, drawn uniformly with replacement
    in_batch          the labels of the other rows
    sampled_in_batch  both (RAR, section A.2)

**Correction (log-Q).** A negative drawn E_j times in expectation counts w_j = 1 / E_j, so that E[Z_i] is the Z_i of the full softmax. Equally: log E_j is taken off its
logit. Uniform draws: E_j = S / N. Labels of a batch: E_j = (M - 1) q_j with q_j the popularity, j's share of all targets. Both together: E_j = S / N + (M - 1) q_j,
whichever way it was drawn. The label itself is in Z_i for certain and not by chance, so nothing is taken off its logit; Yi et al. (RecSys 2019) take log q_y off there, too, which
makes Z_i no estimate of the full one. **Accidental hits**, negatives equal to the label of their row, are removed.

No [M, N] is kept. Rows go through in chunks, and the gradient is computed on the way forward, where the probabilities are at hand; backward only scales it. So these losses can be
differentiated once, not twice.

Does not belong here: which states predict which targets (the architectures), losses on sets of candidates (`alignment.py`).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Logits held at a time: 2**21 floats are 8 MiB, which stays in the cache of common processors.
CHUNK_LOGITS = 2**21
# On a GPU, launches cost more than memory.
CHUNK_LOGITS_GPU = 2**27


class _Shared(NamedTuple):
    """Candidates that all rows share. `ids [C]` (None: all items in order), `log_weight [C]` (None: zero), `label [M]`: the column of each row's label."""

    ids: Tensor | None
    log_weight: Tensor | None
    label: Tensor


class _Own(NamedTuple):
    """Candidates of each row. `ids [M, S]`, `log_weight [M, S]`, -inf where one does not count; the label is column 0 where no shared candidates hold it."""

    ids: Tensor
    log_weight: Tensor


def full_softmax(
    states: Tensor, targets: Tensor, items: Tensor, bias: Tensor | None = None, *, chunk_rows: int | None = None
) -> Tensor:
    """Cross-entropy over the whole catalogue: L_i = -s_iy + log sum_j exp(s_ij). Equal to `cross_entropy(states @ items.T + bias, targets)`.

    `states [M, H]`, `targets [M]` in 0..N-1, `items [N, H]`, `bias [N]`. Mean over rows, a scalar. Raises ValueError for shapes that do not fit.
    """
    _check(states, targets, items, bias)
    return _apply(states, items, bias, _Shared(None, None, targets), None, chunk_rows)


def sampled_softmax(
    states: Tensor,
    targets: Tensor,
    items: Tensor,
    bias: Tensor | None,
    negatives: Tensor,
    *,
    chunk_rows: int | None = None,
) -> Tensor:
    """Softmax over the label and S uniform negatives with w_j = N / S (see the module's text; Jean et al. 2015, Bengio and Senecal 2008).

    `negatives [M, S]`: item numbers, each drawn uniformly from all N with replacement (`uniform_negatives`). Mean over rows.
    """
    _check(states, targets, items, bias)
    _check_negatives(states, negatives)
    weight = math.log(items.shape[0] / negatives.shape[1])
    log_weight = torch.full(negatives.shape, weight, dtype=_wide(states.dtype), device=states.device)
    log_weight.masked_fill_(negatives == targets[:, None], -torch.inf)
    own = _Own(
        torch.cat([targets[:, None], negatives], dim=1),
        torch.cat([torch.zeros_like(log_weight[:, :1]), log_weight], dim=1),
    )
    return _apply(states, items, bias, None, own, chunk_rows)


def in_batch(
    states: Tensor,
    targets: Tensor,
    items: Tensor,
    bias: Tensor | None,
    popularity: Tensor,
    *,
    chunk_rows: int | None = None,
) -> Tensor:
    """Softmax over the label and the labels of the other rows with w_j = 1 / ((M - 1) q_j) (Yi et al. 2019, label uncorrected: see the module's text).

    `popularity [N]`: how often each item is a target in the data; q is its share. Items that are labels must not have popularity 0: ValueError. A label that several rows share
    counts as often as they hold it. Mean over rows; 0 where there is one row, which has no negatives.
    """
    _check(states, targets, items, bias)
    shared, _ = _batch_labels(states, targets, popularity, 0.0)
    return _apply(states, items, bias, shared, None, chunk_rows)


def sampled_in_batch(
    states: Tensor,
    targets: Tensor,
    items: Tensor,
    bias: Tensor | None,
    negatives: Tensor,
    popularity: Tensor,
    *,
    chunk_rows: int | None = None,
) -> Tensor:
    """RAR's pretraining loss (section A.2): one softmax over the label, S uniform negatives and the labels of the other rows, with w_j = 1 / (S / N + (M - 1) q_j).

    `negatives [M, S]` as in `sampled_softmax`, `popularity [N]` as in `in_batch`. The paper states the negatives and no correction; the correction is ours. Mean over rows.
    """
    _check(states, targets, items, bias)
    _check_negatives(states, negatives)
    shared, log_weights = _batch_labels(states, targets, popularity, negatives.shape[1] / items.shape[0])
    log_weight = log_weights.to(_wide(states.dtype))[negatives].masked_fill_(negatives == targets[:, None], -torch.inf)
    return _apply(states, items, bias, shared, _Own(negatives, log_weight), chunk_rows)


def uniform_negatives(rows: int, count: int, items: int, generator: torch.Generator) -> Tensor:
    """`[rows, count]` item numbers, each drawn uniformly from 0..items-1 with replacement, on the generator's device."""
    return torch.randint(items, (rows, count), generator=generator, device=generator.device)


def _batch_labels(
    states: Tensor, targets: Tensor, popularity: Tensor, uniform_expectation: float
) -> tuple[_Shared, Tensor]:
    """The batch's labels as shared candidates, each once with its copies in its weight; and log w_j of all items [N]."""
    ids, label, copies = targets.unique(return_inverse=True, return_counts=True)
    q = popularity.to(torch.float64) / popularity.sum()
    is_known = q[ids] > 0
    if not bool(is_known.all()):
        missing = ids[~is_known][:5].tolist()
        raise ValueError(f"items {missing} are targets, but their popularity is 0: popularity is of other data")
    log_weights = -torch.log(uniform_expectation + (targets.shape[0] - 1) * q)
    log_weight = log_weights[ids] + torch.log(copies.to(torch.float64))
    return _Shared(ids, log_weight.to(_wide(states.dtype)), label), log_weights


def _check(states: Tensor, targets: Tensor, items: Tensor, bias: Tensor | None) -> None:
    if states.ndim != 2 or items.ndim != 2 or states.shape[1] != items.shape[1]:
        raise ValueError(f"states [M, H] and items [N, H] do not fit: {tuple(states.shape)}, {tuple(items.shape)}")
    if targets.shape != states.shape[:1]:
        raise ValueError(f"targets [M] do not fit states [M, H]: {tuple(targets.shape)}, {tuple(states.shape)}")
    if bias is not None and bias.shape != items.shape[:1]:
        raise ValueError(f"bias [N] does not fit items [N, H]: {tuple(bias.shape)}, {tuple(items.shape)}")


def _check_negatives(states: Tensor, negatives: Tensor) -> None:
    if negatives.ndim != 2 or negatives.shape[0] != states.shape[0] or negatives.shape[1] == 0:
        raise ValueError(f"negatives [M, S] do not fit states [M, H]: {tuple(negatives.shape)}, {tuple(states.shape)}")


def _apply(
    states: Tensor, items: Tensor, bias: Tensor | None, shared: _Shared | None, own: _Own | None, chunk: int | None
) -> Tensor:
    if states.shape[0] == 0:
        raise ValueError("no states: the mean over no rows is not defined")
    limit = CHUNK_LOGITS if states.device.type == "cpu" else CHUNK_LOGITS_GPU
    # Own candidates are gathered, so each takes a row of H numbers; shared ones take a logit.
    taken = 0 if own is None else own.ids.shape[1] * items.shape[1]
    if shared is not None:
        taken += items.shape[0] if shared.ids is None else shared.ids.shape[0]
    result: Tensor = _Softmax.apply(states, items, bias, shared, own, chunk or max(16, limit // taken))
    return result


def _product_dtype(states: Tensor) -> torch.dtype:
    """What matrices are multiplied in: as autocast says where it is on. Sums and exponentials are float32 at least."""
    device = states.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else states.dtype


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


class _Softmax(torch.autograd.Function):
    """Softmax over shared and own candidates: loss and gradients in one pass over chunks of rows.

    With p the probabilities of a row, dL_i/ds_ij = p_ij - [j = y]. The big matrix stays unnormalised, e = exp(s - max) with Z taken off at the label; 1 / (Z M) goes to the thin
    factors of the two products: dL/dstates = (e @ items) / (Z M), dL/ditems = e.T @ (states / (Z M)).
    """

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        items: Tensor,
        bias: Tensor | None,
        shared: _Shared | None,
        own: _Own | None,
        rows: int,
    ) -> Tensor:
        dtype = _product_dtype(states)
        with torch.autocast(states.device.type, enabled=False):
            loss, gradients = _pass(
                states.to(dtype), items.to(dtype), bias, shared, own, rows, any(ctx.needs_input_grad)
            )
        if gradients is not None:
            d_states, d_items, d_bias = gradients
            ctx.save_for_backward(
                d_states.to(states.dtype),
                d_items.to(items.dtype),
                None if bias is None else d_bias.to(bias.dtype),
            )
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return (*(None if g is None else g * grad.to(g.dtype) for g in ctx.saved_tensors), None, None, None)


def _pass(
    states: Tensor,
    items: Tensor,
    bias: Tensor | None,
    shared: _Shared | None,
    own: _Own | None,
    rows: int,
    has_gradients: bool,
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor] | None]:
    """Mean loss, and its gradients of states [M, H], items [N, H] and bias [N]."""
    count, wide = states.shape[0], _wide(states.dtype)
    offset = torch.zeros(items.shape[0], dtype=wide, device=items.device) if bias is None else bias.to(wide)
    candidates, columns = items, offset
    if shared is not None and shared.ids is not None:
        candidates, columns = items[shared.ids], offset[shared.ids]
    if shared is not None and shared.log_weight is not None:
        columns = columns + shared.log_weight.to(wide)
    d_states = torch.empty(states.shape, dtype=wide, device=states.device)
    d_items = torch.zeros(items.shape, dtype=wide, device=items.device)
    d_bias = torch.zeros_like(offset)
    d_candidates, d_columns = torch.zeros_like(candidates, dtype=wide), torch.zeros_like(columns)
    total = torch.zeros((), dtype=torch.float64, device=states.device)

    for start in range(0, count, rows):
        part = slice(start, start + rows)
        state = states[part]
        here = torch.arange(state.shape[0], device=state.device)
        blocks: list[Tensor] = []
        if shared is not None:
            logits = _affine(state, candidates, columns)
            if shared.log_weight is not None:
                # The label itself weighs one.
                logits[here, shared.label[part]] -= shared.log_weight[shared.label[part]].to(wide)
            truth = logits[here, shared.label[part]]
            blocks.append(logits)
        if own is not None:
            ids = own.ids[part]
            vectors = items[ids.flatten()].view(*ids.shape, -1)
            own_logits = torch.bmm(vectors, state[:, :, None])[:, :, 0].to(wide)
            own_logits += offset[ids] + own.log_weight[part].to(wide)
            if shared is None:
                truth = own_logits[:, 0].clone()
            blocks.append(own_logits)
        top = blocks[0].amax(1)
        for block in blocks[1:]:
            top = torch.maximum(top, block.amax(1))
        z = torch.zeros_like(top)
        for block in blocks:
            z += block.sub_(top[:, None]).exp_().sum(1)
        total += (z.log() + top - truth).sum(dtype=torch.float64)
        if not has_gradients:
            continue
        blocks[0][here, 0 if shared is None else shared.label[part]] -= z
        scale = 1.0 / (z * count)
        scaled = (state.to(wide) * scale[:, None]).to(state.dtype)
        d_state = torch.zeros_like(d_states[part])
        if shared is not None:
            e = blocks[0].to(state.dtype)
            d_state += e @ candidates
            if wide == state.dtype:
                d_candidates.addmm_(e.T, scaled)
            else:
                d_candidates += e.T @ scaled
            if bias is not None:
                d_columns.addmv_(blocks[0].T, scale)
        if own is not None:
            e = blocks[-1].to(state.dtype)
            d_state += torch.bmm(e[:, None], vectors)[:, 0]
            d_items.index_add_(0, ids.flatten(), (e[:, :, None] * scaled[:, None]).flatten(0, 1).to(wide))
            if bias is not None:
                d_bias.index_add_(0, ids.flatten(), (blocks[-1] * scale[:, None]).flatten())
        d_states[part] = d_state * scale[:, None]

    loss = (total / count).to(wide)
    if not has_gradients:
        return loss, None
    if shared is not None and shared.ids is not None:
        d_items.index_add_(0, shared.ids, d_candidates)
        d_bias.index_add_(0, shared.ids, d_columns)
    elif shared is not None:
        d_items += d_candidates
        d_bias += d_columns
    return loss, (d_states, d_items, d_bias)


def _affine(state: Tensor, items: Tensor, columns: Tensor) -> Tensor:
    """`state @ items.T + columns` in the wider type."""
    if state.dtype == columns.dtype:
        return torch.addmm(columns, state, items.T)
    return (state @ items.T).to(columns.dtype).add_(columns)

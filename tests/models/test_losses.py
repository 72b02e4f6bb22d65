"""Losses against their formulas, written out row by row in float64."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from models.losses import full_softmax, in_batch, sampled_in_batch, sampled_softmax, uniform_negatives

ROWS, ITEMS, WIDTH, DRAWS = 7, 11, 3, 4


def _inputs(seed: int = 0, rows: int = ROWS, dtype: torch.dtype = torch.float64):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype, requires_grad=True)

    states, items, bias = normal(rows, WIDTH), normal(ITEMS, WIDTH), normal(ITEMS)
    targets = torch.randint(ITEMS, (rows,), generator=generator)
    negatives = uniform_negatives(rows, DRAWS, ITEMS, generator)
    popularity = torch.randint(1, 50, (ITEMS,), generator=generator)
    return states, targets, items, bias, negatives, popularity


LOSSES = {
    "full": lambda s, t, i, b, n, p, **k: full_softmax(s, t, i, b, **k),
    "sampled": lambda s, t, i, b, n, p, **k: sampled_softmax(s, t, i, b, n, **k),
    "in_batch": lambda s, t, i, b, n, p, **k: in_batch(s, t, i, b, p, **k),
    "sampled_in_batch": lambda s, t, i, b, n, p, **k: sampled_in_batch(s, t, i, b, n, p, **k),
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def _by_hand(name: str, states, targets, items, bias, negatives, popularity) -> float:
    """The module's formula with plain numbers: no matrix, no trick."""
    q = [float(p) / float(popularity.sum()) for p in popularity]
    total = 0.0
    for row in range(len(targets)):
        label = int(targets[row])

        def score(item: int, row: int = row) -> float:
            return sum((a * b).item() for a, b in zip(states[row], items[item], strict=True)) + bias[item].item()

        drawn = [int(j) for j in negatives[row]] if "sampled" in name else []
        others = [int(targets[k]) for k in range(len(targets)) if k != row] if "in_batch" in name else []
        if name == "full":
            drawn = list(range(ITEMS))
        z = math.exp(score(label))
        for j in drawn + others:
            if j == label:
                continue
            expected = 1.0 if name == "full" else 0.0
            expected += DRAWS / ITEMS if "sampled" in name else 0.0
            expected += (len(targets) - 1) * q[j] if "in_batch" in name else 0.0
            z += math.exp(score(j)) / expected
        total += math.log(z) - score(label)
    return total / len(targets)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("seed", range(3))
def test_each_loss_is_its_formula(name: str, seed: int) -> None:
    inputs = _inputs(seed)
    assert LOSSES[name](*inputs).item() == pytest.approx(_by_hand(name, *inputs), abs=1e-12)


@every_loss
def test_gradients_are_those_of_finite_differences(loss) -> None:
    states, targets, items, bias, negatives, popularity = _inputs(1)
    assert torch.autograd.gradcheck(
        lambda s, i, b: loss(s, targets, i, b, negatives, popularity, chunk_rows=3), (states, items, bias)
    )
    assert torch.autograd.gradcheck(
        lambda s, i: 3.0 * loss(s, targets, i, None, negatives, popularity), (states, items)
    )


@every_loss
@given(chunk=st.integers(1, 20), seed=st.integers(0, 5))
def test_chunks_change_nothing(loss, chunk: int, seed: int) -> None:
    inputs = _inputs(seed)
    whole, chunked = loss(*inputs), loss(*inputs, chunk_rows=chunk)
    torch.testing.assert_close(whole, chunked, atol=1e-9, rtol=0)
    leaves = (inputs[0], inputs[2], inputs[3])
    for a, b in zip(torch.autograd.grad(whole, leaves), torch.autograd.grad(chunked, leaves), strict=True):
        torch.testing.assert_close(a, b, atol=1e-9, rtol=0)


@every_loss
@given(seed=st.integers(0, 5), shuffle=st.permutations(range(ROWS)))
def test_order_of_rows_does_not_matter(loss, seed: int, shuffle: list[int]) -> None:
    states, targets, items, bias, negatives, popularity = _inputs(seed)
    order = torch.tensor(shuffle)
    shuffled = loss(states[order], targets[order], items, bias, negatives[order], popularity)
    torch.testing.assert_close(loss(states, targets, items, bias, negatives, popularity), shuffled, atol=1e-12, rtol=0)


@pytest.mark.parametrize("dtype, close", [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_full_softmax_is_cross_entropy(dtype: torch.dtype, close: float) -> None:
    states, targets, items, bias, _, _ = _inputs(2, rows=300, dtype=dtype)
    ours = full_softmax(states, targets, items, bias, chunk_rows=64)
    theirs = torch.nn.functional.cross_entropy(states @ items.T + bias, targets)
    torch.testing.assert_close(ours, theirs, atol=close, rtol=close)
    leaves = (states, items, bias)
    for a, b in zip(torch.autograd.grad(ours, leaves), torch.autograd.grad(theirs, leaves), strict=True):
        torch.testing.assert_close(a, b, atol=close, rtol=close)


def test_large_logits_do_not_overflow() -> None:
    states = torch.tensor([[400.0], [-400.0]], requires_grad=True)
    items = torch.tensor([[1.0], [-1.0], [0.5]])
    loss = full_softmax(states, torch.tensor([1, 1]), items)
    loss.backward()
    assert loss.item() == pytest.approx(400.0)  # 800 wrong, and 0
    assert states.grad is not None and torch.isfinite(states.grad).all()


@every_loss
def test_under_autocast_products_are_bfloat16_and_close(loss) -> None:
    inputs = _inputs(3, dtype=torch.float32)
    exact = loss(*inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = loss(*inputs)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, atol=0.05, rtol=0.02)
    leaves = (inputs[0], inputs[2], inputs[3])
    for a, b in zip(torch.autograd.grad(exact, leaves), torch.autograd.grad(rounded, leaves), strict=True):
        torch.testing.assert_close(a, b, atol=0.05, rtol=0.05)
    assert not torch.equal(exact, rounded)


def test_sampled_partition_estimates_the_full_one() -> None:
    """E[Z] over the draws is Z: with one draw, the mean over all N draws is exact."""
    states, _, items, bias, _, _ = _inputs(4, rows=1)
    states = states.expand(ITEMS, WIDTH)
    targets = torch.full((ITEMS,), 2)
    logits = states[0] @ items.T + bias
    every_draw = torch.arange(ITEMS)[:, None]
    z = [
        math.exp(sampled_softmax(states[k : k + 1], targets[k : k + 1], items, bias, every_draw[k : k + 1]).item())
        for k in range(ITEMS)
    ]
    full = (logits.logsumexp(0) - logits[2]).item()
    assert math.log(sum(z) / ITEMS) == pytest.approx(full, abs=1e-10)


def test_accidental_hits_are_removed() -> None:
    states, _, items, bias, _, popularity = _inputs(5, rows=2)
    targets = torch.tensor([3, 3])
    hits = torch.full((2, DRAWS), 3)
    for loss in (
        sampled_softmax(states, targets, items, bias, hits),
        in_batch(states, targets, items, bias, popularity),
        sampled_in_batch(states, targets, items, bias, hits, popularity),
    ):
        assert loss.item() == pytest.approx(0.0, abs=1e-12)


def test_wrong_inputs_are_refused() -> None:
    states, targets, items, bias, negatives, popularity = _inputs(6)
    with pytest.raises(ValueError, match="targets"):
        full_softmax(states, targets[:-1], items, bias)
    with pytest.raises(ValueError, match="do not fit"):
        full_softmax(states[:, :2], targets, items, bias)
    with pytest.raises(ValueError, match="bias"):
        full_softmax(states, targets, items, bias[:-1])
    with pytest.raises(ValueError, match="negatives"):
        sampled_softmax(states, targets, items, bias, negatives[:-1])
    with pytest.raises(ValueError, match="no states"):
        full_softmax(states[:0], targets[:0], items, bias)
    with pytest.raises(ValueError, match="popularity is 0"):
        in_batch(states, targets, items, bias, torch.zeros_like(popularity))


def test_negatives_are_uniform_and_seeded() -> None:
    draws = uniform_negatives(1000, 50, 5, torch.Generator().manual_seed(7))
    again = uniform_negatives(1000, 50, 5, torch.Generator().manual_seed(7))
    assert torch.equal(draws, again)
    shares = torch.bincount(draws.flatten(), minlength=5) / draws.numel()
    torch.testing.assert_close(shares, torch.full((5,), 0.2), atol=0.01, rtol=0)

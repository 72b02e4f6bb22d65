"""The scan against the recurrence written down, both ways of computing it, its gradient and its step."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.scan import scan, scan_rows, step

EXAMPLES = settings(max_examples=60)
WAYS = pytest.mark.parametrize("is_blocked", [False, True], ids=["in time order", "in blocks"])


def recurrence(lam: Tensor, x: Tensor) -> Tensor:
    """h_t = lambda * h_{t-1} + x_t, one step after the other, in double precision."""
    lam, x = lam.to(torch.complex128), x.to(torch.complex128)
    h, states = x.new_zeros(x.shape[0], x.shape[2]), []
    for t in range(x.shape[1]):
        h = lam * h + x[:, t]
        states.append(h)
    return torch.stack(states, 1) if states else x


def drawn(seed: int, batch: int, length: int, width: int, radius: float, dtype: torch.dtype = torch.complex64) -> tuple[Tensor, Tensor]:  # fmt: skip
    """lambda [D] of magnitudes around `radius` and x [B, L, D]."""
    torch.manual_seed(seed)
    magnitude = (radius * (1 - 0.1 * torch.rand(width, dtype=torch.float64))).clamp(max=radius)
    lam = torch.polar(magnitude, 2 * math.pi * torch.rand(width, dtype=torch.float64))
    return lam.to(dtype), torch.randn(batch, length, width, dtype=torch.complex128).to(dtype)


def close(found: Tensor, wanted: Tensor, within: float = 1e-5) -> None:
    """Equal within 1e-5 of the size of what is compared."""
    size = max(1.0, float(wanted.abs().max())) if wanted.numel() else 1.0
    assert found.shape == wanted.shape
    if wanted.numel():
        assert float((found - wanted).detach().abs().max()) <= within * size


@WAYS
@EXAMPLES
@given(
    seed=st.integers(0, 2**31), batch=st.integers(1, 5), length=st.integers(0, 70), width=st.integers(1, 6), radius=st.sampled_from([0.0, 0.1, 0.9, 0.99, 0.9999, 1.0]),
)  # fmt: skip
def test_scan_is_the_recurrence(is_blocked: bool, seed: int, batch: int, length: int, width: int, radius: float) -> None:  # fmt: skip
    lam, x = drawn(seed, batch, length, width, radius)
    close(scan(lam, x, is_blocked), recurrence(lam, x))


@WAYS
@pytest.mark.parametrize("length", [200, 1000])
def test_long_sequences_near_the_unit_circle(is_blocked: bool, length: int) -> None:
    lam, x = drawn(1, 3, length, 16, 0.9999)
    close(scan(lam, x, is_blocked), recurrence(lam, x))


@WAYS
@EXAMPLES
@given(seed=st.integers(0, 2**31), lengths=st.lists(st.integers(0, 20), max_size=6), radius=st.sampled_from([0.5, 0.99]))  # fmt: skip
def test_rows_of_different_lengths_and_their_gradients(is_blocked: bool, seed: int, lengths: list[int], radius: float) -> None:  # fmt: skip
    lengths = sorted(lengths, reverse=True)
    longest = max(lengths, default=0)
    lam, x = drawn(seed, len(lengths), longest, 3, radius, torch.complex128)
    sizes = [sum(length > t for length in lengths) for t in range(longest)]
    rows = torch.cat([x[:size, t] for t, size in enumerate(sizes)]) if sizes else x.reshape(0, 3)
    lam, rows = lam.requires_grad_(), rows.requires_grad_()
    found = scan_rows(lam, rows, sizes, is_blocked)
    apart, at = [], 0
    h = x[:, :0].sum(1)
    for size in sizes:
        h = lam * h[:size] + rows[at : at + size]
        at += size
        apart.append(h)
    wanted = torch.cat(apart) if apart else rows
    torch.testing.assert_close(found, wanted)
    if rows.numel():
        weight = torch.randn_like(wanted)
        ours = torch.autograd.grad(found, (lam, rows), weight, retain_graph=True)
        theirs = torch.autograd.grad(wanted, (lam, rows), weight, allow_unused=True)
        torch.testing.assert_close(ours[1], theirs[1])
        torch.testing.assert_close(ours[0], torch.zeros_like(lam) if theirs[0] is None else theirs[0])


@WAYS
@pytest.mark.parametrize("sizes", [[2], [3, 3, 3], [4, 3, 3, 1, 1]])
def test_gradient_check(is_blocked: bool, sizes: list[int]) -> None:
    lam, x = drawn(7, 1, sum(sizes), 3, 0.99, torch.complex128)
    inputs = (lam.requires_grad_(), x[0].clone().requires_grad_())
    assert torch.autograd.gradcheck(lambda lam, x: scan_rows(lam, x, sizes, is_blocked), inputs)


@WAYS
def test_padding_on_the_right_and_neighbours_change_nothing(is_blocked: bool) -> None:
    lam, x = drawn(3, 4, 30, 5, 0.99)
    alone = scan(lam, x[1:2, :11], is_blocked)
    other = x.clone()
    other[1, 11:] = float("nan")
    close(scan(lam, x, is_blocked)[1:2, :11], alone, 1e-6)
    close(scan(lam, other, is_blocked)[1:2, :11], alone, 1e-6)


def test_step_is_the_scan_one_item_at_a_time() -> None:
    lam, x = drawn(5, 3, 40, 8, 0.99)
    wanted, state = scan(lam, x), torch.zeros(3, 8, dtype=torch.complex64)
    for t in range(40):
        state = step(lam, state, x[:, t])
        close(state, wanted[:, t])


def test_inputs_are_left_alone() -> None:
    lam, x = drawn(6, 2, 9, 3, 0.9)
    before = x.clone()
    scan(lam, x.requires_grad_()).abs().sum().backward()
    assert torch.equal(x.detach(), before)


@pytest.mark.parametrize(
    ("lam", "x", "sizes", "said"),
    [
        (torch.ones(2), torch.ones(3, 2), [3], "complex"),
        (torch.ones(2, dtype=torch.complex64), torch.ones(3, 2, dtype=torch.complex128), [3], "one type"),
        (torch.ones(3, dtype=torch.complex64), torch.ones(3, 2, dtype=torch.complex64), [3], "lambda"),
        (torch.ones(2, dtype=torch.complex64), torch.ones(3, 2, dtype=torch.complex64), [1, 2], "fall"),
        (torch.ones(2, dtype=torch.complex64), torch.ones(3, 2, dtype=torch.complex64), [2, 2], "sum up to 3"),
    ],
)
def test_what_does_not_fit_is_refused(lam: Tensor, x: Tensor, sizes: list[int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        scan_rows(lam, x, sizes)

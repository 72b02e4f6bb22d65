"""What is particular to single architectures, against their formulas."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from benchmarks.bench_lrurec import obvious, ours
from models.architectures.attention import AttentionBlock
from models.architectures.bert4rec import BERT4Rec
from models.architectures.fmlprec import causal_filter
from models.architectures.layers import Dropout
from models.architectures.lrurec import LinearRecurrence, LRURec
from models.architectures.packing import Packing
from models.data import Batch
from models.presets import preset
from models.retriever import PAD, RetrieverConfig, build


def of_preset(name: str, arch: str, items: int = 30) -> RetrieverConfig:
    """A preset's configuration for a toy catalogue."""
    keys = preset(name)["model"]
    return RetrieverConfig.of({**keys, "arch": arch, "items": items, "text_dims": 0 if keys["features"] == "id" else 6})


# Packing


def test_packing_is_time_major_with_the_longest_first() -> None:
    packing = Packing.of(torch.tensor([1, 0, 3, 2]))
    assert packing.sizes == (3, 2, 1)
    assert packing.sequences.tolist() == [2, 3, 0, 2, 3, 2]
    assert packing.times.tolist() == [0, 0, 0, 1, 1, 2]


def test_packing_there_and_back() -> None:
    lengths = torch.tensor([4, 0, 2, 4])
    padded = torch.randn(4, 4, 3) * (torch.arange(4)[None] < lengths[:, None])[..., None]
    packing = Packing.of(lengths)
    assert torch.equal(packing.pad(packing.pack(padded)), padded)
    nothing = Packing.of(torch.tensor([0, 0]))
    assert nothing.sizes == () and nothing.pad(torch.empty(0, 3)).shape == (2, 0, 3)


# LRURec


@pytest.mark.parametrize(("name", "low", "high"), [("lrurec", 0.8, 0.99), ("fmlrec", 0.0, 0.1)])
def test_eigenvalues_start_on_the_ring_of_the_preset(name: str, low: float, high: float) -> None:
    torch.manual_seed(0)
    config = of_preset(name, "lrurec")
    layers = [LinearRecurrence(config) for _ in range(20)]
    for layer in layers:
        layer.initialise()
    lam = torch.cat([layer.eigenvalues() for layer in layers]).detach()
    assert len(lam) == 20 * 128
    assert lam.abs().min() >= low - 1e-6 and lam.abs().max() <= high + 1e-6
    # Uniform in area: the square of the magnitude has the mean of the ends, the phase covers the circle evenly.
    assert float(lam.abs().square().mean()) == pytest.approx((low**2 + high**2) / 2, abs=0.02 * high**2)
    assert float((lam / lam.abs()).mean().abs()) < 0.1


def test_the_recurrence_is_its_formula() -> None:
    """y_t = Re(W_out h_t) + b_out, h_t = lambda h_{t-1} + gamma (W_in x_t + b_in), with complex maps in double precision."""
    torch.manual_seed(1)
    layer = LinearRecurrence(RetrieverConfig(arch="lrurec", items=3, width=4))
    layer.initialise()
    with torch.no_grad():
        x = torch.randn(6, 4)
        found = layer(x, (1,) * 6)
        as_complex = torch.view_as_complex
        w_in = as_complex(layer.inward.weight.double().view(8, 2, 4).transpose(1, 2).contiguous())
        b_in = as_complex(layer.inward.bias.double().view(8, 2))
        # Re(W h) = Re(W) Re(h) - Im(W) Im(h).
        out = layer.outward.weight.double().view(4, 8, 2) * torch.tensor([1.0, -1.0])
        w_out = as_complex(out.contiguous())
        lam = torch.exp(torch.complex(-layer.log_nu.double().exp(), layer.log_theta.double().exp()))
        gamma = torch.sqrt(1 - lam.abs().square())
        h = torch.zeros(8, dtype=torch.complex128)
        for t in range(6):
            h = lam * h + gamma * (w_in @ x[t].to(torch.complex128) + b_in)
            wanted = (w_out @ h).real + layer.outward.bias.double()
            torch.testing.assert_close(found[t].double(), wanted, atol=1e-5, rtol=1e-5)


def test_size_of_the_authors_model() -> None:
    """Width 64, two blocks, complex state of 128: item rows and biases, norms, and for each block complex maps in and out, three logs a state, feed-forward, two norms."""
    model = build(of_preset("lrurec", "lrurec"))
    maps = 2 * (64 * 128 + 128) + (2 * 64 * 128 + 64)
    feed_forward = 64 * 256 + 256 + 256 * 64 + 64
    block = maps + 3 * 128 + feed_forward + 2 * 2 * 64
    assert model.parameter_count() == 30 * 64 + 30 + 2 * 64 + 2 * block


def test_initial_values_of_the_authors_model() -> None:
    torch.manual_seed(0)
    model = build(of_preset("lrurec", "lrurec", items=500))
    assert isinstance(model, LRURec)
    for name, values in model.named_parameters():
        if "norm" in name or "log_" in name or name in ("bias", "start") or "around" in name:
            continue
        assert float(values.detach().abs().max()) <= 0.04 + 1e-6, name
        # A normal truncated at two deviations has .88 of its deviation.
        assert values.numel() < 1000 or float(values.detach().std()) == pytest.approx(0.88 * 0.02, rel=0.05), name


def test_presets_differ_where_their_sources_do() -> None:
    post, pre = build(of_preset("lrurec", "lrurec")), build(of_preset("fmlrec", "lrurec"), torch.randn(30, 6))
    assert isinstance(post, LRURec) and isinstance(pre, LRURec)
    assert (len(post.blocks), len(pre.blocks)) == (2, 1)
    assert post.blocks[0].feed_forward.gate is None and pre.blocks[0].feed_forward.gate is not None  # type: ignore[union-attr]
    assert post.item_bias() is not None and pre.item_bias() is None
    assert pre.item_embedding is None


def test_a_silent_recurrence_leaves_its_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """Residuals: with outward maps of zero a pre-norm block is the identity."""
    model = build(of_preset("fmlrec", "lrurec"), torch.randn(30, 6)).eval()
    block = model.blocks[0]  # type: ignore[index]
    with torch.no_grad():
        for layer in (block.recurrence.outward, block.feed_forward.outer):
            layer.weight.zero_()
            layer.bias.zero_()
    x = torch.randn(5, 64)
    assert torch.equal(block(x, (2, 2, 1)), x)


def test_packed_batches_give_the_loss_and_gradients_of_the_obvious_implementation() -> None:
    """The benchmark's other side: complex layers, left padding to a power of two, doubling, all logits as one tensor."""
    torch.manual_seed(8)
    config = dataclasses.replace(of_preset("lrurec", "lrurec"), width=8, initial_std=0.3, dropout=0.0)
    model = build(config)
    assert isinstance(model, LRURec) and model.item_embedding is not None
    lengths = torch.tensor([5, 2, 13, 1, 9])
    items = torch.randint(30, (5, 13)).masked_fill(torch.arange(13)[None] >= lengths[:, None], PAD)
    batch = Batch(items, lengths, torch.ones_like(lengths))
    shared = [model.item_embedding.weight, model.bias, model.norm.weight]
    other = obvious(model)
    found, targets = ours(model, is_bfloat16=False)(batch)
    wanted, count = other(batch)
    assert targets == count == int((lengths - 1).sum())
    torch.testing.assert_close(found, wanted)
    for mine, theirs in zip(torch.autograd.grad(found, shared), torch.autograd.grad(wanted, shared), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


# FMLP-Rec


def test_the_causal_filter_is_a_convolution_with_the_past() -> None:
    torch.manual_seed(2)
    x, kernel = torch.randn(2, 7, 3), torch.randn(9, 3)
    found = causal_filter(x, kernel)
    for t in range(7):
        wanted = sum(kernel[k] * x[:, t - k] for k in range(t + 1))
        torch.testing.assert_close(found[:, t], wanted, atol=1e-5, rtol=1e-5)
    assert causal_filter(x[:, :0], kernel).shape == (2, 0, 3)


# Attention


def test_attention_by_hand() -> None:
    """softmax(Q K^T / sqrt(d)) V over positions up to t, for one head in double precision."""
    torch.manual_seed(3)
    config = RetrieverConfig(arch="sasrec", items=3, width=4, heads=1)
    block = AttentionBlock(config, norm="pre", is_causal=True).double().eval()
    lengths = torch.tensor([2, 4])
    packing, x = Packing.of(lengths), torch.randn(2, 4, 4, dtype=torch.float64)
    found = packing.pad(block.attend(packing.pack(x), packing))
    query, key, value = block.project(x).chunk(3, -1)
    for row, length in enumerate(lengths.tolist()):
        for t in range(length):
            weights = torch.softmax(key[row, : t + 1] @ query[row, t] / math.sqrt(4), 0)
            torch.testing.assert_close(found[row, t], block.combine(weights @ value[row, : t + 1]))


# BERT4Rec


def cloze(lengths: list[int], first: list[int], share: float, seed: int = 0) -> tuple[BERT4Rec, tuple, torch.Tensor]:  # type: ignore[type-arg]
    torch.manual_seed(4)
    model = build(RetrieverConfig(arch="bert4rec", items=1000, width=8, max_history=60, mask_share=share)).eval()
    assert isinstance(model, BERT4Rec)
    items = torch.full((len(lengths), max(lengths)), PAD)
    for row, length in enumerate(lengths):
        items[row, :length] = torch.arange(100 * row, 100 * row + length)
    drawn = torch.Generator().manual_seed(seed)
    return model, model(items, torch.tensor(lengths), torch.tensor(first), drawn), items


def test_masks_are_drawn_among_the_targets_at_the_share() -> None:
    _, (states, targets, rows), _ = cloze([60] * 10, [1] * 9 + [59], 0.3)
    assert len(states) == len(targets)
    assert torch.equal(targets // 100, rows)
    assert 0 not in (targets % 100).tolist()
    assert len(targets) == pytest.approx(0.3 * 9 * 59, rel=0.2)
    assert targets[rows == 9].tolist() == [959]


def test_a_sequence_without_a_mask_has_its_last_item_masked() -> None:
    _, (_, targets, rows), _ = cloze([5, 8], [1, 1], 1e-9)
    assert sorted(zip(rows.tolist(), targets.tolist(), strict=True)) == [(0, 4), (1, 107)]


def test_a_masked_item_has_no_part_in_its_own_answer() -> None:
    model, (states, targets, _), items = cloze([6], [5], 0.5)
    assert targets.tolist() == [5]
    changed = items.clone()
    changed[0, 5] = 777
    again, other, _ = model(changed, torch.tensor([6]), torch.tensor([5]), torch.Generator().manual_seed(0))
    assert other.tolist() == [777] and torch.equal(again, states)
    # And that answer is what is asked for later, at a mask after the five items before it.
    torch.testing.assert_close(model.query(items[:, :5], torch.tensor([5])), states, atol=1e-5, rtol=1e-5)


def test_masks_follow_the_generator() -> None:
    first, again, other = (cloze([60] * 3, [1] * 3, 0.2, seed)[1][1].tolist() for seed in (0, 0, 1))
    assert first == again != other


# Dropout


@pytest.mark.parametrize("p", [0.1, 0.2, 0.5])
def test_dropout_keeps_the_mean(p: float) -> None:
    torch.manual_seed(6)
    x = torch.ones(1000, 401, requires_grad=True)
    y = Dropout(p)(x)
    is_zero = y == 0
    assert float(is_zero.double().mean()) == pytest.approx(p, abs=0.005)
    torch.testing.assert_close(y[~is_zero], torch.full_like(y[~is_zero], 1 / (1 - p)))
    # Columns and rows are drawn apart from each other.
    assert float(is_zero.double().mean(0).std()) == pytest.approx(math.sqrt(p * (1 - p) / 1000), rel=0.2)
    y.sum().backward()
    assert x.grad is not None and torch.equal(x.grad, y.detach())
    assert torch.equal(Dropout(p).eval()(x), x) and torch.equal(Dropout(0.0)(x), x)

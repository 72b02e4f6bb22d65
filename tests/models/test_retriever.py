"""What holds for every retriever: configuration, items, states, steps, targets, no leak of later items."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.retriever import ARCHITECTURES, PAD, ConfigError, MissingVector, Retriever, RetrieverConfig, build

ITEMS, WIDTH, HISTORY = 40, 8, 12
ALL = pytest.mark.parametrize("arch", list(ARCHITECTURES))
CAUSAL = pytest.mark.parametrize("arch", [name for name, kind in ARCHITECTURES.items() if kind.is_causal])


def retriever(arch: str, vectors: Tensor | None = None, **keys: Any) -> Retriever:
    """A small one with fresh weights, not in training; weights large enough for differences to show."""
    torch.manual_seed(11)
    keys = {"items": ITEMS, "width": WIDTH, "max_history": HISTORY, "initial_std": 0.3, **keys}
    model = build(RetrieverConfig(arch=arch, **keys), vectors)
    if model.start is not None:
        torch.nn.init.normal_(model.start)
    return model.eval()


def batch(lengths: list[int], seed: int = 0, pad_to: int | None = None) -> tuple[Tensor, Tensor]:
    """Items [B, L], right-padded, and lengths [B]; the items of a row depend on its number alone."""
    items = torch.full((len(lengths), pad_to or max(lengths, default=0)), PAD)
    for row, length in enumerate(lengths):
        drawn = torch.Generator().manual_seed(1000 * seed + row)
        items[row, :length] = torch.randint(ITEMS, (HISTORY + 1,), generator=drawn)[:length]
    return items, torch.tensor(lengths, dtype=torch.int64)


def text_vectors(dims: int = 5) -> Tensor:
    """Frozen vectors of all items."""
    return torch.randn(ITEMS, dims, generator=torch.Generator().manual_seed(3))


FEATURES = [
    ("id", {}, None),
    ("text", {"features": "text", "text_dims": 5}, text_vectors()),
    ("text+id", {"features": "text+id", "text_dims": 5}, text_vectors()),
]


# States


@ALL
@pytest.mark.parametrize(("features", "keys", "vectors"), FEATURES, ids=[each[0] for each in FEATURES])
def test_shapes_whatever_the_features(arch: str, features: str, keys: dict[str, Any], vectors: Tensor | None) -> None:
    model = retriever(arch, vectors, **keys)
    items, lengths = batch([3, 0, 12])
    states = model.states(items, lengths)
    assert states.shape == (3, 13, WIDTH) and states.isfinite().all()
    assert model.query(items, lengths).shape == (3, WIDTH)
    assert model.score(states).shape == (3, 13, ITEMS)
    assert model.item_matrix().shape == (ITEMS, WIDTH)
    assert model.item_bias() is not None and model.item_bias().shape == (ITEMS,)  # type: ignore[union-attr]


@ALL
def test_query_is_the_state_after_the_whole_history(arch: str) -> None:
    model = retriever(arch)
    items, lengths = batch([3, 0, 12, 1, 7])
    states = model.states(items, lengths)
    torch.testing.assert_close(model.query(items, lengths), states[torch.arange(5), lengths], atol=1e-5, rtol=1e-5)


@ALL
def test_a_state_is_the_query_of_its_prefix(arch: str) -> None:
    """Nothing after position t has a part in state t: not later items, nor how many there are."""
    model = retriever(arch)
    items, lengths = batch([12, 5])
    states = model.states(items, lengths)
    for row, length in enumerate(lengths.tolist()):
        for t in range(length + 1):
            alone = model.query(items[row : row + 1, :t], torch.tensor([t]))
            torch.testing.assert_close(states[row, t], alone[0], atol=1e-5, rtol=1e-5)


@CAUSAL
def test_changing_later_items_never_changes_earlier_states(arch: str) -> None:
    model = retriever(arch)
    items, lengths = batch([12, 9, 4])
    before = model.states(items, lengths)
    for t in range(12):
        changed = items.clone()
        changed[:, t:] = torch.where(changed[:, t:] == PAD, PAD, (changed[:, t:] + 7) % ITEMS)
        after = model.states(changed, lengths)
        torch.testing.assert_close(after[:, : t + 1], before[:, : t + 1], atol=1e-6, rtol=1e-6)
        is_longer = lengths > t
        assert (after[is_longer, t + 1] - before[is_longer, t + 1]).abs().amax(1).min() > 1e-3


@CAUSAL
def test_gradients_reach_no_later_item(arch: str) -> None:
    model = retriever(arch)
    rows: list[Tensor] = []
    model.item_rows = lambda items: rows.append(torch.randn(len(items), WIDTH, requires_grad=True)) or rows[-1]  # type: ignore[assignment, func-returns-value]
    items, lengths = batch([8])
    states = model.states(items, lengths)
    (gradient,) = torch.autograd.grad(states[0, 5, 0], rows[0])
    # A filter computed through the FFT rounds over all positions.
    assert gradient[:5].abs().amax(1).min() > 1e4 * gradient[5:].abs().max()
    assert gradient[5:].abs().max() < 1e-7


@ALL
@given(
    lengths=st.lists(st.integers(0, HISTORY), min_size=1, max_size=6),
    row=st.integers(0, 5),
    more=st.integers(0, 4),
)
@settings(max_examples=20)
def test_neighbours_and_padding_have_no_part_in_a_state(arch: str, lengths: list[int], row: int, more: int) -> None:
    model = retriever(arch)
    row %= len(lengths)
    length = lengths[row]
    items, counts = batch(lengths, pad_to=max(lengths) + more)
    together = model.states(items, counts)[row, : length + 1]
    alone = model.states(items[row : row + 1, :length], counts[row : row + 1])[0]
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


@ALL
def test_nothing_beyond_the_length_is_read(arch: str) -> None:
    model = retriever(arch)
    items, lengths = batch([3, 6])
    other = items.clone()
    other[0, 3:] = 17
    assert torch.equal(model.query(items, lengths), model.query(other, lengths))
    assert model.states(items, lengths)[0, 4:].abs().max() == 0


@ALL
def test_empty_histories(arch: str) -> None:
    model = retriever(arch)
    none = torch.empty(2, 0, dtype=torch.int64)
    assert model.start is not None
    torch.testing.assert_close(model.query(none, torch.zeros(2, dtype=torch.int64)), model.start.expand(2, -1))
    torch.testing.assert_close(model.states(none, torch.zeros(2, dtype=torch.int64)), model.start.expand(2, 1, -1))
    padded = torch.full((2, 4), PAD)
    torch.testing.assert_close(model.query(padded, torch.zeros(2, dtype=torch.int64)), model.start.expand(2, -1))
    without = retriever(arch, has_start=False)
    assert without.query(none, torch.zeros(2, dtype=torch.int64)).abs().max() == 0
    assert without.states(*batch([2, 0]))[:, 0].abs().max() == 0
    assert model.query(none[:0], torch.zeros(0, dtype=torch.int64)).shape == (0, WIDTH)


@ALL
def test_two_calls_give_the_same_bits(arch: str) -> None:
    items, lengths = batch([12, 3, 0, 7])
    assert torch.equal(retriever(arch).states(items, lengths), retriever(arch).states(items, lengths))


@ALL
def test_dropout_is_drawn_from_the_seed(arch: str) -> None:
    model = retriever(arch, dropout=0.5).train()
    items, lengths = batch([12, 3, 7])
    torch.manual_seed(1)
    first, second = model.query(items, lengths), model.query(items, lengths)
    torch.manual_seed(1)
    assert torch.equal(model.query(items, lengths), first)
    assert not torch.equal(first, second)


# Serving


@ALL
def test_steps_give_the_states(arch: str) -> None:
    model = retriever(arch)
    items, lengths = batch([12, 12, 12])
    states, state = model.states(items, lengths), model.start_state(3)
    for t in range(12):
        state, hidden = model.step(state, items[:, t])
        torch.testing.assert_close(hidden, states[:, t + 1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("arch", ["gru4rec", "lrurec"])
def test_the_state_of_a_recurrent_retriever_does_not_grow(arch: str) -> None:
    model = retriever(arch)
    state = model.start_state(2)
    sizes = [each.shape for each in state]
    for _ in range(3 * HISTORY):
        state, hidden = model.step(state, torch.tensor([1, 2]))
        assert [each.shape for each in state] == sizes and hidden.isfinite().all()


@pytest.mark.parametrize("arch", ["sasrec", "bert4rec", "fmlprec"])
def test_a_window_keeps_the_latest_items(arch: str) -> None:
    model = retriever(arch)
    items = torch.randint(ITEMS, (2, HISTORY + 3))
    state = model.start_state(2)
    for t in range(HISTORY + 3):
        state, hidden = model.step(state, items[:, t])
    wanted = model.query(items[:, 3:], torch.tensor([HISTORY, HISTORY]))
    torch.testing.assert_close(hidden, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("arch", ["sasrec", "bert4rec", "fmlprec"])
def test_a_history_that_is_too_long_is_refused(arch: str) -> None:
    with pytest.raises(ValueError, match=f"max_history {HISTORY}|max_history {HISTORY + 1}"):
        retriever(arch).query(*batch([HISTORY + 1]))


# What is predicted from what


@CAUSAL
def test_targets_are_predicted_from_the_states_before_them(arch: str) -> None:
    model = retriever(arch)
    items, lengths = batch([5, 1, 8, 0, 3])
    first = torch.tensor([1, 0, 6, 0, 0])
    states, targets, rows = model(items, lengths, first)
    wanted = [(row, at) for row in range(5) for at in range(int(first[row]), int(lengths[row]))]
    assert len(states) == len(targets) == len(rows) == len(wanted)
    every = model.states(items, lengths)
    found = sorted(zip(rows.tolist(), targets.tolist(), map(tuple, states.detach().round(decimals=3).tolist()), strict=True))  # fmt: skip
    meant = sorted((row, int(items[row, at]), tuple(every[row, at].detach().round(decimals=3).tolist())) for row, at in wanted)  # fmt: skip
    for (row, item, state), (their_row, their_item, their_state) in zip(found, meant, strict=True):
        assert (row, item) == (their_row, their_item)
        assert state == pytest.approx(their_state, abs=2e-3)


@ALL
def test_labels_after_empty_histories_only(arch: str) -> None:
    model = retriever(arch)
    items, lengths = batch([1, 1])
    states, targets, rows = model(items, lengths, torch.tensor([0, 0]))
    assert targets.tolist() == items[:, 0].tolist() and rows.tolist() == [0, 1]
    assert model.start is not None
    torch.testing.assert_close(states, model.start.expand(2, -1))


@ALL
def test_nothing_to_predict(arch: str) -> None:
    states, targets, rows = retriever(arch)(*batch([0, 0], pad_to=2), torch.tensor([0, 0]))
    assert states.shape == (0, WIDTH) and len(targets) == len(rows) == 0


@ALL
def test_training_sequences_hold_one_item_more_than_histories(arch: str) -> None:
    states, _, _ = retriever(arch)(*batch([HISTORY + 1]), torch.tensor([1]))
    assert states.isfinite().all()


@ALL
def test_every_parameter_learns(arch: str) -> None:
    model = retriever(arch, text_vectors(), features="text+id", text_dims=5).train()
    items, lengths = batch([13, 5, 1, 9])
    states, targets, _ = model(items, lengths, torch.tensor([0, 1, 0, 0]), torch.Generator().manual_seed(1))
    torch.nn.functional.cross_entropy(model.score(states), targets).backward()
    silent = [name for name, values in model.named_parameters() if values.grad is None or values.grad.abs().max() == 0]
    assert silent == []


@ALL
def test_it_learns_a_rule(arch: str) -> None:
    """Each item is followed by the next number: after a few steps the next one is ranked first."""
    torch.manual_seed(5)
    model = build(RetrieverConfig(arch=arch, items=10, width=16, blocks=1, dropout=0.0, max_history=6))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-2)
    masks = torch.Generator().manual_seed(2)
    for _ in range(150):
        items = (torch.randint(10, (32, 1)) + torch.arange(6)) % 10
        states, targets, _ = model(items, torch.full((32,), 6), torch.full((32,), 5), masks)
        loss = torch.nn.functional.cross_entropy(model.score(states), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    items = (torch.arange(10)[:, None] + torch.arange(5)) % 10
    best = model.eval().score(model.query(items, torch.full((10,), 5))).argmax(1)
    assert (best == (torch.arange(10) + 5) % 10).float().mean() >= 0.9


@ALL
def test_bfloat16(arch: str) -> None:
    model = retriever(arch, dropout=0.0, initial_std=0.02)
    items, lengths = batch([12, 5, 0, 1])
    wanted = model.query(items, lengths)
    with torch.autocast("cpu", torch.bfloat16):
        found = model.query(items, lengths)
        states, targets, _ = model(items, lengths, torch.tensor([0, 1, 0, 0]), torch.Generator().manual_seed(1))
        loss = torch.nn.functional.cross_entropy(model.score(states).float(), targets)
    loss.backward()
    assert (found.float() - wanted).abs().max() <= 0.05 * wanted.abs().max()
    assert all(values.grad is None or values.grad.isfinite().all() for values in model.parameters())


# Items


def test_scores_are_dot_products_and_biases() -> None:
    model = retriever("lrurec")
    assert model.bias is not None
    torch.nn.init.normal_(model.bias)
    states = torch.randn(2, 3, WIDTH)
    scores = model.score(states).detach()
    for at in ((0, 0, 5), (1, 2, 39)):
        by_hand = sum(
            float(a) * float(b) for a, b in zip(states[at[:2]], model.item_matrix()[at[2]].detach(), strict=True)
        )
        assert float(scores[at]) == pytest.approx(by_hand + float(model.bias.detach()[at[2]]), abs=1e-5)


@pytest.mark.parametrize("scoring", ["tied", "projected"])
@pytest.mark.parametrize(("features", "keys", "vectors"), FEATURES[1:], ids=["text", "text+id"])
def test_rows_of_some_items_are_those_of_all(scoring: str, features: str, keys: dict[str, Any], vectors: Tensor) -> None:  # fmt: skip
    model = retriever("lrurec", vectors, scoring=scoring, **keys)
    if model.item_embedding is not None:
        torch.nn.init.normal_(model.item_embedding.weight)
    few, many = torch.tensor([3, 3, 39]), torch.randint(ITEMS, (2, 60))
    for items in (few, many):
        torch.testing.assert_close(model.scoring_rows(items), model.item_matrix()[items])
    is_same = torch.allclose(model.item_rows(few), model.item_matrix()[few])
    assert is_same == (scoring == "tied" or features == "text")


def test_an_item_that_training_never_met_is_scored_by_its_text() -> None:
    model = retriever("lrurec", text_vectors(), features="text+id", text_dims=5)
    assert model.text_projection is not None and model.item_embedding is not None
    torch.testing.assert_close(model.item_matrix(), model.text_projection(text_vectors()))
    assert model.item_embedding.weight.requires_grad


def test_text_vectors_are_frozen_and_not_among_the_weights() -> None:
    model = retriever("lrurec", text_vectors(), features="text", text_dims=5)
    assert "vectors" not in model.state_dict()
    assert not model.vectors.requires_grad  # type: ignore[union-attr]


@pytest.mark.parametrize("bad", [0.0, float("nan"), float("inf")])
def test_an_item_without_a_vector_is_named(bad: float) -> None:
    vectors = text_vectors()
    vectors[[7, 31]] = bad
    with pytest.raises(MissingVector, match=r"2 items have no vector .*: item 7, 31") as caught:
        retriever("lrurec", vectors, features="text", text_dims=5)
    assert caught.value.items == [7, 31]


def test_too_few_vectors_or_none() -> None:
    with pytest.raises(MissingVector, match="item 38, 39"):
        retriever("lrurec", text_vectors()[:38], features="text", text_dims=5)
    with pytest.raises(MissingVector, match="none were given"):
        retriever("lrurec", None, features="text+id", text_dims=5)
    with pytest.raises(ConfigError, match="41 text vectors for 40 items"):
        retriever("lrurec", torch.ones(41, 5), features="text", text_dims=5)
    with pytest.raises(ConfigError, match=r"\[40, 5\]"):
        retriever("lrurec", torch.ones(40, 4), features="text", text_dims=5)
    with pytest.raises(ConfigError, match="take no text vectors"):
        retriever("lrurec", text_vectors())


@ALL
@pytest.mark.parametrize("item", [ITEMS, -5])
def test_an_item_that_does_not_exist_is_refused(arch: str, item: int) -> None:
    model = retriever(arch)
    with pytest.raises(IndexError):
        model.query(torch.tensor([[1, item]]), torch.tensor([2]))


# Configuration


@ALL
def test_configuration_and_weights_make_the_same_retriever_again(arch: str) -> None:
    model = retriever(arch)
    other = build(RetrieverConfig.of(model.config.as_dict())).eval()
    assert other.config == model.config
    other.load_state_dict(model.state_dict())
    items, lengths = batch([12, 4])
    assert torch.equal(other.query(items, lengths), model.query(items, lengths))


@ALL
def test_parameter_count(arch: str) -> None:
    model = retriever(arch)
    assert model.parameter_count() == sum(values.numel() for values in model.state_dict().values())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"width": 0}, "width"),
        ({"blocks": 1.5}, "blocks"),
        ({"dropout": 1.0}, "dropout"),
        ({"features": "pixels"}, "features"),
        ({"features": "text"}, "text_dims"),
        ({"text_dims": 5}, "text_dims"),
        ({"scoring": "projected"}, "scoring"),
        ({"ring_min": 0.95, "ring_max": 0.9}, "ring_min"),
        ({"has_start": 1}, "has_start"),
        ({"norm": "none"}, "norm"),
        ({"mask_share": 0.0}, "mask_share"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        dataclasses.replace(RetrieverConfig(arch="lrurec", items=5), **change)


def test_unknown_and_missing_keys_are_named() -> None:
    with pytest.raises(ConfigError, match="unknown key 'widht'"):
        RetrieverConfig.of({"arch": "lrurec", "items": 5, "widht": 3})
    with pytest.raises(ConfigError, match=r"'items' .* missing"):
        RetrieverConfig.of({"arch": "lrurec"})
    with pytest.raises(ConfigError, match="arch must be one of"):
        build(RetrieverConfig(arch="oracle", items=5))

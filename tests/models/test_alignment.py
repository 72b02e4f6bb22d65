"""Losses against their formulas, by hand in float64, and by gradient check."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.alignment import (
    advantages,
    choose_pairs,
    dpo,
    grpo,
    kl_of_items,
    kl_of_sets,
    label_nll,
    preference_margin,
    simpo,
    total,
)
from models.sampling import gumbel_top_k, plackett_luce


def f64(*values: object, requires_grad: bool = False) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=requires_grad)


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def test_dpo_by_hand() -> None:
    """-log sigma(x) = log(1 + e^-x), x = .2 ((-3 + 4) - (-5 + 4.5)) = .3 with reference, .2 (-3 + 5) = .4 without."""
    winner, loser = f64(-3.0), f64(-5.0)
    assert dpo(winner, loser, 0.2, f64(-4.0), f64(-4.5)).item() == pytest.approx(softplus(-0.3), abs=1e-15)
    assert dpo(winner, loser, 0.2).item() == pytest.approx(softplus(-0.4), abs=1e-15)
    assert preference_margin(winner, loser, f64(-4.0), f64(-4.5)).item() == pytest.approx(1.5)


def test_a_reference_equal_to_the_policy_leaves_a_loss_of_log_two() -> None:
    winner, loser = f64(-3.0, -7.0), f64(-5.0, -1.0)
    assert dpo(winner, loser, 0.1, winner, loser).tolist() == pytest.approx([math.log(2)] * 2)


def test_simpo_by_hand() -> None:
    """x = .5 (-3 + 5) - .3 = .7; with length 4: .5 / 4 * 2 - .3 = -.05."""
    winner, loser = f64(-3.0), f64(-5.0)
    assert simpo(winner, loser, 0.5, 0.3).item() == pytest.approx(softplus(-0.7), abs=1e-15)
    assert simpo(winner, loser, 0.5, 0.3, length=4).item() == pytest.approx(softplus(0.05), abs=1e-15)


@given(st.floats(-60, 0), st.floats(-60, 0), st.floats(0.01, 5))
def test_dpo_without_reference_is_simpo_without_margin(winner: float, loser: float, beta: float) -> None:
    logits = torch.randn(1, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    nll = label_nll(logits, torch.tensor([[2]]))
    a, b = f64(winner, requires_grad=True), f64(winner, requires_grad=True)
    one = total(nll, dpo(a, f64(loser), beta))
    other = total(nll, simpo(b, f64(loser), beta, 0.0))
    one.backward()
    other.backward()
    assert one.item() == other.item()
    assert a.grad is not None and b.grad is not None and torch.equal(a.grad, b.grad)


def test_advantages_by_hand() -> None:
    """Rewards 0, 0, .5, 1: mean .375, deviation sqrt((2 * .140625 + .015625 + .390625) / 4) = .4146."""
    found = advantages(f64([0, 0, 0.5, 1], [0.7, 0.7, 0.7, 0.7], [0, 0, 0, 0]))
    deviation = math.sqrt((2 * 0.375**2 + 0.125**2 + 0.625**2) / 4)
    assert found.values[0].tolist() == pytest.approx([x / deviation for x in (-0.375, -0.375, 0.125, 0.625)])
    assert found.values[1:].tolist() == [[0, 0, 0, 0]] * 2
    assert found.has_no_spread.tolist() == [False, True, True]


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8))
def test_advantages_have_mean_zero_and_deviation_one_or_are_zero(rewards: list[float]) -> None:
    found = advantages(f64(rewards))
    assert found.values.isfinite().all()
    if len(set(rewards)) == 1:
        assert found.has_no_spread.item() and not found.values.any()
    elif max(rewards) - min(rewards) > 1e-100:
        assert found.values.mean().item() == pytest.approx(0, abs=1e-6)
        assert found.values.square().mean().item() == pytest.approx(1)


def test_grpo_by_hand() -> None:
    """-(1 * -2 + -1 * -6 + 0 * -4) / 3 = -4 / 3."""
    assert grpo(f64([-2, -6, -4]), f64([1, -1, 0])).tolist() == pytest.approx([-4 / 3])


def test_clipped_grpo_by_hand() -> None:
    """Ratios 2, 2, .5, .5 at epsilon .2: min(2, 1.2), min(-2, -1.2), min(.5, .8), min(-.5, -.8)."""
    behaviour = f64([-3, -3, -3, -3])
    log_probs = behaviour + f64([math.log(2), math.log(2), -math.log(2), -math.log(2)])
    found = grpo(log_probs, f64([1, -1, 1, -1]), behaviour, 0.2)
    assert found.tolist() == pytest.approx([-(1.2 - 2 + 0.5 - 0.8) / 4])


def test_clipping_changes_nothing_where_the_sets_were_drawn_from_the_policy() -> None:
    weights = f64([1.5, -0.5, -1])
    gradients = []
    for clip in (None, 0.2):
        log_probs = f64([-3, -4, -9], requires_grad=True)
        grpo(log_probs, weights, None if clip is None else log_probs.detach(), clip).sum().backward()
        assert log_probs.grad is not None
        gradients.append(log_probs.grad)
    assert torch.allclose(*gradients)


def test_kl_of_items_by_hand() -> None:
    """p = (.5, .5), q = (.25, .75): .5 log 2 + .5 log(2/3)."""
    found = kl_of_items(f64([0.0, 0.0]), f64([math.log(1), math.log(3)]))
    assert found.item() == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))
    same = torch.randn(3, 9, dtype=torch.float64)
    assert kl_of_items(same, same + 5).tolist() == pytest.approx([0, 0, 0], abs=1e-12)
    barred = f64([0.0, -math.inf], requires_grad=True)
    kl_of_items(barred, f64([0.0, -math.inf])).sum().backward()
    assert barred.grad is not None


def test_kl_of_sets_by_hand_and_in_expectation() -> None:
    """Reference / policy = e^.5: e^.5 - 1 - .5. Averaged over the policy's own draws: the exact divergence of sets."""
    assert kl_of_sets(f64([-3.0]), f64([-2.5])).item() == pytest.approx(math.exp(0.5) - 1.5)
    policy, reference = f64([0.2, -0.4, 0.9]), f64([0.0, 0.3, 0.1])
    draws = torch.tensor([[[a, b] for a in range(3) for b in range(3) if a != b]])
    own, other = (plackett_luce(each, draws)[0] for each in (policy, reference))
    exact = (own.exp() * (own - other)).sum()
    assert (own.exp() * kl_of_sets(own, other)).sum().item() == pytest.approx(exact.item())
    assert (kl_of_sets(own, other) >= 0).all()


def test_label_nll_by_hand() -> None:
    """Two labels: the mean of their negative log-likelihoods, not the likelihood of both."""
    logits = f64([1.0, 2.0, 5.0], [1.0, 1.0, 2.0]).log()
    found = label_nll(logits, torch.tensor([[0, 2], [1, -1]]))
    assert found.tolist() == pytest.approx([-(math.log(1 / 8) + math.log(5 / 8)) / 2, -math.log(1 / 4)])
    with pytest.raises(ValueError, match="no labels"):
        label_nll(logits, torch.tensor([[0, 2], [-1, -1]]))


def test_total_is_the_mean_of_the_sum() -> None:
    assert total(f64(1.0, 3.0), f64(0.5, -0.5)).item() == 2.0
    assert total(None, f64(0.5, -0.5)).item() == 0.0


def test_every_loss_has_the_gradient_of_its_formula() -> None:
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(2, 7, generator=generator, dtype=torch.float64, requires_grad=True)
    reference = torch.randn(2, 7, generator=generator, dtype=torch.float64)
    draws = gumbel_top_k(reference.float(), 4, 3, generator)
    labels = torch.tensor([[0, 3], [6, -1]])
    known = plackett_luce(reference, draws)
    weights = advantages(f64([0, 0, 0.5, 1], [0.2, 0, 0, 0.3])).values

    def of(kind: str, each: torch.Tensor) -> torch.Tensor:
        found = plackett_luce(each, draws)
        return {
            "dpo": lambda: dpo(found[:, 0], found[:, 1], 0.2),
            "dpo with reference": lambda: dpo(found[:, 0], found[:, 1], 0.2, known[:, 0], known[:, 1]),
            "simpo": lambda: simpo(found[:, 0], found[:, 1], 2.0, 0.5),
            "simpo by length": lambda: simpo(found[:, 0], found[:, 1], 2.0, 0.5, 3),
            "grpo": lambda: grpo(found, weights),
            "clipped grpo": lambda: grpo(found, weights, known, 0.2),
            "kl of items": lambda: kl_of_items(each, reference),
            "kl of sets": lambda: kl_of_sets(found, known),
            "labels": lambda: label_nll(each, labels),
            "total": lambda: total(label_nll(each, labels), grpo(found, weights)),
        }[kind]()

    for kind in ("dpo", "dpo with reference", "simpo", "simpo by length", "grpo", "clipped grpo", "kl of items", "kl of sets", "labels", "total"):  # fmt: skip
        assert torch.autograd.gradcheck(lambda each, kind=kind: of(kind, each), logits), kind


def test_pairs_are_chosen_by_label_then_reward() -> None:
    rewards = f64([0.5, 0.2], [0.0, 0.0], [0.0, 0.0], [0.3, 0.3], [0.0, 1.0])
    has_label = torch.tensor([[True, True], [False, True], [False, False], [True, True], [False, True]])
    pairs = choose_pairs(rewards, has_label)
    assert pairs.is_pair.tolist() == [True, True, False, False, True]
    assert [(w, m) for w, m, is_pair in zip(*(each.tolist() for each in pairs[:3]), strict=True) if is_pair] == [
        (0, 1),
        (1, 0),
        (1, 0),
    ]
    assert pairs.is_tie.tolist() == [False, False, False, True, False]
    assert pairs.holds_no_label.tolist() == [False, False, True, False, False]


@given(st.integers(2, 8), st.data())
def test_of_many_sets_the_best_and_the_worst_are_a_pair(sets: int, data: st.DataObject) -> None:
    has_label = data.draw(st.lists(st.booleans(), min_size=sets, max_size=sets))
    rewards = [data.draw(st.sampled_from([0.0, 0.3, 1.0])) if each else 0.0 for each in has_label]
    pairs = choose_pairs(f64(rewards), torch.tensor([has_label]))
    keys = list(zip(has_label, rewards, strict=True))
    assert pairs.is_pair.item() == (max(keys) > min(keys) and any(has_label))
    if pairs.is_pair.item():
        assert pairs.winner.item() == keys.index(max(keys))
        assert pairs.loser.item() == keys.index(min(keys))
    assert pairs.is_pair.int() + pairs.is_tie.int() + pairs.holds_no_label.int() == 1


def test_half_a_reference_and_single_sets_are_refused() -> None:
    one = f64(-1.0)
    with pytest.raises(ValueError, match="both sets"):
        dpo(one, one, 0.1, one)
    with pytest.raises(ValueError, match="clip"):
        grpo(one[None], one[None], one[None])
    with pytest.raises(ValueError, match="at least two"):
        choose_pairs(f64([1.0]), torch.tensor([[True]]))

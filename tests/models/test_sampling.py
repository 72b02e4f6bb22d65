"""Drawing sets and taking the best: against enumeration, against the plain methods, and where numbers get extreme."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from models import sampling
from models.sampling import given_maximum, gumbel_top_k, plackett_luce, sample_sets, top_k


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def brute_force(logits: list[float], draw: tuple[int, ...]) -> float:
    """Log-likelihood of one draw, item by item, as equation 3 is written."""
    left, total = set(range(len(logits))), 0.0
    for item in draw:
        total += logits[item] - math.log(math.fsum(math.exp(logits[j]) for j in sorted(left)))
        left.remove(item)
    return total


# Gumbel-top-k


@pytest.mark.parametrize("block", [1, 2, 4, 16])
@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_draws_have_the_probabilities_of_sequential_sampling(block: int, scale: float) -> None:
    logits = torch.tensor([[0.3, -1.1, 0.8, 0.0, -0.4]], dtype=torch.float64) * scale
    drawn = gumbel_top_k(logits.float(), 40_000, 3, seeded(7), block=block)[0]
    seen = Counter(tuple(draw) for draw in drawn.tolist())
    every = list(itertools.permutations(range(5), 3))
    expected = [40_000 * math.exp(brute_force(logits[0].tolist(), draw)) for draw in every]
    assert sum(expected) == pytest.approx(40_000)
    assert set(seen) <= set(every)
    # Outcomes too rare for the test's approximation are looked at together.
    rare = [e < 8 for e in expected]
    counts = [seen[d] for d, r in zip(every, rare, strict=True) if not r] + [
        sum(seen[d] for d, r in zip(every, rare, strict=True) if r)
    ]
    means = [e for e, r in zip(expected, rare, strict=True) if not r] + [
        sum(e for e, r in zip(expected, rare, strict=True) if r)
    ]
    if not means[-1]:
        counts, means = counts[:-1], means[:-1]
    assert stats.chisquare(counts, means).pvalue > 1e-3


def test_the_same_test_tells_a_wrong_distribution_from_a_right_one() -> None:
    logits = torch.tensor([[0.3, -1.1, 0.8, 0.0, -0.4]])
    drawn = gumbel_top_k(logits * 1.15, 40_000, 3, seeded(7), block=2)[0]
    seen = Counter(tuple(draw) for draw in drawn.tolist())
    every = list(itertools.permutations(range(5), 3))
    expected = [40_000 * math.exp(brute_force(logits[0].tolist(), draw)) for draw in every]
    assert stats.chisquare([seen[draw] for draw in every], expected).pvalue < 1e-6


@pytest.mark.parametrize(("n", "k", "block"), [(1000, 25, 16), (130, 5, 128), (129, 1, 64), (40, 40, 7), (9, 3, 1)])
def test_blocks_give_what_all_noise_at_once_gives(monkeypatch: pytest.MonkeyPatch, n: int, k: int, block: int) -> None:
    """Handed the noise of the plain method, the method by blocks draws the plain method's sets."""
    rows, sets = 3, 4
    logits = torch.randn(rows, n, generator=seeded(1)) * 3
    noise = -torch.empty(rows, sets, n, dtype=torch.float64).exponential_(generator=seeded(2)).log()
    perturbed = logits[:, None].double() + noise
    plain = perturbed.topk(k).indices
    filled = torch.nn.functional.pad(perturbed, (0, -n % block), value=-torch.inf).unflatten(2, (-1, block))
    largest = filled.amax(-1)
    chosen = largest.topk(min(k, largest.shape[2])).indices
    masses = torch.nn.functional.pad(logits, (0, -n % block), value=-torch.inf).unflatten(1, (-1, block)).logsumexp(-1)
    every = torch.nn.functional.pad(noise, (0, -n % block)).unflatten(2, (-1, block))
    handed = iter([largest - masses[:, None].double(), every.gather(2, chosen[..., None].expand(-1, -1, -1, block))])
    monkeypatch.setattr(sampling, "_gumbel", lambda *_: next(handed))
    assert torch.equal(gumbel_top_k(logits, sets, k, seeded(), block=block), plain)


def test_given_their_maximum_gumbels_keep_order_and_law() -> None:
    values = -torch.empty(20_000, 4, dtype=torch.float64).exponential_(generator=seeded(3)).log()
    assert torch.allclose(given_maximum(values, values.amax(-1)), values)
    moved = given_maximum(values, torch.full((20_000,), 0.5, dtype=torch.float64))
    assert torch.equal(moved.argsort(-1), values.argsort(-1))
    assert torch.equal(moved.amax(-1), torch.full((20_000,), 0.5, dtype=torch.float64))
    # All but the largest are Gumbel variables cut off at .5: P(g < x) = exp(-e^-x + e^-.5).
    others = moved.sort(-1).values[:, :3].flatten()
    law = torch.exp(-torch.exp(-others) + math.exp(-0.5))
    assert stats.kstest(law.numpy(), "uniform").pvalue > 1e-3
    assert given_maximum(torch.tensor([[-torch.inf, 0.0]]), torch.tensor([2.0])).tolist() == [[-torch.inf, 2.0]]


@given(st.integers(1, 60), st.data(), st.integers(1, 9), st.floats(0.1, 60))
def test_sets_hold_items_once_and_only_those_that_can_be_drawn(
    n: int, data: st.DataObject, block: int, scale: float
) -> None:
    k = data.draw(st.integers(1, n))
    barred = data.draw(st.integers(0, n - k))
    logits = torch.randn(2, n, generator=seeded(n)) * scale
    logits[:, :barred] = -torch.inf
    drawn = gumbel_top_k(logits, 3, k, seeded(5), block=block)
    assert drawn.shape == (2, 3, k)
    assert drawn.min() >= barred and drawn.max() < n
    assert all(len(set(draw)) == k for draw in drawn.flatten(0, 1).tolist())


def test_draws_follow_the_generator() -> None:
    logits = torch.randn(4, 500, generator=seeded(1))
    first, again, other = (gumbel_top_k(logits, 2, 10, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_after_an_item_that_holds_all_mass_the_rest_is_drawn_by_its_own_odds() -> None:
    """The second draw of {1e6, 0, log 3}: its odds are 1 to 3, though all of its mass is lost beside the first item."""
    logits = torch.tensor([[1e6, 0.0, math.log(3)]])
    drawn = gumbel_top_k(logits, 20_000, 2, seeded(4), block=2)[0]
    assert (drawn[:, 0] == 0).all()
    assert stats.binomtest(int((drawn[:, 1] == 2).sum()), 20_000, 0.75).pvalue > 1e-3


@pytest.mark.parametrize(
    ("logits", "k", "message"),
    [
        ([0.0, 1.0], 3, "k is 3; there are 2 items"),
        ([0.0, 1.0], 0, "k is 0"),
        ([0.0, math.nan], 1, "NaN"),
        ([0.0, math.inf], 1, "inf"),
        ([0.0, -math.inf], 2, "fewer than 2 items"),
        ([-math.inf, -math.inf], 1, "fewer than 1 items"),
    ],
)
def test_what_cannot_be_drawn_from_is_refused(logits: list[float], k: int, message: str) -> None:
    for block in (1, 2):
        with pytest.raises(ValueError, match=message):
            gumbel_top_k(torch.tensor([logits]), 2, k, seeded(), block=block)
    with pytest.raises(ValueError, match="at least one"):
        gumbel_top_k(torch.zeros(1, 2), 0, 1, seeded())


# Plackett-Luce


@given(st.integers(2, 9), st.data(), st.floats(0.1, 8))
def test_likelihood_is_that_of_drawing_item_by_item(n: int, data: st.DataObject, scale: float) -> None:
    k = data.draw(st.integers(1, n))
    logits = torch.randn(2, n, generator=seeded(n), dtype=torch.float64) * scale
    draws = gumbel_top_k(logits, 3, k, seeded(6), block=4)
    expected = [
        [brute_force(row, tuple(draw)) for draw in of_row]
        for row, of_row in zip(logits.tolist(), draws.tolist(), strict=True)
    ]
    assert torch.allclose(plackett_luce(logits, draws), torch.tensor(expected, dtype=torch.float64), atol=1e-9)


def test_likelihood_of_two_items_by_hand() -> None:
    """s = log (1, 2, 3, 4): P(4 then 2) = 4/10 * 2/6; P(2 then 4) = 2/10 * 4/8: the order of the draw matters."""
    logits = torch.tensor([[1.0, 2.0, 3.0, 4.0]], dtype=torch.float64).log()
    likelihood = plackett_luce(logits, torch.tensor([[[3, 1], [1, 3]]])).exp()
    assert likelihood[0].tolist() == pytest.approx([4 / 10 * 2 / 6, 2 / 10 * 4 / 8])


def test_likelihoods_of_all_draws_sum_to_one() -> None:
    logits = torch.randn(1, 6, generator=seeded(8), dtype=torch.float64)
    every = torch.tensor([list(itertools.permutations(range(6), 3))])
    assert plackett_luce(logits, every).exp().sum().item() == pytest.approx(1)


def test_likelihood_is_exact_where_the_drawn_items_hold_all_mass() -> None:
    """Left of e^0, e^100, e^0, e^1 after the second item: 1 + e. Taking e^100 away from the whole would leave nothing."""
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        logits = torch.tensor([[0.0, 100.0, 0.0, 1.0]], dtype=dtype)
        found = plackett_luce(logits, torch.tensor([[[1, 0, 3]]]))
        assert found.item() == pytest.approx(-math.log(2 + math.e) + 1 - math.log(1 + math.e), rel=tolerance)


def test_likelihood_has_the_gradient_of_its_formula() -> None:
    logits = torch.randn(2, 7, generator=seeded(9), dtype=torch.float64, requires_grad=True)
    draws = gumbel_top_k(logits.detach(), 3, 3, seeded(1))
    assert torch.autograd.gradcheck(lambda each: plackett_luce(each, draws), logits)
    # All items drawn, so that nothing is left over, in one set and in two together.
    assert torch.autograd.gradcheck(lambda each: plackett_luce(each, torch.tensor([[[2, 0, 1]]])), logits[:1, :3])
    both = torch.tensor([[[0, 1], [2, 3]]])
    assert torch.autograd.gradcheck(lambda each: plackett_luce(each, both), logits[:1, :4])


def test_a_gradient_beside_items_that_cannot_be_drawn_is_finite() -> None:
    logits = torch.tensor([[0.0, 1.0, -torch.inf, -torch.inf]], requires_grad=True)
    plackett_luce(logits, torch.tensor([[[0], [1]]])).sum().backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[0, 2:].tolist() == [0, 0]


def test_likelihood_in_half_precision_is_that_of_the_same_scores_in_single() -> None:
    logits = torch.randn(1, 50, generator=seeded(3)).bfloat16()
    draws = gumbel_top_k(logits.float(), 2, 5, seeded())
    assert torch.equal(plackett_luce(logits, draws), plackett_luce(logits.float(), draws))


# From states


def a_corpus(n: int = 300, width: int = 8) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    g = seeded(11)
    return torch.randn(6, width, generator=g), torch.randn(n, width, generator=g), torch.randn(n, generator=g)


@pytest.mark.parametrize("rows_at_once", [1, 2, 6, 100])
def test_sets_from_states_come_with_their_likelihood(rows_at_once: int) -> None:
    states, items, bias = a_corpus()
    # Scores and their copy; noise for 19 blocks and for the 16 items of 5 of them, four copies of 8 bytes.
    row_bytes = 2 * 4 * 300 + 3 * (19 + 5 * 16) * 32
    drawn = sample_sets(states, items, bias, 3, 5, seeded(), block=16, chunk_bytes=rows_at_once * row_bytes)
    assert drawn.items.shape == (6, 3, 5)
    expected = plackett_luce((states @ items.T + bias).double(), drawn.items)
    assert drawn.log_probs.dtype == torch.float64
    assert torch.allclose(drawn.log_probs, expected, atol=1e-4)


@pytest.mark.parametrize(("n", "k", "block"), [(300, 25, 16), (300, 1, 128), (17, 17, 4), (64, 10, 64)])
@pytest.mark.parametrize("has_bias", [True, False])
def test_the_best_are_those_of_sorting_all_scores(n: int, k: int, block: int, has_bias: bool) -> None:
    states, items, bias = a_corpus(n)
    best = top_k(states, items, bias if has_bias else None, k, block=block, chunk_bytes=4 * n * 4)
    scores = states @ items.T + (bias if has_bias else 0)
    expected = scores.sort(dim=1, descending=True)
    assert torch.equal(best.items, expected.indices[:, :k])
    assert torch.allclose(best.scores, expected.values[:, :k])


@given(st.lists(st.integers(-2, 2), min_size=1, max_size=40), st.data(), st.integers(1, 7))
def test_of_equal_scores_the_smaller_number_comes_first(scores: list[int], data: st.DataObject, block: int) -> None:
    k = data.draw(st.integers(1, len(scores)))
    column = torch.tensor(scores, dtype=torch.float32)[:, None]
    best = top_k(torch.ones(1, 1), column, None, k, block=block)
    assert best.items[0].tolist() == sorted(range(len(scores)), key=lambda item: (-scores[item], item))[:k]


def test_zero_is_no_larger_than_minus_zero() -> None:
    best = top_k(torch.ones(1, 1), torch.tensor([[-0.0], [0.0], [-1.0]]), None, 3, block=1)
    assert best.items.tolist() == [[0, 1, 2]]


def test_no_states_give_no_rows() -> None:
    states, items, bias = a_corpus()
    assert top_k(states[:0], items, bias, 4).items.shape == (0, 4)
    assert sample_sets(states[:0], items, bias, 2, 4, seeded()).items.shape == (0, 2, 4)


def test_shapes_and_scores_that_cannot_be_are_refused() -> None:
    states, items, bias = a_corpus()
    for call in (lambda *a: top_k(*a, 4), lambda *a: sample_sets(*a, 2, 4, seeded())):
        with pytest.raises(ValueError, match="do not fit"):
            call(states[:, :4], items, bias)
        with pytest.raises(ValueError, match="do not fit"):
            call(states, items, bias[:-1])
        with pytest.raises(ValueError, match="NaN"):
            call(states * math.nan, items, bias)
    with pytest.raises(ValueError, match="k is 301"):
        top_k(states, items, bias, 301)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
def test_on_a_gpu_draws_follow_the_generator_and_the_law() -> None:
    logits = torch.tensor([[0.3, -1.1, 0.8, 0.0, -0.4]], device="cuda")
    first, again = (gumbel_top_k(logits, 20_000, 2, torch.Generator("cuda").manual_seed(3), block=2) for _ in range(2))
    assert torch.equal(first, again)
    seen = Counter(tuple(draw) for draw in first[0].tolist())
    every = list(itertools.permutations(range(5), 2))
    expected = [20_000 * math.exp(brute_force(logits[0].tolist(), draw)) for draw in every]
    assert stats.chisquare([seen[draw] for draw in every], expected).pvalue > 1e-3
    states, items, bias = a_corpus()
    assert torch.equal(
        top_k(states.cuda(), items.cuda(), bias.cuda(), 25).items.cpu(), top_k(states, items, bias, 25).items
    )

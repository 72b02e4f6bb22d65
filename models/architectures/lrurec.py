"""LRURec: linear recurrent units for sequential recommendation.

Source: Yue et al., "Linear Recurrent Units for Sequential Recommendation", WSDM 2024; the recurrence is that of Orvieto et al., "Resurrecting Recurrent Neural Networks for Long Sequences",
ICML 2023. RAR's equation 2 prints dense matrices; the diagonal recurrence is what can be scanned, and what is meant.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.architectures.base import Retriever, RetrieverConfig, State
from models.architectures.layers import Dropout, FeedForward, Residual
from models.architectures.packing import Packing
from models.scan import scan_rows, step


class LinearRecurrence(nn.Module):
    """u_t = gamma * (W_in x_t + b_in);  h_t = lambda * h_{t-1} + u_t;  y_t = Re(W_out h_t) + b_out, with S = state_factor * H complex states.

    lambda = exp(-exp(nu) + i exp(theta)), with |lambda|^2 uniform in [ring_min^2, ring_max^2] and the phase uniform in [0, 2 pi] at the start, and gamma = sqrt(1 - |lambda|^2) at the start
    so that states are as large as inputs. nu, theta and gamma are learned as logarithms, so that |lambda| < 1 always. The complex maps are stored as real ones: inputs are real, and of the
    output only the real part is kept, for which b_out has none but a real part.
    """

    def __init__(self, config: RetrieverConfig) -> None:
        super().__init__()
        self.states = config.state_factor * config.width
        self.ring = (config.ring_min, config.ring_max)
        # Rows and columns hold real and imaginary part of a state side by side.
        self.inward = nn.Linear(config.width, 2 * self.states)
        self.outward = nn.Linear(2 * self.states, config.width)
        self.log_nu = nn.Parameter(torch.zeros(self.states))
        self.log_theta = nn.Parameter(torch.zeros(self.states))
        self.log_gamma = nn.Parameter(torch.zeros(self.states))

    def initialise(self) -> None:
        """Eigenvalues on the ring."""
        low, high = self.ring
        with torch.no_grad():
            square = low**2 + torch.rand(self.states) * (high**2 - low**2)
            square = square.clamp(min=1e-12)
            self.log_nu.copy_(torch.log(-0.5 * torch.log(square)))
            self.log_theta.copy_(torch.log(2 * math.pi * torch.rand(self.states).clamp(min=1e-7)))
            self.log_gamma.copy_(0.5 * torch.log1p(-square))

    def eigenvalues(self) -> Tensor:
        """lambda [S] complex64."""
        return torch.polar(torch.exp(-torch.exp(self.log_nu.float())), torch.exp(self.log_theta.float()))

    def inputs(self, x: Tensor) -> Tensor:
        """u: x [..., H] -> [..., S] complex64. gamma goes into the map, which is smaller than what it maps."""
        gamma = torch.exp(self.log_gamma).repeat_interleave(2)
        u = functional.linear(x, self.inward.weight * gamma[:, None], self.inward.bias * gamma)
        # The recurrence adds hundreds of terms: never in less than single precision.
        return torch.view_as_complex(u.float().unflatten(-1, (self.states, 2)))

    def outputs(self, h: Tensor) -> Tensor:
        """y: h [..., S] complex64 -> [..., H]. The real part of W h is Re(W) Re(h) - Im(W) Im(h); the sign is part of the learned map."""
        return self.outward(torch.view_as_real(h).flatten(-2))

    def forward(self, x: Tensor, sizes: tuple[int, ...]) -> Tensor:
        """Packed rows x [M, H] -> y [M, H]."""
        return self.outputs(scan_rows(self.eigenvalues(), self.inputs(x), sizes))


class Block(nn.Module):
    """Recurrence, then feed-forward, each with dropout, residual and norm."""

    def __init__(self, config: RetrieverConfig) -> None:
        super().__init__()
        self.recurrence = LinearRecurrence(config)
        self.feed_forward = FeedForward(config.width, config.dropout, config.feed_forward)
        self.around_recurrence = Residual(config.width, config.dropout, config.norm)
        self.around_feed_forward = Residual(config.width, config.dropout, config.norm)

    def forward(self, x: Tensor, sizes: tuple[int, ...]) -> Tensor:
        """x [M, H] -> [M, H]."""
        around = self.around_recurrence
        x = around.after(x, self.recurrence(around.before(x), sizes))
        around = self.around_feed_forward
        return around.after(x, self.feed_forward(around.before(x)))

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """x [B, H], state [B, S] -> the output [B, H] and the new state."""
        around, recurrence = self.around_recurrence, self.recurrence
        state = step(recurrence.eigenvalues(), state, recurrence.inputs(around.before(x)))
        x = around.after(x, recurrence.outputs(state))
        around = self.around_feed_forward
        return around.after(x, self.feed_forward(around.before(x))), state


class LRURec(Retriever):
    """Blocks of linear recurrence and feed-forward over item vectors with LayerNorm and dropout. A step of serving costs the same whatever the history's length."""

    def __init__(self, config: RetrieverConfig, vectors: Tensor | None = None) -> None:
        super().__init__(config, vectors)
        self.norm = nn.LayerNorm(config.width)
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        # Pre-norm leaves the sum of residuals as it is; scores need it at a fixed scale.
        self.last_norm = nn.LayerNorm(config.width) if config.norm == "pre" else nn.Identity()

    def initialise(self) -> None:
        """Truncated normal but for norms and eigenvalues."""
        super().initialise()
        for block in self.blocks:
            assert isinstance(block, Block)
            block.recurrence.initialise()

    def encode(self, items: Tensor, packing: Packing) -> Tensor:
        """Packed items [M] -> hidden [M, H]."""
        x = self.dropout(self.norm(self.item_rows(items)))
        for block in self.blocks:
            x = block(x, packing.sizes)
        return self.last_norm(x)

    def start_state(self, batch: int) -> State:
        """The complex state of each block [batch, S], zeros."""
        width = self.config.state_factor * self.config.width
        return tuple(torch.zeros(batch, width, dtype=torch.complex64, device=self.device) for _ in self.blocks)

    def step(self, state: State, items: Tensor) -> tuple[State, Tensor]:
        """The next item of each history: items [B] -> the new state, hidden [B, H], at constant cost."""
        x = self.dropout(self.norm(self.item_rows(items)))
        new: list[Tensor] = []
        for block, of_block in zip(self.blocks, state, strict=True):
            assert isinstance(block, Block)
            x, moved = block.step(x, of_block)
            new.append(moved)
        return tuple(new), self.last_norm(x)

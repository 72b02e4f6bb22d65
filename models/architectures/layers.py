"""Layers that several architectures share: feed-forward networks, initial values. Does not belong here: what makes one architecture differ from the others."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional


class Dropout(nn.Module):
    """Sets numbers to zero with probability p and divides the others by 1 - p.

    The same as torch's, but for how it draws on a CPU: a number of the generator gives four decisions of 16 bits each (p is rounded to 1/65536), which takes a third of the time.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        if x.device.type != "cpu":
            return functional.dropout(x, self.p)
        words = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        is_kept = words.view(torch.int16)[: x.numel()].view(x.shape) >= round(self.p * 2**16) - 2**15
        return x * is_kept.to(x.dtype).mul_(1 / (1 - self.p))


class FeedForward(nn.Module):
    """W_2 dropout(act(W_1 x + b_1)) + b_2, four times as wide inside. "gelu": act = GELU; "silu_gated": act = SiLU(W_1 x) * (W_3 x)."""

    def __init__(self, width: int, dropout: float, kind: str = "gelu") -> None:
        super().__init__()
        inner = 4 * width
        self.inner = nn.Linear(width, inner)
        self.gate = nn.Linear(width, inner) if kind == "silu_gated" else None
        self.outer = nn.Linear(inner, width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        if self.gate is None:
            active = functional.gelu(self.inner(x))
        else:
            active = functional.silu(self.gate(x)) * self.inner(x)
        return self.outer(self.dropout(active))


class Residual(nn.Module):
    """One sub-layer f with dropout, residual and LayerNorm: "post": norm(x + dropout(f(x))); "pre": x + dropout(f(norm(x)))."""

    def __init__(self, width: int, dropout: float, norm: str) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.dropout = Dropout(dropout)
        self.is_pre = norm == "pre"

    def before(self, x: Tensor) -> Tensor:
        """What the sub-layer is given."""
        return self.norm(x) if self.is_pre else x

    def after(self, x: Tensor, of_layer: Tensor) -> Tensor:
        """What goes on to the next."""
        x = x + self.dropout(of_layer)
        return x if self.is_pre else self.norm(x)


def initialise(modules: Iterable[nn.Module], std: float) -> None:
    """Weights and biases of linear layers and embeddings: normal, truncated at two standard deviations."""
    with torch.no_grad():
        for module in modules:
            if isinstance(module, (nn.Linear, nn.Embedding)):
                for values in module.parameters(recurse=False):
                    nn.init.trunc_normal_(values, std=std, a=-2 * std, b=2 * std)

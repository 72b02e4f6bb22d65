"""FMLP-Rec: learned filters over a history in place of attention, here causal ones.

Source: Zhou et al., "Filter-enhanced MLP is All You Need for Sequential Recommendation", WWW 2022, section 4. Their filter multiplies the spectrum of the whole padded sequence by learned complex numbers,
which is a circular convolution: every position sees every other one, those after it included. Their training can afford it by predicting one target from each copy of the sequence. Here the
filter is the same convolution cut to the past,

    y_t = sum over k >= 0 of w_k * x_{t-k},   w [max_history, H] learned,

with as many numbers as their spectrum has. So no state sees a later item, all positions train in one pass, and a state does not depend on how far its batch is padded. It is computed
through the FFT of sequences padded to twice their length, where the circular convolution equals the linear one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.architectures.base import Retriever, RetrieverConfig, check_length
from models.architectures.layers import Dropout, FeedForward, Residual
from models.architectures.packing import Packing


def causal_filter(x: Tensor, kernel: Tensor) -> Tensor:
    """y_t = sum over k of kernel_k * x_{t-k}: x [B, L, H], kernel [K, H] with K >= L -> [B, L, H], in single precision or better."""
    length = x.shape[1]
    if not length:
        return x
    size = 2 * length
    of_x = torch.fft.rfft(x, size, dim=1)
    of_kernel = torch.fft.rfft(kernel[:length], size, dim=0)
    return torch.fft.irfft(of_x * of_kernel, size, dim=1)[:, :length]


class Block(nn.Module):
    """Filter, then feed-forward, each with dropout, residual and LayerNorm after it."""

    def __init__(self, config: RetrieverConfig) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.zeros(config.max_history, config.width))
        self.feed_forward = FeedForward(config.width, config.dropout)
        self.around_filter = Residual(config.width, config.dropout, "post")
        self.around_feed_forward = Residual(config.width, config.dropout, "post")

    def forward(self, x: Tensor, packing: Packing) -> Tensor:
        """x [M, H] -> [M, H]."""
        filtered = packing.pack(causal_filter(packing.pad(x).float(), self.kernel.float()))
        x = self.around_filter.after(x, filtered)
        return self.around_feed_forward.after(x, self.feed_forward(x))


class FMLPRec(Retriever):
    """Item vectors plus learned positions with LayerNorm and dropout, blocks of causal filters and feed-forward."""

    def __init__(self, config: RetrieverConfig, vectors: Tensor | None = None) -> None:
        super().__init__(config, vectors)
        self.positions = nn.Embedding(config.max_history, config.width)
        self.norm = nn.LayerNorm(config.width)
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))

    def initialise(self) -> None:
        """Truncated normal, kernels as well."""
        super().initialise()
        std = self.config.initial_std
        for block in self.blocks:
            assert isinstance(block, Block)
            nn.init.trunc_normal_(block.kernel, std=std, a=-2 * std, b=2 * std)

    def encode(self, items: Tensor, packing: Packing) -> Tensor:
        """Packed items [M] -> hidden [M, H]."""
        check_length(packing, self.config.max_history)
        x = self.dropout(self.norm(self.item_rows(items) + self.positions(packing.times)))
        for block in self.blocks:
            x = block(x, packing)
        return x

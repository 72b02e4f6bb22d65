"""Multi-head self-attention over packed sequences, as SASRec and BERT4Rec use it. Does not belong here: positions, masks of training.

Source: Vaswani et al., "Attention Is All You Need", 2017, section 3.2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.architectures.base import RetrieverConfig
from models.architectures.layers import FeedForward, Residual
from models.architectures.packing import Packing


class AttentionBlock(nn.Module):
    """Attention, then feed-forward, each with dropout, residual and norm ("pre" or "post"); `is_causal` keeps a position from seeing later ones."""

    def __init__(self, config: RetrieverConfig, norm: str, is_causal: bool) -> None:
        super().__init__()
        self.heads, self.is_causal, self.attention_dropout = config.heads, is_causal, config.dropout
        self.project = nn.Linear(config.width, 3 * config.width)
        self.combine = nn.Linear(config.width, config.width)
        self.feed_forward = FeedForward(config.width, config.dropout)
        self.around_attention = Residual(config.width, config.dropout, norm)
        self.around_feed_forward = Residual(config.width, config.dropout, norm)

    def attend(self, x: Tensor, packing: Packing) -> Tensor:
        """x [M, H] -> [M, H]. Attention alone needs sequences side by side; the rest is spent on rows that exist."""
        padded = packing.pad(self.project(x))
        batch, length, width = padded.shape
        query, key, value = padded.view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mask = None
        if not self.is_causal:
            # Padding is on the right, so a causal position never reaches it. Ended sequences see their padding only: what comes out is dropped.
            exists = packing.pad(torch.ones_like(packing.times, dtype=torch.bool))
            mask = (exists | ~exists.any(1, keepdim=True))[:, None, None]
        dropout = self.attention_dropout if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout, is_causal=self.is_causal)  # fmt: skip
        return self.combine(packing.pack(mixed.transpose(1, 2).reshape(batch, length, width // 3)))

    def forward(self, x: Tensor, packing: Packing) -> Tensor:
        """x [M, H] -> [M, H]."""
        around = self.around_attention
        x = around.after(x, self.attend(around.before(x), packing))
        around = self.around_feed_forward
        return around.after(x, self.feed_forward(around.before(x)))

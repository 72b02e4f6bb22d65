"""SASRec: self-attention over a history, each position looking back only.

Source: Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018, section III. Positions are counted from the start of the (clipped) history, not from its end, so that a state
does not depend on what follows.
"""

from __future__ import annotations

from torch import Tensor, nn

from models.architectures.attention import AttentionBlock
from models.architectures.base import ConfigError, Retriever, RetrieverConfig, check_length
from models.architectures.layers import Dropout
from models.architectures.packing import Packing


class SASRec(Retriever):
    """Item vectors times sqrt(H) plus learned positions, blocks of causal attention and feed-forward, a last LayerNorm."""

    def __init__(self, config: RetrieverConfig, vectors: Tensor | None = None) -> None:
        super().__init__(config, vectors)
        if config.width % config.heads:
            raise ConfigError(f"width {config.width} is no multiple of heads {config.heads}")
        self.positions = nn.Embedding(config.max_history, config.width)
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(AttentionBlock(config, norm="pre", is_causal=True) for _ in range(config.blocks))
        self.last_norm = nn.LayerNorm(config.width)

    def encode(self, items: Tensor, packing: Packing) -> Tensor:
        """Packed items [M] -> hidden [M, H]."""
        check_length(packing, self.config.max_history)
        x = self.item_rows(items) * self.config.width**0.5 + self.positions(packing.times)
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x, packing)
        return self.last_norm(x)

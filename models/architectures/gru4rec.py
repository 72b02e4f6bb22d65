"""GRU4Rec: a gated recurrent network over a history.

Source: Hidasi et al., "Session-based Recommendations with Recurrent Neural Networks", ICLR 2016. Whole sequences are read at once and differentiated through all their length, where the authors
cut sessions into parallel streams of single steps; the loss is chosen in training.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.architectures.base import Retriever, RetrieverConfig, State
from models.architectures.layers import Dropout
from models.architectures.packing import Packing


class GRU4Rec(Retriever):
    """Item vectors with dropout, `blocks` layers of gated recurrent units as wide as states. A step of serving costs the same whatever the history's length."""

    def __init__(self, config: RetrieverConfig, vectors: Tensor | None = None) -> None:
        super().__init__(config, vectors)
        self.dropout = Dropout(config.dropout)
        between = config.dropout if config.blocks > 1 else 0.0
        self.recurrence = nn.GRU(config.width, config.width, config.blocks, batch_first=True, dropout=between)

    def encode(self, items: Tensor, packing: Packing) -> Tensor:
        """Packed items [M] -> hidden [M, H]. The recurrence runs in single precision under autocast, too."""
        x = self.dropout(self.item_rows(items)).float()
        with torch.autocast(x.device.type, enabled=False):
            sizes = torch.tensor(packing.sizes)
            return self.recurrence(nn.utils.rnn.PackedSequence(x, sizes))[0].data

    def start_state(self, batch: int) -> State:
        """States of all layers [batch, blocks, H], zeros."""
        return (torch.zeros(batch, self.config.blocks, self.config.width, device=self.device),)

    def step(self, state: State, items: Tensor) -> tuple[State, Tensor]:
        """The next item of each history: items [B] -> the new state, hidden [B, H], at constant cost."""
        x = self.dropout(self.item_rows(items)).float()
        hidden, layers = self.recurrence(x[:, None], state[0].transpose(0, 1).contiguous())
        return (layers.transpose(0, 1),), hidden[:, 0]

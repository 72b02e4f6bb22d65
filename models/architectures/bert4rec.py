"""BERT4Rec: attention in both directions, trained to fill in masked items.

Source: Sun et al., "BERT4Rec: Sequential Recommendation with Bidirectional Encoder Representations from Transformer", CIKM 2019, section 3. A state is the network's answer at a mask that is appended to the
history, so it sees the history alone. That takes a pass for each state: `states` costs L passes where the causal architectures need one; `query` needs one.

Training masks a share of the targets of each sequence (`mask_share`) and fills them in from everything else, later items included: that is the cloze task, and nothing but the masked
items themselves is hidden. A sequence of which no target was drawn has its last one masked, which is the very question that is asked later.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.architectures.attention import AttentionBlock
from models.architectures.base import PAD, ConfigError, Retriever, RetrieverConfig, check_length
from models.architectures.layers import Dropout
from models.architectures.packing import Packing

# How many rows of histories are read at once when all states of a batch are asked for.
CHUNK = 1024


class BERT4Rec(Retriever):
    """Item vectors (or the mask's) plus learned positions with LayerNorm and dropout, blocks of attention and feed-forward, a dense layer with GELU and LayerNorm."""

    is_causal = False

    def __init__(self, config: RetrieverConfig, vectors: Tensor | None = None) -> None:
        super().__init__(config, vectors)
        if config.width % config.heads:
            raise ConfigError(f"width {config.width} is no multiple of heads {config.heads}")
        self.mask = nn.Parameter(torch.zeros(config.width))
        # One more than items: the mask's.
        self.positions = nn.Embedding(config.max_history + 1, config.width)
        self.norm = nn.LayerNorm(config.width)
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(AttentionBlock(config, norm="post", is_causal=False) for _ in range(config.blocks))
        self.head = nn.Sequential(nn.Linear(config.width, config.width), nn.GELU(), nn.LayerNorm(config.width))

    def initialise(self) -> None:
        """Truncated normal, the mask as well."""
        super().initialise()
        std = self.config.initial_std
        nn.init.trunc_normal_(self.mask, std=std, a=-2 * std, b=2 * std)

    def _read(self, items: Tensor, is_masked: Tensor, packing: Packing) -> Tensor:
        """Packed items [M], which of them are masked [M] -> what the network says at each position [M, H] before the head."""
        check_length(packing, self.config.max_history + 1)
        rows = self.item_rows(items.masked_fill(is_masked, 0))
        x = torch.where(is_masked[:, None], self.mask.to(rows.dtype), rows) + self.positions(packing.times)
        x = self.dropout(self.norm(x))
        for block in self.blocks:
            x = block(x, packing)
        return x

    def query(self, items: Tensor, lengths: Tensor) -> Tensor:
        """What the network says at a mask after each history: items [B, L], lengths [B] -> [B, H]; the start state for an empty one."""
        items = functional.pad(items, (0, 1), value=PAD)
        packing = Packing.of(lengths + 1)
        if not len(packing.times):
            return self.starts(0)
        is_masked = packing.times == lengths[packing.sequences]
        hidden = self._read(packing.pack(items), is_masked, packing)
        # Back into the order of the batch.
        asked = hidden.new_zeros(len(items), hidden.shape[1]).index_put(
            (packing.sequences[is_masked],), hidden[is_masked]
        )
        answers = self.head(asked)
        return torch.where((lengths == 0)[:, None], self.starts(len(items)).to(answers.dtype), answers)

    def states(self, items: Tensor, lengths: Tensor) -> Tensor:
        """All states of histories [B, L+1, H], one pass for each prefix; those with t > length are zeros."""
        batch, width = items.shape
        sequences, times = (torch.arange(width + 1, device=items.device) <= lengths[:, None]).nonzero(as_tuple=True)
        answers = [
            self.query(items[rows], prefix)
            for rows, prefix in zip(sequences.split(CHUNK), times.split(CHUNK), strict=True)
        ]
        states = self.starts(1).new_zeros(batch, width + 1, self.config.width)
        return states.index_put((sequences, times), torch.cat(answers).to(states.dtype)) if answers else states

    def training_states(
        self, items: Tensor, lengths: Tensor, first_target: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The cloze task: items [B, L], lengths [B], first_target [B] -> answers at the masks [M, H], masked items [M], rows [M]. Masks are drawn with `generator`."""
        device = generator.device if generator is not None else items.device
        drawn = torch.rand(items.shape, generator=generator, device=device).to(items.device)
        positions = torch.arange(items.shape[1], device=items.device)[None]
        is_target = (positions >= first_target[:, None]) & (positions < lengths[:, None])
        is_masked = is_target & (drawn < self.config.mask_share)
        has_none = ~is_masked.any(1, keepdim=True)
        is_masked |= has_none & is_target & (positions == lengths[:, None] - 1)
        # A sequence that is one masked item is the question at an empty history: the start state answers it.
        at_start = (is_masked[:, 0] & (lengths == 1)).nonzero().squeeze(1)
        packing = Packing.of(torch.where(lengths > 1, lengths, 0))
        starts = self.starts(len(at_start))
        if not len(packing.times):
            return starts, items[at_start, 0], at_start
        packed, masked = packing.pack(items), packing.pack(is_masked)
        states = self.head(self._read(packed, masked, packing)[masked])
        return (
            torch.cat([states, starts.to(states.dtype)]),
            torch.cat([packed[masked], items[at_start, 0]]),
            torch.cat([packing.sequences[masked], at_start]),
        )

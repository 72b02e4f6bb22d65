"""Rows of a batch without its padding: sequences of different lengths as one tensor of the positions that exist.

Belongs here: the order of rows and the ways there and back. Does not belong here: what is computed on rows.

The order is time-major: time 0 of all sequences, then time 1, and so on, longest sequences first (the order of torch's PackedSequence). Then the sequences that are still running at a time are one
contiguous slice, and everything that looks at one position alone (embeddings, norms, feed-forward) is spent on positions that exist.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Packing:
    """Where each of M rows lies: `sequences` [M] and `times` [M]; `sizes[t]` = how many sequences reach time t; `order` [B] = sequences, longest first."""

    sequences: Tensor
    times: Tensor
    sizes: tuple[int, ...]
    order: Tensor
    ranks: Tensor

    @classmethod
    def of(cls, lengths: Tensor) -> Packing:
        """The packing of sequences of these lengths [B]; a length of 0 has no rows."""
        order = torch.argsort(lengths, descending=True, stable=True)
        falling = lengths[order]
        longest = int(falling[0]) if len(lengths) else 0
        is_running = torch.arange(longest, device=lengths.device)[:, None] < falling[None]
        times, ranks = is_running.nonzero(as_tuple=True)
        return cls(order[ranks], times, tuple(is_running.sum(1).tolist()), order, ranks)

    def pack(self, padded: Tensor) -> Tensor:
        """[B, L, ...] -> [M, ...]."""
        return padded[self.sequences, self.times]

    def pad(self, rows: Tensor) -> Tensor:
        """[M, ...] -> [B, L, ...], zeros where a sequence has ended."""
        padded = rows.new_zeros(len(self.order), len(self.sizes), *rows.shape[1:])
        return padded.index_put((self.sequences, self.times), rows)

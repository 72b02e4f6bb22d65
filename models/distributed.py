"""Several processes training one model (`torchrun`): who this one is, and sums over all.

Belongs here: the process group. Does not belong here: what is computed in it. A run without `torchrun` is a world of one process, in which all of this is free.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class World:
    """This process is number `rank` of `size`, and number `local_rank` on its machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and talks."""
        return self.rank == 0

    def sum(self, values: list[float], device: torch.device) -> list[float]:
        """Sums over all processes, in float64."""
        if self.size == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64, device=device)
        dist.all_reduce(tensor)
        return tensor.tolist()

    def agree(self, flag: int, device: torch.device) -> int:
        """The largest flag of all processes."""
        if self.size == 1:
            return flag
        tensor: Tensor = torch.tensor(flag, device=device)
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
        return int(tensor)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            dist.barrier()


def join(device: torch.device) -> World:
    """Join the group that `torchrun` announces in the environment; without one, a world of one."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World()
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return World(dist.get_rank(), dist.get_world_size(), int(os.environ.get("LOCAL_RANK", "0")))


def leave() -> None:
    """Leave the group, where there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()

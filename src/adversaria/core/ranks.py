"""What several processes that train together must agree on."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def sum_over_ranks(values: Tensor) -> Tensor:
    """``values``, added up over all processes in place; alone, as they are."""
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(values)
    return values


def largest_of_ranks(value: int, device: torch.device) -> int:
    """The largest ``value`` that a process brings; waits for ``device`` unless this process is alone."""
    if not (dist.is_available() and dist.is_initialized()):
        return value
    values = torch.tensor(value, device=device)
    dist.all_reduce(values, dist.ReduceOp.MAX)
    return int(values)

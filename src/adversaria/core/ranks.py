"""What several processes that train together must agree on."""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


def several_ranks() -> bool:
    """Whether this process trains together with others; one that was started as a group of one says so too."""
    return dist.is_available() and dist.is_initialized()


def rank_and_world() -> tuple[int, int]:
    """This process's number among those that train together, and how many they are."""
    return (dist.get_rank(), dist.get_world_size()) if several_ranks() else (0, 1)


def sum_over_ranks(values: Tensor) -> Tensor:
    """``values``, added up over all processes in place; alone, as they are."""
    if several_ranks():
        dist.all_reduce(values)
    return values


def largest_of_ranks(value: int, device: torch.device) -> int:
    """The largest ``value`` that a process brings; waits for ``device`` unless this process is alone."""
    if not several_ranks():
        return value
    values = torch.tensor(value, device=device)
    dist.all_reduce(values, dist.ReduceOp.MAX)
    return int(values)


def is_rank_zero() -> bool:
    """Whether this process computes what one process computes for all."""
    return rank_and_world()[0] == 0


def from_rank_zero(value: T) -> T:
    """What rank 0 has, on every rank."""
    if not several_ranks():
        return value
    shared = [value]
    dist.broadcast_object_list(shared, src=0)
    return shared[0]


def wait_for_all_ranks() -> None:
    """Returns once every process has come here."""
    if several_ranks():
        dist.barrier()

"""The endless order in which reals are shown: a pure function of (seed, step, rank, world), with no state to save."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


class EpochStream:
    """The endless concatenation of one random permutation of ``0..length-1`` per epoch; nothing is ever dropped.

    The permutation of an epoch depends on ``(seed, epoch, rollbacks)`` alone and is drawn on the CPU, so the order is
    the same on every device. The current ones are kept on ``device``, where a step then costs one slice: neither a copy
    from the host nor a synchronisation, except once per epoch.

    >>> stream = EpochStream(length=3, seed=0)
    >>> sorted(stream.indices(0, 3).tolist()), sorted(stream.indices(3, 3).tolist())
    ([0, 1, 2], [0, 1, 2])
    """

    def __init__(self, length: int, seed: int, device: torch.device | str = "cpu", rollbacks: int = 0) -> None:
        if length < 1:
            raise ValueError(f"an EpochStream needs at least one sample, not {length}")
        self.length = length
        self.seed = seed
        self.rollbacks = rollbacks
        self.device = torch.device(device)
        self._recent: dict[int, Tensor] = {}

    def indices(self, start: int, count: int) -> Tensor:
        """Positions ``start .. start + count - 1`` of the stream: ``[count]`` int64 on ``device``."""
        parts, position, end = [], start, start + count
        while position < end:
            epoch, offset = divmod(position, self.length)
            take = min(end - position, self.length - offset)
            parts.append(self._permutation(epoch)[offset : offset + take])
            position += take
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _permutation(self, epoch: int) -> Tensor:
        if epoch not in self._recent:
            # A run that was put back gets another order, or it would fail at the same batch again.
            key = f"{self.seed} epoch {epoch}" + (f" rollback {self.rollbacks}" if self.rollbacks else "")
            digest = hashlib.sha256(key.encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
            permutation = torch.randperm(self.length, generator=generator).to(self.device)
            # A step may straddle two epochs; older ones are not asked for again.
            self._recent = {e: p for e, p in self._recent.items() if e == epoch - 1} | {epoch: permutation}
        return self._recent[epoch]


@dataclass(frozen=True)
class StepIndices:
    """What one rank sees, step by step and without an end: its consecutive slice of every global batch.

    Attributes:
        stream: the order of the whole data set.
        start: the first step; a resumed run starts at the step it had reached.
        rank, world: this process and how many there are.
        count: reals per step on this rank.
    """

    stream: EpochStream
    start: int
    rank: int
    world: int
    count: int

    def at(self, step: int) -> Tensor:
        """``[count]`` int64: ranks ``0..world-1`` partition the global batch ``step`` of ``world * count`` reals."""
        return self.stream.indices((step * self.world + self.rank) * self.count, self.count)

    def __iter__(self) -> Iterator[Tensor]:
        step = self.start
        while True:
            yield self.at(step)
            step += 1

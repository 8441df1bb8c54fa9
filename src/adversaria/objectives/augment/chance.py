"""Which samples of a batch a transformation takes, and what it draws for them."""

from __future__ import annotations

import torch
from torch import Tensor


class Chance:
    """Draws for one batch from torch's global state on its device; nothing waits for the device.

    Args:
        x: the batch, ``[N, ...]``, whose device and dtype the draws have.
        p: overall probability, a scalar in [0, 1] on that device.
    """

    def __init__(self, x: Tensor, p: Tensor) -> None:
        self.n, self.p, self.device, self.dtype = len(x), p, x.device, x.dtype

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """``[N, *shape]``, uniform in [low, high)."""
        return torch.rand(self.n, *shape, device=self.device, dtype=self.dtype) * (high - low) + low

    def normal(self, std: float, *shape: int) -> Tensor:
        """``[N, *shape]``, of mean 0."""
        return torch.randn(self.n, *shape, device=self.device, dtype=self.dtype) * std

    def log_normal(self, std: float, *shape: int) -> Tensor:
        """``[N, *shape]``, two to the power of a normal number."""
        return self.normal(std, *shape).exp2()

    def integer(self, count: int) -> Tensor:
        """``[N]`` int64, uniform in 0 .. count - 1."""
        return torch.randint(count, (self.n,), device=self.device)

    def hit(self, probability: Tensor | float, drawn: Tensor, neutral: float) -> Tensor:
        """``drawn [N, ...]`` for each sample with ``probability``, ``neutral`` for the others."""
        taken = torch.rand(self.n, device=self.device) < probability
        return torch.where(taken.view(-1, *[1] * (drawn.ndim - 1)), drawn, neutral)

    def apply(self, multiplier: float, drawn: Tensor, neutral: float) -> Tensor:
        """`hit` with the probability ``multiplier * p``."""
        return self.hit(multiplier * self.p, drawn, neutral)

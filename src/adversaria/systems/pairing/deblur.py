"""Blur that is to be taken away."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from adversaria.core.ranges import Between
from adversaria.core.types import DataSpec
from adversaria.systems.pairing.base import Pairing, image_spec, rounded


class Deblur(Pairing):
    """A Gaussian filter cut off at four standard deviations, edges reflected, rounded to 8 bits.

    Args:
        sigma: standard deviation in pixels, above 0 and at most 16.
    """

    def __init__(self, *, sigma: Annotated[float, Between(0, 16, above_low=True)] = 1.5) -> None:
        self.sigma = sigma

    def condition(self, spec: DataSpec) -> DataSpec:
        """Images like the samples."""
        return DataSpec(image_spec(spec, "deblur"), None, spec.modality)

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """``x [N, C, H, W]`` blurred, of the same shape."""
        reach = math.ceil(4 * self.sigma)
        taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=x.device, dtype=x.dtype) / self.sigma) ** 2)
        taps = taps / taps.sum()
        channels = x.shape[1]
        for dim in (2, 3):
            shape = [1, 1, 1, 1]
            shape[dim] = len(taps)
            x = F.conv2d(_reflected(x, reach, dim), taps.view(shape).expand(channels, *shape[1:]), groups=channels)
        return rounded(x)


def _reflected(x: Tensor, reach: int, dim: int) -> Tensor:
    """``x [N, C, H, W]`` with ``reach`` more places on both sides of ``dim``, mirrored as often as that takes."""
    side = x.shape[dim]
    places = torch.arange(-reach, side + reach, device=x.device) % (2 * side)
    return x.index_select(dim, torch.where(places < side, places, 2 * side - 1 - places))

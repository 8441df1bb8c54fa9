"""Noise that is to be taken away."""

from __future__ import annotations

import torch
from torch import Tensor

from adversaria.core.errors import UserError
from adversaria.core.ranges import Positive
from adversaria.core.types import DataSpec
from adversaria.systems.pairing.base import Pairing, image_spec, rounded


class Denoise(Pairing):
    """White Gaussian noise, rounded and clamped to 8 bits.

    Args:
        sigma: standard deviation in steps of 8 bits, above 0; 50 is strong.

    Raises:
        UserError: ``sigma`` is out of range.
    """

    def __init__(self, *, sigma: Positive = 50.0) -> None:
        if not 0 < sigma <= 255:
            raise UserError(f"model.pairing.sigma={sigma} must lie above 0 and be at most 255")
        self.sigma = sigma

    def condition(self, spec: DataSpec) -> DataSpec:
        """Images like the samples."""
        return DataSpec(image_spec(spec, "denoise"), None, spec.modality)

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """``x [N, C, H, W]`` with noise, of the same shape."""
        noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        return rounded(x + noise * (self.sigma / 127.5))

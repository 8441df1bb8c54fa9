"""ADA's colour transformations (Karras et al. 2020, "Training GANs with Limited Data", appendix B)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from adversaria.core.ranges import NonNegative, Width
from adversaria.objectives.augment.chance import Chance

BRIGHTNESS_STD = 0.2
#: standard deviation of the binary logarithm of a factor
CONTRAST_STD, SATURATION_STD = 0.5, 1.0


class Colour(nn.Module):
    """Brightness, contrast, luma flip, hue and saturation, as one matrix on the channels.

    The luma axis is grey, (1, .., 1). Brightness moves along it, a luma flip reflects in the plane across it, hue turns
    around it, saturation scales the distance to it. One channel has no distance to it, and only three can turn.

    Args:
        channels: of the images.
        brightness, contrast, luma_flip, hue, saturation: multiply the probability of each.
    """

    parts: Tensor

    def __init__(
        self,
        *,
        channels: Width,
        brightness: NonNegative,
        contrast: NonNegative,
        luma_flip: NonNegative,
        hue: NonNegative,
        saturation: NonNegative,
    ) -> None:
        super().__init__()
        self.brightness, self.contrast, self.luma_flip, self.saturation = brightness, contrast, luma_flip, saturation
        self.hue = hue if channels == 3 else 0.0
        luma = torch.full((channels, channels), 1 / channels)
        turn = torch.zeros(channels, channels)
        if channels == 3:  # x -> axis x x, the turn by a quarter of what is across the axis
            turn = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3)
        parts = torch.stack([luma, torch.eye(channels) - luma, turn])
        self.register_buffer("parts", parts, persistent=False)  # [3, C, C]

    def forward(self, x: Tensor, p: Tensor) -> Tensor:
        """``[N, C, H, W]`` -> ``[N, C, H, W]``; values may leave the range."""
        chance = Chance(x, p)
        brightness = chance.apply(self.brightness, chance.normal(BRIGHTNESS_STD), 0.0)
        contrast = chance.apply(self.contrast, chance.log_normal(CONTRAST_STD), 1.0)
        sign = chance.apply(self.luma_flip, 1 - 2 * chance.integer(2).to(x.dtype), 1.0)
        angle = chance.apply(self.hue, chance.uniform(-math.pi, math.pi), 0.0)
        saturation = chance.apply(self.saturation, chance.log_normal(SATURATION_STD), 1.0)

        chroma = contrast * saturation
        weights = torch.stack([sign * contrast, chroma * angle.cos(), chroma * angle.sin()], dim=1)  # [N, 3]
        matrix = torch.tensordot(weights, self.parts.to(x.dtype), 1)  # [N, C, C]
        offset = (sign * contrast * brightness).view(-1, 1, 1)
        return torch.baddbmm(offset, matrix, x.flatten(2)).view_as(x)  # [N, C, H W] -> [N, C, H, W]

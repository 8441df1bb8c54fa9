"""Ways to spoil images step by step, to see whether a score notices: the kinds of Heusel et al. 2017, "GANs Trained by
a Two Time-Scale Update Rule", figure 3, with strengths that do not depend on the images' size, and missing classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

RECTANGLES = 5


class Disturbance(NamedTuple):
    """Calling it with uint8 images ``[N, C, H, W]``, a level from 0 (which changes nothing) to 3 and a seed gives new
    ones. Levels of one seed share their randomness: a higher one adds to what a lower one does.

    Attributes:
        strength: at levels 1, 2 and 3.
        apply: ``(float images [N, C, H, W] in [0, 1], strength, generator)`` -> images of the same shape.
    """

    strength: tuple[float, float, float]
    apply: Callable[[Tensor, float, Generator], Tensor]

    def __call__(self, images: Tensor, level: int, seed: int = 0) -> Tensor:
        """See the class."""
        if level == 0:
            return images.clone()
        generator = torch.Generator(images.device).manual_seed(seed)
        disturbed = self.apply(images.float() / 255, self.strength[level - 1], generator)
        return disturbed.mul_(255).round_().clamp_(0, 255).to(torch.uint8)


def gaussian_noise(x: Tensor, sigma: float, generator: Generator) -> Tensor:
    """Independent noise on every value of ``x [N, C, H, W]``, with the standard deviation ``sigma``."""
    return x + sigma * torch.randn(x.shape, generator=generator, device=x.device)


def gaussian_blur(x: Tensor, sigma: float, generator: Generator) -> Tensor:
    """A Gaussian filter of ``x [N, C, H, W]``, its standard deviation ``sigma`` in shares of the height."""
    sigma *= x.shape[2]
    radius = math.ceil(4 * sigma)
    offsets = torch.arange(-radius, radius + 1, device=x.device)
    kernel = torch.softmax(-(offsets**2) / (2 * sigma**2), dim=0).repeat(x.shape[1], 1, 1, 1)  # [C, 1, 1, 2 radius + 1]
    padded = F.pad(x, (radius,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel, groups=x.shape[1]), kernel.mT, groups=x.shape[1])


def black_rectangles(x: Tensor, share: float, generator: Generator) -> Tensor:
    """Five rectangles on each of ``x [N, C, H, W]``, at random places, their sides a ``share`` of the image's."""
    places = torch.rand(len(x), RECTANGLES, 2, generator=generator, device=x.device)

    def within(axis: int) -> Tensor:
        """``[N, RECTANGLES, side]``: which rows (axis 0) or columns (axis 1) a rectangle takes."""
        side = x.shape[2 + axis]
        length = round(share * side)
        start = (places[..., axis] * (side - length + 1)).floor()[..., None]
        position = torch.arange(side, device=x.device)
        return (start <= position) & (position < start + length)

    black = (within(0)[..., :, None] & within(1)[..., None, :]).any(dim=1)  # [N, H, W]
    return x.masked_fill(black[:, None], 0)


def swirl(x: Tensor, angle: float, generator: Generator) -> Tensor:
    """Turns ``x [N, C, H, W]`` about the centre, there by ``angle`` (in radians), outwards by exponentially less: a
    quarter of the height divides it by e.
    """
    height, width = x.shape[2:]
    row, column = (torch.arange(side, device=x.device) - (side - 1) / 2 for side in (height, width))
    radius = torch.hypot(row[:, None], column)  # [H, W]
    # a pixel's colour comes from where the turn brings it back to
    origin = torch.atan2(row[:, None], column) + angle * torch.exp(-radius / (height / 4))
    grid = 2 * torch.stack([radius * origin.cos() / width, radius * origin.sin() / height], dim=-1)  # [H, W, 2]
    return F.grid_sample(
        x, grid.expand(len(x), -1, -1, -1), mode="bilinear", padding_mode="border", align_corners=False
    )


def salt_and_pepper(x: Tensor, share: float, generator: Generator) -> Tensor:
    """A ``share`` of the pixels of ``x [N, C, H, W]`` becomes black or white, with equal odds."""
    u = torch.rand(len(x), 1, *x.shape[2:], generator=generator, device=x.device)
    return x.masked_fill(u < share / 2, 0).masked_fill(u >= 1 - share / 2, 1)


DISTURBANCES = {
    "gaussian_noise": Disturbance((0.1, 0.2, 0.4), gaussian_noise),
    # Less than a twentieth of the height goes unnoticed on digits of 8x8, which are blurred as they are.
    "gaussian_blur": Disturbance((1 / 16, 2 / 16, 3 / 16), gaussian_blur),
    "black_rectangles": Disturbance((0.25, 0.5, 0.75), black_rectangles),
    "swirl": Disturbance((1.0, 2.0, 4.0), swirl),
    "salt_and_pepper": Disturbance((0.1, 0.2, 0.3), salt_and_pepper),
}


def drop_classes(images: Tensor, labels: Tensor, dropped: int) -> Tensor:
    """The ``images [N, C, H, W]`` without those of the ``dropped`` highest of their ``labels [N]``."""
    classes = torch.unique(labels)
    return images[torch.isin(labels, classes[: len(classes) - dropped])]

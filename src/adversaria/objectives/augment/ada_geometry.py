"""ADA's pixel blitting and geometry (Karras et al. 2020, "Training GANs with Limited Data", appendix B)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from adversaria.core.ranges import NonNegative, Side, Width
from adversaria.objectives.augment.chance import Chance
from adversaria.objectives.augment.resampling import (
    CENTRE,
    MARGIN,
    downsampling,
    sample_bilinear,
    separable,
    upsampling,
)

#: largest shift by whole pixels, and standard deviation of that by any distance, as shares of height and width
SHIFT_MAX, TRANSLATE_STD = 0.125, 0.125
#: standard deviation of the binary logarithm of a scale
SCALE_STD, STRETCH_STD = 0.2, 0.2


class Turn(nn.Module):
    """Mirrors and turns by quarters: pixels are moved, never mixed.

    Args:
        flip: multiplies the probability of a fair coin's flip from left to right.
        rotate90: multiplies that of a turn by 0, 1, 2 or 3 quarters, for square images.
    """

    def __init__(self, *, flip: NonNegative, rotate90: NonNegative) -> None:
        super().__init__()
        self.flip, self.rotate90 = flip, rotate90

    def forward(self, x: Tensor, p: Tensor) -> Tensor:
        """``[N, C, H, W]`` -> ``[N, C, H, W]``."""
        chance = Chance(x, p)
        mirrored = chance.apply(self.flip, chance.integer(2), 0).view(-1, 1, 1, 1) == 1
        quarters = chance.apply(self.rotate90, chance.integer(4), 0).view(-1, 1, 1, 1)
        x = torch.where(mirrored, x.flip(-1), x)
        x = torch.where(quarters >= 2, x.flip(-1, -2), x)
        if self.rotate90 == 0:
            return x  # a quarter turn would change the shape of images that are not square
        return torch.where(quarters % 2 == 1, x.mT.flip(-2), x)


class Geometry(nn.Module):
    """Shift by whole pixels, scale, rotate, stretch, rotate again and translate, in one resampling.

    The image, continued by reflection, is brought to twice its resolution with the orthogonal filter sym6, sampled
    bilinearly and brought back with the same filter, which leaves what is not transformed as it was. Unlike in the
    paper the reflection goes on for ever; there zeros follow after one.

    Args:
        height, width: of the images.
        shift, scale, rotate, stretch, translate: multiply the probability of each.
    """

    up_rows: Tensor
    up_columns: Tensor
    down_rows: Tensor
    down_columns: Tensor
    size: Tensor

    def __init__(
        self,
        *,
        height: Side,
        width: Width,
        shift: NonNegative,
        scale: NonNegative,
        rotate: NonNegative,
        stretch: NonNegative,
        translate: NonNegative,
    ) -> None:
        super().__init__()
        self.shift, self.scale, self.rotate, self.stretch, self.translate = shift, scale, rotate, stretch, translate
        self.register_buffer("size", torch.tensor([width, height]), persistent=False)
        for axis, length in (("rows", height), ("columns", width)):
            self.register_buffer(f"up_{axis}", upsampling(length), persistent=False)
            self.register_buffer(f"down_{axis}", downsampling(length), persistent=False)

    def forward(self, x: Tensor, p: Tensor) -> Tensor:
        """``[N, C, H, W]`` -> ``[N, C, H, W]``."""
        height, width = x.shape[-2:]
        linear, translation, shift = self._draw(Chance(x, p))
        moved = (linear != torch.eye(2, device=x.device)).flatten(1).any(1) | ((translation != 0) | (shift != 0)).any(1)

        fine = separable(self.up_rows, x, self.up_columns)  # [N, C, 4 (H - 1) + 1, 4 (W - 1) + 1]
        columns, centre_x = _fine_pixels(x, width)  # [2 (W + MARGIN)], around the centre
        rows, centre_y = _fine_pixels(x, height)
        # Each fine pixel comes from linear (pixel - translation) - shift; a coarse pixel is two fine ones.
        offset = linear @ (-2 * translation)[:, :, None] - 2 * shift[:, :, None]  # [N, 2, 1]
        source_x, source_y = (
            linear[:, k, 0, None, None] * columns + linear[:, k, 1, None, None] * rows[:, None] + offset[:, k, None]
            for k in range(2)
        )  # [N, 2 (H + MARGIN), 2 (W + MARGIN)] each
        source_x = (source_x + centre_x).remainder(4 * (width - 1))
        source_y = (source_y + centre_y).remainder(4 * (height - 1))
        sampled = sample_bilinear(fine, source_x, source_y)
        resampled = separable(self.down_rows, sampled, self.down_columns)  # [N, C, H, W]
        return torch.where(moved.view(-1, 1, 1, 1), resampled, x)

    def _draw(self, chance: Chance) -> tuple[Tensor, Tensor, Tensor]:
        """Inverse linear maps ``[N, 2, 2]``, translations and shifts ``[N, 2]`` in pixels, (x, y)."""
        shift = chance.apply(self.shift, (chance.uniform(-SHIFT_MAX, SHIFT_MAX, 2) * self.size).round(), 0.0)
        scale = chance.apply(self.scale, chance.log_normal(SCALE_STD), 1.0)
        stretch = chance.apply(self.stretch, chance.log_normal(STRETCH_STD), 1.0)
        # Either of two rotations, before and after the stretch, so that one of them happens with probability p.
        either = 1 - (1 - self.rotate * chance.p).sqrt()
        before, after = (_rotation(chance.hit(either, chance.uniform(-math.pi, math.pi), 0.0)) for _ in range(2))
        stretched = torch.diag_embed(torch.stack([1 / (scale * stretch), stretch / scale], dim=1))  # [N, 2, 2]
        translation = chance.apply(self.translate, chance.normal(TRANSLATE_STD, 2) * self.size, 0.0)
        return before @ stretched @ after, translation, shift


def _rotation(angle: Tensor) -> Tensor:
    """``[N]`` -> ``[N, 2, 2]``."""
    sine, cosine = angle.sin(), angle.cos()
    return torch.stack([cosine, -sine, sine, cosine], dim=1).view(-1, 2, 2)


def _fine_pixels(x: Tensor, length: int) -> tuple[Tensor, float]:
    """Places of the fine pixels that `downsampling` takes, from the centre of the image; and where that lies."""
    centre = length - 1 + CENTRE
    return torch.arange(-MARGIN, 2 * length + MARGIN, device=x.device, dtype=x.dtype) - centre, centre

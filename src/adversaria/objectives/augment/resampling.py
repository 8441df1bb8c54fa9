"""Resampling without aliasing, linear in the image: what ADA's geometry and filters are made of.

Filters act as banded matrices on rows and columns: faster than a convolution of single channels, differentiable as
often as needed, and with the reflection at the borders built in.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

#: low-pass filters of the symlets with 6 and with 2 vanishing moments (Daubechies 1992, "Ten Lectures on Wavelets",
#: section 8.1; PyWavelets lists them as sym6 and sym2)
SYM6 = (
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633,
    0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252,
    -0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148,
)  # fmt: skip
SYM2 = tuple((1 + a * math.sqrt(3)) / math.sqrt(32) + b / math.sqrt(8) for a, b in ((-1, 0), (-1, 1), (1, 1), (1, 0)))
#: fine pixels that `upsampling` needs on each side of an image, so that `downsampling` sees the whole filter
MARGIN = len(SYM6) // 2 - 1
#: where coarse pixel 0 lies among fine pixels: the centre of mass of sym6, which is not quite symmetric
CENTRE = sum(tap * value for tap, value in enumerate(SYM6)) / math.sqrt(2) - MARGIN


def reflected(index: Tensor, length: int) -> Tensor:
    """Any index folded into 0 .. length - 1, at the centres of the first and the last pixel."""
    period = 2 * (length - 1)
    index = index.remainder(period)
    return torch.minimum(index, period - index)


def upsampling(length: int) -> Tensor:
    """``[4 (length - 1) + 1, length]``: one period, first fine pixel repeated, of twice as many pixels.

    Continued by reflection the signal has the period ``2 (length - 1)``; coarse pixel k lies at 2k + `CENTRE`.
    """
    fine = torch.arange(4 * (length - 1) + 1)
    matrix = torch.zeros(len(fine), length, dtype=torch.float64)
    for tap, value in enumerate(SYM6):
        at = fine[(tap - MARGIN) % 2 :: 2]  # only every other fine pixel has a coarse one at this tap
        coarse = reflected((at + MARGIN - tap) // 2, length)
        matrix[at, coarse] += math.sqrt(2) * value
    return matrix.float()


def downsampling(length: int) -> Tensor:
    """``[length, 2 (length + MARGIN)]``: undoes `upsampling`, given `MARGIN` fine pixels on either side."""
    matrix = torch.zeros(length, 2 * (length + MARGIN), dtype=torch.float64)
    coarse = torch.arange(length)
    for tap, value in enumerate(SYM6):
        matrix[coarse, 2 * coarse + tap] = value / math.sqrt(2)
    return matrix.float()


def filtering(taps: Tensor, length: int) -> Tensor:
    """``[length, length]``: convolution with an odd number of symmetric ``taps``, reflected at the borders."""
    matrix = torch.zeros(length, length, dtype=torch.float64)
    coarse = torch.arange(length)
    for tap, value in enumerate(taps):
        matrix[coarse, reflected(coarse + tap - len(taps) // 2, length)] += value
    return matrix.float()


def separable(rows: Tensor, x: Tensor, columns: Tensor) -> Tensor:
    """Matrices on the rows and the columns of images: ``[H', H], [N, C, H, W], [W', W] -> [N, C, H', W']``."""
    return rows.to(x.dtype) @ (x @ columns.to(x.dtype).mT)


def sample_bilinear(image: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The image at any place, differentiable twice with respect to the image.

    Args:
        image: ``[N, C, H, W]``.
        x, y: ``[N, H', W']``, 0 at the centre of the first pixel and ``W - 1`` and ``H - 1`` at that of the last.

    Returns:
        ``[N, C, H', W']``.
    """
    height, width = image.shape[-2:]
    # align_corners=False, for the other way cuDNN takes over; half a pixel is the distance of its corner.
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)
    sampled: Tensor = _Sample.apply(image, grid)
    return sampled


class _Sample(torch.autograd.Function):
    """`grid_sample` of an image for a fixed grid, which is linear: its gradient is `_Spread`, whose gradient is this.

    `grid_sample` itself cannot be differentiated twice in PyTorch 2.11.
    """

    @staticmethod
    def forward(ctx: Any, image: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.shape = image.shape
        return F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=False)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (grid,) = ctx.saved_tensors
        return _Spread.apply(gradient, grid, ctx.shape), None


class _Spread(torch.autograd.Function):
    """The transpose of `_Sample`: each value is spread over the four pixels that it came from."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, grid: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        image = values.new_zeros(shape)  # its shape alone matters, for the gradient of the grid is not asked for
        spread: Tensor = torch.ops.aten.grid_sampler_2d_backward(
            values, image, grid, _BILINEAR, _BORDER, False, [True, False]
        )[0]
        return spread

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (grid,) = ctx.saved_tensors
        return _Sample.apply(gradient, grid), None, None


#: how aten's grid_sampler numbers its modes
_BILINEAR, _BORDER = 0, 1

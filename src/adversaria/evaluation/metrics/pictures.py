"""How far a picture is from its answer, of pictures with 8 bits.

All functions take float ``[N, C, H, W]`` in 0..255 and give a number for each picture, ``[N]``.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

#: no picture is nearer than this, in dB: equal ones have no finite ratio
MOST_DECIBELS = 100.0


def psnr(made: Tensor, answer: Tensor, where: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio ``10 log10(255^2 / mean squared error)`` in dB, at most `MOST_DECIBELS`.

    Args:
        made, answer: the pictures.
        where: bool ``[N, 1, H, W]``, which places count; None: all.
    """
    error = _mean((made - answer).square(), where)
    return (10 * torch.log10(255**2 / error.clamp(min=1e-30))).clamp(max=MOST_DECIBELS)


def mae(made: Tensor, answer: Tensor, where: Tensor | None = None) -> Tensor:
    """Mean absolute error in steps of 8 bits; for the arguments see `psnr`."""
    return _mean((made - answer).abs(), where)


def ssim(made: Tensor, answer: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004, "Image Quality Assessment", equation 13), at most 1.

    Gaussian windows of 11x11 and deviation 1.5 that lie inside the picture, K1 = 0.01 and K2 = 0.03, the mean over
    windows and channels. Of pictures with a side below 11 the windows are as large as fits.
    """
    side = min(11, *made.shape[2:])
    side -= 1 - side % 2
    places = torch.arange(side, device=made.device, dtype=made.dtype) - side // 2
    taps = torch.exp(-0.5 * (places / 1.5) ** 2)
    taps = taps / taps.sum()

    def blurred(x: Tensor) -> Tensor:
        flat = x.flatten(0, 1).unsqueeze(1)  # [N * C, 1, H, W]
        return F.conv2d(F.conv2d(flat, taps.view(1, 1, -1, 1)), taps.view(1, 1, 1, -1))  # [N * C, 1, H', W']

    mean_x, mean_y = blurred(made), blurred(answer)
    var_x = blurred(made.square()) - mean_x.square()
    var_y = blurred(answer.square()) - mean_y.square()
    covariance = blurred(made * answer) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similar = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    index = similar / ((mean_x.square() + mean_y.square() + c1) * (var_x + var_y + c2))
    return index.reshape(len(made), -1).mean(1)


def detail(x: Tensor) -> Tensor:
    """Mean absolute Laplacian (four neighbours): how much fine detail there is, noise included."""
    across = x[..., 1:-1, :-2] + x[..., 1:-1, 2:] + x[..., :-2, 1:-1] + x[..., 2:, 1:-1]
    return (4 * x[..., 1:-1, 1:-1] - across).abs().flatten(1).mean(1)


def _mean(x: Tensor, where: Tensor | None) -> Tensor:
    if where is None:
        return x.flatten(1).mean(1)
    weights = where.expand_as(x).to(x.dtype)
    return (x * weights).flatten(1).sum(1) / weights.flatten(1).sum(1).clamp(min=1)

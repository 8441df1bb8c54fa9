"""ADA's filters and corruptions (Karras et al. 2020, "Training GANs with Limited Data", appendix B)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adversaria.core.ranges import NonNegative, Side, Width
from adversaria.objectives.augment.chance import Chance
from adversaria.objectives.augment.resampling import SYM2, filtering, separable

#: standard deviation of the binary logarithm of a band's gain, and that of the noise's standard deviation
GAIN_STD, NOISE_STD = 1.0, 0.1
#: side of the rectangle that is cut out, as a share of height and width
CUTOUT_SIZE = 0.5
#: power of natural images in the four bands, which falls as 1 / f
POWER = (10 / 13, 1 / 13, 1 / 13, 1 / 13)


class Filter(nn.Module):
    """Amplifies or damps four bands of frequencies, each with its own chance, and keeps the expected power.

    Args:
        height, width: of the images.
        filter: multiplies the probability of each band.
    """

    rows: Tensor
    columns: Tensor
    power: Tensor

    def __init__(self, *, height: Side, width: Width, filter: NonNegative) -> None:
        super().__init__()
        self.filter = filter
        for axis, length in (("rows", height), ("columns", width)):
            bands = torch.stack([filtering(band, length) for band in filter_bank()])
            self.register_buffer(axis, bands, persistent=False)  # [4, length, length]
        self.register_buffer("power", torch.tensor(POWER), persistent=False)

    def forward(self, x: Tensor, p: Tensor) -> Tensor:
        """``[N, C, H, W]`` -> ``[N, C, H, W]``."""
        chance = Chance(x, p)
        gain = x.new_ones(len(x), len(POWER))
        for band in torch.eye(len(POWER), device=x.device, dtype=x.dtype):
            drawn = chance.apply(self.filter, chance.log_normal(GAIN_STD), 1.0)
            one = torch.lerp(torch.ones_like(gain), drawn[:, None].expand_as(gain), band)
            gain = gain * one / (one.square() @ self.power.to(x.dtype)).sqrt()[:, None]
        rows, columns = (torch.tensordot(gain, bands.to(x.dtype), 1)[:, None] for bands in (self.rows, self.columns))
        return separable(rows, x, columns)  # matrices [N, 1, H, H] and [N, 1, W, W]


def filter_bank() -> list[Tensor]:
    """Symmetric taps of the bands [0, 1/8], [1/8, 1/4], [1/4, 1/2] and [1/2, 1] of the highest frequency; they add up
    to an impulse."""
    low = torch.tensor(SYM2, dtype=torch.float64)
    signs = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(len(SYM2) // 2)
    half = _convolve(low, low.flip(0)) / 2  # H(z) H(1/z) / 2
    other = _convolve(low * signs, (low * signs).flip(0)) / 2
    bands = [torch.ones(1, dtype=torch.float64)]
    for _ in range(len(POWER) - 1):
        # What was all of the spectrum becomes its lower half, and the upper half is split off.
        bands = [_convolve(_stretch(band), half) for band in bands] + [other]
    longest = max(len(band) for band in bands)
    return [F.pad(band, [(longest - len(band)) // 2] * 2) for band in bands]


def _stretch(taps: Tensor) -> Tensor:
    """Zeros between the taps."""
    return torch.stack([taps, torch.zeros_like(taps)], dim=1).flatten()[:-1]


def _convolve(a: Tensor, b: Tensor) -> Tensor:
    return F.conv1d(a.view(1, 1, -1), b.flip(0).view(1, 1, -1), padding=len(b) - 1).flatten()


class Noise(nn.Module):
    """Adds normal noise, whose standard deviation is the magnitude of a normal number.

    Args:
        noise: multiplies its probability.
    """

    def __init__(self, *, noise: NonNegative) -> None:
        super().__init__()
        self.noise = noise

    def forward(self, x: Tensor, p: Tensor) -> Tensor:
        """``[N, C, H, W]`` -> ``[N, C, H, W]``."""
        chance = Chance(x, p)
        std = chance.apply(self.noise, chance.normal(NOISE_STD).abs(), 0.0)
        return x + std.view(-1, 1, 1, 1) * torch.randn_like(x)


class Cutout(nn.Module):
    """Zeros in a rectangle whose centre lies anywhere in the image.

    Args:
        cutout: multiplies its probability.
    """

    def __init__(self, *, cutout: NonNegative) -> None:
        super().__init__()
        self.cutout = cutout

    def forward(self, x: Tensor, p: Tensor) -> Tensor:
        """``[N, C, H, W]`` -> ``[N, C, H, W]``."""
        chance = Chance(x, p)
        size = chance.apply(self.cutout, x.new_full((len(x),), CUTOUT_SIZE), 0.0)
        centre = chance.uniform(0, 1, 2)
        rows, columns = (
            (_places(x, length) - centre[:, k, None]).abs() < size[:, None] / 2  # [N, length]
            for k, length in enumerate(x.shape[-2:])
        )
        return x * ~(rows[:, None, :, None] & columns[:, None, None, :])


def _places(x: Tensor, length: int) -> Tensor:
    """Centres of the pixels, as shares of ``length``."""
    return (torch.arange(length, device=x.device, dtype=x.dtype) + 0.5) / length

"""DiffAugment (Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training").

Every transformation draws anew for each sample from torch's global state on the samples' device, is differentiable
(twice, as gradient penalties need) with respect to the samples, and keeps their shape and dtype.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.core.types import DataSpec
from adversaria.objectives.augment.base import Augmentation


class DiffAugment(Augmentation):
    """The transformations of ``policy``, one after the other.

    Args:
        spec: of the data: images of any size and number of channels.
        policy: any of ``color``, ``translation`` and ``cutout``, in the order of application.

    Raises:
        UserError: data that is no images, or an unknown transformation.
    """

    def __init__(self, *, spec: DataSpec, policy: Sequence[str] = ("color", "translation", "cutout")) -> None:
        super().__init__()
        if len(spec.shape) != 3:
            raise UserError(
                f"augment=diffaugment transforms images, and this data set has {spec.modality.noun}: choose "
                "augment=none"
            )
        for name in policy:
            if name not in TRANSFORMATIONS:
                near = difflib.get_close_matches(name, TRANSFORMATIONS, n=1)
                hint = f"did you mean {near[0]}" if near else f"choose from {', '.join(TRANSFORMATIONS)}"
                raise UserError(f"augment.policy has no transformation {name!r}: {hint}")
        self.transformations = nn.Sequential(*[TRANSFORMATIONS[name]() for name in policy])
        self._moves_only = "color" not in policy

    @property
    def moves_only(self) -> bool:
        """Without ``color``."""
        return self._moves_only

    def forward(self, x: Tensor) -> Tensor:
        """Images ``[N, C, H, W]`` -> ``[N, C, H, W]``; colours may leave the value range."""
        augmented: Tensor = self.transformations(x)
        return augmented


class Color(nn.Module):
    """Brightness, then saturation, then contrast.

    A number in [-1/2, 1/2) is added; the distance to the mean of the channels is multiplied by one in [0, 2); the
    distance to the mean of the image by one in [1/2, 3/2).
    """

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` -> ``[N, C, H, W]``."""
        uniform = torch.rand(3, len(x), 1, 1, 1, device=x.device)
        brightness, saturation, contrast = uniform.to(x.dtype)  # [N, 1, 1, 1] each
        x = x + (brightness - 0.5)
        grey = x.mean(dim=1, keepdim=True)  # [N, 1, H, W]
        x = torch.lerp(grey, x, 2 * saturation)
        mean = x.mean(dim=(1, 2, 3), keepdim=True)  # [N, 1, 1, 1]
        return torch.lerp(mean, x, contrast + 0.5)


class Translation(nn.Module):
    """A shift by up to an eighth of height and width, in whole pixels; zeros move in."""

    ratio = 0.125

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` -> ``[N, C, H, W]``."""
        n, channels, height, width = x.shape
        rows = _shifted(n, height, self.ratio, x.device)  # [N, H]: where each row comes from
        columns = _shifted(n, width, self.ratio, x.device)  # [N, W]
        inside = _product((rows >= 0) & (rows < height), (columns >= 0) & (columns < width))  # [N, 1, H, W]
        index = rows.clamp(0, height - 1)[:, :, None] * width + columns.clamp(0, width - 1)[:, None, :]  # [N, H, W]
        index = index.view(n, 1, height * width).expand(-1, channels, -1)
        shifted = x.flatten(2).gather(2, index).view(n, channels, height, width)
        return shifted * inside


class Cutout(nn.Module):
    """Zeros in a rectangle of half the height and width, whose centre lies anywhere in the image."""

    ratio = 0.5

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` -> ``[N, C, H, W]``."""
        n, _, height, width = x.shape
        rows = _interval(n, height, self.ratio, x.device)  # [N, H]: whether a row crosses the rectangle
        columns = _interval(n, width, self.ratio, x.device)  # [N, W]
        return x * ~_product(rows, columns)


TRANSFORMATIONS: dict[str, type[nn.Module]] = {"color": Color, "translation": Translation, "cutout": Cutout}


def _shifted(n: int, length: int, ratio: float, device: torch.device) -> Tensor:
    """For each of ``n`` samples the positions ``0 .. length - 1`` plus one random shift, ``[n, length]``."""
    most = int(length * ratio + 0.5)
    shift = torch.randint(-most, most + 1, (n, 1), device=device)
    return torch.arange(length, device=device) + shift


def _interval(n: int, length: int, ratio: float, device: torch.device) -> Tensor:
    """For each of ``n`` samples which positions lie in an interval of ``ratio * length`` around a random centre."""
    size = int(length * ratio + 0.5)
    # An even interval has its centre between two pixels, one more place than there are pixels.
    start = torch.randint(0, length + 1 - size % 2, (n, 1), device=device) - size // 2
    position = torch.arange(length, device=device)
    return (position >= start) & (position < start + size)


def _product(rows: Tensor, columns: Tensor) -> Tensor:
    """``[N, H]`` and ``[N, W]`` -> ``[N, 1, H, W]``, true where both are."""
    return rows[:, None, :, None] & columns[:, None, None, :]

"""Normalisations of feature maps by name, for architectures that leave the choice to the user."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from adversaria.nn.layers.checks import choose
from adversaria.nn.layers.precision import at_least_float32

GROUPS = 32


class PixelNorm(nn.Module):
    """Divides each pixel's feature vector by its root mean square, ``x / sqrt(mean_c x^2 + 1e-8)``.

    Karras et al. 2018, "Progressive Growing of GANs", section 4.2. It has no parameters.
    """

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, ...]`` -> the same."""
        h = at_least_float32(x)
        return (h * torch.rsqrt(h.square().mean(1, keepdim=True) + 1e-8)).to(x.dtype)


def pixel_norm(channels: int) -> nn.Module:
    """See `PixelNorm`, which is the same for any number of channels."""
    return PixelNorm()


def instance_norm(channels: int) -> nn.Module:
    """Over H and W (Ulyanov et al. 2016), with gain and bias for each channel."""
    return nn.InstanceNorm2d(channels, affine=True)


def layer_norm(channels: int) -> nn.Module:
    """Over C, H and W (Ba et al. 2016), with gain and bias for each channel as the authors of WGAN-GP have it."""
    return nn.GroupNorm(1, channels)


def group_norm(channels: int) -> nn.Module:
    """Over H, W and a group of channels (Wu & He 2018), of 32 groups or as many as divide both 32 and ``channels``."""
    return nn.GroupNorm(math.gcd(GROUPS, channels), channels)


#: makes a normalisation of so many channels; None: no layer
NORMS: Mapping[str, Callable[[int], nn.Module] | None] = {
    "batch": nn.BatchNorm2d,
    "instance": instance_norm,
    "layer": layer_norm,
    "group": group_norm,
    "pixel": pixel_norm,
    "none": None,
}


def norm_layers(key: str, name: str, channels: int) -> list[nn.Module]:
    """The layer called ``name``, or nothing.

    Args:
        key: of the network in the config, such as ``model.generator``.
        name: one of `NORMS`.
        channels: of the maps ``[N, C, H, W]``.

    Raises:
        UserError: there is no such norm.
    """
    make = choose(f"{key}.norm", name, NORMS)
    return [] if make is None else [make(channels)]


def has_bias(layers: list[nn.Module]) -> bool:
    """Whether these layers add a bias, so that the convolution before them needs none."""
    return any("bias" in dict(layer.named_parameters(recurse=False)) for layer in layers)

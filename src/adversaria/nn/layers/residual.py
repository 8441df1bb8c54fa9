"""Pre-activation residual blocks of ResNet GANs (Gulrajani et al. 2017, figure 8; Miyato et al. 2018, appendix B.4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from adversaria.nn.layers.spectral_norm import Layer

#: Applied to every layer with weights once it is initialised, such as `spectral_norm`.
Wrap = Callable[[Any], Any]

Upsampling = Literal["bilinear", "nearest"]


@dataclass(frozen=True)
class Make:
    """Finishes a layer: its weights start as ``init`` writes them, its biases at zero; then ``wrap``.

    Attributes:
        init: writes a weight in place.
        wrap: see `Wrap`.
    """

    init: Callable[[Tensor], Any]
    wrap: Wrap = lambda layer: layer

    def __call__(self, layer: Layer) -> Layer:
        """What ``wrap`` makes of ``layer``."""
        self.init(layer.weight)
        if not isinstance(layer, nn.Embedding) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
        wrapped: Layer = self.wrap(layer)
        return wrapped


class GeneratorBlock(nn.Module):
    """Norm, ReLU, doubling of the side, convolution, norm, ReLU, convolution; plus a 1x1 convolution of the doubled x.

    Args:
        in_channels: C_in.
        out_channels: C_out.
        norm: makes a normalisation of so many channels, called as ``norm(x, *condition)``.
        make: finishes the two convolutions.
        make_shortcut: finishes the 1x1 convolution.
        upsampling: how the side is doubled.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        norm: Callable[[int], nn.Module],
        make: Make,
        make_shortcut: Make,
        upsampling: Upsampling,
    ) -> None:
        super().__init__()
        self.upsampling = upsampling
        self.norm1, self.norm2 = norm(in_channels), norm(out_channels)
        self.conv1 = make(nn.Conv2d(in_channels, out_channels, 3, padding=1))
        self.conv2 = make(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        self.shortcut = make_shortcut(nn.Conv2d(in_channels, out_channels, 1))

    def forward(self, x: Tensor, *condition: Tensor) -> Tensor:
        """``[N, C_in, H, W]`` and what the norm is given besides -> ``[N, C_out, 2 H, 2 W]``."""
        h = self.conv1(self._double(F.relu(self.norm1(x, *condition))))
        h = self.conv2(F.relu(self.norm2(h, *condition)))
        # A 1x1 convolution and interpolation commute, and the convolution costs a quarter at the smaller side.
        out: Tensor = h + self._double(self.shortcut(x))
        return out

    def _double(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode=self.upsampling)


class DiscriminatorBlock(nn.Module):
    """ReLU, convolution, ReLU, convolution, halving of the side by averages; plus x.

    Where side or channels change, x goes through averages and a 1x1 convolution.

    Args:
        in_channels: C_in.
        out_channels: C_out.
        hidden: channels between the convolutions.
        make: finishes the two convolutions.
        make_shortcut: finishes the 1x1 convolution.
        downsample: whether the side is halved.
        first: whether x is the image itself, which takes no ReLU.
        activated_shortcut: whether the shortcut starts after the first ReLU instead of before it.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        hidden: int,
        make: Make,
        make_shortcut: Make,
        downsample: bool,
        first: bool = False,
        activated_shortcut: bool = False,
    ) -> None:
        super().__init__()
        self.downsample, self.first, self.activated_shortcut = downsample, first, activated_shortcut
        self.conv1 = make(nn.Conv2d(in_channels, hidden, 3, padding=1))
        self.conv2 = make(nn.Conv2d(hidden, out_channels, 3, padding=1))
        same = in_channels == out_channels and not downsample
        self.shortcut = nn.Identity() if same else make_shortcut(nn.Conv2d(in_channels, out_channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C_in, H, W]`` -> ``[N, C_out, H/2, W/2]``, or ``[N, C_out, H, W]`` without downsampling."""
        activated = x if self.first else F.relu(x)
        h = self._halve(self.conv2(F.relu(self.conv1(activated))))
        # A 1x1 convolution and averages commute, and the convolution costs a quarter at the smaller side.
        out: Tensor = h + self.shortcut(self._halve(activated if self.activated_shortcut else x))
        return out

    def _halve(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2) if self.downsample else x

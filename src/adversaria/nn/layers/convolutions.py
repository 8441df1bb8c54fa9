"""Convolutions by name, and residual blocks of them, for architectures that leave the choice to the user."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from torch import Tensor, nn

from adversaria.nn.layers.norms import has_bias, norm_layers


class SeparableConv2d(nn.Sequential):
    """A filter for each channel, then a 1x1 convolution (Chollet 2017, "Xception", section 2).

    The same as a full convolution of the kernel ``pointwise[o, i] * depthwise[i]``, of
    ``C_in * (K * K + C_out)`` weights instead of ``C_in * K * K * C_out``. Takes the arguments of `torch.nn.Conv2d`.
    PyTorch's gradients of such filters are slow in bfloat16 on CPUs: train there with ``trainer.precision=32-true``.
    """

    depthwise: nn.Conv2d
    pointwise: nn.Conv2d

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        *,
        bias: bool = True,
    ) -> None:
        depthwise = nn.Conv2d(in_channels, in_channels, kernel_size, stride, padding, groups=in_channels, bias=False)
        pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=bias)
        super().__init__(OrderedDict(depthwise=depthwise, pointwise=pointwise))


class SeparableConvTranspose2d(nn.Sequential):
    """A 1x1 convolution, then a transposed one with a filter for each channel: `SeparableConv2d` mirrored.

    The same as a full transposed convolution of the kernel ``pointwise[o, i] * depthwise[o]``; the 1x1 convolution
    comes first because the maps are smaller there. Takes the arguments of `torch.nn.ConvTranspose2d`.
    """

    depthwise: nn.ConvTranspose2d
    pointwise: nn.Conv2d

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        *,
        bias: bool = True,
    ) -> None:
        pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        depthwise = nn.ConvTranspose2d(
            out_channels, out_channels, kernel_size, stride, padding, groups=out_channels, bias=bias
        )
        super().__init__(OrderedDict(pointwise=pointwise, depthwise=depthwise))


Convolution = type[nn.Conv2d] | type[SeparableConv2d]
Transposed = type[nn.ConvTranspose2d] | type[SeparableConvTranspose2d]

CONVOLUTIONS: Mapping[str, Convolution] = {"plain": nn.Conv2d, "separable": SeparableConv2d}
TRANSPOSED: Mapping[str, Transposed] = {"plain": nn.ConvTranspose2d, "separable": SeparableConvTranspose2d}


class ResidualBlock(nn.Module):
    """``x + f(x)``, f being convolution, norm, activation, convolution, norm (He et al. 2016, without the last ReLU).

    Args:
        key: of the network in the config, for messages.
        channels: C.
        convolution: one of `CONVOLUTIONS`, used with kernel 3.
        norm: the name of a norm.
        activation: between the two.

    Raises:
        UserError: there is no such norm.
    """

    def __init__(self, key: str, channels: int, *, convolution: Convolution, norm: str, activation: nn.Module) -> None:
        super().__init__()
        first, second = (_normalised(key, channels, convolution, norm) for _ in range(2))
        self.layers = nn.Sequential(*first, activation, *second)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` -> the same."""
        update: Tensor = self.layers(x)
        return x + update


class PlainBlock(nn.Sequential):
    """Convolution, norm, activation, twice: a residual block without its shortcut (the "plain" nets of He et al. 2016).

    Args:
        key, channels, convolution, norm: see `ResidualBlock`.
        activation: after each of the two.

    Raises:
        UserError: there is no such norm.
    """

    def __init__(self, key: str, channels: int, *, convolution: Convolution, norm: str, activation: nn.Module) -> None:
        first, second = (_normalised(key, channels, convolution, norm) for _ in range(2))
        super().__init__(*first, activation, *second, activation)


def _normalised(key: str, channels: int, convolution: Convolution, norm: str) -> list[nn.Module]:
    """A convolution of kernel 3 and its norm."""
    layers = norm_layers(key, norm, channels)
    return [convolution(channels, channels, kernel_size=3, padding=1, bias=not has_bias(layers)), *layers]

"""Equalised learning rate (Karras et al. 2018, "Progressive Growing of GANs", section 4.1).

Weights start at N(0, 1) and are scaled to the usual initial size each time they are used, so that Adam, whose steps
do not depend on a parameter's size, changes every layer at the same relative speed.

The gain of an activation (sqrt(2) for the leaky ReLU) is part of each layer's ``gain``: LeakyReLU(g x) = g LeakyReLU(x)
for g > 0, and scaling the few weights costs less than scaling all activations.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adversaria.nn.layers.precision import at_least_float32, without_autocast

#: keeps the second moment of what follows a leaky ReLU of slope 0.2 close to that of what precedes it
LEAKY_RELU_GAIN = math.sqrt(2)
#: float16 ends at 65504; bfloat16 has the range of float32
FLOAT16_CLAMP = 256.0


class EqualisedLinear(nn.Module):
    """``gain * lr_multiplier * (x W^T / sqrt(in_features) + b)``, in float32 at least, under autocast as well.

    Args:
        in_features, out_features: lengths of the vectors.
        bias_init: where every bias starts.
        lr_multiplier: speed of learning relative to other layers; the initial output is the same for all.
        gain: factor on the output.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias_init: float = 0.0,
        lr_multiplier: float = 1.0,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((out_features,), bias_init))
        self.weight_gain = gain * lr_multiplier / math.sqrt(in_features)
        self.bias_gain = gain * lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        """``x [N, in_features]`` -> ``[N, out_features]``."""
        with without_autocast(x.device):
            return F.linear(at_least_float32(x), self.weight * self.weight_gain, self.bias * self.bias_gain)


class EqualisedConv2d(nn.Module):
    """``gain * (x * W / sqrt(in_channels * kernel_size^2) + b)``, where ``*`` is a convolution.

    Args:
        in_channels, out_channels: of the maps.
        kernel_size: odd.
        stride: of the convolution.
        padding: zeros on each side; None keeps the size at stride 1.
        bias: whether there is one.
        gain: factor on the output.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int | None = None,
        bias: bool = True,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.padding = kernel_size // 2 if padding is None else padding
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.weight_gain = gain / math.sqrt(in_channels * kernel_size**2)
        self.bias_gain = gain

    def forward(self, x: Tensor) -> Tensor:
        """``x [N, in_channels, H, W]`` -> ``[N, out_channels, H / stride, W / stride]``."""
        bias = None if self.bias is None else self.bias * self.bias_gain
        return F.conv2d(x, self.weight * self.weight_gain, bias, stride=self.stride, padding=self.padding)


def leaky_relu(x: Tensor) -> Tensor:
    """Slope 0.2, in place: ``x`` must be what a layer has just computed."""
    return clamp_float16(F.leaky_relu(x, 0.2, inplace=True))


def clamp_float16(x: Tensor) -> Tensor:
    """``x`` within +-256 in float16, whose range activations would leave; any other dtype as it is.

    As in the code of "Training Generative Adversarial Networks with Limited Data" (Karras et al. 2020).
    """
    return x.clamp(-FLOAT16_CLAMP, FLOAT16_CLAMP) if x.dtype == torch.float16 else x


def unit_second_moment(x: Tensor) -> Tensor:
    """``x [N, F]`` divided by its root mean square over F."""
    x = at_least_float32(x)
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()

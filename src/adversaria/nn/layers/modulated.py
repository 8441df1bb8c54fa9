"""Convolutions whose weights follow a style (Karras et al. 2020, "Analyzing and Improving the Image Quality of
StyleGAN", section 2.2).

Weight (o, i, k) of a sample with style s is ``w_oik * s_i``, divided ("demodulated") by the norm
``sqrt(sum_ik (w_oik * s_i)^2)``, equations 1 and 3. Instead of making weights for each sample, the activations are
scaled: by ``s_i`` before and by the inverse norm after one convolution for the whole batch. The numbers are the same,
and on CPUs a convolution grouped by sample takes longer (32 samples of 64 channels at 32 px, forward and backward on
one core: 107 instead of 94 ms in float32, 80 instead of 51 ms in bfloat16 with channels last).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adversaria.nn.layers.equalised import LEAKY_RELU_GAIN, EqualisedLinear, clamp_float16, leaky_relu
from adversaria.nn.layers.precision import at_least_float32, without_autocast
from adversaria.nn.layers.resample import Blur


def demodulation(weight: Tensor, styles: Tensor) -> Tensor:
    """The inverse norms of the modulated weights, in float32 at least, under autocast as well.

    Args:
        weight: ``[O, I, K, K]``.
        styles: ``[N, I]``.

    Returns:
        ``[N, O]``.
    """
    with without_autocast(weight.device):
        weight, styles = at_least_float32(weight), at_least_float32(styles)
        squares = weight.square().sum(dim=(2, 3))  # [O, I]
        return (styles.square() @ squares.t() + 1e-8).rsqrt()


class StyledConv2d(nn.Module):
    """A modulated, demodulated 3x3 convolution, noise, a bias and the leaky ReLU (figure 2c).

    Noise is drawn anew in training mode and a constant in evaluation mode, one map for all samples and channels.

    Args:
        in_channels, out_channels: of the maps.
        style_dim: length of the intermediate latent w.
        size: side of the output.
        up: whether the input has half that side.
    """

    noise: Tensor

    def __init__(self, in_channels: int, out_channels: int, *, style_dim: int, size: int, up: bool) -> None:
        super().__init__()
        self.affine = EqualisedLinear(style_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise", torch.randn(size, size))
        self.blur = Blur(gain=4.0) if up else None

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """``x [N, in_channels, size or size / 2, ...]``, ``w [N, style_dim]`` -> ``[N, out_channels, size, size]``."""
        styles: Tensor = self.affine(w)
        weight: Tensor = self.weight
        if x.dtype == torch.float16:
            # The norm takes these factors out again; without them the convolution's sums would overflow.
            styles = styles / styles.abs().amax(dim=1, keepdim=True)
            scale = weight.abs().amax(dim=(1, 2, 3), keepdim=True) * math.sqrt(weight[0].numel())
            weight = weight / scale
        x = x * styles.to(x.dtype)[:, :, None, None]
        if self.blur is None:
            x = F.conv2d(x, weight, padding=1)
        else:
            # [N, I, H, W] -> [N, O, 2 H + 1, 2 W + 1] -> [N, O, 2 H, 2 W]
            x = self.blur(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2))
        scales = (demodulation(weight, styles) * LEAKY_RELU_GAIN).to(x.dtype)[:, :, None, None]  # [N, O, 1, 1]
        bias = (self.bias * LEAKY_RELU_GAIN).to(x.dtype)[:, None, None]  # [O, 1, 1]
        x = torch.addcmul(bias, x, scales)
        noise = torch.randn_like(x[:, :1]) if self.training else self.noise.to(x.dtype)
        return leaky_relu(x.add_(noise * (self.noise_strength * LEAKY_RELU_GAIN).to(x.dtype)))


class ToImage(nn.Module):
    """A modulated 1x1 convolution without demodulation, "tRGB" of figure 7, to an image in float32 at least.

    Args:
        in_channels: of the maps.
        channels: of the image.
        style_dim: length of the intermediate latent w.
    """

    def __init__(self, in_channels: int, channels: int, *, style_dim: int) -> None:
        super().__init__()
        self.affine = EqualisedLinear(style_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.gain = 1 / math.sqrt(in_channels)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """``x [N, in_channels, H, W]``, ``w [N, style_dim]`` -> ``[N, channels, H, W]``."""
        styles = self.affine(w) * self.gain
        image = F.conv2d(x * styles.to(x.dtype)[:, :, None, None], self.weight)
        return clamp_float16(image + self.bias.to(image.dtype)[:, None, None]).to(self.bias.dtype)

"""The U-Net of pix2pix (Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial Networks").

An encoder that halves the side until one pixel is left, and a decoder with a shortcut from each of its maps to the
decoder's of the same side (appendix 6.1.1).
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.core.ranges import Between, Width
from adversaria.core.types import DataSpec
from adversaria.nn.layers import has_bias, norm_layers, output_activation
from adversaria.nn.network import Generator
from adversaria.nn.networks.patchgan import condition_channels, normal_weights

_KEY = "model.generator"


class UNet(Generator):
    """Halvings by convolutions of kernel 4, doublings by transposed ones, channels doubling up to ``8 * width``.

    54,413,955 parameters for pictures of 3 channels and 256 pixels a side, 41,828,995 for 128, with BatchNorm. The
    paper's noise is dropout in the widest doublings but the first, also when sampling, and its BatchNorm takes the
    statistics of the batch that is edited, of one picture; here both are choices, because what a picture becomes would
    then depend on chance and on its neighbours in a batch.

    Args:
        spec: of the data: square images whose side is a power of two from 16 on, and conditions of the same side.
        width: channels of the first feature map.
        norm: `batch` as in the paper, `instance`, `layer`, `group`, `pixel` or `none`; none where one pixel is left.
        dropout: share of the channels' values that is left out while training; the paper's is 0.5.

    Raises:
        UserError: nothing is given to edit, data that it cannot make, or an unknown norm.
    """

    latent_dim = 0
    conditional = translates = True

    def __init__(
        self,
        *,
        spec: DataSpec,
        width: Width = 64,
        norm: str = "instance",
        dropout: Annotated[float, Between(0, 1, below_high=True)] = 0.0,
    ) -> None:
        super().__init__()
        given, side = condition_channels(spec, _KEY), spec.shape[-1]
        if spec.shape[-2] != side or side < 16 or side & (side - 1):
            raise UserError(
                f"{_KEY}=unet takes square images of 16, 32, 64, ... pixels, and these have "
                f"{spec.shape[1]}x{spec.shape[2]}; set data.size, or choose generator=editing_unet"
            )
        levels = side.bit_length() - 1
        widths = [min(width * 2**k, 8 * width) for k in range(levels)]
        bias = not has_bias(norm_layers(_KEY, norm, width))  # of every convolution but the last, as published
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for k, after in enumerate(widths):
            # neither the first map nor the last, of one pixel, is normalised
            normalise = norm_layers(_KEY, norm, after) if 0 < k < levels - 1 else []
            before = given if k == 0 else widths[k - 1]
            steps: list[nn.Module] = [nn.Conv2d(before, after, 4, 2, 1, bias=bias), *normalise]
            self.down.append(nn.Sequential(*([] if k == 0 else [nn.LeakyReLU(0.2)]), *steps))
        for k in reversed(range(levels)):
            before = widths[k] * (1 if k == levels - 1 else 2)
            if k == 0:
                last = nn.ConvTranspose2d(before, spec.shape[0], 4, 2, 1)
                self.up.append(nn.Sequential(nn.ReLU(), last, output_activation(spec)))
                break
            normalise = norm_layers(_KEY, norm, widths[k - 1])
            steps = [nn.ReLU(), nn.ConvTranspose2d(before, widths[k - 1], 4, 2, 1, bias=bias)]
            drops = dropout and levels - 4 <= k - 1 < levels - 1 and widths[k - 1] == 8 * width
            self.up.append(nn.Sequential(*steps, *normalise, *([nn.Dropout(dropout)] if drops else [])))
        self.apply(normal_weights)

    def forward(self, z: Tensor, condition: Tensor) -> Tensor:
        """``z [N, 0]`` and ``condition [N, C', S, S]`` -> images ``[N, C, S, S]`` in [-1, 1]."""
        h, shortcuts = condition, []
        for down in self.down:
            h = down(h)  # [N, C_k, S / 2^(k + 1), S / 2^(k + 1)]
            shortcuts.append(h)
        shortcuts.pop()
        for up in self.up:
            h = up(h)
            if shortcuts:
                h = torch.cat([shortcuts.pop(), h], dim=1)
        return h

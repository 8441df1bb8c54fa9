"""A convolutional encoder of images, the mirror of DCGAN's generator, for variational autoencoders."""

from __future__ import annotations

import math

from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.core.ranges import Width
from adversaria.core.types import DataSpec


class ConvEncoder(nn.Module):
    """Kernel-4, stride-2 convolutions with BatchNorm down to 4x4, then two linear heads.

    Args:
        spec: images of a power-of-two size of at least 8.
        latent_dim: of the posterior.
        width: channels at half the image's size; they double with each halving, up to ``max_width``.
        max_width: see ``width``.

    Raises:
        UserError: the data are no such images.
    """

    def __init__(self, *, spec: DataSpec, latent_dim: Width, width: Width = 64, max_width: Width = 512) -> None:
        super().__init__()
        size = spec.shape[-1]
        square = len(spec.shape) == 3 and spec.shape[-2] == size
        if not square or size < 8 or size & (size - 1):
            raise UserError(
                f"model.encoder takes square images of 8, 16, 32, ... pixels, not samples of shape {list(spec.shape)};"
                " choose another data.size"
            )
        channels = [min(max_width, width * 2**k) for k in range(int(math.log2(size)) - 2)]
        layers: list[nn.Module] = []
        before = spec.shape[0]
        for after in channels:  # [N, before, 2s, 2s] -> [N, after, s, s]
            layers += [nn.Conv2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]
            before = after
        self.body = nn.Sequential(*layers, nn.Flatten())
        self.mean = nn.Linear(before * 4 * 4, latent_dim)
        self.log_variance = nn.Linear(before * 4 * 4, latent_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``x [N, C, H, W]`` -> mean and log-variance, each ``[N, latent_dim]``."""
        features = self.body(x)  # [N, channels * 16]
        return self.mean(features), self.log_variance(features)

"""DCGAN (Radford et al. 2016, "Unsupervised Representation Learning with Deep Convolutional GANs").

With ``conditional=True`` it is the conditional GAN of Mirza & Osindero 2014: embedded labels join the latent of G and
the input channels of D.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from adversaria.layers import (
    append_labels,
    label_embedding,
    normal_latent,
    output_activation,
    require_positive,
    square_image,
)
from adversaria.types import DataSpec, DiscriminatorOutput

SIZES = (16, 32, 64, 128, 256)


class DCGANGenerator(nn.Module):
    """Transposed convolutions of kernel 4 from the latent to the image, with BatchNorm and ReLU (section 3).

    Args:
        spec: of the data: square images of side 16, 32, 64, 128 or 256 and any number of channels.
        latent_dim: length of the latent.
        width: channels of the largest feature map, which has half the image's side; each smaller map has twice as
            many.
        max_width: at most so many channels.
        conditional: whether it is given labels.
        label_dim: numbers in a label's embedding, if conditional.

    Raises:
        UserError: data that it cannot make, a size below 1, or ``conditional`` without labels.
    """

    def __init__(
        self,
        *,
        spec: DataSpec,
        latent_dim: int = 100,
        width: int = 64,
        max_width: int = 512,
        conditional: bool = False,
        label_dim: int = 32,
    ) -> None:
        super().__init__()
        require_positive(
            "model.generator", latent_dim=latent_dim, width=width, max_width=max_width, label_dim=label_dim
        )
        channels, size = square_image(spec, "dcgan", SIZES)
        self.latent_dim = latent_dim
        self.conditional = conditional
        self.embedding = label_embedding(spec, label_dim) if conditional else None

        widths = feature_widths(size, width, max_width)[::-1]  # 256, 128, 64 for 32 px
        input_dim = latent_dim + (label_dim if conditional else 0)
        # A kernel-4 transposed convolution of a 1x1 map is this matrix product, and several times slower on CPUs.
        self.project = nn.Linear(input_dim, widths[0] * 4 * 4, bias=False)
        layers: list[nn.Module] = [nn.Unflatten(1, (widths[0], 4, 4)), nn.BatchNorm2d(widths[0]), nn.ReLU()]
        for wide, narrow in pairwise(widths):
            layers += [
                nn.ConvTranspose2d(wide, narrow, kernel_size=4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(narrow),
                nn.ReLU(),
            ]
        layers += [
            nn.ConvTranspose2d(widths[-1], channels, kernel_size=4, stride=2, padding=1),
            output_activation(spec),
        ]
        self.layers = nn.Sequential(*layers)
        self.apply(init_weights)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """``z [N, latent_dim]``, ``labels [N]`` if conditional -> images ``[N, C, H, W]`` in [-1, 1]."""
        h = self.project(append_labels(z, labels, self.embedding))  # [N, 256 * 4 * 4]
        images: Tensor = self.layers(h)  # [N, 256, 4, 4] -> [N, 128, 8, 8] -> [N, 64, 16, 16] -> [N, C, 32, 32]
        return images

    def sample_latent(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Standard normal ``[n, latent_dim]``."""
        return normal_latent(self, n, self.latent_dim, generator)


class DCGANDiscriminator(nn.Module):
    """The generator mirrored: convolutions of kernel 4 with LeakyReLU of slope 0.2, BatchNorm after all but the first.

    Args:
        spec: of the data: square images of side 16, 32, 64, 128 or 256 and any number of channels.
        width: channels of the largest feature map, which has half the image's side; each smaller map has twice as
            many.
        max_width: at most so many channels.
        batch_norm: false for gradient penalties, whose per-sample gradients BatchNorm mixes.
        conditional: whether it is given labels.
        label_dim: numbers in a label's embedding, each one more input channel, if conditional.

    Raises:
        UserError: data that it cannot judge, a size below 1, or ``conditional`` without labels.
    """

    def __init__(
        self,
        *,
        spec: DataSpec,
        width: int = 64,
        max_width: int = 512,
        batch_norm: bool = True,
        conditional: bool = False,
        label_dim: int = 8,
    ) -> None:
        super().__init__()
        require_positive("model.discriminator", width=width, max_width=max_width, label_dim=label_dim)
        channels, size = square_image(spec, "dcgan", SIZES)
        self.conditional = conditional
        self.embedding = label_embedding(spec, label_dim) if conditional else None

        widths = feature_widths(size, width, max_width)  # 64, 128, 256 for 32 px
        input_channels = channels + (label_dim if conditional else 0)
        layers: list[nn.Module] = [
            nn.Conv2d(input_channels, widths[0], kernel_size=4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
        ]
        for narrow, wide in pairwise(widths):
            layers.append(nn.Conv2d(narrow, wide, kernel_size=4, stride=2, padding=1, bias=not batch_norm))
            if batch_norm:
                layers.append(nn.BatchNorm2d(wide))
            layers.append(nn.LeakyReLU(0.2))
        self.layers = nn.Sequential(*layers, nn.Flatten())
        # A kernel-4 convolution of a 4x4 map.
        self.head = nn.Linear(widths[-1] * 4 * 4, 1)
        self.apply(init_weights)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> DiscriminatorOutput:
        """``x [N, C, H, W]``, ``labels [N]`` if conditional -> logits ``[N]``, features ``[N, 256 * 4 * 4]``."""
        x = append_labels(x, labels, self.embedding)
        features = self.layers(x)  # [N, 64, 16, 16] -> [N, 128, 8, 8] -> [N, 256, 4, 4] -> [N, 4096]
        logits = self.head(features).flatten()  # [N, 1] -> [N]
        return DiscriminatorOutput(logits, features)


def feature_widths(size: int, width: int, max_width: int) -> list[int]:
    """Channels of the feature maps from half the side of the image down to 4x4: 64, 128, 256 for 32 px."""
    return [min(width * 2**i, max_width) for i in range((size // 4).bit_length() - 1)]


def init_weights(module: nn.Module) -> None:
    """Weights N(0, 0.02) (section 4), BatchNorm's gains N(1, 0.02) as in the authors' code, biases zero."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)

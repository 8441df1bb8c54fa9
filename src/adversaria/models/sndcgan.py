"""SN-DCGAN (Miyato et al. 2018, "Spectral Normalization for Generative Adversarial Networks", table 3).

Weights start at N(0, 0.02) and biases at zero, as in google/compare_gan. At 32x32x3 with 128 latents G has 3,813,379
trainable parameters and D 5,860,865.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

from adversaria.layers import (
    append_labels,
    normal_latent,
    output_activation,
    require_positive,
    spectral_norm,
    square_image,
)
from adversaria.types import DataSpec, DiscriminatorOutput

SIZES = range(16, 129, 8)

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


class SNDCGANGenerator(nn.Module):
    """A linear layer to 512 maps of an eighth of the side, then three transposed convolutions, with BatchNorm and ReLU.

    Args:
        spec: of the data: square images whose side is a multiple of 8 from 16 to 128, and any number of channels.
        latent_dim: length of the latent.

    Raises:
        UserError: data that it cannot make, or ``latent_dim`` below 1.
    """

    conditional = False

    def __init__(self, *, spec: DataSpec, latent_dim: int = 128) -> None:
        super().__init__()
        require_positive("model.generator", latent_dim=latent_dim)
        channels, size = square_image(spec, "sndcgan", SIZES)
        side = size // 8
        self.latent_dim = latent_dim
        self.layers = nn.Sequential(
            # [N, latent_dim] -> [N, 512, H/8, W/8]
            initialised(nn.Linear(latent_dim, 512 * side * side)),
            nn.Unflatten(1, (512, side, side)),
            nn.BatchNorm2d(512),
            nn.ReLU(),
            # -> [N, 256, H/4, W/4]
            initialised(nn.ConvTranspose2d(512, 256, kernel_size=4, stride=2, padding=1)),
            nn.BatchNorm2d(256),
            nn.ReLU(),
            # -> [N, 128, H/2, W/2]
            initialised(nn.ConvTranspose2d(256, 128, kernel_size=4, stride=2, padding=1)),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            # -> [N, 64, H, W]
            initialised(nn.ConvTranspose2d(128, 64, kernel_size=4, stride=2, padding=1)),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            # -> [N, C, H, W]
            initialised(nn.Conv2d(64, channels, kernel_size=3, padding=1)),
            output_activation(spec),
        )

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """``z [N, latent_dim]`` -> images ``[N, C, H, W]`` in [-1, 1]; it takes no labels."""
        images: Tensor = self.layers(append_labels(z, labels, None))
        return images

    def sample_latent(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Standard normal ``[n, latent_dim]``."""
        return normal_latent(self, n, self.latent_dim, generator)


class SNDCGANDiscriminator(nn.Module):
    """Seven convolutions and a linear layer, all spectrally normalised, with LeakyReLU of slope 0.1.

    Args:
        spec: of the data: square images whose side is a multiple of 8 from 16 to 128, and any number of channels.

    Raises:
        UserError: data that it cannot judge.
    """

    conditional = False

    def __init__(self, *, spec: DataSpec) -> None:
        super().__init__()
        channels, size = square_image(spec, "sndcgan", SIZES)
        side = size // 8
        self.layers = nn.Sequential(
            # [N, C, H, W] -> [N, 64, H, W]
            spectral_norm(initialised(nn.Conv2d(channels, 64, kernel_size=3, padding=1))),
            nn.LeakyReLU(0.1),
            # -> [N, 128, H/2, W/2]
            spectral_norm(initialised(nn.Conv2d(64, 128, kernel_size=4, stride=2, padding=1))),
            nn.LeakyReLU(0.1),
            spectral_norm(initialised(nn.Conv2d(128, 128, kernel_size=3, padding=1))),
            nn.LeakyReLU(0.1),
            # -> [N, 256, H/4, W/4]
            spectral_norm(initialised(nn.Conv2d(128, 256, kernel_size=4, stride=2, padding=1))),
            nn.LeakyReLU(0.1),
            spectral_norm(initialised(nn.Conv2d(256, 256, kernel_size=3, padding=1))),
            nn.LeakyReLU(0.1),
            # -> [N, 512, H/8, W/8]
            spectral_norm(initialised(nn.Conv2d(256, 512, kernel_size=4, stride=2, padding=1))),
            nn.LeakyReLU(0.1),
            spectral_norm(initialised(nn.Conv2d(512, 512, kernel_size=3, padding=1))),
            nn.LeakyReLU(0.1),
            nn.Flatten(),
        )
        self.head = spectral_norm(initialised(nn.Linear(512 * side * side, 1)))

    def forward(self, x: Tensor, labels: Tensor | None = None) -> DiscriminatorOutput:
        """``x [N, C, H, W]`` -> logits ``[N]``, features ``[N, 512 * H/8 * W/8]``; it takes no labels."""
        features = self.layers(append_labels(x, labels, None))
        logits = self.head(features).flatten()  # [N, 1] -> [N]
        return DiscriminatorOutput(logits, features)


def initialised(layer: Layer) -> Layer:
    """``layer`` with weights N(0, 0.02) and zero biases; call it before spectral norm, which replaces the weight."""
    nn.init.normal_(layer.weight, 0.0, 0.02)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer

"""SN-DCGAN (Miyato et al. 2018, "Spectral Normalization for Generative Adversarial Networks", table 3).

Weights start at N(0, 0.02) and biases at zero, as in google/compare_gan. At 32x32x3 with 128 latents G has 3,813,379
trainable parameters and D 5,860,865.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from torch import Tensor, nn

from adversaria.core.ranges import Width
from adversaria.core.types import DataSpec, DiscriminatorOutput
from adversaria.nn.layers import append_labels, output_activation, require_positive, spectral_norm, square_image
from adversaria.nn.network import Discriminator, Generator

SIZES = range(16, 129, 8)

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


class SNDCGANGenerator(Generator):
    """A linear layer to ``8 * width`` maps of an eighth of the side, three transposed convolutions, BatchNorm and ReLU.

    Args:
        spec: of the data: square images whose side is a multiple of 8 from 16 to 128, and any number of channels.
        latent_dim: length of the latent.
        width: channels of the largest feature map; each smaller one has twice as many.

    Raises:
        UserError: data that it cannot make, or a number below 1.
    """

    conditional = False

    def __init__(self, *, spec: DataSpec, latent_dim: Width = 128, width: Width = 64) -> None:
        super().__init__()
        require_positive("model.generator", latent_dim=latent_dim, width=width)
        channels, size = square_image(spec, "sndcgan", SIZES)
        side, w = size // 8, width
        self.latent_dim = latent_dim
        self.layers = nn.Sequential(
            # [N, latent_dim] -> [N, 8 * w, H/8, W/8]
            initialised(nn.Linear(latent_dim, 8 * w * side * side)),
            nn.Unflatten(1, (8 * w, side, side)),
            nn.BatchNorm2d(8 * w),
            nn.ReLU(),
            # -> [N, 4 * w, H/4, W/4]
            initialised(nn.ConvTranspose2d(8 * w, 4 * w, kernel_size=4, stride=2, padding=1)),
            nn.BatchNorm2d(4 * w),
            nn.ReLU(),
            # -> [N, 2 * w, H/2, W/2]
            initialised(nn.ConvTranspose2d(4 * w, 2 * w, kernel_size=4, stride=2, padding=1)),
            nn.BatchNorm2d(2 * w),
            nn.ReLU(),
            # -> [N, w, H, W]
            initialised(nn.ConvTranspose2d(2 * w, w, kernel_size=4, stride=2, padding=1)),
            nn.BatchNorm2d(w),
            nn.ReLU(),
            # -> [N, C, H, W]
            initialised(nn.Conv2d(w, channels, kernel_size=3, padding=1)),
            output_activation(spec),
        )

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """``z [N, latent_dim]`` -> images ``[N, C, H, W]`` in [-1, 1]; it takes no labels."""
        images: Tensor = self.layers(append_labels(z, labels, None))
        return images


class SNDCGANDiscriminator(Discriminator):
    """Seven convolutions and a linear layer, all spectrally normalised, with LeakyReLU of slope 0.1.

    Args:
        spec: of the data: square images whose side is a multiple of 8 from 16 to 128, and any number of channels.
        width: channels of the largest feature map; each smaller one has twice as many.

    Raises:
        UserError: data that it cannot judge, or ``width`` below 1.
    """

    conditional = False

    def __init__(self, *, spec: DataSpec, width: Width = 64) -> None:
        super().__init__()
        require_positive("model.discriminator", width=width)
        channels, size = square_image(spec, "sndcgan", SIZES)
        side, w = size // 8, width
        self.layers = nn.Sequential(
            # [N, C, H, W] -> [N, w, H, W]
            spectral_norm(initialised(nn.Conv2d(channels, w, kernel_size=3, padding=1))),
            nn.LeakyReLU(0.1),
            # -> [N, 2 * w, H/2, W/2]
            spectral_norm(initialised(nn.Conv2d(w, 2 * w, kernel_size=4, stride=2, padding=1))),
            nn.LeakyReLU(0.1),
            spectral_norm(initialised(nn.Conv2d(2 * w, 2 * w, kernel_size=3, padding=1))),
            nn.LeakyReLU(0.1),
            # -> [N, 4 * w, H/4, W/4]
            spectral_norm(initialised(nn.Conv2d(2 * w, 4 * w, kernel_size=4, stride=2, padding=1))),
            nn.LeakyReLU(0.1),
            spectral_norm(initialised(nn.Conv2d(4 * w, 4 * w, kernel_size=3, padding=1))),
            nn.LeakyReLU(0.1),
            # -> [N, 8 * w, H/8, W/8]
            spectral_norm(initialised(nn.Conv2d(4 * w, 8 * w, kernel_size=4, stride=2, padding=1))),
            nn.LeakyReLU(0.1),
            spectral_norm(initialised(nn.Conv2d(8 * w, 8 * w, kernel_size=3, padding=1))),
            nn.LeakyReLU(0.1),
            nn.Flatten(),
        )
        self.head = spectral_norm(initialised(nn.Linear(8 * w * side * side, 1)))

    @property
    def stages(self) -> Sequence[nn.Module]:
        """The activation of each convolution."""
        return [layer for layer in self.layers if isinstance(layer, nn.LeakyReLU)]

    def forward(self, x: Tensor, labels: Tensor | None = None) -> DiscriminatorOutput:
        """``x [N, C, H, W]`` -> logits ``[N]``, features ``[N, 8 * w * H/8 * W/8]``; it takes no labels."""
        features = self.layers(append_labels(x, labels, None))
        logits = self.head(features).flatten()  # [N, 1] -> [N]
        return DiscriminatorOutput(logits, features)


def initialised(layer: Layer) -> Layer:
    """``layer`` with weights N(0, 0.02) and zero biases; call it before spectral norm, which replaces the weight."""
    nn.init.normal_(layer.weight, 0.0, 0.02)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer

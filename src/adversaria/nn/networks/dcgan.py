"""DCGAN (Radford et al. 2016, "Unsupervised Representation Learning with Deep Convolutional GANs").

With ``conditional=True`` it is the conditional GAN of Mirza & Osindero 2014: embedded labels join the latent of G and
the input channels of D. Norms, convolutions and the number of residual blocks can be chosen; the defaults are the
paper's.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.core.ranges import DepthOrNone, Positive, Width
from adversaria.core.types import DataSpec, DiscriminatorOutput
from adversaria.nn.layers import (
    CONVOLUTIONS,
    TRANSPOSED,
    PlainBlock,
    ResidualBlock,
    SeparableConv2d,
    SeparableConvTranspose2d,
    activation_layer,
    append_labels,
    choose,
    has_bias,
    initialise,
    label_embedding,
    norm_layers,
    output_activation,
    require_positive,
    square_image,
)
from adversaria.nn.network import Discriminator, Generator

SIZES = (16, 32, 64, 128, 256)


class DCGANGenerator(Generator):
    """Transposed convolutions of kernel 4 from the latent to the image, with norm and ReLU (section 3).

    Args:
        spec: of the data: square images of side 16, 32, 64, 128 or 256 and any number of channels.
        latent_dim: length of the latent.
        width: channels of the largest feature map, which has half the image's side; each smaller map has twice as
            many.
        max_width: at most so many channels.
        norm: `batch` as in the paper, `instance`, `layer`, `group`, `pixel` or `none`; see
            `adversaria.nn.layers.norms`.
        convolution: `plain`, or `separable` into one filter per channel and a 1x1 convolution; the last convolution,
            which makes the image, is always plain.
        residual_blocks: after each change of the side, of two convolutions of kernel 3.
        plain_blocks: after those, the same without the shortcut and with an activation after each convolution.
        activation: one of `adversaria.nn.layers.ACTIVATIONS`.
        init: of the weights: `default` as in the paper, `xavier`, `he` or `orthogonal`.
        init_gain: multiplies the weights before training.
        conditional: whether it is given labels.
        label_dim: numbers in a label's embedding, if conditional.

    Raises:
        UserError: data that it cannot make, a size below 1, an unknown norm, convolution, activation or
            initialisation, a gain of 0 or less, or ``conditional`` without labels.
    """

    def __init__(
        self,
        *,
        spec: DataSpec,
        latent_dim: Width = 100,
        width: Width = 64,
        max_width: Width = 512,
        norm: str = "batch",
        convolution: str = "plain",
        residual_blocks: DepthOrNone = 0,
        plain_blocks: DepthOrNone = 0,
        activation: str = "relu",
        init: str = "default",
        init_gain: Positive = 1.0,
        conditional: bool = False,
        label_dim: Width = 32,
    ) -> None:
        super().__init__()
        key = "model.generator"
        require_positive(key, latent_dim=latent_dim, width=width, max_width=max_width, label_dim=label_dim)
        channels, size = square_image(spec, "dcgan", SIZES)
        self.latent_dim = latent_dim
        self.conditional = conditional
        self.embedding = label_embedding(spec, label_dim) if conditional else None

        after = functools.partial(
            blocks,
            key,
            residual=residual_blocks,
            plain=plain_blocks,
            convolution=convolution,
            norm=norm,
            activation=activation,
        )
        widths = feature_widths(size, width, max_width)[::-1]  # 256, 128, 64 for 32 px
        input_dim = latent_dim + (label_dim if conditional else 0)
        # A kernel-4 transposed convolution of a 1x1 map is this matrix product, and several times slower on CPUs.
        self.project = nn.Linear(input_dim, widths[0] * 4 * 4, bias=False)
        layers: list[nn.Module] = [
            nn.Unflatten(1, (widths[0], 4, 4)),
            *norm_layers(key, norm, widths[0]),
            activation_layer(key, activation),
            *after(widths[0]),
        ]
        transposed = choose(f"{key}.convolution", convolution, TRANSPOSED)
        for wide, narrow in pairwise(widths):
            normalise = norm_layers(key, norm, narrow)
            layers += [
                transposed(wide, narrow, kernel_size=4, stride=2, padding=1, bias=not has_bias(normalise)),
                *normalise,
                activation_layer(key, activation),
                *after(narrow),
            ]
        layers += [
            nn.ConvTranspose2d(widths[-1], channels, kernel_size=4, stride=2, padding=1),
            output_activation(spec),
        ]
        self.layers = nn.Sequential(*layers)
        self.apply(init_weights)
        initialise(key, self, init, init_gain)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """``z [N, latent_dim]``, ``labels [N]`` if conditional -> images ``[N, C, H, W]`` in [-1, 1]."""
        h = self.project(append_labels(z, labels, self.embedding))  # [N, 256 * 4 * 4]
        images: Tensor = self.layers(h)  # [N, 256, 4, 4] -> [N, 128, 8, 8] -> [N, 64, 16, 16] -> [N, C, 32, 32]
        return images


class DCGANDiscriminator(Discriminator):
    """The generator mirrored: convolutions of kernel 4 with LeakyReLU of slope 0.2, a norm after all but the first.

    Args:
        spec: of the data: square images of side 16, 32, 64, 128 or 256 and any number of channels.
        width: channels of the largest feature map, which has half the image's side; each smaller map has twice as
            many.
        max_width: at most so many channels.
        norm: `batch` as in the paper, `instance`, `layer`, `group`, `pixel` or `none`; see
            `adversaria.nn.layers.norms`. Not `batch` for gradient penalties: it mixes the gradients of samples.
        convolution: `plain`, or `separable` into one filter per channel and a 1x1 convolution; the first convolution,
            which sees the image, is always plain.
        residual_blocks: after each change of the side, of two convolutions of kernel 3.
        plain_blocks: after those, the same without the shortcut and with an activation after each convolution.
        activation: one of `adversaria.nn.layers.ACTIVATIONS`, `leaky_relu` with slope 0.2.
        init: of the weights: `default` as in the paper, `xavier`, `he` or `orthogonal`.
        init_gain: multiplies the weights before training.
        conditional: whether it is given labels.
        label_dim: numbers in a label's embedding, each one more input channel, if conditional.

    Raises:
        UserError: data that it cannot judge, a size below 1, an unknown norm, convolution, activation or
            initialisation, a gain of 0 or less, or ``conditional`` without labels.
    """

    def __init__(
        self,
        *,
        spec: DataSpec,
        width: Width = 64,
        max_width: Width = 512,
        norm: str = "batch",
        convolution: str = "plain",
        residual_blocks: DepthOrNone = 0,
        plain_blocks: DepthOrNone = 0,
        activation: str = "leaky_relu",
        init: str = "default",
        init_gain: Positive = 1.0,
        conditional: bool = False,
        label_dim: Width = 8,
    ) -> None:
        super().__init__()
        key = "model.discriminator"
        require_positive(key, width=width, max_width=max_width, label_dim=label_dim)
        channels, size = square_image(spec, "dcgan", SIZES)
        self.conditional = conditional
        self.embedding = label_embedding(spec, label_dim) if conditional else None

        after = functools.partial(
            blocks,
            key,
            residual=residual_blocks,
            plain=plain_blocks,
            convolution=convolution,
            norm=norm,
            activation=activation,
        )
        widths = feature_widths(size, width, max_width)  # 64, 128, 256 for 32 px
        input_channels = channels + (label_dim if conditional else 0)
        layers: list[nn.Module] = [
            nn.Conv2d(input_channels, widths[0], kernel_size=4, stride=2, padding=1),
            activation_layer(key, activation),
            *after(widths[0]),
        ]
        self._ends = [len(layers)]  # how many layers there are up to each change of the side
        convolve = choose(f"{key}.convolution", convolution, CONVOLUTIONS)
        for narrow, wide in pairwise(widths):
            normalise = norm_layers(key, norm, wide)
            layers += [
                convolve(narrow, wide, kernel_size=4, stride=2, padding=1, bias=not has_bias(normalise)),
                *normalise,
                activation_layer(key, activation),
                *after(wide),
            ]
            self._ends.append(len(layers))
        self.layers = nn.Sequential(*layers, nn.Flatten())
        # A kernel-4 convolution of a 4x4 map.
        self.head = nn.Linear(widths[-1] * 4 * 4, 1)
        self.apply(init_weights)
        initialise(key, self, init, init_gain)

    @property
    def stages(self) -> Sequence[nn.Module]:
        """One for each side of the maps: the last module at it."""
        return [self.layers[k - 1] for k in self._ends]

    def forward(self, x: Tensor, labels: Tensor | None = None) -> DiscriminatorOutput:
        """``x [N, C, H, W]``, ``labels [N]`` if conditional -> logits ``[N]``, features ``[N, 256 * 4 * 4]``."""
        x = append_labels(x, labels, self.embedding)
        features = self.layers(x)  # [N, 64, 16, 16] -> [N, 128, 8, 8] -> [N, 256, 4, 4] -> [N, 4096]
        logits = self.head(features).flatten()  # [N, 1] -> [N]
        return DiscriminatorOutput(logits, features)


def feature_widths(size: int, width: int, max_width: int) -> list[int]:
    """Channels of the feature maps from half the side of the image down to 4x4: 64, 128, 256 for 32 px."""
    return [min(width * 2**i, max_width) for i in range((size // 4).bit_length() - 1)]


def blocks(
    key: str, channels: int, *, residual: int, plain: int, convolution: str, norm: str, activation: str
) -> list[nn.Module]:
    """So many residual blocks, then so many plain ones.

    Raises:
        UserError: a negative count, or an unknown norm, convolution or activation.
    """
    make = choose(f"{key}.convolution", convolution, CONVOLUTIONS)
    made: list[nn.Module] = []
    for name, count, block in (("residual_blocks", residual, ResidualBlock), ("plain_blocks", plain, PlainBlock)):
        if count < 0:
            raise UserError(f"{key}.{name}={count} is negative; give the number of blocks, 0 for none")
        made += [
            block(key, channels, convolution=make, norm=norm, activation=activation_layer(key, activation))
            for _ in range(count)
        ]
    return made


def init_weights(module: nn.Module) -> None:
    """Weights N(0, 0.02) (section 4), BatchNorm's gains N(1, 0.02) as in the authors' code, biases zero.

    So are the kernels that the two parts of a separable convolution make up; the filters alone keep the size of maps.
    """
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, SeparableConv2d | SeparableConvTranspose2d):  # after its two parts
        side = module.depthwise.kernel_size[0]
        nn.init.normal_(module.depthwise.weight, 0.0, 1 / side)
        nn.init.normal_(module.pointwise.weight, 0.0, 0.02 * side)

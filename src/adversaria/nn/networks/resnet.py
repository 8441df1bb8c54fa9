"""The ResNet family: WGAN-GP, SNGAN, projection, AC-GAN and SAGAN are settings of these two networks.

Residual blocks from Gulrajani et al. 2017 ("Improved Training of Wasserstein GANs", appendix F); sum pooling and
spectral normalisation from Miyato et al. 2018 ("Spectral Normalization for Generative Adversarial Networks", table 4);
class labels by conditional BatchNorm and projection from Miyato & Koyama 2018 ("cGANs with Projection Discriminator"),
or by an auxiliary classifier from Odena et al. 2017 ("Conditional Image Synthesis with Auxiliary Classifier GANs");
attention from Zhang et al. 2019 ("Self-Attention Generative Adversarial Networks").

The layouts for each size are those of kwotsin/mimicry, which at 32x32x3 and 10 classes have

    ==========  ==========  ==========
    recipe      G           D
    ==========  ==========  ==========
    sngan       4,276,739   1,053,825
    wgan_gp     1,204,483   1,053,825
    projection  4,304,387   1,055,105
    acgan       4,304,387   1,055,115
    sagan       4,386,308   1,075,586
    ==========  ==========  ==========

trainable parameters. Weights start from Glorot & Bengio's uniform distribution, biases at zero.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adversaria.core.errors import UserError
from adversaria.core.ranges import Width
from adversaria.core.types import DataSpec, DiscriminatorOutput
from adversaria.nn.layers import (
    ConditionalBatchNorm2d,
    SelfAttention2d,
    class_count,
    label_arguments,
    output_activation,
    require_positive,
    square_image,
)
from adversaria.nn.layers.residual import DiscriminatorBlock, GeneratorBlock, Make, Upsampling, Wrap
from adversaria.nn.layers.spectral_norm import spectral_norm as normalise_spectrally
from adversaria.nn.network import Discriminator, Generator


@dataclass(frozen=True)
class Layout:
    """The blocks for one image size; channels are ``width`` divided by these numbers.

    Attributes:
        side: of G's first feature map; each block doubles it.
        generator: for the first feature map and the outputs of G's blocks.
        discriminator: for the outputs of D's blocks.
        halvings: how many of D's blocks, from the first, halve the side.
        attention: after how many of G's blocks attention stands, if there is any; in D always after two.
    """

    side: int
    generator: tuple[int, ...]
    discriminator: tuple[int, ...]
    halvings: int
    attention: int


LAYOUTS = {
    16: Layout(4, (1, 1, 1), (1, 1, 1, 1), 2, 1),
    32: Layout(4, (1, 1, 1, 1), (1, 1, 1, 1), 2, 2),
    48: Layout(6, (1, 2, 4, 8), (16, 8, 4, 2, 1), 4, 2),
    64: Layout(4, (1, 2, 4, 8, 16), (16, 8, 4, 2, 1), 5, 3),
    128: Layout(4, (1, 1, 2, 4, 8, 16), (16, 8, 4, 2, 1, 1), 5, 3),
}
ATTENTION_IN_DISCRIMINATOR = 2

XAVIER = nn.init.xavier_uniform_
#: for the two 3x3 convolutions of each block, as in mimicry
XAVIER_OF_BLOCKS = functools.partial(XAVIER, gain=math.sqrt(2))

POOLINGS = {"sum": torch.sum, "mean": torch.mean}


class ResNetGenerator(Generator):
    """A linear layer to a 4x4 map (6x6 for 48 px), residual blocks that double the side, BatchNorm, ReLU, convolution.

    Args:
        spec: of the data: square images of 16, 32, 48, 64 or 128 px, and any number of channels.
        latent_dim: length of the latent.
        width: channels of the smallest feature map. They stay so up to 32 px; above, each doubling of the side halves
            them.
        conditional: labels choose gain and bias of the blocks' BatchNorm.
        attention: self-attention between two blocks, at half the side (at 128 px at a quarter).
        spectral_norm: of every linear layer and convolution.
        upsampling: how blocks double the side: ``bilinear`` (mimicry) or ``nearest`` (the papers).

    Raises:
        UserError: data that it cannot make, ``conditional`` without labels, or a number below 1.
    """

    def __init__(
        self,
        *,
        spec: DataSpec,
        latent_dim: Width = 128,
        width: Width = 256,
        conditional: bool = False,
        attention: bool = False,
        spectral_norm: bool = False,
        upsampling: Upsampling = "bilinear",
    ) -> None:
        super().__init__()
        require_positive("model.generator", latent_dim=latent_dim, width=width)
        channels, size = square_image(spec, "resnet", list(LAYOUTS))
        layout = LAYOUTS[size]
        widths = [max(1, width // divisor) for divisor in layout.generator]
        wrap = _wrap(spectral_norm)
        make, make_in_block = Make(XAVIER, wrap), Make(XAVIER_OF_BLOCKS, wrap)
        classes = class_count(spec) if conditional else None

        def norm(channels: int) -> nn.Module:
            return nn.BatchNorm2d(channels) if classes is None else _class_norm(channels, classes)

        self.latent_dim, self.conditional = latent_dim, conditional
        self.shape = (widths[0], layout.side, layout.side)
        self.input = make(nn.Linear(latent_dim, widths[0] * layout.side**2))
        self.blocks = nn.ModuleList(
            GeneratorBlock(a, b, norm=norm, make=make_in_block, make_shortcut=make, upsampling=upsampling)
            for a, b in itertools.pairwise(widths)
        )
        self.attention_after = layout.attention
        self.attention = SelfAttention2d(widths[layout.attention], wrap) if attention else nn.Identity()
        self.norm = nn.BatchNorm2d(widths[-1])
        self.output = make(nn.Conv2d(widths[-1], channels, 3, padding=1))
        self.activation = output_activation(spec)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """``z [N, latent_dim]``, ``labels [N]`` if conditional -> images ``[N, C, H, W]`` in [-1, 1]."""
        condition = label_arguments(labels, self.conditional)
        h = self.input(z).unflatten(1, self.shape)  # [N, width, 4, 4]
        for k, block in enumerate(self.blocks, start=1):
            h = block(h, *condition)
            if k == self.attention_after:
                h = self.attention(h)
        images: Tensor = self.activation(self.output(F.relu(self.norm(h))))
        return images


class ResNetDiscriminator(Discriminator):
    """Residual blocks, ReLU, pooling over all positions, a linear layer.

    A conditional D is a projection discriminator: the inner product of the features with an embedding of the label is
    added to the logit (Miyato & Koyama 2018, equation 3). With ``classifier`` it is that of AC-GAN instead: it guesses
    the label, to be trained with ``regulariser=auxiliary_classifier``, and does not look at the one that it is given.

    Args:
        spec: of the data: square images of 16, 32, 48, 64 or 128 px, and any number of channels.
        width: channels of the last feature map. All blocks have as many up to 32 px; above, they grow from a sixteenth.
        conditional: takes labels.
        classifier: fills ``class_logits``; needs ``conditional``.
        attention: self-attention after the second block.
        spectral_norm: of every linear layer, convolution and embedding.
        pooling: ``sum`` or ``mean``.
        activated_shortcut: the shortcuts of all blocks but the first start after the block's first ReLU, as they do in
            mimicry, whose ReLU works in place; in the papers they start before it.

    Raises:
        UserError: data that it cannot judge, ``conditional`` without labels, ``classifier`` without ``conditional``, or
            ``width`` below 1.
    """

    def __init__(
        self,
        *,
        spec: DataSpec,
        width: Width = 128,
        conditional: bool = False,
        classifier: bool = False,
        attention: bool = False,
        spectral_norm: bool = True,
        pooling: Literal["sum", "mean"] = "sum",
        activated_shortcut: bool = True,
    ) -> None:
        super().__init__()
        require_positive("model.discriminator", width=width)
        if classifier and not conditional:
            raise UserError(
                "model.discriminator.classifier=true learns from labels; set model.discriminator.conditional=true "
                "model.generator.conditional=true, or classifier=false"
            )
        channels, size = square_image(spec, "resnet", list(LAYOUTS))
        layout = LAYOUTS[size]
        widths = [channels, *(max(1, width // divisor) for divisor in layout.discriminator)]
        wrap = _wrap(spectral_norm)
        make, make_in_block = Make(XAVIER, wrap), Make(XAVIER_OF_BLOCKS, wrap)
        classes = class_count(spec) if conditional else 0
        self.conditional, self.pooling = conditional, pooling
        #: how many classes ``class_logits`` has; None if D does not guess labels
        self.num_class_logits = classes if classifier else None
        self.blocks = nn.ModuleList(
            DiscriminatorBlock(
                a,
                b,
                hidden=b if k == 0 else a,
                make=make_in_block,
                make_shortcut=make,
                downsample=k < layout.halvings,
                first=k == 0,
                activated_shortcut=activated_shortcut,
            )
            for k, (a, b) in enumerate(itertools.pairwise(widths))
        )
        self.attention = SelfAttention2d(widths[ATTENTION_IN_DISCRIMINATOR], wrap) if attention else nn.Identity()
        self.head = make(nn.Linear(widths[-1], 1))
        self.projection = make(nn.Embedding(classes, widths[-1])) if conditional and not classifier else None
        self.classifier = make(nn.Linear(widths[-1], classes)) if classifier else None

    @property
    def stages(self) -> Sequence[nn.Module]:
        """Each residual block."""
        return list(self.blocks)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> DiscriminatorOutput:
        """``x [N, C, H, W]``, ``labels [N]`` if conditional -> logits ``[N]``, features ``[N, width]``."""
        condition = label_arguments(labels, self.conditional)
        h = x
        for k, block in enumerate(self.blocks, start=1):
            h = block(h)
            if k == ATTENTION_IN_DISCRIMINATOR:
                h = self.attention(h)
        features = POOLINGS[self.pooling](F.relu(h), dim=(2, 3))  # [N, width, h, w] -> [N, width]
        logits = self.head(features).flatten()  # [N, 1] -> [N]
        if self.projection is not None:
            logits = logits + (self.projection(*condition) * features).sum(dim=1)
        return DiscriminatorOutput(logits, features, None if self.classifier is None else self.classifier(features))


def _wrap(spectral_norm: bool) -> Wrap:
    return normalise_spectrally if spectral_norm else lambda layer: layer


def _class_norm(channels: int, classes: int) -> ConditionalBatchNorm2d:
    """Its gains start at N(1, 0.02), as in mimicry, so that classes differ from the first step on."""
    norm = ConditionalBatchNorm2d(channels, classes)
    assert isinstance(norm.gain, nn.Embedding)
    nn.init.normal_(norm.gain.weight, std=0.02)
    return norm

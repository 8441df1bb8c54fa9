"""BigGAN (Brock et al. 2019, "Large Scale GAN Training for High Fidelity Natural Image Synthesis", appendix B).

Residual networks with spectral normalisation in G and D, class-conditional BatchNorm in G and a projection of the class
in D (Miyato & Koyama 2018). With ``shared_dim`` all norms of G read one embedding of the class, with ``hierarchical``
each block reads a part of the latent besides (figure 15). The widths are those of the authors' PyTorch code, which adds
a layout for 32 px to the paper's tables 4 to 6.

Trainable parameters at 32x32x3 with 10 classes:

- authors' CIFAR setting (width 64, 128 latents, one-hot classes, no attention): G 4,304,387, D 4,207,361;
- StudioGAN's CIFAR setting (G of width 96, 80 hierarchical latents, 128 shared, D of width 48, attention at 16): G
  9,416,196, D 2,415,170.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adversaria.core.errors import UserError
from adversaria.core.ranges import Length, Positive, Side, Width
from adversaria.core.types import DataSpec, DiscriminatorOutput
from adversaria.nn.layers import (
    ConditionalBatchNorm2d,
    SelfAttention2d,
    class_count,
    label_arguments,
    label_embedding,
    output_activation,
    require_positive,
    spectral_norm,
    square_image,
)
from adversaria.nn.layers.residual import DiscriminatorBlock, GeneratorBlock, Make
from adversaria.nn.network import Discriminator, Generator

#: by side of the image: the channels, in units of ``width``, of G's first map of 4x4 and after each of its blocks
GENERATOR_WIDTHS: Mapping[int, tuple[int, ...]] = MappingProxyType(
    {
        32: (4, 4, 4, 4),
        64: (16, 16, 8, 4, 2),
        128: (16, 16, 8, 4, 2, 1),
        256: (16, 16, 8, 8, 4, 2, 1),
    }
)
#: by side of the image: the channels, in units of ``width``, after each of D's blocks
DISCRIMINATOR_WIDTHS: Mapping[int, tuple[int, ...]] = MappingProxyType(
    {
        32: (4, 4, 4, 4),
        64: (1, 2, 4, 8, 16),
        128: (1, 2, 4, 8, 16, 16),
        256: (1, 2, 4, 8, 8, 16, 16),
    }
)
#: by side of the image: the side of D's last map; the first blocks halve it that far, the others keep it
LAST_SIDE: Mapping[int, int] = MappingProxyType({32: 8, 64: 4, 128: 4, 256: 4})

Initialiser = Literal["normal", "orthogonal", "xavier"]
INITIALISERS: Mapping[str, Callable[[Tensor], Any]] = MappingProxyType(
    {
        "normal": functools.partial(nn.init.normal_, std=0.02),
        "orthogonal": nn.init.orthogonal_,
        "xavier": nn.init.xavier_uniform_,
    }
)


class BigGANGenerator(Generator):
    """A linear layer to a 4x4 map, residual blocks that double its side, BatchNorm, ReLU and a convolution.

    Args:
        spec: of the data: square images of side 32, 64, 128 or 256 and any number of channels.
        latent_dim: length of the latent. With ``hierarchical`` the first layer and each block take equal parts, and a
            remainder is dropped, as in the authors' code.
        width: channels in the unit of the layout: 4 times as many in every map at 32 px.
        conditional: whether it is given labels.
        shared_dim: length of one embedding of the class that every norm maps to gain and bias; null: each norm has a
            gain and a bias for each class.
        hierarchical: each block's norms read a part of the latent; conditional networks need ``shared_dim`` for that.
        attention: sides of the maps after which self-attention follows.
        init: of the weights: ``normal`` (0, 0.02), ``orthogonal`` or ``xavier``; biases start at zero.
        norm_eps: added to the variance in BatchNorm.

    Raises:
        UserError: data that it cannot make, a number out of range, ``conditional`` without labels, ``hierarchical``
            and ``conditional`` without ``shared_dim``, or attention at a side that no map has.
    """

    def __init__(
        self,
        *,
        spec: DataSpec,
        latent_dim: Width = 128,
        width: Width = 64,
        conditional: bool = False,
        shared_dim: Width | None = None,
        hierarchical: bool = False,
        attention: Annotated[Sequence[Side], Length(0, 16)] = (),
        init: Initialiser = "orthogonal",
        norm_eps: Positive = 1e-5,
    ) -> None:
        super().__init__()
        require_positive("model.generator", latent_dim=latent_dim, width=width)
        require_positive("model.generator", shared_dim=1 if shared_dim is None else shared_dim)
        channels, size = square_image(spec, "biggan", tuple(GENERATOR_WIDTHS))
        if hierarchical and conditional and shared_dim is None:
            raise UserError(
                "model.generator.hierarchical joins parts of the latent to the shared embedding of the class, but "
                "model.generator.shared_dim is null: set it to a number such as 128, or hierarchical to false"
            )
        widths = [width * factor for factor in GENERATOR_WIDTHS[size]]
        sides = [8 * 2**i for i in range(len(widths) - 1)]
        require_sides("model.generator", attention, sides)
        # One part for the first layer and one for each block.
        self.part = latent_dim // len(widths) if hierarchical else latent_dim
        if self.part < 1:
            raise UserError(
                f"model.generator.latent_dim={latent_dim} cannot be cut into the {len(widths)} parts that "
                f"model.generator.hierarchical needs here: set it to {len(widths)} or more"
            )
        self.latent_dim = self.part * len(widths) if hierarchical else latent_dim
        self.conditional, self.hierarchical = conditional, hierarchical
        make = Make(INITIALISERS[init], spectral_norm)
        # Embeddings of classes go without spectral norm, as in the authors' code.
        make_embedding = Make(INITIALISERS[init])

        self.shared = None
        if conditional and shared_dim is not None:
            self.shared = make_embedding(label_embedding(spec, shared_dim))
        norm = block_norm(
            length=(shared_dim or 0) * conditional + self.part * hierarchical,
            classes=class_count(spec) if conditional else 0,
            make=make,
            make_embedding=make_embedding,
            eps=norm_eps,
        )

        self.first = make(nn.Linear(self.part, widths[0] * 4 * 4))
        self.blocks, self.attention = nn.ModuleList(), nn.ModuleList()
        for (a, b), side in zip(pairwise(widths), sides, strict=True):
            self.blocks.append(GeneratorBlock(a, b, norm=norm, make=make, make_shortcut=make, upsampling="nearest"))
            self.attention.append(SelfAttention2d(b, make) if side in attention else nn.Identity())
        self.last = nn.Sequential(
            nn.BatchNorm2d(widths[-1], eps=norm_eps),
            nn.ReLU(),
            make(nn.Conv2d(widths[-1], channels, kernel_size=3, padding=1)),
            output_activation(spec),
        )

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """``z [N, latent_dim]``, ``labels [N]`` if conditional -> images ``[N, C, H, W]`` in [-1, 1]."""
        condition = label_arguments(labels, self.conditional)  # [N]
        if self.shared is not None:
            condition = (self.shared(*condition),)  # [N, shared_dim]
        parts = torch.split(z, self.part, dim=1)
        conditions = [condition] * len(self.blocks)
        if self.hierarchical:
            conditions = [(torch.cat([*condition, part], dim=1),) for part in parts[1:]]
        h = self.first(parts[0]).view(len(z), -1, 4, 4)  # [N, C * 16] -> [N, C, 4, 4]
        for block, attention, condition in zip(self.blocks, self.attention, conditions, strict=True):
            h = attention(block(h, *condition))  # [N, C, H, W] -> [N, C', 2H, 2W]
        images: Tensor = self.last(h)
        return images


class BigGANDiscriminator(Discriminator):
    """Residual blocks, the sum over all positions, a linear layer, and the features' projection onto the class.

    Args:
        spec: of the data: square images of side 32, 64, 128 or 256 and any number of channels.
        width: channels in the unit of the layout: 4 times as many in every map at 32 px.
        conditional: whether it is given labels.
        attention: sides of the maps after which self-attention follows, after every block with a map of this side.
        init: of the weights: ``normal`` (0, 0.02), ``orthogonal`` or ``xavier``; biases start at zero.
        wide: whether the first convolution of a block already has as many channels as the second (BigGAN), rather than
            as many as its input (SNGAN).
        activated_shortcut: whether the shortcuts of all blocks but the first start after the block's first ReLU, as
            they do in StudioGAN, whose ReLU works in place; in the paper they start before it.

    Raises:
        UserError: data that it cannot judge, a number out of range, ``conditional`` without labels, or attention at a
            side that no map has.
    """

    def __init__(
        self,
        *,
        spec: DataSpec,
        width: Width = 64,
        conditional: bool = False,
        attention: Annotated[Sequence[Side], Length(0, 16)] = (),
        init: Initialiser = "orthogonal",
        wide: bool = True,
        activated_shortcut: bool = False,
    ) -> None:
        super().__init__()
        require_positive("model.discriminator", width=width)
        channels, size = square_image(spec, "biggan", tuple(DISCRIMINATOR_WIDTHS))
        widths = [channels, *(width * factor for factor in DISCRIMINATOR_WIDTHS[size])]
        sides = [max(size // 2 ** (i + 1), LAST_SIDE[size]) for i in range(len(widths) - 1)]
        require_sides("model.discriminator", attention, sides)
        self.conditional = conditional
        make = Make(INITIALISERS[init], spectral_norm)

        self.blocks, self.attention = nn.ModuleList(), nn.ModuleList()
        steps = zip(pairwise(widths), pairwise([size, *sides]), strict=True)
        for k, ((a, b), (before, side)) in enumerate(steps):
            self.blocks.append(
                DiscriminatorBlock(
                    a,
                    b,
                    hidden=b if wide else a,
                    make=make,
                    make_shortcut=make,
                    downsample=side < before,
                    first=k == 0,
                    activated_shortcut=activated_shortcut,
                )
            )
            self.attention.append(SelfAttention2d(b, make) if side in attention else nn.Identity())
        self.head = make(nn.Linear(widths[-1], 1))
        self.projection = make(label_embedding(spec, widths[-1])) if conditional else None

    @property
    def stages(self) -> Sequence[nn.Module]:
        """Each residual block with the attention behind it, if there is any."""
        return list(self.attention)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> DiscriminatorOutput:
        """``x [N, C, H, W]``, ``labels [N]`` if conditional -> logits ``[N]``, features ``[N, F]``."""
        condition = label_arguments(labels, self.conditional)
        h = x
        for block, attention in zip(self.blocks, self.attention, strict=True):
            h = attention(block(h))  # [N, C, H, W] -> [N, C', H/2, W/2], the last ones keep the side
        features = F.relu(h).sum(dim=(2, 3))  # [N, F, h, w] -> [N, F]
        logits = self.head(features).flatten()  # [N, 1] -> [N]
        if self.projection is not None:
            logits = logits + (self.projection(*condition) * features).sum(dim=1)
        return DiscriminatorOutput(logits, features)


def block_norm(
    *, length: int, classes: int, make: Make, make_embedding: Make, eps: float
) -> Callable[[int], nn.Module]:
    """What makes a norm of G's blocks for so many channels: BatchNorm, conditional if there is a condition.

    Args:
        length: of the vector that is the condition; 0: there is none.
        classes: without a vector, how many classes the condition is one of; 0: no condition at all.
        make: finishes the linear maps of the vector to gain and bias.
        make_embedding: finishes the tables of a gain and a bias for each class.
        eps: added to the variance.
    """

    def linear(c_in: int, c_out: int) -> nn.Linear:
        return make(nn.Linear(c_in, c_out, bias=False))

    def table(c_in: int, c_out: int) -> nn.Embedding:
        return make_embedding(nn.Embedding(c_in, c_out))

    if length:
        return functools.partial(ConditionalBatchNorm2d, condition=length, make=linear, eps=eps)
    if classes:
        return functools.partial(ConditionalBatchNorm2d, condition=classes, make=table, eps=eps)
    return functools.partial(nn.BatchNorm2d, eps=eps)


def require_sides(key: str, attention: Sequence[int], sides: Sequence[int]) -> None:
    """Refuses attention at sides that no map has.

    Raises:
        UserError: naming them.
    """
    if unknown := sorted(set(attention) - set(sides)):
        raise UserError(
            f"{key}.attention={list(attention)} names {', '.join(map(str, unknown))}, and the network has no map of "
            f"that side here: choose from {', '.join(map(str, sorted(set(sides))))}"
        )

"""R3GAN (Huang et al. 2024, "The GAN is dead; long live the GAN! A Modern GAN Baseline", arXiv 2501.05441).

Section 4, configuration E: residual networks of grouped convolutions without normalisation, fix-up initialisation, and
resampling by an interpolating filter. Layouts and initial values are those of the authors' code (brownvc/R3GAN). At
32x32x3 G has 20,732,160 trainable parameters and D 20,683,776; given 10 classes 20,781,952 and 21,280,512.

The authors' layouts, beside the defaults, which are those of CIFAR-10 and FFHQ:

- ImageNet-32: ``width=1536, group_size=32``.
- ImageNet-64: ``width=[1536, 1536, 1536, 1536, 1536], group_size=32``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adversaria.core.errors import UserError
from adversaria.core.ranges import Depth, Length, Side, Width
from adversaria.core.types import DataSpec, DiscriminatorOutput
from adversaria.nn.layers import append_labels, label_embedding, require_positive, square_image
from adversaria.nn.network import Discriminator, Generator

SIZES = (16, 32, 64, 128, 256)
#: up to this side all maps have ``width`` channels; beyond it half as many with each doubling
WIDE_SIDE = 32
SLOPE = 0.2

Weighted = TypeVar("Weighted", nn.Linear, nn.Conv2d, nn.Embedding)


class Stage(NamedTuple):
    """The blocks between two changes of the side: channels, groups of the expanded channels, number of blocks."""

    width: int
    groups: int
    blocks: int


class Block(nn.Module):
    """``x + contract(grouped(expand(x)))``, with LeakyReLU of slope 0.2 between the convolutions (figure 3, right).

    At first it is the identity: the last convolution starts at zero, the others at N(0, gain^2 / fan_in), the gain of
    LeakyReLU being divided by ``depth ** (1/4)`` (Zhang et al. 2019, "Fixup Initialization", for three layers).

    Args:
        stage: channels and groups.
        expansion: expanded channels per channel.
        kernel_size: of the grouped convolution.
        depth: blocks in the whole network.
    """

    def __init__(self, stage: Stage, *, expansion: Width, kernel_size: Side, depth: Depth) -> None:
        super().__init__()
        inner = stage.width * expansion
        gain = math.sqrt(2 / (1 + SLOPE**2)) * depth**-0.25
        self.expand = scaled(nn.Conv2d(stage.width, inner, 1), gain)
        self.grouped = scaled(nn.Conv2d(inner, inner, kernel_size, padding=kernel_size // 2, groups=stage.groups), gain)
        self.contract = scaled(nn.Conv2d(inner, stage.width, 1, bias=False), 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` -> the same."""
        h = F.leaky_relu(self.expand(x), SLOPE)  # [N, expansion * C, H, W]
        h = F.leaky_relu(self.grouped(h), SLOPE)
        update: Tensor = self.contract(h)  # [N, C, H, W]
        return x + update


class _Resampler(nn.Module):
    """Holds the 4x4 filter [1, 3, 3, 1] x [1, 3, 3, 1] of sum 1: linear interpolation at twice or half the side."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.register_buffer("kernel", torch.outer(taps, taps), persistent=False)

    def filters(self, x: Tensor) -> Tensor:
        """One filter for each channel of ``x``, ``[C, 1, 4, 4]``."""
        return self.kernel.to(x.dtype).expand(x.shape[1], 1, 4, 4)


class Upsample(_Resampler):
    """Twice the side: zeros between the pixels, then the filter.

    The sums are made in the order of the authors' code, where an activation near LeakyReLU's bend would else fall on
    its other side. A transposed convolution does not keep that order, and in bfloat16 it is 5 times slower on CPUs.
    """

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` -> ``[N, C, 2H, 2W]``."""
        n, c, h, w = x.shape
        last = x.is_contiguous(memory_format=torch.channels_last)
        order = torch.channels_last if last else torch.contiguous_format
        spread = x.new_zeros(n, c, 2 * h + 3, 2 * w + 3).contiguous(memory_format=order)
        spread[:, :, 2:-1:2, 2:-1:2] = x
        return F.conv2d(spread, 4 * self.filters(x), groups=c)


class Downsample(_Resampler):
    """Half the side: the filter, then every second pixel.

    A strided convolution does the same with fewer products, but its gradient in bfloat16 is 10 times slower on CPUs.
    """

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` -> ``[N, C, H/2, W/2]``."""
        return F.conv2d(x, self.filters(x), padding=1, groups=x.shape[1])[:, :, ::2, ::2]


class R3GANGenerator(Generator):
    """A learned basis of 4x4 maps, weighted by the latent, then blocks at each side up to the image's.

    It ends in a convolution, without tanh: images may leave [-1, 1] a little and are clamped when they are saved.

    Args:
        spec: of the data: square images of side 16, 32, 64, 128 or 256 and any number of channels.
        latent_dim: length of the latent.
        width: channels up to side 32, beyond it half as many with each doubling; or a list, one number for each side
            from 4 to the image's.
        group_size: channels in a group of the expanded channels, at most; or a list, one number for each side. The
            authors' cardinality is ``expansion * width / group_size``.
        blocks: residual blocks at each side; or a list, one number for each side.
        expansion: expanded channels of a block per channel.
        kernel_size: of the grouped convolutions, odd.
        conditional: whether it is given labels.
        label_dim: numbers in a label's embedding, if conditional.

    Raises:
        UserError: data that it cannot make, a number below 1, groups that do not divide the channels, a list of
            another length, an even kernel, or ``conditional`` without labels.
    """

    def __init__(
        self,
        *,
        spec: DataSpec,
        latent_dim: Width = 64,
        width: Width | Annotated[Sequence[Width], Length(1, 16)] = 768,
        group_size: Width | Annotated[Sequence[Width], Length(1, 16)] = 16,
        blocks: Depth | Annotated[Sequence[Depth], Length(1, 16)] = 2,
        expansion: Width = 2,
        kernel_size: Side = 3,
        conditional: bool = False,
        label_dim: Width = 64,
    ) -> None:
        super().__init__()
        key = "model.generator"
        require_positive(key, latent_dim=latent_dim, label_dim=label_dim)
        channels, size = square_image(spec, "r3gan", SIZES)
        stages = layout(key, size, width, group_size, blocks, expansion, kernel_size)
        self.latent_dim = latent_dim
        self.conditional = conditional
        self.embedding = scaled(label_embedding(spec, label_dim), 1.0) if conditional else None

        input_dim = latent_dim + (label_dim if conditional else 0)
        self.project = scaled(nn.Linear(input_dim, stages[0].width, bias=False))
        self.basis = nn.Parameter(torch.randn(stages[0].width, 4, 4))
        depth = sum(stage.blocks for stage in stages)
        layers = residual(stages[0], expansion, kernel_size, depth)
        for before, stage in pairwise(stages):
            layers += [*changed(before.width, stage.width), Upsample()]
            layers += residual(stage, expansion, kernel_size, depth)
        self.layers = nn.Sequential(*layers)
        self.to_image = scaled(nn.Conv2d(stages[-1].width, channels, 1, bias=False))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """``z [N, latent_dim]``, ``labels [N]`` if conditional -> images ``[N, C, H, W]``."""
        weights = self.project(append_labels(z, labels, self.embedding))  # [N, 768]
        h = self.layers(weights[:, :, None, None] * self.basis)  # [N, 768, 4, 4] -> ... -> [N, 768, 32, 32]
        images: Tensor = self.to_image(h)  # [N, C, 32, 32]
        return images


class R3GANDiscriminator(Discriminator):
    """The generator mirrored. A label's embedding is multiplied with the last layer's numbers (section 4).

    Args:
        spec: of the data: square images of side 16, 32, 64, 128 or 256 and any number of channels.
        width: channels up to side 32, beyond it half as many with each doubling; or a list, one number for each side
            from 4 to the image's.
        group_size: channels in a group of the expanded channels, at most; or a list, one number for each side. The
            authors' cardinality is ``expansion * width / group_size``.
        blocks: residual blocks at each side; or a list, one number for each side.
        expansion: expanded channels of a block per channel.
        kernel_size: of the grouped convolutions, odd.
        conditional: whether it is given labels.
        label_dim: numbers in a label's embedding, if conditional; None: as many as there are channels at side 4.

    Raises:
        UserError: data that it cannot judge, a number below 1, groups that do not divide the channels, a list of
            another length, an even kernel, or ``conditional`` without labels.
    """

    def __init__(
        self,
        *,
        spec: DataSpec,
        width: Width | Annotated[Sequence[Width], Length(1, 16)] = 768,
        group_size: Width | Annotated[Sequence[Width], Length(1, 16)] = 16,
        blocks: Depth | Annotated[Sequence[Depth], Length(1, 16)] = 2,
        expansion: Width = 2,
        kernel_size: Side = 3,
        conditional: bool = False,
        label_dim: Width | None = None,
    ) -> None:
        super().__init__()
        key = "model.discriminator"
        channels, size = square_image(spec, "r3gan", SIZES)
        stages = layout(key, size, width, group_size, blocks, expansion, kernel_size)[::-1]
        last = stages[-1].width
        outputs = (last if label_dim is None else label_dim) if conditional else 1
        require_positive(key, label_dim=outputs)
        self.conditional = conditional
        # Its products with the last layer's numbers, summed, start at the size of one of them.
        self.embedding = scaled(label_embedding(spec, outputs), outputs**-0.5) if conditional else None

        depth = sum(stage.blocks for stage in stages)
        layers: list[nn.Module] = [scaled(nn.Conv2d(channels, stages[0].width, 1, bias=False))]
        layers += residual(stages[0], expansion, kernel_size, depth)
        self._ends = [len(layers)]  # how many layers there are up to each change of the side
        for before, stage in pairwise(stages):
            layers += [Downsample(), *changed(before.width, stage.width)]
            layers += residual(stage, expansion, kernel_size, depth)
            self._ends.append(len(layers))
        self.layers = nn.Sequential(*layers)
        self.basis = nn.Parameter(torch.randn(last, 4, 4) / 4)
        self.head = scaled(nn.Linear(last, outputs, bias=False))

    @property
    def stages(self) -> Sequence[nn.Module]:
        """The last residual block at each side."""
        return [self.layers[k - 1] for k in self._ends]

    def forward(self, x: Tensor, labels: Tensor | None = None) -> DiscriminatorOutput:
        """``x [N, C, H, W]``, ``labels [N]`` if conditional -> logits ``[N]``, features ``[N, 768]``."""
        h = self.layers(x)  # [N, 768, 32, 32] -> ... -> [N, 768, 4, 4]
        features = (h * self.basis).sum((2, 3))  # [N, 768]
        scores = self.head(features)  # [N, 1], or [N, label_dim]
        codes = append_labels(scores[:, :0], labels, self.embedding)  # [N, label_dim], or [N, 0]
        logits = (scores * codes).sum(1) if self.conditional else scores.flatten()  # [N]
        return DiscriminatorOutput(logits, features)


def layout(
    key: str,
    size: int,
    width: int | Sequence[int],
    group_size: int | Sequence[int],
    blocks: int | Sequence[int],
    expansion: int,
    kernel_size: int,
) -> list[Stage]:
    """The stages of a network from side 4 to ``size``; see `R3GANGenerator` for the arguments.

    Raises:
        UserError: a number below 1, groups that do not divide the channels, a list of another length, an even kernel.
    """
    require_positive(key, expansion=expansion, kernel_size=kernel_size)
    if kernel_size % 2 == 0:
        raise UserError(f"{key}.kernel_size={kernel_size} is even and would change the side of the maps: choose 3 or 5")
    sides = [4 * 2**i for i in range((size // 4).bit_length())]
    if isinstance(width, int):
        require_positive(key, width=width)
        width = [max(1, width * WIDE_SIDE // max(side, WIDE_SIDE)) for side in sides]
    per_stage = {"width": width, "group_size": group_size, "blocks": blocks}
    columns = [per_side(key, name, value, sides) for name, value in per_stage.items()]
    stages = []
    for channels, group, count in zip(*columns, strict=True):
        inner = channels * expansion
        group = min(group, inner)
        if inner % group:
            raise UserError(
                f"{key}.group_size={group} does not divide the {inner} expanded channels of a block: choose a divisor "
                f"of {inner}, or another {key}.width"
            )
        stages.append(Stage(channels, inner // group, count))
    return stages


def per_side(key: str, name: str, value: int | Sequence[int], sides: Sequence[int]) -> list[int]:
    """``value`` for each side, be it one number for all or a list of them.

    Raises:
        UserError: a number below 1, or a list of another length.
    """
    values = [value] * len(sides) if isinstance(value, int) else list(value)
    for number in values:
        require_positive(key, **{name: number})
    if len(values) != len(sides):
        raise UserError(
            f"{key}.{name}={values} is a list of {len(values)}, and images of side {sides[-1]} take one number for "
            f"each of the sides {', '.join(map(str, sides))}: give {len(sides)} numbers, or a single one for all"
        )
    return values


def residual(stage: Stage, expansion: int, kernel_size: int, depth: int) -> list[nn.Module]:
    """The blocks of a stage."""
    return [Block(stage, expansion=expansion, kernel_size=kernel_size, depth=depth) for _ in range(stage.blocks)]


def changed(before: int, after: int) -> list[nn.Module]:
    """A 1x1 convolution where the number of channels changes, else nothing."""
    return [] if before == after else [scaled(nn.Conv2d(before, after, 1, bias=False))]


def scaled(layer: Weighted, gain: float = 1.0) -> Weighted:
    """``layer`` with weights N(0, gain^2 / fan_in) and zero biases (He et al. 2015).

    An embedding counts as the linear map of one-hot vectors that it is in the authors' code: its fan-in is the number
    of classes.
    """
    weight = layer.weight
    fan_in = len(weight) if isinstance(layer, nn.Embedding) else weight[0].numel()
    nn.init.normal_(weight, 0.0, gain / math.sqrt(fan_in))
    if not isinstance(layer, nn.Embedding) and layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer

"""StyleGAN2 (Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN").

With the arithmetic of the code of "Training Generative Adversarial Networks with Limited Data" (Karras et al. 2020),
which conditions both networks on labels. At 32x32x3 its configuration for CIFAR-10 has 19,947,539 trainable parameters
in G and 20,720,641 in D; with 10 classes 20,215,315 and 23,089,664.

Precision: under bfloat16 autocast the convolutions of G and D take it; latents, styles, demodulation, the image that G
sums up and D's last 4x4 block are float32, as in the authors' code. Activations are clamped in float16 only: bfloat16
has the range of float32. Images have no bounds, as G ends in a sum of linear maps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.core.ranges import Decay, Depth, Share, Side, Width
from adversaria.core.types import DataSpec, DiscriminatorOutput
from adversaria.nn.latents import Latent, Normal
from adversaria.nn.layers import at_least_float32, require_positive, square_image, without_autocast
from adversaria.nn.layers.equalised import LEAKY_RELU_GAIN, EqualisedConv2d, EqualisedLinear, leaky_relu
from adversaria.nn.layers.labels import check_labels
from adversaria.nn.layers.mapping import LabelCode, MappingNetwork
from adversaria.nn.layers.minibatch_std import MinibatchStd
from adversaria.nn.layers.modulated import StyledConv2d, ToImage
from adversaria.nn.layers.resample import Blur, Upsample
from adversaria.nn.network import Discriminator, Generator, Style

SIZES = (16, 32, 64, 128, 256, 512, 1024)


class StyleGAN2Generator(Generator):
    """A latent z becomes an intermediate latent w, and w styles every convolution from a constant to the image.

    Args:
        spec: of the data: square images of side 16, 32, ... 1024 and any number of channels.
        latent_dim: length of z.
        style_dim: length of w, of the layers of the mapping network and of a label's embedding.
        mapping_layers: from z to w, each learning 100 times slower than the rest.
        channel_base: a feature map of side s has ``channel_base / s`` channels,
        channel_max: but at most so many.
        style_mixing: probability, for a batch in training mode, that the layers above a random one follow a second
            latent (Karras et al. 2019, "A Style-Based Generator Architecture", section 3.1).
        w_avg_beta: share of the mean w that stays when a batch in training mode is added.
        conditional: whether it is given labels.

    Raises:
        UserError: data that it cannot make, a number out of range, or ``conditional`` without labels.
    """

    takes_truncation = True
    w_avg: Tensor

    def __init__(
        self,
        *,
        spec: DataSpec,
        latent_dim: Width = 512,
        style_dim: Width = 512,
        mapping_layers: Depth = 8,
        channel_base: Width = 32768,
        channel_max: Width = 512,
        style_mixing: Share = 0.9,
        w_avg_beta: Decay = 0.995,
        conditional: bool = False,
    ) -> None:
        super().__init__()
        require_positive("model.generator", latent_dim=latent_dim, style_dim=style_dim, mapping_layers=mapping_layers)
        for name, value in (("style_mixing", style_mixing), ("w_avg_beta", w_avg_beta)):
            if not 0 <= value <= 1:
                raise UserError(f"model.generator.{name}={value} is out of range: it must be from 0 to 1")
        channels, size = square_image(spec, "stylegan2", SIZES)
        widths = feature_widths("model.generator", size, channel_base, channel_max)
        self.latent_dim, self.style_mixing, self.w_avg_beta = latent_dim, style_mixing, w_avg_beta
        self.conditional = conditional
        self.synthesis = SynthesisNetwork(widths, channels, style_dim=style_dim)
        self.mapping = MappingNetwork(
            latent_dim,
            style_dim,
            layers=mapping_layers,
            labels=LabelCode(spec, style_dim) if conditional else None,
            num_ws=self.synthesis.num_ws,
        )
        self.register_buffer("w_avg", torch.zeros(style_dim))
        #: what style mixing draws its second latents from, and how many of their numbers are noise
        self._mixed_noise: tuple[Latent, int] = Normal(), latent_dim

    @property
    def style(self) -> Style:
        """See `adversaria.nn.network.Generator`."""
        return Style(self.mapping, self.synthesis)

    def check(self, system: Any) -> None:
        """Takes from the system's prior what style mixing draws its second latents from."""
        self._mixed_noise = system.prior.distribution, system.prior.noise_dim

    def forward(self, z: Tensor, labels: Tensor | None = None, *, truncation: float = 1.0) -> Tensor:
        """Images ``[N, C, H, W]`` in float32 around [-1, 1].

        In training mode noise is random, styles are mixed and the mean w is followed; in evaluation mode the image is
        a function of the arguments.

        Args:
            z: ``[N, latent_dim]``.
            labels: ``[N]`` if conditional.
            truncation: psi, which draws w towards its mean: 1 leaves it, 0 gives the mean image.
        """
        ws = self.mapping(z, labels)
        if self.training:
            self._follow_mean(ws)
            ws = self._mix(ws, z, labels)
        if truncation != 1:
            ws = self.w_avg.lerp(ws, truncation)
        images: Tensor = self.synthesis(ws)
        return images

    @torch.no_grad()
    def _follow_mean(self, ws: Tensor) -> None:
        """Adds ``ws [N, num_ws, style_dim]``, before they are mixed, to the mean w."""
        self.w_avg.lerp_(ws[:, 0].mean(dim=0), 1 - self.w_avg_beta)

    def _another(self, z: Tensor) -> Tensor:
        """As many latents as ``z [N, latent_dim]``, of other noise; codes, which D is to read off the image, stay."""
        distribution, noise_dim = self._mixed_noise
        others = distribution.draw(len(z), self.latent_dim, None, z.device)
        return torch.cat([others[:, :noise_dim], z[:, noise_dim:]], dim=1)

    def _mix(self, ws: Tensor, z: Tensor, labels: Tensor | None) -> Tensor:
        """With probability ``style_mixing`` the w's from a random position on are those of further latents."""
        if self.style_mixing == 0:
            return ws
        num_ws = ws.shape[1]
        others = self.mapping(self._another(z).to(ws), labels)
        start = torch.randint(1, num_ws, (), device=ws.device)
        mixed = torch.rand((), device=ws.device) < self.style_mixing
        replaced = mixed & (torch.arange(num_ws, device=ws.device) >= start)  # [num_ws]
        return torch.where(replaced[:, None], others, ws)


class SynthesisNetwork(nn.Module):
    """From a learned 4x4 constant, doubling the side; the image is the sum of what each size adds (figure 7, "skip").

    Args:
        widths: channels of the feature maps of side 4, 8, ...
        channels: of the image.
        style_dim: length of w.
    """

    def __init__(self, widths: list[int], channels: Width, *, style_dim: Width) -> None:
        super().__init__()
        self.constant = nn.Parameter(torch.randn(widths[0], 4, 4))
        self.blocks = nn.ModuleList([SynthesisBlock([widths[0]], channels, style_dim=style_dim, size=4)])
        for k, (wide, narrow) in enumerate(pairwise(widths), start=1):
            self.blocks.append(SynthesisBlock([wide, narrow], channels, style_dim=style_dim, size=4 * 2**k))
        self.upsample = Upsample()
        #: one for each convolution, and one for the last block's image
        self.num_ws = 2 * len(widths)

    def forward(self, ws: Tensor) -> Tensor:
        """``ws [N, num_ws, style_dim]`` -> images ``[N, channels, H, W]``."""
        styles = ws.unbind(dim=1)
        x = self.constant.repeat(len(ws), 1, 1, 1)  # [N, 512, 4, 4]
        image: Tensor | None = None
        first = 0
        for block in self.blocks:
            x, addition = block(x, styles[first:])  # [N, 512, 8, 8], ..., [N, 512, 32, 32]
            image = addition if image is None else self.upsample(image) + addition
            first += len(block.convolutions)  # type: ignore[arg-type]  # what makes the image shares the next one
        assert image is not None
        return image


class SynthesisBlock(nn.Module):
    """The convolutions of one size, the first of two doubling it, and what they add to the image.

    Args:
        widths: channels of the input, if it is of half the size, and of the output.
        channels: of the image.
        style_dim: length of w.
        size: side of the output.
    """

    def __init__(self, widths: list[int], channels: Width, *, style_dim: Width, size: Side) -> None:
        super().__init__()
        pairs = [*pairwise(widths), (widths[-1], widths[-1])]
        self.convolutions = nn.ModuleList(
            StyledConv2d(a, b, style_dim=style_dim, size=size, up=k < len(pairs) - 1) for k, (a, b) in enumerate(pairs)
        )
        self.to_image = ToImage(widths[-1], channels, style_dim=style_dim)

    def forward(self, x: Tensor, styles: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """``x [N, C, H, W]`` and a w ``[N, style_dim]`` for each layer -> features and image of side ``size``."""
        for convolution, style in zip(self.convolutions, styles, strict=False):
            x = convolution(x, style)
        return x, self.to_image(x, styles[len(self.convolutions)])


class Wiring(NamedTuple):
    """How the blocks of D are connected (Karras et al. 2020, figure 7)."""

    residual: bool
    image_at_every_size: bool


Architecture = Literal["residual", "plain", "skip"]
WIRINGS: dict[Architecture, Wiring] = {
    "residual": Wiring(residual=True, image_at_every_size=False),
    "plain": Wiring(residual=False, image_at_every_size=False),
    "skip": Wiring(residual=False, image_at_every_size=True),
}


class StyleGAN2Discriminator(Discriminator):
    """Halves the side down to 4, looks at the batch's variety, and ends in two fully connected layers.

    A conditional D maps the label to a vector and scores its inner product with that of the image.

    Args:
        spec: of the data: square images of side 16, 32, ... 1024 and any number of channels.
        channel_base: a feature map of side s has ``channel_base / s`` channels,
        channel_max: but at most so many.
        architecture: ``residual``; ``plain`` without the residual connections, for CIFAR-10; or ``skip``, where the
            image enters at every size.
        mbstd_group: samples, at most, over which a standard deviation is taken; groups are equal if it divides N.
        mbstd_channels: feature maps that tell it; 0: none.
        conditional: whether it is given labels.
        cmap_dim: length of the mapped label; null: as many as there are channels at 4x4.
        mapping_layers: from the label's embedding to that vector, if conditional.

    Raises:
        UserError: data that it cannot judge, a number out of range, or ``conditional`` without labels.
    """

    def __init__(
        self,
        *,
        spec: DataSpec,
        channel_base: Width = 32768,
        channel_max: Width = 512,
        architecture: Architecture = "residual",
        mbstd_group: Depth = 4,
        mbstd_channels: Width = 1,
        conditional: bool = False,
        cmap_dim: Width | None = None,
        mapping_layers: Depth = 8,
    ) -> None:
        super().__init__()
        channels, size = square_image(spec, "stylegan2", SIZES)
        widths = feature_widths("model.discriminator", size, channel_base, channel_max)[::-1]
        last = widths[-1]
        cmap_dim = last if cmap_dim is None else cmap_dim
        require_positive(
            "model.discriminator", mbstd_group=mbstd_group, cmap_dim=cmap_dim, mapping_layers=mapping_layers
        )
        if mbstd_channels < 0 or (mbstd_channels > 0 and last % mbstd_channels):
            raise UserError(
                f"model.discriminator.mbstd_channels={mbstd_channels} must be 0 or divide the {last} channels at 4x4"
            )
        self.conditional = conditional
        wiring = WIRINGS[architecture]
        self.blocks = nn.ModuleList(
            DiscriminatorBlock(a, b, channels if k == 0 or wiring.image_at_every_size else None, wiring.residual)
            for k, (a, b) in enumerate(pairwise(widths))
        )
        self.downsample = Blur(stride=2) if wiring.image_at_every_size else None
        self.from_image = from_image(channels, last) if wiring.image_at_every_size else None
        self.minibatch_std = MinibatchStd(mbstd_group, mbstd_channels) if mbstd_channels else nn.Identity()
        self.convolution = EqualisedConv2d(last + mbstd_channels, last, 3, gain=LEAKY_RELU_GAIN)
        self.hidden = EqualisedLinear(last * 4 * 4, last, gain=LEAKY_RELU_GAIN)
        self.head = EqualisedLinear(last, cmap_dim if conditional else 1)
        codes = LabelCode(spec, cmap_dim) if conditional else None
        self.mapping = MappingNetwork(0, cmap_dim, layers=mapping_layers, labels=codes) if conditional else None

    @property
    def stages(self) -> Sequence[nn.Module]:
        """Each block, which halves the side."""
        return list(self.blocks)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> DiscriminatorOutput:
        """``x [N, C, H, W]``, ``labels [N]`` if conditional -> logits ``[N]``, features ``[N, 512]``, in float32."""
        image: Tensor = x
        h: Any = None
        for block in self.blocks:
            h = block(h, image)  # [N, 512, 16, 16] -> [N, 512, 8, 8] -> [N, 512, 4, 4]
            image = image if self.downsample is None else self.downsample(image)
        with without_autocast(x.device):
            h = at_least_float32(h)
            if self.from_image is not None:
                h = h + leaky_relu(self.from_image(at_least_float32(image)))
            h = leaky_relu(self.convolution(self.minibatch_std(h)))  # [N, 512, 4, 4]
            features = leaky_relu(self.hidden(h.flatten(1)))  # [N, 8192] -> [N, 512]
            scores = self.head(features)  # [N, 1], or [N, cmap_dim]
            if self.mapping is None:
                check_labels(labels, conditional=False)
                return DiscriminatorOutput(scores.flatten(), features)
            codes = self.mapping(features.new_empty(len(x), 0), labels)[:, 0]  # [N, cmap_dim]
            return DiscriminatorOutput((scores * codes).sum(dim=1) / math.sqrt(codes.shape[1]), features)


class DiscriminatorBlock(nn.Module):
    """Two convolutions, the second halving the side.

    Args:
        in_channels, out_channels: of the feature maps.
        image_channels: of the image, if it enters here; None: it does not.
        residual: whether a 1x1 convolution of the input is added, both halves scaled by sqrt(1/2).
    """

    def __init__(self, in_channels: Width, out_channels: Width, image_channels: Width | None, residual: bool) -> None:
        super().__init__()
        share = math.sqrt(0.5) if residual else 1.0
        self.from_image = None if image_channels is None else from_image(image_channels, in_channels)
        self.convolution = EqualisedConv2d(in_channels, in_channels, 3, gain=LEAKY_RELU_GAIN)
        self.halving = nn.Sequential(
            Blur(padding=2),  # [N, C, H, W] -> [N, C, H + 1, W + 1]
            EqualisedConv2d(in_channels, out_channels, 3, stride=2, padding=0, gain=share * LEAKY_RELU_GAIN),
        )
        shortcut = [Blur(stride=2), EqualisedConv2d(in_channels, out_channels, 1, bias=False, gain=share)]
        self.shortcut = nn.Sequential(*shortcut) if residual else None

    def forward(self, x: Tensor | None, image: Tensor) -> Tensor:
        """``x [N, in_channels, H, W]``, None in the first block; ``image [N, C, H, W]`` -> ``[N, ..., H/2, W/2]``."""
        if self.from_image is not None:
            entering = leaky_relu(self.from_image(image))
            x = entering if x is None else x + entering
        h = leaky_relu(self.halving(leaky_relu(self.convolution(x))))
        return h if self.shortcut is None else h + self.shortcut(x)


def from_image(channels: int, out_channels: int) -> EqualisedConv2d:
    """A 1x1 convolution of the image, for the leaky ReLU."""
    return EqualisedConv2d(channels, out_channels, 1, gain=LEAKY_RELU_GAIN)


def feature_widths(key: str, size: int, channel_base: int, channel_max: int) -> list[int]:
    """Channels of the feature maps of side 4, 8, ... ``size``: ``channel_base / side``, at most ``channel_max``.

    Args:
        key: where the two numbers stand in the config.
        size: side of the image.
        channel_base, channel_max: see `StyleGAN2Generator`.

    Raises:
        UserError: ``channel_max`` is below 1, or ``channel_base`` leaves a map without channels.
    """
    require_positive(key, channel_max=channel_max)
    if channel_base < size:
        raise UserError(f"{key}.channel_base={channel_base} leaves no channels at {size} px: set it to {size} or more")
    return [min(channel_base // (4 * 2**k), channel_max) for k in range((size // 4).bit_length())]

"""PatchGAN (Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial Networks", section 3.2.2).

D judges overlapping patches, one logit each, and so speaks of texture; what lies farther apart is left to a term such
as L1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.core.ranges import Depth, Width
from adversaria.core.types import DataSpec, DiscriminatorOutput
from adversaria.nn.layers import has_bias, norm_layers
from adversaria.nn.network import Discriminator

_KEY = "model.discriminator"


class PatchDiscriminator(Discriminator):
    """Convolutions of kernel 4, ``depth`` of them of stride 2, LeakyReLU of slope 0.2, a norm after all but the first.

    ``depth=3`` at width 64 is the paper's, with patches of 70x70 (appendix 6.1.2) and 2,768,705 parameters for two
    pictures of 3 channels.

    Args:
        spec: of the data: images, with their condition if it is given one.
        width: channels of the first feature map; they double with each halving, up to 8 times as many.
        depth: how many times the side is halved.
        norm: `batch` as in the paper, `instance`, `layer`, `group`, `pixel` or `none`.
        conditional: whether it sees the condition beside the sample.

    Raises:
        UserError: data that are no images, conditions of another extent, or images too small for ``depth``.
    """

    def __init__(
        self,
        *,
        spec: DataSpec,
        width: Width = 64,
        depth: Depth = 3,
        norm: str = "instance",
        conditional: bool = True,
    ) -> None:
        super().__init__()
        channels = spec.shape[0] + condition_channels(spec, _KEY) * conditional
        least = 2 ** (depth + 2)
        if min(spec.shape[1:]) < least:
            raise UserError(
                f"{_KEY}.depth={depth} takes images of at least {least} pixels a side, and these have "
                f"{spec.shape[1]}x{spec.shape[2]}; give a smaller depth"
            )
        self.conditional = self.translates = conditional
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        before = width
        for k in range(1, depth + 1):  # the last one keeps the side
            after = width * min(2**k, 8)
            normalise = norm_layers(_KEY, norm, after)
            stride = 2 if k < depth else 1
            layers += [
                nn.Conv2d(before, after, 4, stride, 1, bias=not has_bias(normalise)),
                *normalise,
                nn.LeakyReLU(0.2),
            ]
            before = after
        self.layers = nn.Sequential(*layers)
        self.head = nn.Conv2d(before, 1, 4, 1, 1)
        self.apply(normal_weights)

    @property
    def stages(self) -> Sequence[nn.Module]:
        """The activation of each convolution."""
        return [layer for layer in self.layers if isinstance(layer, nn.LeakyReLU)]

    def forward(self, x: Tensor, condition: Tensor | None = None) -> DiscriminatorOutput:
        """``x [N, C, H, W]`` and ``condition [N, C', H, W]`` -> logits of patches ``[N, 1, H', W']``."""
        if condition is not None:
            x = torch.cat([x, condition], dim=1)
        return DiscriminatorOutput(self.head(self.layers(x)))


def normal_weights(module: nn.Module) -> None:
    """Draws the weights of convolutions from a normal distribution of deviation 0.02 (appendix 6.2)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)


def condition_channels(spec: DataSpec, key: str) -> int:
    """Channels of the pictures that are edited.

    Args:
        spec: of the data.
        key: of the network, for messages.

    Raises:
        UserError: nothing is given, or something of another extent than the samples.
    """
    if spec.condition is None:
        raise UserError(
            f"{key} edits pictures, and nothing says which: choose a pairing, such as pairing=denoise, or data with "
            "pictures of both kinds (data=pairs)"
        )
    if len(spec.shape) != 3 or spec.condition.shape[1:] != spec.shape[1:]:
        raise UserError(
            f"{key} edits pictures of the size of the answers, and here {list(spec.condition.shape)} are given for "
            f"{list(spec.shape)}"
        )
    return spec.condition.shape[0]

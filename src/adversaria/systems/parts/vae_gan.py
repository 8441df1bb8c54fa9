"""What a stored config says of a VAE-GAN."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from adversaria.core.ranges import Depth, NonNegative
from adversaria.systems.parts import Parts


@dataclass(frozen=True, kw_only=True)
class VAEGANParts(Parts):
    """Those of `adversaria.systems.vae_gan.VAEGAN`, where their meaning is described."""

    encoder_name: ClassVar[str | None] = "encoder"
    generator: nn.Module
    discriminator: nn.Module
    encoder: Callable[..., nn.Module]
    stage: Depth = 2
    gamma: NonNegative = 1.0
    beta: NonNegative = 1.0

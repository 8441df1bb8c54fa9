"""What a stored config says of a GAN."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from adversaria.nn.latents import Latent
from adversaria.systems.parts import Parts


@dataclass(frozen=True, kw_only=True)
class GANParts(Parts):
    """Those of `adversaria.systems.gan.GAN`, where their meaning is described."""

    generator: nn.Module
    discriminator: nn.Module
    latent: Latent | None = None

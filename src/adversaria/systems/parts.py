"""What systems and the samplers of their checkpoints have in common; it knows no Lightning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from torch import nn

from adversaria.core.ranges import NonNegative
from adversaria.nn.inputs import Inputs, LatentInputs
from adversaria.nn.latents import Latent
from adversaria.nn.prior import Prior


class DrawsLatents:
    """Whatever draws latents for a generator.

    Attributes:
        prior: of the latents.
    """

    prior: Prior

    def inputs(
        self,
        *,
        seed: int = 0,
        labels: Sequence[int] | None = None,
        class_weights: Sequence[float] | None = None,
        truncation: float | None = None,
    ) -> Inputs:
        """What the sampler is called with, by number; the arguments are those of `LatentInputs`.

        Raises:
            UserError: a truncation that the prior does not take.
        """
        return LatentInputs(self.prior, seed=seed, labels=labels, class_weights=class_weights, truncation=truncation)


class Parts:
    """What a stored config says under ``model``, so that a checkpoint can be looked at without its system.

    Attributes:
        sampler_name: key of the network that samples are taken from.
    """

    sampler_name: ClassVar[str] = "generator"


@dataclass(frozen=True, kw_only=True)
class GANParts(Parts):
    """Those of `adversaria.systems.gan.GAN`, where their meaning is described."""

    generator: nn.Module
    discriminator: nn.Module
    latent: Latent | None = None


@dataclass(frozen=True, kw_only=True)
class VAEParts(Parts):
    """Those of `adversaria.systems.vae.VAE`, where their meaning is described."""

    generator: nn.Module
    encoder: Callable[..., nn.Module]
    beta: NonNegative = 1.0


#: by the name of the system, which itself would import Lightning
PARTS: Mapping[str, type[Parts]] = MappingProxyType(
    {"adversaria.systems.gan.GAN": GANParts, "adversaria.systems.vae.VAE": VAEParts}
)

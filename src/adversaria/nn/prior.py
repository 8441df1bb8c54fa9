"""What a system draws its generator's latents from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.nn.latents import Latent, Normal
from adversaria.nn.layers.codes import Codes
from adversaria.nn.network import as_generator


@dataclass(frozen=True)
class Prior:
    """What a system draws its generator's latents from: noise of a distribution, and codes behind it.

    Attributes:
        distribution: of the noise.
        latent_dim: length of a latent, codes included.
        codes: what stands behind the noise, if anything.
        network_truncates: whether the generator takes a truncation itself (see `adversaria.nn.network.Generator`).
    """

    distribution: Latent
    latent_dim: int
    codes: Codes | None = None
    network_truncates: bool = False

    @classmethod
    def of(cls, generator: nn.Module, distribution: Latent | None = None) -> Prior:
        """The prior of the latents that ``generator`` takes, standard normal unless ``distribution`` is another.

        Raises:
            UserError: the generator says of no ``latent_dim``, or draws its latents itself.
        """
        said = as_generator(generator)
        if said.latent_dim < (0 if said.translates else 1):
            raise UserError(
                f"{type(generator).__name__} says of no latent_dim: set it to the length of the latents that it takes"
            )
        return cls(distribution or Normal(), said.latent_dim, said.codes, said.takes_truncation)

    @property
    def noise_dim(self) -> int:
        """How many numbers of a latent are noise."""
        return self.latent_dim - (0 if self.codes is None else self.codes.dim)

    def draw(self, n: int, generator: torch.Generator | None = None, device: torch.device | None = None) -> Tensor:
        """``n`` latents, ``[n, latent_dim]`` float32, so that a network of any precision gets the same ones.

        They are made on the device of ``generator``, so that a generator on the CPU gives the same latents to every
        device; without one they come from the global state of ``device``, torch's default device if it is None.
        """
        place = (device or torch.get_default_device()) if generator is None else generator.device
        noise = self.distribution.draw(n, self.noise_dim, generator, place)
        return noise if self.codes is None else torch.cat([noise, self.codes.draw(n, generator, place)], dim=1)

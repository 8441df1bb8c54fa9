"""What parts share that enclose a network of any architecture, so that each can stand around any other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.core.types import DataSpec, DiscriminatorOutput
from adversaria.nn.layers.codes import Codes
from adversaria.nn.network import Discriminator, Generator, Network, Style, as_discriminator, as_generator


class Enclosing(Network, ABC):
    """The base of what encloses a network: what it does not say of itself, ``network`` says.

    Attributes:
        network: the enclosed one, also a user's own.
    """

    network: nn.Module

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.conditional, self.codes = self.inner.conditional, self.inner.codes

    @property
    @abstractmethod
    def inner(self) -> Network:
        """What the enclosed network says of itself."""

    def check(self, system: Any) -> None:
        """Lets the enclosed network refuse what it cannot go with."""
        self.inner.check(system)


class EnclosingGenerator(Enclosing, Generator):
    """A generator around another one, which is given ``inner_latents(z)``."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        self.latent_dim, self.takes_truncation = self.inner.latent_dim, self.inner.takes_truncation

    @property
    def inner(self) -> Generator:
        """See `Enclosing`."""
        return as_generator(self.network)

    @abstractmethod
    def inner_latents(self, z: Tensor) -> Tensor:
        """``z [N, latent_dim]`` as the enclosed generator takes it."""

    @property
    def style(self) -> Style | None:
        """The halves of a style-based generator inside."""
        if (style := self.inner.style) is None:
            return None

        def mapping(z: Tensor, labels: Tensor | None = None) -> Tensor:
            return style.mapping(self.inner_latents(z), labels)

        return Style(mapping, style.synthesis)

    def forward(self, z: Tensor, labels: Tensor | None = None, **options: Any) -> Tensor:
        """``z [N, latent_dim]``, ``labels [N]`` if conditional -> samples ``[N, *spec.shape]``.

        ``options`` are those of the enclosed generator, such as a truncation.
        """
        samples: Tensor = self.network(self.inner_latents(z), labels, **options)
        return samples

    def traversals(self, columns: int, draw: Callable[[int], Tensor]) -> Mapping[str, Tensor]:
        """Those of the enclosed generator."""
        return self.inner.traversals(columns, draw)


class EnclosingDiscriminator(Enclosing, Discriminator):
    """A discriminator around another one."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        self.packing, self.num_class_logits = self.inner.packing, self.inner.num_class_logits

    @property
    def inner(self) -> Discriminator:
        """See `Enclosing`."""
        return as_discriminator(self.network)

    @property
    def stages(self) -> Sequence[nn.Module]:
        """Those of the enclosed discriminator."""
        return self.inner.stages

    @abstractmethod
    def forward(self, x: Tensor, labels: Tensor | None = None) -> DiscriminatorOutput:
        """``x [N, *spec.shape]``, ``labels [N]`` if conditional -> what it says of them."""


def codes_in_turn(z: Tensor, noise_dim: int, first: Codes | None, second: Codes | None) -> Tensor:
    """Latents ``[N, noise | joined codes]`` as ``[N, noise | first | second]``, for a part whose codes join another's.

    Args:
        z: as the whole takes it; as it is where only one part has codes.
        noise_dim: of the noise.
        first, second: that were joined by ``first.beside(second)``.
    """
    if first is None or second is None:
        return z
    return torch.cat([z[:, :noise_dim], *first.apart(second, z[:, noise_dim:])], dim=1)


def give_labels(part: Enclosing, key: str) -> None:
    """Makes a part conditional that gives labels to a network which takes none.

    Args:
        part: around the network.
        key: of the part in a config, for messages.

    Raises:
        UserError: the network takes labels itself.
    """
    if part.conditional:
        raise UserError(
            f"{key}.network={type(part.network).__name__} takes labels already, which {type(part).__name__} would give "
            f"it a second time: set {key}.network.conditional=false, or take that network alone"
        )
    part.conditional = True


def example_output(network: Callable[..., nn.Module], spec: DataSpec) -> DiscriminatorOutput:
    """What a discriminator says of two samples (of two packs, if it judges packs), on a device without memory.

    Raises:
        UserError: it gives no features, or not a vector for each sample.
    """
    with torch.device("meta"):
        probe = network(spec=spec)
        said = as_discriminator(probe)
        count = 2 * said.packing
        labels = torch.zeros(count, dtype=torch.int64) if said.conditional else None
        output: DiscriminatorOutput = probe(torch.zeros(count, *spec.shape), labels)
    features = output.features
    if features is None or features.shape[:1] != (count,) or features.ndim != 2:
        raise UserError(
            f"model.discriminator.network={type(probe).__name__} gives no features [N, F], a vector for each sample, "
            "which this part is built on: choose another one, as in discriminator@model.discriminator.network=dcgan"
        )
    return output


def feature_dim(network: Callable[..., nn.Module], spec: DataSpec) -> int:
    """How many features a discriminator gives for a sample, tried on a device without memory.

    Raises:
        UserError: it gives none.
    """
    features = example_output(network, spec).features
    assert features is not None
    return int(features.shape[1])

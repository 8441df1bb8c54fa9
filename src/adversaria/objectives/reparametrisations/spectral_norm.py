"""Spectral normalisation for a discriminator that comes without."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.utils import parametrize

from adversaria.core.errors import UserError
from adversaria.core.ranges import Depth
from adversaria.core.types import Network
from adversaria.nn.layers import spectral_norm


class SpectralNorm:
    """Divides every weight of D by its largest singular value (Miyato et al. 2018, "Spectral Normalization for GANs").

    Meant are linear layers, convolutions, transposed convolutions and embeddings; those that are normalised already
    stay as they are.

    Args:
        n_power_iterations: in each forward pass of training, 1 or more.

    Raises:
        UserError: ``n_power_iterations`` below 1.
    """

    applies_to: Network = "discriminator"

    def __init__(self, *, n_power_iterations: Depth = 1) -> None:
        if n_power_iterations < 1:
            raise UserError(
                f"regulariser.spectral_norm.n_power_iterations={n_power_iterations} is out of range: it must be 1 or "
                "more"
            )
        self.n_power_iterations = n_power_iterations

    def reparametrise(self, network: nn.Module) -> None:
        """Changes the layers in place; state dicts then hold ``parametrizations.weight.original`` for ``weight``.

        Raises:
            UserError: there is no such layer, or one whose weights start at zero and have no largest singular value.
        """
        kinds = nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.Embedding
        layers: Any = [layer for layer in network.modules() if isinstance(layer, kinds)]
        if not layers:
            raise UserError(
                "regulariser.spectral_norm finds no layer that it knows in this discriminator, whose layers are of its "
                "own kind: leave it out, or choose another discriminator"
            )
        for layer in layers:
            if not layer.weight.is_meta and not layer.weight.any():
                raise UserError(
                    f"regulariser.spectral_norm would divide by zero: {type(network).__name__} has layers whose "
                    f"weights start there; leave it out, or choose another discriminator"
                )
            if not parametrize.is_parametrized(layer, "weight"):
                spectral_norm(layer, self.n_power_iterations)

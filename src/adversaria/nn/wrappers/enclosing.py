"""What parts share that enclose a network of any architecture, which they are given as ``network``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from adversaria.core.errors import UserError
from adversaria.core.types import DataSpec, DiscriminatorOutput


class Enclosing(nn.Module):
    """A part that gives labels to ``network``, which takes none, and in all else is what ``network`` is.

    Whatever it does not say of itself the enclosed network says: codes of the latent, whether ``forward`` takes a
    truncation, what it refuses in ``check``.

    Args:
        spec: of the data.
        network: called with ``spec``, gives the network.
        key: of the part in a config, for messages.

    Raises:
        UserError: the network takes labels itself.
    """

    conditional = True
    network: nn.Module

    def __init__(self, spec: DataSpec, network: Callable[..., nn.Module], key: str) -> None:
        super().__init__()
        self.network = network(spec=spec)
        if getattr(self.network, "conditional", False):
            raise UserError(
                f"{key}.network={type(self.network).__name__} takes labels already, which {type(self).__name__} would "
                f"give it a second time: set {key}.network.conditional=false, or take that network alone"
            )

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "network":  # of a copy that is not filled yet
                raise
            return getattr(self.network, name)


def check_enclosed(network: nn.Module, system: Any) -> None:
    """Calls the ``check`` of a network within another, which the system does not see."""
    if check := getattr(network, "check", None):
        check(system)


def trial(network: Callable[..., nn.Module], spec: DataSpec) -> DiscriminatorOutput:
    """What a discriminator says of two samples (of two packs, if it judges packs), on a device without memory.

    Raises:
        UserError: it gives no features, or not a vector for each sample.
    """
    with torch.device("meta"):
        probe = network(spec=spec)
        count = 2 * int(getattr(probe, "packing", 1))
        labels = torch.zeros(count, dtype=torch.int64) if getattr(probe, "conditional", False) else None
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
    features = trial(network, spec).features
    assert features is not None
    return int(features.shape[1])

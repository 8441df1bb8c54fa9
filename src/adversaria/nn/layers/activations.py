"""Activations by name, for architectures that leave the choice to the user."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

from torch import nn

from adversaria.nn.layers.checks import choose

#: makes an activation of its own; none of them has parameters
ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": functools.partial(nn.LeakyReLU, 0.2),  # the slope of DCGAN (Radford et al. 2016, section 4)
    "elu": nn.ELU,  # Clevert et al. 2016
    "selu": nn.SELU,  # Klambauer et al. 2017
    "gelu": nn.GELU,  # Hendrycks & Gimpel 2016
    "silu": nn.SiLU,  # Elfwing et al. 2018
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


def activation_layer(key: str, name: str) -> nn.Module:
    """The activation called ``name``.

    Args:
        key: of the network in the config, such as ``model.generator``.
        name: one of `ACTIVATIONS`.

    Raises:
        UserError: there is no such activation.
    """
    return choose(f"{key}.activation", name, ACTIVATIONS)()

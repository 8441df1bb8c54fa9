"""Fully connected networks, for points and for small images."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from adversaria.core.ranges import Depth, Positive, Width
from adversaria.core.types import DataSpec, DiscriminatorOutput
from adversaria.nn.layers import (
    activation_layer,
    append_labels,
    initialise,
    label_embedding,
    output_activation,
    require_positive,
)
from adversaria.nn.network import Discriminator, Generator


class MLPGenerator(Generator):
    """``depth`` hidden layers of ``width`` units, LeakyReLU of slope 0.2 by default; tanh at the end for images only.

    Args:
        spec: of the data, of any shape.
        latent_dim: length of the latent.
        width: units of each hidden layer.
        depth: how many hidden layers.
        activation: of the hidden layers, one of `adversaria.nn.layers.ACTIVATIONS`.
        init: of the weights: `default` as PyTorch does, `xavier`, `he` or `orthogonal`.
        init_gain: multiplies the weights before training.
        conditional: whether it is given labels.
        label_dim: numbers in a label's embedding, if conditional.

    Raises:
        UserError: a size below 1, an unknown activation or initialisation, a gain of 0 or less, or
            ``conditional`` without labels.
    """

    def __init__(
        self,
        *,
        spec: DataSpec,
        latent_dim: Width = 64,
        width: Width = 256,
        depth: Depth = 3,
        activation: str = "leaky_relu",
        init: str = "default",
        init_gain: Positive = 1.0,
        conditional: bool = False,
        label_dim: Width = 32,
    ) -> None:
        super().__init__()
        key = "model.generator"
        require_positive(key, latent_dim=latent_dim, width=width, depth=depth, label_dim=label_dim)
        self.latent_dim = latent_dim
        self.conditional = conditional
        self.embedding = label_embedding(spec, label_dim) if conditional else None
        input_dim = latent_dim + (label_dim if conditional else 0)
        self.layers = nn.Sequential(
            *hidden_layers(key, input_dim, width, depth, activation),
            nn.Linear(width, math.prod(spec.shape)),
            nn.Unflatten(1, spec.shape),
            output_activation(spec),
        )
        initialise(key, self, init, init_gain)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """``z [N, latent_dim]``, ``labels [N]`` if conditional -> samples ``[N, *spec.shape]``."""
        samples: Tensor = self.layers(append_labels(z, labels, self.embedding))
        return samples


class MLPDiscriminator(Discriminator):
    """``depth`` hidden layers of ``width`` units, LeakyReLU by default, on flattened samples, and one logit.

    Args:
        spec: of the data, of any shape.
        width: units of each hidden layer.
        depth: how many hidden layers.
        activation: of the hidden layers, one of `adversaria.nn.layers.ACTIVATIONS`.
        init: of the weights: `default` as PyTorch does, `xavier`, `he` or `orthogonal`.
        init_gain: multiplies the weights before training.
        conditional: whether it is given labels.
        label_dim: numbers in a label's embedding, if conditional.

    Raises:
        UserError: a size below 1, an unknown activation or initialisation, a gain of 0 or less, or
            ``conditional`` without labels.
    """

    def __init__(
        self,
        *,
        spec: DataSpec,
        width: Width = 256,
        depth: Depth = 3,
        activation: str = "leaky_relu",
        init: str = "default",
        init_gain: Positive = 1.0,
        conditional: bool = False,
        label_dim: Width = 32,
    ) -> None:
        super().__init__()
        key = "model.discriminator"
        require_positive(key, width=width, depth=depth, label_dim=label_dim)
        self.conditional = conditional
        self.embedding = label_embedding(spec, label_dim) if conditional else None
        input_dim = math.prod(spec.shape) + (label_dim if conditional else 0)
        self.layers = nn.Sequential(*hidden_layers(key, input_dim, width, depth, activation))
        self.head = nn.Linear(width, 1)
        initialise(key, self, init, init_gain)

    @property
    def stages(self) -> Sequence[nn.Module]:
        """The activation of each hidden layer."""
        return list(self.layers)[1::2]

    def forward(self, x: Tensor, labels: Tensor | None = None) -> DiscriminatorOutput:
        """``x [N, *spec.shape]``, ``labels [N]`` if conditional -> logits ``[N]``, features ``[N, width]``."""
        features = self.layers(append_labels(x.flatten(1), labels, self.embedding))  # [N, D] -> [N, width]
        logits = self.head(features).flatten()  # [N, 1] -> [N]
        return DiscriminatorOutput(logits, features)


def hidden_layers(key: str, input_dim: int, width: int, depth: int, activation: str) -> list[nn.Module]:
    """``[N, input_dim]`` -> ``[N, width]`` by ``depth`` linear layers, each followed by the activation.

    Raises:
        UserError: there is no such activation; ``key`` is the network's in the config.
    """
    layers: list[nn.Module] = []
    for i in range(depth):
        layers += [nn.Linear(input_dim if i == 0 else width, width), activation_layer(key, activation)]
    return layers

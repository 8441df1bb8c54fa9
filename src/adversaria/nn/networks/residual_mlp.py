"""Fully connected residual networks that see their input again in every block.

The skip connections let gradients pass unchanged (He et al. 2016, "Identity Mappings in Deep Residual Networks"), and
each block is given the latent itself, as each block of BigGAN is (Brock et al. 2019, section 3: "skip-z").
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
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


class Block(nn.Module):
    """``h + f([h, input])`` with two linear layers, activations before each.

    Args:
        width: length of ``h``.
        input_dim: length of the network's input.
        activation: before each of the two.
    """

    def __init__(self, width: Width, input_dim: Width, activation: nn.Module) -> None:
        super().__init__()
        self.inner = nn.Linear(width + input_dim, width)
        self.outer = nn.Linear(width, width)
        self.activation = activation

    def forward(self, h: Tensor, inputs: Tensor) -> Tensor:
        """``h [N, width]``, ``inputs [N, input_dim]`` -> ``[N, width]``."""
        hidden = self.inner(torch.cat([self.activation(h), inputs], dim=1))  # [N, width + input_dim] -> [N, width]
        update: Tensor = self.outer(self.activation(hidden))  # [N, width]
        return h + update


class Trunk(nn.Module):
    """What G and D share: a linear layer, then ``depth`` blocks, then an activation.

    Args:
        input_dim: length of the input, which every block sees again.
        width: length of the features.
        depth: how many blocks.
        activation: of the blocks, and the one after them.
    """

    def __init__(self, input_dim: Width, width: Width, depth: Depth, activation: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Linear(input_dim, width)
        self.blocks = nn.ModuleList(Block(width, input_dim, activation) for _ in range(depth))
        self.activation = activation

    def forward(self, inputs: Tensor) -> Tensor:
        """``[N, input_dim]`` -> ``[N, width]``."""
        h = self.stem(inputs)
        for block in self.blocks:
            h = block(h, inputs)
        activated: Tensor = self.activation(h)
        return activated


class ResidualMLPGenerator(Generator):
    """Residual blocks on the latent, each given the latent (and the embedded label) again; tanh for images only.

    Args:
        spec: of the data, of any shape.
        latent_dim: length of the latent.
        width: units of each hidden layer.
        depth: how many residual blocks, of two layers each.
        activation: of the blocks, one of `adversaria.nn.layers.ACTIVATIONS`.
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
        self.trunk = Trunk(input_dim, width, depth, activation_layer(key, activation))
        self.head = nn.Sequential(
            nn.Linear(width, math.prod(spec.shape)),
            nn.Unflatten(1, spec.shape),
            output_activation(spec),
        )
        initialise(key, self, init, init_gain)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """``z [N, latent_dim]``, ``labels [N]`` if conditional -> samples ``[N, *spec.shape]``."""
        features = self.trunk(append_labels(z, labels, self.embedding))  # [N, width]
        samples: Tensor = self.head(features)
        return samples


class ResidualMLPDiscriminator(Discriminator):
    """Residual blocks on the flattened sample, each given the sample (and the embedded label) again, and one logit.

    Args:
        spec: of the data, of any shape.
        width: units of each hidden layer.
        depth: how many residual blocks, of two layers each.
        activation: of the blocks, one of `adversaria.nn.layers.ACTIVATIONS`.
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
        self.trunk = Trunk(input_dim, width, depth, activation_layer(key, activation))
        self.head = nn.Linear(width, 1)
        initialise(key, self, init, init_gain)

    @property
    def stages(self) -> Sequence[nn.Module]:
        """Each residual block."""
        return list(self.trunk.blocks)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> DiscriminatorOutput:
        """``x [N, *spec.shape]``, ``labels [N]`` if conditional -> logits ``[N]``, features ``[N, width]``."""
        features = self.trunk(append_labels(x.flatten(1), labels, self.embedding))  # [N, D] -> [N, width]
        logits = self.head(features).flatten()  # [N, 1] -> [N]
        return DiscriminatorOutput(logits, features)

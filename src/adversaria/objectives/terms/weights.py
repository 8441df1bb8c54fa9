"""Terms that look at a network's weights alone, in float32: its parameters of two or more dimensions.

Biases, gains of norms and embeddings, whose rows are no filters, are left out. Under spectral normalisation the weights
before their division are meant.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from adversaria.core.ranges import Count
from adversaria.core.schedules import Weight
from adversaria.core.types import Network, Step
from adversaria.nn.layers import without_autocast
from adversaria.objectives.terms.checks import check_term


class OrthogonalRegularisation:
    """||W W^T * (1 - I)||^2 summed over the weights W ``[filters, inputs]`` (Brock et al. 2019, BigGAN, equation 3).

    It draws different filters to be orthogonal and leaves their lengths free; ``weight`` is the paper's beta.

    Args:
        applies_to: whose weights.
        weight: beta, 0 or more, or a ramp.
        interval: computed every so many steps, and then counted so many times.

    Raises:
        UserError: a negative weight or an interval below 1.
    """

    uses_outputs = False

    def __init__(self, *, applies_to: Network = "generator", weight: Weight = 1e-4, interval: Count = 1) -> None:
        check_term("orthogonal", weight, interval)
        self.applies_to: Network = applies_to
        self.weight = weight
        self.interval = interval

    def __call__(self, step: Step) -> Tensor:
        """A float32 scalar."""
        terms = []
        for matrix in weight_matrices(step.network(self.applies_to)):
            with without_autocast(matrix.device):
                gram = matrix @ matrix.T  # [filters, filters]
                terms.append((gram - gram.diagonal().diag()).square().sum())
        return torch.stack(terms).sum()


class WeightDecay:
    """||W||^2 / 2 summed over the weights W, whose gradient is W: L2 regularisation as a term of the objective.

    Through an optimizer with adaptive rates it is not the decoupled decay of ``optim=adamw`` (Loshchilov & Hutter 2019,
    "Decoupled Weight Decay Regularization", section 2).

    Args:
        applies_to: whose weights.
        weight: 0 or more, or a ramp.
        interval: computed every so many steps, and then counted so many times.

    Raises:
        UserError: a negative weight or an interval below 1.
    """

    uses_outputs = False

    def __init__(self, *, applies_to: Network = "discriminator", weight: Weight = 1e-4, interval: Count = 1) -> None:
        check_term("weight_decay", weight, interval)
        self.applies_to: Network = applies_to
        self.weight = weight
        self.interval = interval

    def __call__(self, step: Step) -> Tensor:
        """A float32 scalar."""
        terms = [matrix.square().sum() for matrix in weight_matrices(step.network(self.applies_to))]
        return 0.5 * torch.stack(terms).sum()


def weight_matrices(network: nn.Module) -> Iterator[Tensor]:
    """Each weight as ``[filters, inputs]``, the filters being what a layer puts out."""
    embeddings = _parameters_of(network, nn.Embedding)
    transposed = _parameters_of(network, _ConvTransposeNd)  # [C_in, C_out, K, K]
    for parameter in network.parameters():
        if parameter.ndim > 1 and id(parameter) not in embeddings:
            yield (parameter.transpose(0, 1) if id(parameter) in transposed else parameter).flatten(1)


def _parameters_of(network: nn.Module, kind: type[nn.Module]) -> set[int]:
    return {id(p) for module in network.modules() if isinstance(module, kind) for p in module.parameters()}

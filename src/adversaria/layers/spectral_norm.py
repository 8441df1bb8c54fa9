"""Spectral normalisation (Miyato et al. 2018, "Spectral Normalization for Generative Adversarial Networks")."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from adversaria.layers.precision import without_autocast

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.Embedding)

WARM_UP_ITERATIONS = 15


def spectral_norm(layer: Layer, n_power_iterations: int = 1) -> Layer:
    """Divides the weight of ``layer`` by its largest singular value, estimated by power iteration; returns the layer.

    Convolutions, transposed ones, too, are seen as matrices ``[C_out, C_in * K * K]`` (section 2.1). Each forward pass
    in training mode makes ``n_power_iterations`` (algorithm 1); evaluation mode changes nothing. Initialise the layer
    first: a parametrised weight is computed and can no longer be written in place.

    PyTorch's own parametrisation multiplies in bfloat16 under autocast on GPUs; this one always keeps float32.
    """
    transposed = isinstance(layer, nn.ConvTranspose2d)  # its weight is [C_in, C_out, K, K]
    parametrize.register_parametrization(layer, "weight", _SpectralNorm(layer.weight, n_power_iterations, transposed))
    return layer


class _SpectralNorm(nn.Module):
    """``W -> W / sigma(W)``, with the singular vectors ``u [C_out]`` and ``v [C_in * K * K]`` as buffers."""

    u: Tensor
    v: Tensor

    def __init__(self, weight: Tensor, n_power_iterations: int, transposed: bool) -> None:
        super().__init__()
        self.n_power_iterations, self.transposed = n_power_iterations, transposed
        matrix = self._matrix(weight.detach())
        self.register_buffer("u", F.normalize(torch.randn_like(matrix[:, 0]), dim=0))
        self.register_buffer("v", F.normalize(torch.randn_like(matrix[0]), dim=0))
        self._iterate(matrix, WARM_UP_ITERATIONS)

    def _matrix(self, weight: Tensor) -> Tensor:
        """``[C_out, C_in * K * K]``."""
        return (weight.transpose(0, 1) if self.transposed else weight).flatten(1)

    @torch.no_grad()
    def _iterate(self, matrix: Tensor, iterations: int) -> None:
        for _ in range(iterations):
            self.u.copy_(F.normalize(matrix @ self.v, dim=0))
            self.v.copy_(F.normalize(self.u @ matrix, dim=0))

    def forward(self, weight: Tensor) -> Tensor:
        with without_autocast(weight.device):
            matrix = self._matrix(weight)
            if self.training:
                self._iterate(matrix.detach(), self.n_power_iterations)
            # Copies, because a second forward pass before the backward pass writes the buffers again.
            sigma = self.u.clone() @ (matrix @ self.v.clone())
            return weight / sigma

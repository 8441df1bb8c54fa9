"""What theory says of a layer's factor on gradients before training: mean fields of wide fully connected networks.

Poole et al. 2016, "Exponential expressivity in deep neural networks through transient chaos"; Schoenholz et al. 2017,
"Deep Information Propagation", equations 3 and 7.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from adversaria.nn.layers import ACTIVATIONS

#: fan_in * Var(w), and fan_in * Var(b) of PyTorch's linear layers: uniform in +-1 / sqrt(fan_in)
VARIANCES = {"default": (1 / 3, 1 / 3), "xavier": (1.0, 0.0), "he": (2.0, 0.0), "orthogonal": (1.0, 0.0)}
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(200)  # an even number: none at the kink of rectifiers


def factor(activation: str, init: str, gain: float, width: int, depth: int, start: float) -> float:
    """The geometric mean of what each of ``depth`` hidden layers but the last multiplies the error's norm by.

    With q the variance of a layer's outputs h, ``q' = a E[phi(h)^2] + b`` forwards, and backwards the square of the
    error is multiplied by ``a E[phi'(h)^2]``, h being normal with variance q, a being fan_in * Var(w).

    Args:
        activation, init, gain: as in the config.
        width: of the hidden layers.
        depth: how many.
        start: mean square of the network's input.
    """
    a, b = VARIANCES[init]
    a, b = a * gain**2, b / width
    q, logarithm = a * start + b, 0.0
    for _ in range(depth - 1):
        h = torch.tensor(math.sqrt(q) * NODES, dtype=torch.float64, requires_grad=True)
        value = ACTIVATIONS[activation]()(h)
        (slope,) = torch.autograd.grad(value.sum(), h)
        logarithm += 0.5 * math.log(a * _mean(slope.numpy() ** 2))
        q = a * _mean(value.detach().numpy() ** 2) + b
    return math.exp(logarithm / (depth - 1))


def batch_norm_factor(slope: float) -> float:
    """Of a layer with BatchNorm and a rectifier of this slope below zero, whatever its weights.

    The standard deviation that BatchNorm divides by is that of the rectifier's output: with slope 0 the factor is
    sqrt(pi / (pi - 1)) = 1.21 (Yang et al. 2019, "A Mean Field Theory of Batch Normalization").
    """
    second = (1 + slope**2) / 2  # of the output, and of its derivative
    return math.sqrt(second / (second - (1 - slope) ** 2 / (2 * math.pi)))


def spectral_norm_factor(slope: float) -> float:
    """Of a square matrix of independent entries over its largest singular value, and a rectifier of this slope.

    The largest singular value of such a matrix is twice the root of the mean of the squared ones, so that the matrix
    halves a typical error (Geman 1980, "A Limit Theorem for the Norm of Random Matrices").
    """
    return 0.5 * math.sqrt((1 + slope**2) / 2)


def _mean(values: np.ndarray) -> float:
    return float((WEIGHTS * values).sum() / math.sqrt(2 * math.pi))

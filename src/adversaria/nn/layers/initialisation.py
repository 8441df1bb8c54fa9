"""How weights start, by name: what decides whether gradients of a deep network vanish or explode before it learns.

A layer multiplies the variance of what passes it by ``fan_in * Var(w)`` forwards and by ``fan_out * Var(w)`` backwards,
and an activation by about a half if it is a rectifier (Glorot & Bengio 2010, "Understanding the Difficulty of Training
Deep Feedforward Neural Networks", section 4.2.1; He et al. 2015, "Delving Deep into Rectifiers", section 2.2).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.nn.layers.checks import choose
from adversaria.nn.layers.convolutions import SeparableConv2d, SeparableConvTranspose2d

Layer = nn.Linear | nn.Conv2d | nn.ConvTranspose2d
#: writes a weight in place, given the layer's fans
Write = Callable[[Tensor, float, float], object]


def xavier(weight: Tensor, fan_in: float, fan_out: float) -> None:
    """N(0, 2 / (fan_in + fan_out)): Glorot & Bengio 2010, equation 12, for activations of slope 1 at zero."""
    nn.init.normal_(weight, 0.0, math.sqrt(2 / (fan_in + fan_out)))


def he(weight: Tensor, fan_in: float, fan_out: float) -> None:
    """N(0, 2 / fan_in): He et al. 2015, equation 10, for rectifiers."""
    nn.init.normal_(weight, 0.0, math.sqrt(2 / fan_in))


def orthogonal(weight: Tensor, fan_in: float, fan_out: float) -> None:
    """Orthogonal rows or columns (Saxe et al. 2014, "Exact solutions to the nonlinear dynamics of learning")."""
    nn.init.orthogonal_(weight)


#: None: as the network starts by itself
INITS: Mapping[str, Write | None] = {"default": None, "xavier": xavier, "he": he, "orthogonal": orthogonal}


def fans(layer: Layer) -> tuple[float, float]:
    """How many inputs an output is the sum of, and how many outputs an input takes part in, borders left out.

    Of a transposed convolution only every stride-th position of the input is not zero, and so of the gradient of a
    convolution with a stride.
    """
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    kernel = math.prod(layer.kernel_size) / layer.groups
    seen = kernel / math.prod(layer.stride)
    inwards, outwards = (seen, kernel) if isinstance(layer, nn.ConvTranspose2d) else (kernel, seen)
    return layer.in_channels * inwards, layer.out_channels * outwards


@torch.no_grad()
def initialise(key: str, network: nn.Module, init: str, gain: float) -> None:
    """Rewrites the weights of linear layers and convolutions, and sets their biases to zero; norms stay.

    The two parts of a separable convolution, with no activation between them, start so that their product has the
    variance of a plain one.

    Args:
        key: of the network in the config, such as ``model.generator``.
        network: whose weights have their own values by now.
        init: one of `INITS`.
        gain: multiplies the weights, those of ``default`` as well: below 1 gradients vanish, above 1 they explode.

    Raises:
        UserError: there is no such initialisation, or a gain that is not above 0.
    """
    write = choose(f"{key}.init", init, INITS)
    if not gain > 0:
        raise UserError(f"{key}.init_gain={gain} is out of range: it must be above 0, 1 for the usual weights")
    filters = {m.depthwise for m in network.modules() if isinstance(m, SeparableConv2d | SeparableConvTranspose2d)}
    for layer in network.modules():
        if not isinstance(layer, Layer):
            continue
        fan_in, fan_out = fans(layer)
        if write is not None:
            # N(0, 1 / fan_in) for the filters: they alone keep the variance.
            (_keep_variance if layer in filters else write)(layer.weight, fan_in, fan_out)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        if gain != 1 and layer not in filters:
            layer.weight.mul_(gain)


def _keep_variance(weight: Tensor, fan_in: float, fan_out: float) -> None:
    nn.init.normal_(weight, 0.0, math.sqrt(1 / fan_in))

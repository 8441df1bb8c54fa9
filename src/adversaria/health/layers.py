"""A network's layers from first to last: where its gradient comes from and how large its weights are."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adversaria.core.modes import evaluating

#: how the name of a weight ends; the first, of `torch.nn.utils.parametrize`, is that of one from which the layer's is
#: computed
_COMPUTED = ".parametrizations.weight.original"
_STORED = (_COMPUTED, ".weight")


def weight_layers(network: nn.Module) -> dict[str, nn.Parameter]:
    """The weights with two dimensions or more, by the name of their layer, first to last.

    The order is that in which the layers were registered, which is that of the data in networks that are read from top
    to bottom. A weight under a parametrisation such as spectral normalisation stands for itself before it.
    """
    return {_layer(name): weight for name, weight in network.named_parameters() if weight.dim() >= 2}


def gradient_profile(network: nn.Module) -> dict[str, Tensor]:
    """The Euclidean norm of each layer's weight gradient, first to last, on the device; 0 where there is none.

    Exact over the whole range of the gradient's type: that of a deep network falls below 1e-23, whose square is 0 in
    float32.
    """
    layers = weight_layers(network)
    stepping = {name: weight.grad for name, weight in layers.items() if weight.grad is not None}
    norms = dict(zip(stepping, _scaled_norms(list(stepping.values())), strict=True)) if stepping else {}
    zero = torch.zeros((), device=next(iter(layers.values())).device) if layers else None
    return {name: norms.get(name, zero) for name in layers}  # type: ignore[misc]


def _scaled_norms(gradients: list[Tensor]) -> list[Tensor]:
    """Their Euclidean norms by way of the largest entries, so that no square is too small or too large for its type."""
    # Nothing to divide by in a gradient of zeros; by infinity or NaN the quotient would lose which of them it was.
    largest = torch.stack(torch._foreach_norm(gradients, torch.inf))
    divisors = torch.where((largest > 0) & torch.isfinite(largest), largest, 1)
    scaled = torch._foreach_norm(torch._foreach_div(gradients, list(divisors.unbind())))
    return list((torch.stack(scaled) * divisors).unbind())


@torch.no_grad()
def singular_values(network: nn.Module) -> dict[str, Tensor]:
    """The largest singular value of each layer's weight, first to last, seen as a matrix ``[C_out, C_in * K * K]``.

    That of the convolution as a linear map is at most the kernel's side times larger (Tsuzuku et al. 2018,
    "Lipschitz-Margin Training", section 3.2).
    """
    with evaluating(network):  # or the power iteration of spectral normalisation would go on
        return {
            _layer(name): torch.linalg.matrix_norm(_used(network, name, weight).detach().float().flatten(1), 2)
            for name, weight in network.named_parameters()
            if weight.dim() >= 2
        }


def _used(network: nn.Module, name: str, stored: Tensor) -> Tensor:
    """The weight that the layer multiplies by: the parametrised one where there is one."""
    if not name.endswith(_COMPUTED):
        return stored
    weight = network.get_submodule(name.removesuffix(_COMPUTED)).weight
    assert isinstance(weight, Tensor)
    return weight


def _layer(parameter: str) -> str:
    for ending in _STORED:
        if parameter.endswith(ending):
            return parameter.removesuffix(ending)
    return parameter

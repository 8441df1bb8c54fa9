"""Spectral normalisation (Miyato et al. 2018, "Spectral Normalization for Generative Adversarial Networks").

A layer makes its power iteration when its weight is looked at. `iterate_together` has all layers of a network make
theirs at once, before its forward pass: a matrix times a vector takes microseconds, and most of what it costs is to
start it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from adversaria.nn.layers.precision import without_autocast

#: what holds a parametrised weight: ``original`` and, as its first item, what computes the weight from it
Weight = Any
Layer = TypeVar("Layer", nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.Embedding)

WARM_UP_ITERATIONS = 15
#: the least that a vector is divided by; those of length sigma^2 are among them
EPS = 1e-24


def spectral_norm(layer: Layer, n_power_iterations: int = 1) -> Layer:
    """Divides the weight of ``layer`` by its largest singular value, estimated by power iteration; returns the layer.

    Convolutions, transposed ones, too, are seen as matrices ``[C_out, C_in * K * K]`` (section 2.1). Each forward pass
    in training mode makes ``n_power_iterations`` (algorithm 1); evaluation mode changes nothing. Initialise the layer
    first: a parametrised weight is computed and can no longer be written in place.

    PyTorch's own parametrisation multiplies in bfloat16 under autocast on GPUs; this one always keeps float32.
    """
    transposed = isinstance(layer, nn.ConvTranspose2d)  # its weight is [C_in, C_out, K, K]
    parametrize.register_parametrization(layer, "weight", SpectralNorm(layer.weight, n_power_iterations, transposed))
    return layer


def iterate_together(network: nn.Module) -> nn.Module:
    """Has all spectrally normalised layers of ``network`` iterate at once before each of its forward passes.

    The numbers, the buffers and how often they change stay the same. A layer that is used without the whole network,
    or for a second time in one pass, iterates by itself as before.

    Returns:
        The network, with hooks if it has such layers.
    """
    if weights := normalised_weights(network):
        hook = _Together(weights)
        network.register_forward_pre_hook(hook)
        network.register_forward_hook(hook.forget, always_call=True)
    return network


def normalised_weights(module: nn.Module) -> list[Weight]:
    """Those in ``module``, itself included, that `SpectralNorm` computes."""
    lists = [p for p in module.modules() if isinstance(p, parametrize.ParametrizationList)]
    return [p for p in lists if len(p) == 1 and isinstance(p[0], SpectralNorm)]


class Estimate(NamedTuple):
    """The largest singular value ``sigma []`` of a matrix with its vectors ``u [C_out]`` and ``v [C_in * K * K]``.

    It carries no gradients; ``v`` is in the order of the weight's memory.
    """

    u: Tensor
    v: Tensor
    sigma: Tensor


class SpectralNorm(nn.Module):
    """``W -> W / sigma(W)``, with the singular vectors ``u [C_out]`` and ``v [C_in * K * K]`` as buffers.

    Args:
        weight: W as it starts.
        n_power_iterations: in each forward pass of training.
        transposed: whether W is ``[C_in, C_out, K, K]``.

    Attributes:
        ahead: what the next forward pass in training takes instead of iterating itself; None: nothing.
    """

    u: Tensor
    v: Tensor

    def __init__(self, weight: Tensor, n_power_iterations: int, transposed: bool) -> None:
        super().__init__()
        self.n_power_iterations, self.transposed = n_power_iterations, transposed
        self.ahead: Estimate | None = None
        matrix = _matrix(weight.detach(), transposed, weight)
        self.register_buffer("u", F.normalize(torch.randn_like(matrix[:, 0]), dim=0))
        self.register_buffer("v", F.normalize(torch.randn_like(matrix[0]), dim=0))
        _iterate([(self, weight)], WARM_UP_ITERATIONS)

    def forward(self, weight: Tensor) -> Tensor:
        """The divided weight, of the same shape and order in memory, in its own precision."""
        with without_autocast(weight.device):
            if self.training:
                estimate = self.ahead or _iterate([(self, weight)], self.n_power_iterations)[0]
                self.ahead = None
            else:
                estimate = self._standing(weight)
            if torch.compiler.is_compiling():
                return _quotient(weight, estimate, self.transposed)
            divided: Tensor = _Divided.apply(weight, *estimate, self.transposed)
            return divided

    @torch.no_grad()
    def _standing(self, weight: Tensor) -> Estimate:
        """What the vectors say as they stand; copies, because training writes them again."""
        u, v = self.u.clone(), _in_memory_order(self.v, self.transposed, weight).clone()
        return Estimate(u, v, u @ (_matrix(weight, self.transposed, weight) @ v))


class _Together:
    """A hook before and one behind a network's forward pass. An object, so that a copied network gets its own.

    Args:
        weights: those of the network.
    """

    def __init__(self, weights: list[Weight]) -> None:
        self.weights = weights

    def __call__(self, network: nn.Module, arguments: Any) -> None:
        # Inside `parametrize.cached` a weight is computed once for many passes: the layers know when.
        if not parametrize._cache_enabled:
            _iterate_ahead([weight for weight in self.weights if weight[0].training])

    def forget(self, network: nn.Module, arguments: Any, output: Any) -> None:
        """Leaves nothing behind for a pass of another network that shares layers with this one."""
        for weight in self.weights:
            weight[0].ahead = None


def _iterate_ahead(weights: Sequence[Weight]) -> None:
    """Has those that have none for their next forward pass iterate, together."""
    by_count: dict[int, list[Weight]] = {}
    for weight in weights:
        if weight[0].ahead is None:
            by_count.setdefault(weight[0].n_power_iterations, []).append(weight)
    for count, those in by_count.items():
        with without_autocast(those[0].original.device):
            estimates = _iterate([(weight[0], weight.original) for weight in those], count)
        for weight, estimate in zip(those, estimates, strict=True):
            weight[0].ahead = estimate


@torch.no_grad()
def _iterate(layers: Sequence[tuple[SpectralNorm, Tensor]], iterations: int) -> list[Estimate]:
    """``iterations`` of algorithm 1 for some layers and their weights; their buffers hold the vectors afterwards."""
    count = len(layers)
    matrices = [_matrix(weight, norm.transposed, weight) for norm, weight in layers]
    vs: Sequence[Tensor] = [_in_memory_order(norm.v, norm.transposed, weight) for norm, weight in layers]
    for _ in range(iterations):
        # u is divided by its norm afterwards: v does not depend on its length, and both lengths are found at once.
        us: Sequence[Tensor] = [m.mv(v) for m, v in zip(matrices, vs, strict=True)]
        raw = [*us, *(m.t().mv(u) for m, u in zip(matrices, us, strict=True))]
        norms = torch.stack(torch._foreach_norm(raw))  # [2 * count]
        vectors = _divided(raw, norms.clamp(min=EPS))
        us, vs = vectors[:count], vectors[count:]
    # With u = W v / |W v| and the new v = W^T u / |W^T u|, sigma = u^T W v = |W^T u|.
    sigmas = (norms[count:] / norms[:count]).unbind()
    stored = [_in_standard_order(v, norm.transposed, w) for (norm, w), v in zip(layers, vs, strict=True)]
    torch._foreach_copy_([*(norm.u for norm, _ in layers), *(norm.v for norm, _ in layers)], [*us, *stored])
    return [Estimate(*parts) for parts in zip(us, vs, sigmas, strict=True)]


def _divided(vectors: list[Tensor], norms: Tensor) -> Sequence[Tensor]:
    """Each vector by its norm."""
    if torch.compiler.is_compiling():  # which makes one kernel of these by itself
        return [vector / norm for vector, norm in zip(vectors, norms.unbind(), strict=True)]
    lengths = tuple(len(vector) for vector in vectors)
    joined = torch.cat(vectors) / norms.index_select(0, _owners(lengths, norms.device))
    return joined.split(lengths)  # type: ignore[no-any-return, no-untyped-call]


@functools.lru_cache(maxsize=64)
def _owners(lengths: tuple[int, ...], device: torch.device) -> Tensor:
    """For vectors joined to one, the number of the vector that each entry belongs to, ``[sum(lengths)]``."""
    return torch.tensor([k for k, n in enumerate(lengths) for _ in range(n)], device=device)


def _quotient(weight: Tensor, estimate: Estimate, transposed: bool) -> Tensor:
    """What `_Divided` gives, for compilers: they fuse the operations themselves, and fail where a Function's backward
    leaves autocast."""
    return weight / (estimate.u * (_matrix(weight, transposed, weight) @ estimate.v)).sum()


class _Divided(torch.autograd.Function):
    """``W / sigma`` where ``sigma = u^T W v``, as one operation.

    With G the gradient of the quotient, that of W is ``(G - <G, W> / sigma * u v^T) / sigma`` (equations 9 and 10).
    """

    @staticmethod
    def forward(weight: Tensor, u: Tensor, v: Tensor, sigma: Tensor, transposed: bool) -> Tensor:
        return weight / sigma

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.transposed = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weight, u, v, sigma = ctx.saved_tensors
        with without_autocast(weight.device):
            w, g = _matrix(weight, ctx.transposed, weight), _matrix(gradient, ctx.transposed, weight)
            if torch.is_grad_enabled():  # for a second derivative sigma is a function of the weight again
                sigma = u @ (w @ v)
            g = g / sigma
            share = torch.dot(g.flatten(), w.flatten()) / sigma
            result = torch.addr(g, u * share, v, alpha=-1)
            return _weight(result, ctx.transposed, weight), None, None, None, None


def _channels_last(weight: Tensor) -> bool:
    """Whether ``weight`` lies in memory as ``[C_out, K, K, C_in]``.

    Strides say it also where a side of 1 leaves several orders the same: a gradient is to have those of its weight.
    """
    return weight.dim() == 4 and weight.stride()[1:] == (1, weight.shape[3] * weight.shape[1], weight.shape[1])


def _matrix(tensor: Tensor, transposed: bool, like: Tensor) -> Tensor:
    """``[C_out, C_in * K * K]``, the columns in the order of memory of the weight ``like``, so that none is copied."""
    if transposed:
        return tensor.transpose(0, 1).flatten(1)
    return (tensor.permute(0, 2, 3, 1) if _channels_last(like) else tensor).flatten(1)


def _weight(matrix: Tensor, transposed: bool, like: Tensor) -> Tensor:
    """The inverse of `_matrix`."""
    if transposed:
        return matrix.view(like.transpose(0, 1).shape).transpose(0, 1)
    return (
        matrix.view(like.permute(0, 2, 3, 1).shape).permute(0, 3, 1, 2)
        if _channels_last(like)
        else matrix.view_as(like)
    )


def _in_memory_order(v: Tensor, transposed: bool, like: Tensor) -> Tensor:
    """A vector in the order of the weight's shape, as buffers and checkpoints hold it, in that of `_matrix`."""
    swapped = not transposed and _channels_last(like)
    return v.view(like.shape[1:]).permute(1, 2, 0).flatten() if swapped else v


def _in_standard_order(v: Tensor, transposed: bool, like: Tensor) -> Tensor:
    """The inverse of `_in_memory_order`."""
    swapped = not transposed and _channels_last(like)
    return v.view(like.permute(0, 2, 3, 1).shape[1:]).permute(2, 0, 1).flatten() if swapped else v

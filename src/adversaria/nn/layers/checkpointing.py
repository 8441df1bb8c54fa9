"""Gradient checkpointing (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"): time for memory.

A block keeps its input alone and computes its activations a second time in the backward pass. The numbers are the same:
random numbers are drawn again as they were, BatchNorm's running statistics move once, and spectral normalisation
divides by the same singular values instead of iterating again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from adversaria.nn.layers.spectral_norm import normalised_weights, prepare


def checkpoint_blocks(network: nn.Module) -> int:
    """Makes the blocks of ``network`` keep their inputs alone; names and weights stay as they are.

    Blocks are the members of its outermost `ModuleList`s that have layers of their own, and of its outermost chains
    (`nn.Sequential`) each layer with weights together with what follows it up to the next. They work so in training
    mode where gradients are wanted, a second derivative included.

    Returns:
        How many blocks there are; 0 if the network has no such lists and chains.
    """
    count = 0
    for module in list(_outermost(network)):
        if isinstance(module, nn.Sequential):
            _become(module, _Chain)
            count += len(_units(module))
        else:
            blocks = [block for block in module.children() if _has_layers(block)]
            for block in blocks:
                _become(block, _Block)
            count += len(blocks)
    return count


class _Block(nn.Module):
    """What a block becomes: a class put before its own, so that copies of the network are copies in this, too."""

    def forward(self, *inputs: Any, **keywords: Any) -> Any:
        """The block's own forward pass."""
        return _forgetful(self, [self], super().forward, *inputs, **keywords)


class _Chain(nn.Sequential):
    """What a chain becomes."""

    def forward(self, x: Any) -> Any:
        """The layers in turn."""
        layers = list(self)
        for start, stop in _units(self):
            unit = layers[start:stop]
            x = _forgetful(self, unit, _run, x, unit)
        return x


def _run(x: Any, layers: Sequence[nn.Module]) -> Any:
    for layer in layers:
        x = layer(x)
    return x


def _forgetful(
    owner: nn.Module, layers: Sequence[nn.Module], run: Callable[..., Any], *inputs: Any, **keys: Any
) -> Any:
    """``run(*inputs, **keys)``, which uses ``layers``, without its activations if they can be computed again."""
    if not (owner.training and torch.is_grad_enabled()):
        return run(*inputs, **keys)
    again = _Again(layers)
    return checkpoint(run, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), again), **keys)


class _Again:
    """The context of every further computation of the same activations: layers with state use what they used first.

    Args:
        layers: which compute their activations for the first time next.
    """

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        self.weights = [weight for layer in layers for weight in normalised_weights(layer) if weight[0].training]
        self.estimates = prepare(self.weights)
        self.modules = [module for layer in layers for module in layer.modules()]

    def __enter__(self) -> None:
        for weight, estimate in zip(self.weights, self.estimates, strict=True):
            weight[0].prepared = estimate
        # Whatever a layer writes, such as running statistics, it writes into copies. To switch its statistics off
        # would not do: autograd must be given as many tensors as the first time.
        self.buffers = [(m._buffers, name, b) for m in self.modules for name, b in m._buffers.items() if b is not None]
        for buffers, name, buffer in self.buffers:
            buffers[name] = buffer.clone()

    def __exit__(self, *exception: object) -> None:
        for buffers, name, buffer in self.buffers:
            buffers[name] = buffer
        for weight in self.weights:  # the computation ends where nothing more is needed
            weight[0].prepared = None


def _outermost(module: nn.Module) -> Iterator[nn.Module]:
    """The lists and chains in ``module`` that stand in no other one."""
    if isinstance(module, nn.ModuleList) or type(module).forward is nn.Sequential.forward:
        yield module
        return
    for child in module.children():
        yield from _outermost(child)


def _has_layers(module: nn.Module) -> bool:
    """Whether it is made of layers, and not one itself; a parametrised weight makes none of a layer."""
    return any(name != "parametrizations" for name, _ in module.named_children())


def _units(chain: Iterable[nn.Module]) -> list[tuple[int, int]]:
    """Where the layers with weights begin and end, each with what follows it; the first takes what stands before."""
    starts = [k for k, layer in enumerate(chain) if any(p.dim() > 1 for p in layer.parameters())]
    stop = sum(1 for _ in chain)
    return list(pairwise([0, *starts[1:], stop])) if stop else []


def _become(module: nn.Module, base: type[nn.Module]) -> None:
    own = type(module)
    module.__class__ = type(own.__name__, (base, own), {"__module__": own.__module__})

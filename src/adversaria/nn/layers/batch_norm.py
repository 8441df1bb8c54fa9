"""What training and sampling must know of BatchNorm (Ioffe & Szegedy 2015)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from adversaria.core.modes import evaluating

#: what BatchNorm normalises by unless somebody asks for something else
RUNNING = "running statistics"


class frozen_statistics:  # a context manager, named like those of contextlib
    """Within it, BatchNorm in training mode normalises by the batch but leaves its running statistics alone.

    Used around passes that are not D's own step, such as that of the G step: D's statistics should be those of the
    samples it was trained on. The layers are collected once, so keep the object and enter it as often as needed; for
    a network without BatchNorm entering costs nothing.

    Usage:
        >>> frozen = frozen_statistics(discriminator)
        >>> with frozen:
        ...     output = discriminator(fake)
    """

    def __init__(self, module: nn.Module) -> None:
        self._layers = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]

    def __enter__(self) -> None:
        # In training mode a layer that does not track uses the batch's statistics and writes no buffer; in evaluation
        # mode it still uses the running ones.
        for layer in self._layers:
            layer.track_running_stats = False

    def __exit__(self, *exception: object) -> None:
        for layer in self._layers:
            layer.track_running_stats = True


def mixes_samples(module: nn.Module) -> bool:
    """Whether a sample's output depends on the others of its batch, as BatchNorm in training mode makes it.

    A discriminator that mixes samples must not see reals and fakes in one batch: their shared statistics would tell
    it what it is to find out. A layer of another kind says so by an attribute ``mixes_samples = True``.
    """
    # any layer of a user's own may say so
    return any(isinstance(m, _BatchNorm) or getattr(m, "mixes_samples", False) is True for m in module.modules())


@torch.no_grad()
def standing_statistics(network: nn.Module, draw: Callable[[int, int], object], *, batches: int, size: int) -> bool:
    """Replaces BatchNorm's running statistics by plain averages over ``batches`` of the present weights.

    Brock et al. 2019 ("Large Scale GAN Training", appendix B): running statistics lag behind the weights, and those of
    an average of weights belong to other weights; standing statistics belong to these. The layers normalise by each
    batch meanwhile, as in training, and every other layer works as in evaluation, so that nothing else changes.

    Args:
        network: its modes are left as they were.
        draw: ``draw(start, stop)`` passes the inputs of these numbers through ``network``, as `sampling.Draw` does.
        batches: how many.
        size: of each.

    Returns:
        Whether ``network`` has BatchNorm with running statistics at all; without it no batch is drawn.
    """
    layers = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not layers:
        return False
    momenta = [layer.momentum for layer in layers]
    try:
        with evaluating(network):
            for layer in layers:
                layer.reset_running_stats()
                layer.momentum = None  # PyTorch's word for a cumulative average
                layer.train()
            for k in range(batches):
                draw(size * k, size * (k + 1))
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    return True

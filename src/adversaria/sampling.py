"""Draws samples by number: sample ``i`` depends on the seed and on ``i`` alone.

Every batch size and every number of devices so gives the same samples, and the first 64 of 10,000 are those of 64.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from adversaria.errors import UserError
from adversaria.stepping import step_seed
from adversaria.types import Batch

#: latents are drawn in blocks of this many, one generator each: seeding one for every sample would cost more
BLOCK = 64


class Draw:
    """Samples of a network by number: ``draw(start, stop)``.

    Args:
        network: ``network(z, labels)`` with ``sample_latent``; must be in eval mode for the promise above to hold.
        device: of the network.
        seed: of latents and labels.
        class_weights: relative frequency of each class, for labels drawn at random; None: unconditional, or ``labels``.
        labels: sample ``i`` gets ``labels[i % len(labels)]``; takes precedence over ``class_weights``.
        truncation: latents with a magnitude above it are drawn again (Brock et al. 2019, section 3.1).

    Raises:
        UserError: ``truncation`` is not above 0.
    """

    def __init__(
        self,
        network: nn.Module,
        device: torch.device,
        *,
        seed: int = 0,
        class_weights: Sequence[float] | None = None,
        labels: Sequence[int] | None = None,
        truncation: float | None = None,
    ) -> None:
        if truncation is not None and truncation <= 0:
            raise UserError(f"truncation={truncation} must be above 0; a usual value is 0.7")
        self.network, self.device, self.seed, self.truncation = network, device, seed, truncation
        self._labels = None if labels is None else torch.tensor(list(labels), dtype=torch.int64)
        weights = torch.tensor(class_weights or [], dtype=torch.float64)
        self._cumulative = None if class_weights is None else weights.cumsum(0) / weights.sum()

    def latents(self, start: int, stop: int) -> tuple[Tensor, Tensor | None]:
        """``z [stop - start, latent_dim]`` and labels ``[stop - start]`` or None, on the CPU."""
        blocks = [self._block(block) for block in range(start // BLOCK, (stop - 1) // BLOCK + 1)]
        cut = slice(start % BLOCK, start % BLOCK + stop - start)
        z = torch.cat([latents for latents, _ in blocks])[cut]
        if self._labels is not None:
            return z, self._labels[torch.arange(start, stop) % len(self._labels)]
        if self._cumulative is None:
            return z, None
        uniform = torch.cat([draws for _, draws in blocks])[cut]
        return z, torch.searchsorted(self._cumulative, uniform).clamp_(max=len(self._cumulative) - 1)

    @torch.no_grad()
    def __call__(self, start: int, stop: int) -> Batch:
        """Samples ``[stop - start, *shape]`` in the spec's value range, on the device of the network, and their labels
        ``[stop - start]`` on the CPU, None for an unconditional network.
        """
        z, labels = self.latents(start, stop)
        samples: Tensor = self.network(z.to(self.device), None if labels is None else labels.to(self.device))
        return Batch(samples, labels)

    def _block(self, block: int) -> tuple[Tensor, Tensor]:
        """Latents ``[BLOCK, latent_dim]`` and uniform numbers ``[BLOCK]`` of one block."""
        generator = torch.Generator().manual_seed(step_seed(self.seed, 0, block, 0))
        z: Tensor = self.network.sample_latent(BLOCK, generator)  # type: ignore[operator]
        uniform = torch.rand(BLOCK, generator=generator, dtype=torch.float64)
        while self.truncation is not None and bool((outside := z.abs() > self.truncation).any()):
            z = torch.where(outside, self.network.sample_latent(BLOCK, generator), z)  # type: ignore[operator]
        return z, uniform


@contextmanager
def evaluating(network: nn.Module) -> Iterator[nn.Module]:
    """``network`` in eval mode; afterwards every module is in the mode it was in."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield network
    finally:
        for module, mode in modes.items():
            module.training = mode

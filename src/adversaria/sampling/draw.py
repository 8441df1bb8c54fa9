"""Draws samples by number: sample ``i`` depends on the seed and on ``i`` alone.

Every batch size and every number of devices so gives the same samples, and the first 64 of 10,000 are those of 64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.core.seeding import step_seed
from adversaria.core.types import BLOCK, Batch, DataSpec
from adversaria.nn.latents import prior_of

#: below it latents are drawn again hundreds of times
LEAST_TRUNCATION = 0.01


class Draw:
    """Samples of a network by number: ``draw(start, stop)``.

    Args:
        network: ``network(z, labels)`` with ``sample_latent``; must be in eval mode for the promise above to hold.
        device: of the network.
        seed: of latents and labels.
        class_weights: relative frequency of each class, for labels drawn at random; None: unconditional, or ``labels``.
        labels: sample ``i`` gets ``labels[i % len(labels)]``; takes precedence over ``class_weights``.
        truncation: for a network with ``takes_truncation = True`` the psi that its ``forward`` is called with (Karras
            et al. 2019, appendix B). Else latents with a magnitude above it are drawn again (Brock et al. 2019, section
            3.1); codes behind the noise stay.

    Raises:
        UserError: ``truncation`` is not above 0 (or 0.01, where latents are drawn again), or senseless for the
            network's latents.
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
        number = isinstance(truncation, int | float) and not isinstance(truncation, bool)
        if truncation is not None and not (number and 0 < truncation < math.inf):
            raise UserError(f"truncation={truncation} must be a number above 0; a usual value is 0.7")
        takes_psi = bool(getattr(network, "takes_truncation", False))
        if truncation is not None and not takes_psi and truncation < LEAST_TRUNCATION:
            raise UserError(
                f"truncation={truncation} would draw latents again almost for ever until all numbers are that small; "
                f"give at least {LEAST_TRUNCATION}"
            )
        if truncation is not None and not takes_psi and not (prior := prior_of(network)).redraws:
            raise UserError(
                f"truncation={truncation} draws single numbers again, which is no sample of this model's latents "
                f"({type(prior).__name__}) any more: leave truncation=null"
            )
        self.network, self.device, self.seed = network, device, seed
        self._psi = {"truncation": truncation} if takes_psi and truncation is not None else {}
        self._largest = None if takes_psi else truncation
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
        return Batch(self.samples_of(z, labels), labels)

    @torch.no_grad()
    def samples_of(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """Samples ``[N, *shape]`` on the network's device of latents ``[N, latent_dim]`` and labels ``[N]`` or None."""
        there = None if labels is None else labels.to(self.device)
        samples: Tensor = self.network(z.to(self.device), there, **self._psi)
        return samples

    def _block(self, block: int) -> tuple[Tensor, Tensor]:
        """Latents ``[BLOCK, latent_dim]`` and uniform numbers ``[BLOCK]`` of one block."""
        generator = torch.Generator().manual_seed(step_seed(self.seed, 0, block, 0))
        z: Tensor = self.network.sample_latent(BLOCK, generator)  # type: ignore[operator]
        uniform = torch.rand(BLOCK, generator=generator, dtype=torch.float64)
        noise = z[:, : getattr(self.network, "noise_dim", None)]  # a view
        while self._largest is not None and bool((outside := noise.abs() > self._largest).any()):
            again: Tensor = self.network.sample_latent(BLOCK, generator)  # type: ignore[operator]
            noise.copy_(torch.where(outside, again[:, : noise.shape[1]], noise))
        return z, uniform


@torch.no_grad()
def traverse(
    network: nn.Module,
    spec: DataSpec,
    device: torch.device,
    *,
    seed: int = 0,
    labels: Sequence[int] | None = None,
) -> dict[str, Tensor]:
    """Pictures that a network has of what its latents mean, such as a code from one end to the other.

    They are those of its method ``traversals(columns, generator)``, which gives latents ``[R, C, latent_dim]`` by name.
    A network without it has none.

    Args:
        network: in eval mode.
        spec: of its samples.
        device: of the network.
        seed: of the latents.
        labels: of a conditional network: the ``i``-th row gets ``labels[i % len(labels)]``.

    Returns:
        samples ``[R, C, *spec.shape]`` on ``device`` by name.
    """
    if not hasattr(network, "traversals"):
        return {}
    latents = network.traversals(spec.modality.columns, torch.Generator().manual_seed(seed))  # type: ignore[operator]
    pictures = {}
    for name, z in latents.items():
        rows, columns = z.shape[:2]
        y = None
        if labels is not None:
            y = torch.tensor([labels[row % len(labels)] for row in range(rows)], device=device)
            y = y.repeat_interleave(columns)
        samples: Tensor = network(z.flatten(0, 1).to(device), y)
        pictures[name] = samples.unflatten(0, (rows, columns))  # type: ignore[no-untyped-call]
    return pictures

"""Draws samples by number: sample ``i`` depends on its input, and so on the seed and on ``i`` alone.

Every batch size and every number of devices so gives the same samples, and the first 64 of 10,000 are those of 64.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.core.types import Batch, DataSpec
from adversaria.nn.inputs import Inputs
from adversaria.nn.network import as_generator
from adversaria.nn.posterior import Posterior
from adversaria.nn.prior import Prior


class Draw:
    """Samples of a network by number: ``draw(start, stop)``.

    Args:
        network: ``network(z, labels)``; must be in eval mode for the promise above to hold.
        device: of the network.
        inputs: what it is called with, by number.
        condition: what its conditions look like; None: it is called with labels or with latents alone.
        encoder: gives the posterior of a sample's latent, on the same device and in eval mode; None: there is none.
    """

    def __init__(
        self,
        network: nn.Module,
        device: torch.device,
        inputs: Inputs,
        condition: DataSpec | None = None,
        encoder: nn.Module | None = None,
    ) -> None:
        self.network, self.device, self.inputs = network, device, inputs
        self.condition, self.encoder = condition, encoder
        self._dtype = dtype_of(network)

    @torch.no_grad()
    def __call__(self, start: int, stop: int) -> Batch:
        """Samples ``[stop - start, *shape]`` in the spec's value range, on the device of the network, and their labels
        ``[stop - start]`` on the CPU, None for an unconditional network.
        """
        z, labels = self.inputs(start, stop)
        return Batch(self.samples_of(z, labels), labels)

    @property
    def encodes(self) -> bool:
        """Whether there is an encoder, and so reconstructions."""
        return self.encoder is not None

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """The means of the posteriors of samples ``x [N, *shape]``: latents ``[N, latent_dim]``, on the device.

        Raises:
            UserError: there is no encoder.
        """
        if self.encoder is None:
            raise UserError("this model has no encoder that finds latents of samples; train one with model=vae_gan")
        return Posterior.of(self.encoder, x.to(self.device, self._dtype)).mean

    def reconstruct(self, x: Tensor) -> Tensor:
        """What is made of the latents of samples ``x [N, *shape]``, of the same shape.

        Raises:
            UserError: there is no encoder.
        """
        return self.samples_of(self.encode(x), None)

    @torch.no_grad()
    def samples_of(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """Samples ``[N, *shape]`` on the network's device of latents ``[N, latent_dim]`` and labels ``[N]`` or None."""
        there = None if labels is None else labels.to(self.device)
        samples: Tensor = self.network(z.to(self.device, self._dtype), there, **self.inputs.options)
        return samples


@torch.no_grad()
def traverse(
    network: nn.Module,
    prior: Prior,
    spec: DataSpec,
    device: torch.device,
    *,
    seed: int = 0,
    labels: Sequence[int] | None = None,
) -> dict[str, Tensor]:
    """Pictures that a network has of what its latents mean, such as a code from one end to the other.

    They are those of its method ``traversals`` (see `adversaria.nn.network.Generator`), which most have none of.

    Args:
        network: in eval mode.
        prior: of its latents.
        spec: of its samples.
        device: of the network.
        seed: of the latents.
        labels: of a conditional network: the ``i``-th row gets ``labels[i % len(labels)]``.

    Returns:
        samples ``[R, C, *spec.shape]`` on ``device`` by name.
    """

    def draw(n: int) -> Tensor:
        return prior.draw(n, torch.Generator().manual_seed(seed)).to(dtype)

    dtype = dtype_of(network)
    pictures = {}
    for name, z in as_generator(network).traversals(spec.modality.columns, draw).items():
        rows, columns = z.shape[:2]
        y = None
        if labels is not None:
            y = torch.tensor([labels[row % len(labels)] for row in range(rows)], device=device)
            y = y.repeat_interleave(columns)
        samples: Tensor = network(z.flatten(0, 1).to(device), y)
        pictures[name] = samples.unflatten(0, (rows, columns))  # type: ignore[no-untyped-call]
    return pictures


def dtype_of(network: nn.Module) -> torch.dtype:
    """That of the weights; float32 where there are none."""
    return next((p.dtype for p in network.parameters()), torch.float32)

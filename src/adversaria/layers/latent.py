"""The prior that generators draw their latents from."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def normal_latent(network: nn.Module, n: int, dim: int, generator: torch.Generator | None = None) -> Tensor:
    """``n`` standard normal latents, ``[n, dim]`` float32.

    They are made on the device of ``generator``, so that a generator on the CPU gives the same latents to every
    device; without one they come from the global state, on the device of the network's weights.
    """
    device = next(network.parameters()).device if generator is None else generator.device
    return torch.randn(n, dim, generator=generator, device=device, dtype=torch.float32)

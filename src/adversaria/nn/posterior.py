"""What an encoder says of a sample's latent."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor


class Posterior(NamedTuple):
    """Independent Gaussians, one for each number of a latent (Kingma & Welling 2014, section 3).

    Attributes:
        mean: ``[N, latent_dim]``.
        log_variance: ``[N, latent_dim]``.
    """

    mean: Tensor
    log_variance: Tensor

    @classmethod
    def of(cls, encoder: Any, x: Tensor) -> Posterior:
        """Of samples ``x [N, *spec.shape]``, in float32; ``encoder(x)`` gives mean and log-variance."""
        mean, log_variance = encoder(x)
        return cls(mean.float(), log_variance.float())

    def draw(self) -> Tensor:
        """Latents ``[N, latent_dim]`` from torch's global state; gradients reach both attributes (section 2.4)."""
        return self.mean + torch.randn_like(self.mean) * (0.5 * self.log_variance).exp()

    def divergence(self) -> Tensor:
        """KL(posterior || N(0, I)) of each sample, ``[N]``, in nats (appendix B)."""
        return 0.5 * (self.mean.square() + self.log_variance.exp() - 1 - self.log_variance).sum(1)

"""What breaks a run on purpose, to be named in configs with ``trust=[studies]``."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn


class ConstantGenerator(nn.Module):
    """A generator that ignores its latent: one learnt sample for all.

    Args:
        spec: of the data.
        latent_dim: length of the latent.
    """

    conditional = False

    def __init__(self, *, spec: Any, latent_dim: int = 8) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.sample = nn.Parameter(0.1 * torch.randn(spec.shape))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """``z [N, latent_dim]`` -> the same sample N times, ``[N, *spec.shape]``."""
        return torch.tanh(self.sample).expand(len(z), *self.sample.shape)


class Disturb(Callback):
    """Multiplies every gradient of one generator update, in the first life of a run only.

    Args:
        step: the update.
        factor: by what, as text, for no field of a config takes the NaN that makes all of them NaN.
    """

    def __init__(self, *, step: int, factor: str) -> None:
        self.step, self.factor = step, float(factor)
        self._hooks: list[Any] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        """Listens to the gradients as they are made, so that all other callbacks see them disturbed."""
        if trainer.global_step == self.step and not pl_module.rollbacks:
            self._hooks = [p.register_hook(self._disturbed) for p in pl_module.parameters() if p.requires_grad]

    def on_train_batch_end(self, *_: Any) -> None:
        """Leaves the next update alone."""
        while self._hooks:
            self._hooks.pop().remove()

    def _disturbed(self, gradient: Tensor) -> Tensor:
        return gradient * self.factor

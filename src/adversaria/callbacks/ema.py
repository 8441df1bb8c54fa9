"""Exponential moving average of the network that makes samples."""

from __future__ import annotations

import copy
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import nn

from adversaria.errors import UserError


class EMA(Callback):
    """Keeps an average of the sampler's parameters, for samples, scores and checkpoints; training never sees it.

    The decay of one update is ``0.5 ** (images of the update / half-life)`` with the half-life
    ``min(half_life, ramp_up * images seen)`` (Karras et al. 2020, "Training GANs with Limited Data", appendix).
    Buffers are copied, not averaged. Lightning's own averaging counts every optimizer step and swaps D as well.

    Args:
        half_life: in images shown to D, above 0.
        ramp_up: share of the images seen so far that bounds the half-life, so that the first samples do not lag;
            null: no bound.

    Raises:
        UserError: a value out of range.
    """

    def __init__(self, *, half_life: float = 500_000, ramp_up: float | None = 0.05) -> None:
        for name, value in (("half_life", half_life), ("ramp_up", 1.0 if ramp_up is None else ramp_up)):
            if value <= 0:
                raise UserError(
                    f"callbacks.ema.{name}={value} must be above 0; to train without EMA add ~callbacks.ema"
                )
        self.half_life, self.ramp_up = half_life, ramp_up
        self.network: nn.Module | None = None
        self._restored: dict[str, Any] | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Copies the sampler, on its device by now, or takes the average that a checkpoint brought."""
        source: nn.Module = pl_module.sampler  # type: ignore[assignment]
        self.network = copy.deepcopy(source).eval().requires_grad_(False)
        if self._restored is not None:
            self.network.load_state_dict(self._restored)
            self._restored = None
        self._source = [p.detach() for p in source.parameters()], list(source.buffers())
        self._average = [p.detach() for p in self.network.parameters()], list(self.network.buffers())

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        """One step of the average."""
        weight = 1 - self.decay(pl_module.images_seen, pl_module.images_seen // trainer.global_step)
        torch._foreach_lerp_(self._average[0], self._source[0], weight)
        if self._source[1]:
            torch._foreach_copy_(self._average[1], self._source[1])

    def decay(self, images_seen: int, images_per_update: int) -> float:
        """How much of the average stays after an update of ``images_per_update``, ``images_seen`` included."""
        half_life = self.half_life if self.ramp_up is None else min(self.half_life, self.ramp_up * images_seen)
        return float(0.5 ** (images_per_update / half_life))

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds ``checkpoint["ema"]``, a state dict of the sampler."""
        assert self.network is not None
        checkpoint["ema"] = self.network.state_dict()

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keeps ``checkpoint["ema"]`` until the sampler is on its device."""
        self._restored = checkpoint.get("ema")


def sampler_of(trainer: Trainer) -> nn.Module:
    """The network to sample from: the average where there is one, else the trained one."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, EMA) and callback.network is not None:
            return callback.network
    return trainer.lightning_module.sampler  # type: ignore[return-value]

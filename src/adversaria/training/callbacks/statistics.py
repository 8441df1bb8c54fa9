"""Losses, rates, gradient norms and throughput, read from the device only when they are logged."""

from __future__ import annotations

from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.optim import Optimizer

from adversaria.systems.base import SteppedModule


class Statistics(Callback):
    """Logs every ``trainer.log_every_n_steps`` generator updates, in one transfer from the device.

    ``loss/*`` and ``logits/*`` are those of the logged step; ``gradient_norm/*`` is the global norm before clipping,
    ``gradient_norm_clipped/*`` after it;
    ``throughput/*`` and ``seconds`` count training time alone, without evaluation, pictures and checkpoints.
    """

    def __init__(self) -> None:
        self.latest: dict[str, float] = {}
        self._norms: dict[str, Tensor] = {}
        self._mark = (0, 0.0)

    def on_train_start(self, trainer: Trainer, pl_module: SteppedModule) -> None:
        """Notes where this start begins."""
        self._mark = (trainer.global_step, pl_module.clock.seconds)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: SteppedModule, optimizer: Optimizer) -> None:
        """Takes the gradient norm of the network that is about to step."""
        if pl_module.log_due:
            gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            name = next(role for role, own in pl_module.optimizers_by_role().items() if own is optimizer)
            self._norms[f"gradient_norm/{name}"] = norm = torch.stack(torch._foreach_norm(gradients)).norm()
            if (largest := pl_module.optim.clip_norm) is not None:
                self._norms[f"gradient_norm_clipped/{name}"] = norm.clamp(max=largest)

    def on_train_batch_end(self, trainer: Trainer, pl_module: SteppedModule, *_: Any) -> None:
        """Logs when it is due."""
        if trainer.global_step % trainer.log_every_n_steps:  # type: ignore[attr-defined]
            return
        tensors = {**pl_module.step_values, **self._norms}
        host = torch.stack([value.float() for value in tensors.values()]).tolist()
        optimizers = pl_module.optimizers_by_role()
        rates = {f"rate/{role}": optimizer.param_groups[0]["lr"] for role, optimizer in optimizers.items()}
        self.latest = {
            **dict(zip(tensors, host, strict=True)),
            **rates,
            **self._throughput(trainer, pl_module),
            "images_seen": float(pl_module.images_seen),
            "seconds": pl_module.clock.seconds,
        }
        pl_module.log_values(self.latest)

    def _throughput(self, trainer: Trainer, pl_module: SteppedModule) -> dict[str, float]:
        """Reals and generator samples per second since the last logged step, over all devices."""
        (step, seconds), now = self._mark, pl_module.clock.seconds
        self._mark = (trainer.global_step, now)
        updates_per_second = (trainer.global_step - step) / max(now - seconds, 1e-9)
        reals = pl_module.images_seen / trainer.global_step
        fakes = (pl_module.optim.generator_batch or pl_module.datamodule.batch_size) * trainer.world_size
        return {
            "throughput/images_per_second": reals * updates_per_second,
            "throughput/generator_samples_per_second": fakes * updates_per_second,
        }

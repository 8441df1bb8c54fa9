"""Ways around Lightning: what it does about a hundred times a step and a small model would pay a tenth of its step for.

Each gives the same numbers as Lightning's own way, which is taken wherever that would do more: with another strategy
than ours, with a gradient scaler, and for callbacks that listen to `backward`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from lightning import LightningModule
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.precision import MixedPrecision
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor
from torch.optim import Optimizer

from adversaria.core.types import Batch
from adversaria.systems.parallel import StepwiseDDP, average_gradients

_NO_CONTEXT = nullcontext()


class NoProfiler(PassThroughProfiler):
    """Profiles nothing, without making a context manager for each of a hundred hooks a step."""

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
        """One context for all."""
        return _NO_CONTEXT


class Shortcuts(LightningModule):
    """Gradients, optimizer steps and the transfer of a batch without Lightning's hooks where nobody listens to them."""

    trainer: Any

    def __init__(self) -> None:
        super().__init__()
        #: whether the bare calls do all that Lightning's would
        self._plain = False
        self._step_listeners: list[Callback] = []

    def on_train_start(self) -> None:
        """Finds out whether Lightning's `backward` and `step` would do more than the bare calls."""
        backward = self._listeners("on_before_backward") + self._listeners("on_after_backward")
        ours = isinstance(self.trainer.strategy, SingleDeviceStrategy | StepwiseDDP)
        plugin = self.trainer.precision_plugin
        scaled = isinstance(plugin, MixedPrecision) and plugin.scaler is not None
        self._plain = ours and not scaled and not backward
        self._step_listeners = self._listeners("on_before_optimizer_step")

    def _listeners(self, hook: str) -> list[Callback]:
        """The trainer's callbacks that override ``hook``."""
        # callbacks are also users'; what they listen to is what they override
        return [c for c in self.trainer.callbacks if getattr(type(c), hook) is not getattr(Callback, hook)]

    def _apply_batch_transfer_handler(
        self, batch: Any, device: torch.device | None = None, dataloader_idx: int = 0
    ) -> Any:
        """Nothing for reals that lie on the device: three rounds of hooks would find that out one tensor at a time."""
        if self._plain and isinstance(batch, Batch) and batch.samples.device == device:
            return batch
        return super()._apply_batch_transfer_handler(batch, device, dataloader_idx)

    def differentiate(self, loss: Tensor) -> None:
        """Adds the gradients of ``loss`` to those of the weights."""
        if self._plain:
            loss.backward()  # type: ignore[no-untyped-call]
        else:
            self.manual_backward(loss)

    def step_uncounted(self, optimizer: Optimizer) -> None:
        """An optimizer step that does not advance `global_step`, with the hooks and precision of one that does."""
        if self._plain:
            self._plain_step(optimizer)
        else:
            self.trainer.strategy.optimizer_step(optimizer, _nothing)
        optimizer.zero_grad()

    def step_counted(self, optimizer: Any) -> None:
        """The one optimizer step of an update that advances `global_step`; takes Lightning's wrapped optimizer."""
        if self._plain:
            count = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
            count.increment_ready()
            self._plain_step(optimizer.optimizer)
            count.increment_completed()
        else:
            optimizer.step()
        optimizer.optimizer.zero_grad()

    def _plain_step(self, optimizer: Optimizer) -> None:
        if self.trainer.world_size > 1:
            average_gradients(optimizer)
        for listener in self._step_listeners:
            listener.on_before_optimizer_step(self.trainer, self, optimizer)
        self.on_before_optimizer_step(optimizer)
        optimizer.step()


def _nothing() -> None:
    """Nothing to do, as for a closure whose gradients are there already."""

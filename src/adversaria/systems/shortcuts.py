"""The way around Lightning: hooks and wrappers of each optimizer step, which cost the smallest model 5% of its step.

It gives the same numbers as Lightning's own way, which is taken wherever that would do more: with another strategy than
ours, with a gradient scaler, and for callbacks that listen to `backward`. ``benchmarks/shortcuts.py`` measures it.
Others (batches that need no transfer, a profiler of nothing) saved less than 1% and are not taken.
"""

from __future__ import annotations

from typing import Any

from lightning import LightningModule
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.precision import MixedPrecision
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor
from torch.optim import Optimizer

from adversaria.systems.parallel import StepwiseDDP, average_gradients


class Shortcuts(LightningModule):
    """Gradients and optimizer steps without Lightning's hooks where nobody listens to them."""

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

    def differentiate(self, loss: Tensor, **keywords: Any) -> None:
        """Adds the gradients of ``loss`` to those of the weights; ``keywords`` are those of `Tensor.backward`."""
        if self._plain:
            loss.backward(**keywords)  # type: ignore[no-untyped-call]
        else:
            self.manual_backward(loss, **keywords)

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

"""What a run will cost, said as soon as it can be known."""

from __future__ import annotations

import logging
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback

from adversaria.core.errors import UserError
from adversaria.core.ranges import Amount
from adversaria.evaluation import cost
from adversaria.systems.base import SteppedModule

log = logging.getLogger("adversaria")

#: a multiple of the usual intervals of lazy regularisation, so that each term has its share
_STEADY = 16
_MILLIONS = (1, 5, 25)


class Forecast(Callback):
    """Logs once, ``after`` so many generator updates, the memory in use and the hours to 1, 5 and 25 million images.

    The rate is that of the last 16 updates: the first ones measure convolutions and fill caches. It is that of
    training alone, without evaluation, pictures and checkpoints.

    Args:
        after: generator updates of this start, more than 16.

    Raises:
        UserError: ``after`` is too small.
    """

    def __init__(self, *, after: Amount = 20) -> None:
        if after <= _STEADY:
            raise UserError(f"callbacks.forecast.after={after} must be above {_STEADY}, which the rate is taken from")
        self.after = after
        self._first, self._mark = 0, 0.0

    def on_train_start(self, trainer: Trainer, pl_module: SteppedModule) -> None:
        """Notes where this start begins."""
        self._first = trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, pl_module: SteppedModule, *_: Any) -> None:
        """Takes the time twice."""
        done = trainer.global_step - self._first
        if done == self.after - _STEADY:
            self._mark = _seconds(pl_module)
        elif done == self.after and trainer.is_global_zero:
            images = pl_module.images_seen / trainer.global_step * _STEADY
            self._say(images / max(_seconds(pl_module) - self._mark, 1e-9), pl_module.device)

    def _say(self, rate: float, device: torch.device) -> None:
        """The forecast for ``rate`` images a second."""
        memory = cost.peak_memory(device) / 2**10
        hours = ", ".join(f"{n} million in {n * 1e6 / rate / 3600:,.1f} h" for n in _MILLIONS)
        log.info("forecast %.4g images/s, %.1f GiB of memory; %s", rate, memory, hours)


def _seconds(pl_module: SteppedModule) -> float:
    """Of training, once the device has done what it was given; the two times that costs are all."""
    if pl_module.device.type != "cpu":
        torch.accelerator.synchronize(pl_module.device)
    seconds: float = pl_module.clock.seconds
    return seconds

"""The progress bar: generator updates done, losses, images per second, and one word on the health of the run."""

from __future__ import annotations

import sys
from typing import Any

from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from tqdm import tqdm

from adversaria.systems.base import SteppedModule
from adversaria.training.callbacks.health import Health
from adversaria.training.callbacks.lookup import callback_of
from adversaria.training.callbacks.statistics import Statistics


class Progress(Callback):
    """A bar over the whole budget; Lightning's own counts the batches of an epoch, and the stream has none.

    Where the screen is a file it adds a line a minute instead of redrawing.
    """

    def __init__(self) -> None:
        self._bar: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: SteppedModule) -> None:
        """Opens the bar where the run stands."""
        if trainer.is_global_zero:
            interval = 0.5 if sys.stderr.isatty() else 60
            self._bar = tqdm(
                total=trainer.max_steps,
                initial=trainer.global_step,
                unit="step",
                mininterval=interval,
                dynamic_ncols=True,
            )
            self._statistics = callback_of(trainer, Statistics)
            self._health = callback_of(trainer, Health)

    def on_train_batch_end(self, trainer: Trainer, pl_module: SteppedModule, *_: Any) -> None:
        """Moves on by one update."""
        if self._bar is None:
            return
        if trainer.global_step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            latest = self._statistics.latest if self._statistics is not None else {}
            word = self._health.examination.status if self._health is not None else ""
            health = {"health": word} if word else {}
            losses = {k.removeprefix("loss/"): f"{v:.3f}" for k, v in latest.items() if k.startswith("loss/")}
            rate = latest.get("throughput/images_per_second")
            speed = {} if rate is None else {"images/s": f"{rate:.0f}"}
            self._bar.set_postfix({**losses, **speed, **health}, refresh=False)
        self._bar.update()

    def on_train_end(self, trainer: Trainer, pl_module: SteppedModule) -> None:
        """Closes the bar."""
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: SteppedModule, exception: BaseException) -> None:
        """Closes the bar."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

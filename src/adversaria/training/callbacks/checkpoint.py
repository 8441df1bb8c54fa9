"""When a run is saved and how it is stopped: at one point of a step, whole or not at all."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning import Trainer
from lightning.pytorch.callbacks import Checkpoint as LightningCheckpoint

from adversaria.core.errors import Diverged, Stopped, Unhealthy, UserError
from adversaria.core.ranges import Count
from adversaria.core.ranks import largest_of_ranks
from adversaria.runs.checkpoints import FORMAT_VERSION
from adversaria.systems.base import SteppedModule, all_finite
from adversaria.training.callbacks.evaluation import Evaluation
from adversaria.training.callbacks.guard import Guard
from adversaria.training.callbacks.lookup import callback_of
from adversaria.training.callbacks.signals import STOPS, Signals

#: updates from one asking of the other ranks for a stop to the next: asking waits for the device
ASK_EVERY = 10


class Checkpoint(LightningCheckpoint):
    """Keeps ``checkpoints/last.ckpt`` and ``best.ckpt``, and stops the run where it can go on.

    A step ends after its validation, if one is due, else with its batch: there the run is saved, when it is due, a
    signal came (see `Signals`) or its time is up. Saved earlier, that validation would be lost on resume. After an
    exception nothing is written: D may have stepped and G not. Subclasses of Lightning's Checkpoint run after all other
    callbacks.

    Args:
        every_n_steps: generator updates from one ``last.ckpt`` to the next; one comes at the end too.
        config: of the run, plain; stored in the checkpoint, which thereby needs no other file.

    Raises:
        UserError: ``every_n_steps`` is below 1.
    """

    def __init__(self, *, every_n_steps: Count = 500, config: Mapping[str, Any] | None = None) -> None:
        if every_n_steps < 1:
            raise UserError(f"callbacks.checkpoint.every_n_steps={every_n_steps} must be at least 1")
        self.every_n_steps, self.config = every_n_steps, dict(config or {})
        #: steps that `last.ckpt` and `best.ckpt` belong to
        self.saved_at = self.best_at = -1
        #: of `time.monotonic`, when the run is to stop
        self._deadline = math.inf
        self._signals = Signals()

    def stop_on(self, signals: Signals, deadline: float) -> None:
        """Has the run end after the step in which one of ``signals`` comes or ``deadline`` passes.

        Args:
            signals: listened to from the first step on.
            deadline: of `time.monotonic`.
        """
        self._signals, self._deadline = signals, deadline

    def on_save_checkpoint(self, trainer: Trainer, pl_module: SteppedModule, checkpoint: dict[str, Any]) -> None:
        """Adds what is needed to load the file without any other."""
        checkpoint |= {
            "format_version": FORMAT_VERSION,
            "config": self.config,
            "spec": pl_module.spec.to_dict(),
            "images_seen": pl_module.images_seen,
        }

    def on_train_start(self, trainer: Trainer, pl_module: SteppedModule) -> None:
        """From now on signals are noted."""
        self.saved_at = trainer.global_step
        self._signals.listen()

    def on_train_batch_end(self, trainer: Trainer, pl_module: SteppedModule, *_: Any) -> None:
        """Ends the step unless a validation is still to come."""
        interval = trainer.val_check_interval
        if not (isinstance(interval, int) and trainer.global_step % interval == 0 and trainer.enable_validation):
            self._end_of_step(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: SteppedModule) -> None:
        """Keeps the best and ends the step."""
        self._keep_best(trainer, pl_module)
        self._end_of_step(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: SteppedModule) -> None:
        """Saves the end of the run."""
        self._check_finite(trainer, pl_module)
        self._keep_best(trainer, pl_module)
        self._save_last(trainer, pl_module)

    def _end_of_step(self, trainer: Trainer, pl_module: SteppedModule) -> None:
        step = trainer.global_step
        stop = self._stop(trainer)
        self._signals.immediate = stop is None  # or it would be stopped on the way to its end
        failure = guard.failure(trainer) if (guard := callback_of(trainer, Guard)) else None
        save = stop is not None or step % self.every_n_steps == 0
        if save or failure or step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self._check_finite(trainer, pl_module)
        if failure is not None:  # the run may be put back: what is wrong with it now must not become its last state
            raise Unhealthy(failure.step, failure.detector, failure.evidence)
        if save:
            self._save_last(trainer, pl_module)
        if stop is not None:
            raise Stopped(step, stop)

    def _stop(self, trainer: Trainer) -> str | None:
        """What asks the run to stop, on all ranks alike."""
        code = 0
        if self._signals.came is not None:
            code = 1 + STOPS.index(signal.Signals(self._signals.came).name)
        elif time.monotonic() >= self._deadline:
            code = 1
        if trainer.world_size > 1:
            due = trainer.global_step % ASK_EVERY == 0
            code = largest_of_ranks(code, trainer.strategy.root_device) if due else 0
        return STOPS[code - 1] if code else None

    def _check_finite(self, trainer: Trainer, pl_module: SteppedModule) -> None:
        """Raises Diverged, on all ranks alike, if a loss since the last check was not finite."""
        if not trainer.strategy.reduce_boolean_decision(pl_module.running_loss.is_finite(), all=True):
            raise Diverged(trainer.global_step, "a loss")

    def _save_last(self, trainer: Trainer, pl_module: SteppedModule) -> None:
        if self.saved_at != trainer.global_step:
            if not all_finite(pl_module):
                raise Diverged(trainer.global_step, "a weight")
            path = self._save(trainer, pl_module, "last")
            self.saved_at = trainer.global_step
            if guard := callback_of(trainer, Guard):
                guard.saved(trainer, path)

    def _save(self, trainer: Trainer, pl_module: SteppedModule, name: str) -> Path:
        # The rows of the loggers go first: on resume they are cut back to the checkpoint's step, never missing.
        path = Path(trainer.default_root_dir) / "checkpoints" / f"{name}.ckpt"
        with pl_module.clock.paused(), self._signals.postponed():
            for logger in trainer.loggers:
                logger.save()
            trainer.save_checkpoint(path, weights_only=False)
        return path

    def _keep_best(self, trainer: Trainer, pl_module: SteppedModule) -> None:
        evaluation = callback_of(trainer, Evaluation)
        best = evaluation.best if evaluation is not None else None
        if best is not None and best["step"] == trainer.global_step != self.best_at:
            self._save(trainer, pl_module, "best")
            self.best_at = trainer.global_step

"""Scores of the sampler while it trains."""

from __future__ import annotations

from typing import Any, Literal

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback

from adversaria.callbacks.ema import EMA, sampler_of
from adversaria.errors import UserError
from adversaria.metrics import Metrics
from adversaria.sampling import Draw, evaluating


class Evaluation(Callback):
    """Runs the configured metrics in the validation hook every ``every_n_steps`` generator updates, and at the end.

    Latents and labels have a seed of their own, and the random state of training is not touched: weights are the
    same with and without evaluation in between. Labels are drawn as often as they occur in the training set.

    Args:
        every_n_steps: generator updates from one evaluation to the next.
        seed: of latents and labels.
        metrics: what to compute; None: nothing.

    Raises:
        UserError: ``every_n_steps`` is below 1.
    """

    def __init__(self, *, every_n_steps: int = 1000, seed: int = 0, metrics: Metrics | None = None) -> None:
        if every_n_steps < 1:
            raise UserError(f"callbacks.evaluation.every_n_steps={every_n_steps} must be at least 1")
        self.every_n_steps, self.seed, self.metrics = every_n_steps, seed, metrics
        self.scores: dict[str, float] = {}
        self.fingerprint: dict[str, Any] = {}
        self._step = -1

    def state_dict(self) -> dict[str, Any]:
        """The last scores and the step they belong to."""
        return {"scores": self.scores, "step": self._step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.scores, self._step = state_dict["scores"], state_dict["step"]

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Settles what the scores will be scores of; the metrics were prepared before the run had a folder."""
        if self.metrics is not None:
            averaged = any(isinstance(callback, EMA) for callback in trainer.callbacks)  # type: ignore[attr-defined]
            self.fingerprint = fingerprint(self.metrics, weights="ema" if averaged else "raw", seed=self.seed)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """The turn that the validation loop gives."""
        self.evaluate(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """The final scores."""
        self.evaluate(trainer, pl_module)

    def evaluate(self, trainer: Trainer, pl_module: Any) -> None:
        """Scores the present weights, once a step."""
        if self.metrics is None or self._step == trainer.global_step:
            return
        self._step = trainer.global_step
        counts = trainer.datamodule.class_counts if pl_module.conditional else None  # type: ignore[attr-defined]
        with pl_module.clock.paused(), evaluating(sampler_of(trainer)) as network:
            draw = Draw(network, pl_module.device, seed=self.seed, class_weights=counts)
            self.scores = self.metrics.evaluate(draw, pl_module.device)
        trainer.callback_metrics.update({name: torch.tensor(value) for name, value in self.scores.items()})
        pl_module.log_values({f"score/{name}": value for name, value in self.scores.items()})


def fingerprint(metrics: Metrics, *, weights: Literal["ema", "raw"], seed: int) -> dict[str, Any]:
    """How a score was made, complete: what the metrics know and what their caller does."""
    return {
        **metrics.fingerprint(),
        "weights": weights,
        "batch_norm": "running statistics",
        "evaluation_seed": seed,
    }

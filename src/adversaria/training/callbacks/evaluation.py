"""Scores of the sampler while it trains."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, Literal

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback

from adversaria.core.errors import UserError
from adversaria.core.modes import evaluating
from adversaria.core.ranges import Count, PositiveShare, Seed
from adversaria.core.ranks import from_rank_zero
from adversaria.evaluation.fingerprint import fingerprint, fingerprint_id
from adversaria.evaluation.protocol import Metrics, missing_of
from adversaria.evaluation.several import monitored, refuse_equal_scores
from adversaria.sampling.draw import Draw
from adversaria.systems.base import SteppedModule
from adversaria.training.callbacks.ema import EMA, encoder_of, sampler_of
from adversaria.training.callbacks.lookup import callback_of
from adversaria.training.run_logger import run_loggers

log = logging.getLogger("adversaria")


class Evaluation(Callback):
    """Runs the configured metrics in the validation hook every ``every_n_steps`` generator updates, and at the end.

    Latents and labels have a seed of their own, and the random state of training is not touched: weights are the
    same with and without evaluation in between. Labels are drawn as often as they occur in the training set.

    Args:
        every_n_steps: generator updates from one evaluation to the next.
        seed: of latents and labels.
        max_share: of the time, above 0 and at most 1, that evaluation may take: a multiple of ``every_n_steps`` is
            taken where it would take more, and the log says so. None: no bound.
        monitor: the name of the metrics whose monitored score decides which checkpoint is the best; None: the first.
        metrics: what to compute, by name; None: nothing.

    Raises:
        UserError: a value out of range, ``monitor`` names no metrics, or two metrics give the same score.
    """

    def __init__(
        self,
        *,
        every_n_steps: Count = 1000,
        seed: Seed = 0,
        max_share: PositiveShare | None = 0.1,
        monitor: str | None = None,
        metrics: Mapping[str, Metrics] | None = None,
    ) -> None:
        if every_n_steps < 1:
            raise UserError(f"callbacks.evaluation.every_n_steps={every_n_steps} must be at least 1")
        if max_share is not None and not 0 < max_share <= 1:
            raise UserError(
                f"callbacks.evaluation.max_share={max_share} must be above 0 and at most 1; null takes the bound away"
            )
        self.every_n_steps, self.seed, self.max_share = every_n_steps, seed, max_share
        self.metrics: dict[str, Metrics] = dict(metrics or {})
        #: the metrics whose score decides which checkpoint is the best; None without metrics
        self.monitored = monitored(self.metrics, monitor) if self.metrics else None
        refuse_equal_scores({name: [each.monitor] for name, each in self.metrics.items()})
        #: of all metrics together
        self.scores: dict[str, float] = {}
        #: the names of the scores of each metrics
        self.scores_of: dict[str, list[str]] = {}
        #: why some of `scores` have no value, by name
        self.missing: dict[str, str] = {}
        #: how the scores of each metrics are made
        self.fingerprints: dict[str, dict[str, Any]] = {}
        #: generator updates that `scores` belong to
        self.step = -1
        #: the best monitored score so far: ``{"name", "value", "step"}``
        self.best: dict[str, Any] | None = None
        self._stretch, self._passed, self._mark = 1, 0, 0.0

    def state_dict(self) -> dict[str, Any]:
        """The last scores, the step they belong to, the best one, and where the stretched interval stands."""
        interval = [self._stretch, self._passed, self._mark]
        kept = {"scores": self.scores, "scores_of": self.scores_of, "missing": self.missing}
        return {**kept, "step": self.step, "best": self.best, "interval": interval}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.scores, self.step, self.best = state_dict["scores"], state_dict["step"], state_dict.get("best")
        # of a time when there was one metrics at most
        self.scores_of = state_dict.get("scores_of") or {name: list(self.scores) for name in self.metrics}
        self.missing = state_dict.get("missing", {})
        self._stretch, self._passed, self._mark = state_dict["interval"]

    def on_fit_start(self, trainer: Trainer, pl_module: SteppedModule) -> None:
        """Decides what the scores will be scores of; the metrics were prepared before the run had a folder."""
        weights: Literal["ema", "raw"] = "raw" if callback_of(trainer, EMA) is None else "ema"
        self.fingerprints = {
            name: fingerprint(metrics, weights=weights, seed=self.seed) for name, metrics in self.metrics.items()
        }

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: SteppedModule) -> None:
        """The turn that the validation loop gives."""
        self._passed += 1
        if self._passed >= self._stretch:
            self.evaluate(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: SteppedModule) -> None:
        """The final scores."""
        self.evaluate(trainer, pl_module)

    def evaluate(self, trainer: Trainer, pl_module: SteppedModule) -> None:
        """Scores the present weights, once a step."""
        if not self.metrics or self.step == trainer.global_step:
            return
        self.step = trainer.global_step
        started = time.perf_counter()
        encoding = encoder_of(trainer)
        with (
            pl_module.clock.paused(),
            evaluating(sampler_of(trainer)) as network,
            nullcontext() if encoding is None else evaluating(encoding) as encoder,
        ):
            inputs = pl_module.inputs(pl_module.datamodule, seed=self.seed)
            draw = Draw(network, pl_module.device, inputs, pl_module.condition, encoder)
            scores = {name: metrics.evaluate(draw, pl_module.device) for name, metrics in self.metrics.items()}
        refuse_equal_scores(scores)
        self.scores_of = {name: list(each) for name, each in scores.items()}
        self.scores = {name: value for each in scores.values() for name, value in each.items()}
        self.missing = {name: why for each in scores.values() for name, why in missing_of(each).items()}
        self._keep_best(trainer.global_step)
        self._choose_interval(time.perf_counter() - started, pl_module.clock.seconds)
        trainer.callback_metrics.update({name: torch.tensor(value) for name, value in self.scores.items()})
        pl_module.log_values({f"score/{name}": value for name, value in self.scores.items()})
        made_by = " ".join(map(fingerprint_id, self.fingerprints.values()))
        for logger in run_loggers(trainer):
            logger.log_text("score/fingerprint", made_by, trainer.global_step)

    def records(self) -> dict[str, dict[str, Any]]:
        """For each metrics the names of its scores and how they were made, the monitored one first; plain."""
        order = sorted(self.fingerprints, key=lambda name: self.metrics[name] is not self.monitored)
        return {
            name: {
                "fingerprint_id": fingerprint_id(self.fingerprints[name]),
                "fingerprint": self.fingerprints[name],
                "scores": self.scores_of.get(name, []),
            }
            for name in order
        }

    def _keep_best(self, step: int) -> None:
        """Takes the monitored score for the best if it is finite and better than all before."""
        assert self.monitored is not None
        name, sign = self.monitored.monitor, {"min": 1, "max": -1}[self.monitored.mode]
        value = self.scores.get(name, math.nan)
        if math.isfinite(value) and (self.best is None or sign * value < sign * self.best["value"]):
            self.best = {"name": name, "value": value, "step": step}

    def behind_best(self) -> float:
        """How many times as bad as the best score the present one is, 1 for the best; NaN if there is none."""
        if self.monitored is None or self.best is None:
            return math.nan
        pair = (self.scores.get(self.best["name"], math.nan), self.best["value"])
        worse, better = pair if self.monitored.mode == "min" else reversed(pair)
        return worse / better if better > 0 else math.nan

    def _choose_interval(self, evaluation: float, training: float) -> None:
        """Sets how many intervals pass until the next evaluation, from the seconds that this one took and those of
        training so far. The ranks agree, or the next evaluation would wait for some of them forever.
        """
        interval, self._mark = (training - self._mark) / max(self._passed, 1), training
        self._passed = 0
        if self.max_share is None:
            return
        wanted = math.ceil(evaluation * (1 / self.max_share - 1) / interval) if interval > 0 else self._stretch
        stretch = from_rank_zero(max(1, wanted))
        if stretch > self._stretch:
            log.info(
                "evaluation takes %.0f s and %d generator updates %.0f s: the next one comes after %d, so that it stays"
                " below %g of the time (callbacks.evaluation.max_share)",
                evaluation,
                self.every_n_steps,
                interval,
                stretch * self.every_n_steps,
                self.max_share,
            )
        self._stretch = stretch

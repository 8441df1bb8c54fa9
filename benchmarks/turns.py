"""Two training loops that take turns in one process, so that a machine whose speed drifts slows both."""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from plain import Loop

from adversaria.cli.inprocess import compose
from adversaria.config.plain import Plain
from adversaria.runs.folder import Run
from adversaria.training.experiment import Experiment, make_trainer


def clock() -> float:
    """Seconds, when the device has done all that it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


class Ends(Callback):
    """Notes when each update ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        """Reads the clock."""
        self.ends.append(clock())


def config_of(*overrides: str) -> Plain:
    """The config of a run whose pictures, checkpoints and progress bar, rare and no part of a step, are left out."""
    config = compose(*overrides, "metrics=none")
    config["callbacks"]["samples"]["every_n_steps"] = config["callbacks"]["checkpoint"]["every_n_steps"] = 10**9
    config["callbacks"].pop("progress")
    return config


def fit(experiment: Experiment, *callbacks: Callback) -> None:
    """Trains as the command line does, in a folder that is then forgotten."""
    experiment.callbacks.extend(callbacks)
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(experiment, Run(Path(folder)), 0)
        trainer.fit(experiment.system, datamodule=experiment.data)


def period_of(experiment: Experiment) -> int:
    """After how many updates all lazy terms have been due equally often."""
    system: Any = experiment.system
    return math.lcm(*(term.interval for term in system.terms.values()))


@dataclass
class Pairs:
    """Seconds of the segments of two loops that took turns.

    Attributes:
        steps: generator updates in a segment.
        pairs: of each turn, the first loop's and the second's.
    """

    steps: int = 0
    pairs: list[tuple[float, float]] = field(default_factory=list)

    def ratio(self) -> float:
        """How much less time the second takes, as the median over turns."""
        return statistics.median(first / second for first, second in self.pairs)

    def spread(self) -> tuple[float, float]:
        """The smallest and the largest ratio of a turn."""
        ratios = [first / second for first, second in self.pairs]
        return min(ratios), max(ratios)

    def seconds_per_step(self) -> tuple[float, float]:
        """Of the first and of the second loop, each a median."""
        first, second = (statistics.median(times) / self.steps for times in zip(*self.pairs, strict=True))
        return first, second


def segment_length(steps_per_second: float, seconds: float, period: int) -> int:
    """Updates in a segment of about ``seconds``, a multiple of ``period``."""
    return period * max(1, round(steps_per_second * seconds / period))


def alternate(first: Loop, second: Loop, *, period: int, until: float, most: int = 20) -> Pairs:
    """Two bare loops in turns until the clock shows ``until``, but twice at least; closes them."""
    warm = period * math.ceil(2 / period)
    seconds = []
    try:
        for loop in (first, second):
            loop.run(warm)
            start = clock()
            loop.run(warm)
            seconds.append((clock() - start) / warm)
        result = Pairs(segment_length(1 / sum(seconds), min(4.0, (until - clock()) / 6), period))
        while len(result.pairs) < 2 or (clock() < until and len(result.pairs) < most):
            start = clock()
            first.run(result.steps)
            middle = clock()
            second.run(result.steps)
            result.pairs.append((middle - start, clock() - middle))
    finally:
        first.close()
        second.close()
    return result


class TakeTurns(Callback):
    """Lets a bare loop run a segment after each segment of the trainer, and times both.

    Args:
        make: makes the bare loop, after the trainer has warmed up.
        period: updates of a segment are a multiple of it.
        until: when the clock shows this, the turns are over; there are two at least.
        steps: updates of a segment; None: as many as `segment_length` says, from log to log where there is time.
        most: turns, at most.
    """

    def __init__(
        self, make: Callable[[], Loop], *, period: int, until: float, steps: int | None = None, most: int = 20
    ) -> None:
        self.make, self.period, self.until, self.most = make, period, until, most
        self.result = Pairs(steps or 0)
        #: updates that warm up; those of the second half tell how long a segment may be
        self.warm = 2 * period * math.ceil(3 / period)
        self.loop: Loop | None = None
        self.done = False
        self._began = self._half = 0.0
        self._next = 0

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Changes turns at the end of a segment."""
        step = trainer.global_step
        if step == self.warm // 2:
            self._half = clock()
        elif step == self.warm:
            self._begin(trainer, (clock() - self._half) / (self.warm // 2))
        elif step == self._next and self.loop is not None and not self.done:
            middle = clock()
            self.loop.run(self.result.steps)
            self.result.pairs.append((clock() - middle, middle - self._began))
            turns = len(self.result.pairs)
            self.done = turns >= self.most or (turns >= 2 and clock() >= self.until)
            if self.done:
                self.loop.close()
            self._go_on(step)

    def _begin(self, trainer: Any, seconds: float) -> None:
        self.loop = self.make()
        self.loop.run(self.warm // 2)
        start = clock()
        self.loop.run(self.warm // 2)
        seconds += (clock() - start) / (self.warm // 2)
        if not self.result.steps:
            logs = trainer.log_every_n_steps
            left = max(0.0, self.until - clock())
            steps = segment_length(1 / seconds, min(4.0, left / 5), self.period)
            if self.period == 1 and steps < logs and logs * seconds < left / 3:
                steps = logs
            self.result.steps = steps if steps < logs or self.period > 1 else steps // logs * logs
        self._go_on(trainer.global_step)

    def _go_on(self, step: int) -> None:
        self._next, self._began = step + self.result.steps, clock()

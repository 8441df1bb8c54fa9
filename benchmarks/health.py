"""What a run's health costs: the share of training time that its measurements take, at the default interval.

    python benchmarks/health.py

The framework trains with its default callbacks, and the hooks of `adversaria.training.callbacks.Health` are timed
inside of it, so that a machine whose speed drifts slows both alike. On a GPU each hook waits for the device at its end,
which makes the figure an upper bound.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from turns import config_of, fit

from adversaria.training.callbacks import Health
from adversaria.training.experiment import build_experiment

COLOUR = ("data=digits", "data.size=32", "data.channels=3", "metrics=none")
CASES = {
    "mlp on ring8, batch 256": ("model=mlp", "data=ring8", "metrics=none"),
    "dcgan 32x32x3, batch 64": ("model=dcgan", *COLOUR),
    "sngan 32x32x3 of width 32, 5 D steps": (
        "model=sngan",
        "model.generator.width=32",
        "model.discriminator.width=32",
        *COLOUR,
    ),
}


class Timer(Callback):
    """Adds up the seconds inside the hooks of ``health``, and those of training, after the first reading."""

    def __init__(self, health: Health) -> None:
        self.inside, self.health = 0.0, health
        self.on_gpu = torch.cuda.is_available()  # to ask takes longer than most hooks
        for hook in ("on_before_optimizer_step", "on_train_batch_end"):
            setattr(health, hook, self._timed(getattr(health, hook)))

    def _timed(self, hook: Callable[..., None]) -> Callable[..., None]:
        def timed(*arguments: Any) -> None:
            start = time.perf_counter()
            hook(*arguments)
            if self.on_gpu:
                torch.cuda.synchronize()
            self.inside += time.perf_counter() - start

        return timed

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        """Starts the clock when everything is warm, and stops it at the end."""
        if trainer.global_step == self.health.every_n_steps:
            self.inside, self.started = 0.0, time.perf_counter()
        if trainer.global_step == trainer.max_steps:
            self.total = time.perf_counter() - self.started


def measure(overrides: tuple[str, ...], readings: int) -> tuple[float, int]:
    """The share of the time that health takes, and the interval of its readings."""
    config = config_of(*overrides)
    interval = config["callbacks"]["health"]["every_n_steps"]
    config["trainer"]["max_steps"] = (readings + 1) * interval
    experiment = build_experiment(config)
    [health] = [callback for callback in experiment.callbacks if isinstance(callback, Health)]
    timer = Timer(health)
    fit(experiment, timer)
    return timer.inside / timer.total, interval


def main() -> None:
    """Prints a line for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readings", type=int, default=3, help="that count (default 3)")
    arguments = parser.parse_args()
    logging.getLogger("adversaria").setLevel(logging.WARNING)
    print(f"{torch.get_num_threads()} threads, {arguments.readings} readings")
    for name, overrides in CASES.items():
        share, interval = measure(overrides, arguments.readings)
        print(f"{name}: {share:.2%} of the training time, a reading every {interval} generator updates", flush=True)


if __name__ == "__main__":
    main()

"""What the way around Lightning buys: the time of a step of the smallest model with it and without.

    python benchmarks/shortcuts.py [--segments 20] [--steps 200]

It is taken in one segment of steps and left out in the next, so that a machine whose speed drifts slows both, and
processor time is counted, which other work disturbs less. Printed: the median over pairs of segments of the share of a
step that it saves. A way that saves less than 3% has no place in `adversaria.systems.shortcuts`.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import time
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from turns import config_of, fit

from adversaria.training.experiment import build_experiment


def switch(trainer: Any, system: Any, taken: bool) -> None:
    """Takes it (True), or leaves gradients and optimizer steps to Lightning."""
    if taken:
        for name in ("differentiate", "step_uncounted", "step_counted"):
            vars(system).pop(name, None)
        return
    system.differentiate = system.manual_backward

    def uncounted(optimizer: Any) -> None:
        trainer.strategy.optimizer_step(optimizer, lambda: None)
        optimizer.zero_grad()

    def counted(optimizer: Any) -> None:
        optimizer.step()
        optimizer.optimizer.zero_grad()

    system.step_uncounted, system.step_counted = uncounted, counted


class Turns(Callback):
    """Switches at the end of each segment, and times it."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.seconds: dict[bool, list[float]] = {True: [], False: []}
        self.taken, self._began = True, 0.0

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        """Reads the clock."""
        if trainer.global_step % self.length:
            return
        now = time.process_time()
        if trainer.global_step > 2 * self.length:  # the first two warm up
            self.seconds[self.taken].append(now - self._began)
        self.taken = not self.taken
        switch(trainer, pl_module, self.taken)
        self._began = time.process_time()


def main() -> None:
    """Prints a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--segments", type=int, default=20, help="pairs of segments that count (default 20)")
    parser.add_argument("--steps", type=int, default=200, help="generator updates in a segment (default 200)")
    arguments = parser.parse_args()
    logging.getLogger("adversaria").setLevel(logging.WARNING)
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # each optimizer step of PyTorch's CUDA build would look for a GPU
    print(f"{torch.get_num_threads()} threads, mlp on ring8, batch 64")
    config = config_of("model=mlp", "data=ring8", "data.batch_size=64", "trainer.accelerator=cpu")
    config["trainer"]["max_steps"] = (2 * arguments.segments + 2) * arguments.steps
    turns = Turns(arguments.steps)
    fit(build_experiment(config), turns)
    saved = [1 - taken / left_out for taken, left_out in zip(turns.seconds[True], turns.seconds[False], strict=False)]
    low, median, high = statistics.quantiles(saved, n=4)
    print(f"steps and gradients: {median:.1%} of a step (quartiles {low:.1%} and {high:.1%})")


if __name__ == "__main__":
    main()

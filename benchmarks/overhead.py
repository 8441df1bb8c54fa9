"""What the framework costs over the same networks, data and optimizers in a bare PyTorch loop.

    python benchmarks/overhead.py

Both loops take turns in one process, a segment of steps each, so that a machine whose speed drifts slows both. The
bare loop is what one would write for speed (`plain.Loop` with all its means, in the framework's precision): resident
data, channels-last, fused Adam, one no-grad pass of G for D, one pass of D where no BatchNorm forbids it, foreach EMA,
no logging. The framework runs with its default callbacks and logging. Printed: the median over segments of bare time /
framework time (1 is no overhead), and the milliseconds that the framework adds to a step.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics

import torch
from plain import Loop, Means
from turns import Pairs, TakeTurns, config_of, fit

from adversaria.training.experiment import build_experiment, trainer_node

#: overrides of each, and how many times ``--steps`` make one of its segments
CASES = {
    "dcgan, 32x32x3, batch 64": (("model=dcgan", "data=digits", "data.size=32", "data.channels=3"), 1),
    "mlp on ring8 (batch 256)": (("model=mlp", "data=ring8"), 5),
    "mlp on ring8, batch 64": (("model=mlp", "data=ring8", "data.batch_size=64"), 10),
}


def measure(overrides: tuple[str, ...], segments: int, steps: int) -> Pairs:
    """Seconds of each segment, bare and framework."""
    config = config_of(*overrides, "trainer.accelerator=cpu")
    experiment = build_experiment(config)
    means = Means.all(bf16=trainer_node(config)["precision"] == "bf16-mixed")
    turns = TakeTurns(
        lambda: Loop(experiment, torch.device("cpu"), means), period=1, until=float("inf"), steps=steps, most=segments
    )
    config["trainer"]["max_steps"] = turns.warm + segments * steps
    fit(experiment, turns)
    return turns.result


def main() -> None:
    """Prints a line for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--segments", type=int, default=10, help="turns of each loop that count (default 10)")
    parser.add_argument("--steps", type=int, default=50, help="generator updates in a segment of dcgan (mlp: x 10)")
    arguments = parser.parse_args()
    logging.getLogger("adversaria").setLevel(logging.WARNING)
    # Each optimizer step of PyTorch's CUDA build looks for a GPU, which takes 0.3 ms where no GPU is.
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    print(f"{torch.get_num_threads()} threads, {arguments.segments} segments")
    for name, (overrides, factor) in CASES.items():
        result = measure(overrides, arguments.segments, arguments.steps * factor)
        added = statistics.median((framework - bare) / result.steps * 1e3 for bare, framework in result.pairs)
        bare, _ = result.seconds_per_step()
        print(f"{name}: {result.ratio():.3f} of the bare loop's speed, {added:+.2f} ms on {bare * 1e3:.2f} ms a step")


if __name__ == "__main__":
    main()

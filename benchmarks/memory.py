"""What accumulation saves in memory and costs in time.

    python benchmarks/memory.py
    python benchmarks/memory.py --accelerator gpu --batch-size 128

Trains each model for a few generator updates with one step of D in each: all rows share the pass of G, without
gradients, that makes the fakes of all steps of D at once, and more of them would hide the rest. Every row runs in
processes of its own, the rows in turns, so that a machine whose speed drifts slows all. Peak memory is that of
training: on a GPU what PyTorch had allocated, on a CPU the resident memory above what the process held before the first
step, in a process of its own whose allocator returns what is free. Both it and the time of an update are given with
their ratio to the first row.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from turns import Ends

from adversaria.cli.inprocess import compose
from adversaria.evaluation import cost
from adversaria.runs.folder import Run
from adversaria.training.experiment import build_experiment, make_trainer

SETTING = ("data=digits", "data.size=64", "data.channels=3", "metrics=none", "optim.n_critic=1")
MODELS = {
    "biggan, width 16": ("model=biggan", "model.generator.width=16", "model.discriminator.width=16"),
    "stylegan2, 64 channels": (
        "model=stylegan2",
        "model.generator.channel_max=64",
        "model.discriminator.channel_max=64",
        "model.generator.channel_base=4096",
        "model.discriminator.channel_base=4096",
    ),
}
ROWS = {
    "plain": (),
    "accumulate=2": ("optim.accumulate=2",),
    "accumulate=4": ("optim.accumulate=4",),
}
WARM_UP = 1
#: glibc then returns freed tensors to the system; else resident memory would be that of its heap and its gaps
RETURNED = {"MALLOC_MMAP_THRESHOLD_": "65536"}


def measure(overrides: list[str]) -> dict[str, float]:
    """MiB and seconds an update, in this process."""
    logging.getLogger("adversaria").setLevel(logging.WARNING)
    config = compose(*overrides)
    config["callbacks"], config["logger"] = {}, {}
    experiment = build_experiment(config)
    experiment.callbacks.append(updates := Ends())
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(experiment, Run(Path(folder)), 0)
        device = trainer.strategy.root_device
        cost.reset_peak_memory(device)
        before = cost.peak_memory(device) if device.type == "cpu" else 0.0
        trainer.fit(experiment.system, datamodule=experiment.data)
        peak = cost.peak_memory(device) - before
    times = [b - a for a, b in zip(updates.ends[WARM_UP - 1 :], updates.ends[WARM_UP:], strict=False)]
    return {"mib": peak, "seconds": statistics.median(times)}


def in_own_processes(overrides: tuple[str, ...], updates: int) -> dict[str, float]:
    """`measure` in new processes, the time in one and the memory in another."""

    def run(updates: int, environment: dict[str, str]) -> dict[str, float]:
        command = [sys.executable, __file__, "--measure", *overrides, f"trainer.max_steps={updates + WARM_UP}"]
        environment = {**os.environ, **environment}
        done = subprocess.run(command, check=True, capture_output=True, encoding="utf-8", env=environment)
        figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return figures

    return {"seconds": run(updates, {})["seconds"], "mib": run(1, RETURNED)["mib"]}


def rows_of(model: str, common: tuple[str, ...], updates: int, repeats: int) -> list[dict[str, Any]]:
    """The rows of one model: medians over the repeats, and of the ratios within each."""
    turns = [
        {row: in_own_processes((*MODELS[model], *SETTING, *common, *extra), updates) for row, extra in ROWS.items()}
        for _ in range(repeats)
    ]
    return [
        {
            "model": model,
            "row": row,
            "peak_mib": round(statistics.median(turn[row]["mib"] for turn in turns)),
            "memory_ratio": round(statistics.median(turn[row]["mib"] / turn["plain"]["mib"] for turn in turns), 2),
            "seconds_per_update": round(statistics.median(turn[row]["seconds"] for turn in turns), 3),
            "time_ratio": round(
                statistics.median(turn[row]["seconds"] / turn["plain"]["seconds"] for turn in turns), 2
            ),
        }
        for row in ROWS
    ]


def main() -> None:
    """Prints a Markdown table, and writes the same as JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), help="which (default: all)")
    parser.add_argument("--batch-size", type=int, default=32, help="data.batch_size (default 32)")
    parser.add_argument("--updates", type=int, default=3, help="timed generator updates in a process (default 3)")
    parser.add_argument("--repeats", type=int, default=3, help="processes for each row (default 3)")
    parser.add_argument("--precision", default="auto", help="trainer.precision (default auto)")
    parser.add_argument("--accelerator", default="cpu", help="trainer.accelerator (default cpu)")
    parser.add_argument("--json", type=Path, help="a file for the same figures")
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure)))
        return
    common = (
        f"data.batch_size={arguments.batch_size}",
        f"trainer.precision={arguments.precision}",
        f"trainer.accelerator={arguments.accelerator}",
    )
    print(f"64x64x3, batch {arguments.batch_size}, {arguments.accelerator}, {arguments.precision}\n")
    print("| model | row | peak memory, MiB | of plain | s per update | of plain |\n|---|---|---:|---:|---:|---:|")
    rows = []
    for model in arguments.models:
        for row in rows_of(model, common, arguments.updates, arguments.repeats):
            print(
                "| {model} | {row} | {peak_mib} | {memory_ratio} | {seconds_per_update} | {time_ratio} |".format(**row)
            )
            rows.append(row)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()

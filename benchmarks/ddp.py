"""What a second process brings: throughput of two processes that train together over that of one, at one core each.

    python benchmarks/ddp.py
    python benchmarks/ddp.py --json ddp.json --cases mlp --rounds 20

One process, two with this package's exchange of gradients and two with PyTorch's DistributedDataParallel (gloo in both)
train the same model at the same time and take turns: while one group runs a segment of steps the others wait, so that
a machine whose speed drifts slows all. Each process is bound to a core of its own and computes with one thread. Each
rank has the whole batch, so 2 is the most that two can reach. Printed: medians over the rounds, those of the ratios
taken round by round, as a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import socket
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

CASES = {
    "dcgan": ("model=dcgan", "data=digits", "data.size=32", "data.channels=3", "data.batch_size=64"),
    "mlp": ("model=mlp", "data=ring8", "data.batch_size=64"),
}
#: generator updates in a segment, for each of ``--steps``
FACTOR = {"dcgan": 1, "mlp": 20}


class Variant(NamedTuple):
    """Processes that train together, and how they exchange gradients."""

    processes: int
    strategy: str


VARIANTS = {
    "one process": Variant(1, "auto"),
    "two processes": Variant(2, "stepwise_ddp"),
    "two, DistributedDataParallel": Variant(2, "ddp_find_unused_parameters_true"),
}


class Group:
    """The processes of a variant; they wait for their turn."""

    def __init__(self, variant: Variant, case: str, steps: int, rounds: int) -> None:
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        command = [sys.executable, __file__, "--work", variant.strategy, "--cases", case]
        command += ["--steps", str(steps), "--rounds", str(rounds)]
        self.members = [
            subprocess.Popen(
                command,
                env={**os.environ, **_torchrun(rank, variant.processes, port)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                encoding="utf-8",
            )
            for rank in range(variant.processes)
        ]

    def segment(self) -> float:
        """Lets the group run a segment; the seconds that it took."""
        for member in self.members:
            assert member.stdin is not None
            print("go", file=member.stdin, flush=True)
        lines = [member.stdout.readline() for member in self.members if member.stdout is not None]
        if not all(lines):
            raise SystemExit("a process has ended; its error stands above")
        return max(float(line) for line in lines)

    def end(self) -> None:
        """Waits until all have ended."""
        for member in self.members:
            member.communicate()


def _torchrun(rank: int, world: int, port: int) -> dict[str, str]:
    """What torchrun sets for the ``rank``-th of ``world`` processes; it would not hand on their input."""
    if world == 1:
        return {"OMP_NUM_THREADS": "1"}
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world}
    numbers |= {"GROUP_RANK": 0, "GROUP_WORLD_SIZE": 1, "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
    return {**{k: str(v) for k, v in numbers.items()}, "MASTER_ADDR": "localhost", "TORCHELASTIC_RUN_ID": "benchmark"}


def work(case: str, strategy: str, steps: int, rounds: int) -> None:
    """One process: trains, a segment for each line of input, and prints the seconds that each took."""
    rank = int(os.environ.get("LOCAL_RANK", 0))
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[rank % len(cores)]})
    import torch
    from lightning.pytorch.callbacks import Callback
    from turns import config_of, fit

    from adversaria.training.experiment import build_experiment

    class Turns(Callback):
        def on_train_start(self, trainer: Any, *_: Any) -> None:
            self.await_turn(trainer)

        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step % steps == 0:
                print(time.perf_counter() - self.started, flush=True)
                if trainer.global_step < steps * rounds:
                    self.await_turn(trainer)

        def await_turn(self, trainer: Any) -> None:
            sys.stdin.readline()
            trainer.strategy.barrier()
            self.started = time.perf_counter()

    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.getLogger("adversaria").setLevel(logging.WARNING)
    chosen = ("logger=none", "trainer=ddp", "trainer.accelerator=cpu", f"trainer.strategy={strategy}")
    fit(build_experiment(config_of(*CASES[case], *chosen, f"trainer.max_steps={steps * rounds}")), Turns())


def measure(case: str, steps: int, rounds: int) -> list[dict[str, Any]]:
    """A row for each variant."""
    groups = {name: Group(variant, case, steps, rounds + 1) for name, variant in VARIANTS.items()}
    turns = [{name: group.segment() for name, group in groups.items()} for _ in range(rounds + 1)]
    for group in groups.values():
        group.end()
    alone = next(iter(VARIANTS))
    rows = []
    for name, variant in VARIANTS.items():
        ratios = [variant.processes * turn[alone] / turn[name] for turn in turns[1:]]  # the first warms up
        rows.append(
            {
                "case": case,
                "variant": name,
                "ms_per_update": 1e3 * statistics.median(turn[name] for turn in turns[1:]) / steps,
                "ratio": statistics.median(ratios),
                "quartiles": statistics.quantiles(ratios, n=4)[::2] if len(ratios) > 1 else ratios * 2,
            }
        )
    return rows


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), help="models (default: all)")
    parser.add_argument("--rounds", type=int, default=12, help="turns of each group that count (default 12)")
    parser.add_argument("--steps", type=int, default=20, help="generator updates in a segment of dcgan (mlp: x 20)")
    parser.add_argument("--json", type=Path, help="file that gets the rows as well")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work is not None:
        work(arguments.cases[0], arguments.work, arguments.steps, arguments.rounds)
        return
    rows = []
    print("| model | processes | ms per update | throughput over one process | quartiles |\n|---|---|---:|---:|---|")
    for case in arguments.cases:
        for row in measure(case, arguments.steps * FACTOR[case], arguments.rounds):
            low, high = row["quartiles"]
            cells = (
                case,
                row["variant"],
                f"{row['ms_per_update']:.2f}",
                f"{row['ratio']:.2f}",
                f"{low:.2f}-{high:.2f}",
            )
            print(f"| {' | '.join(cells)} |", flush=True)
            rows.append(row)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()

"""How long a command takes to its first training step, against ``import lightning``, which it cannot do without.

    python benchmarks/startup.py [--turns 5] [--json startup.json]

Every turn starts each command once, one after the other, so that a machine whose speed drifts slows all; the first turn
fills the caches and does not count. Printed: the median of the seconds, the median over turns of the ratio to
``python -c "import lightning"`` of the same turn, and that ratio for processor time, which other work on the machine
disturbs less; it counts the whole command, saving and pictures included.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback
from tables import as_table

HERE = Path(__file__).resolve().parent
TRAIN = [sys.executable, str(HERE.parent / "train.py")]
RUN = ["data=digits", "trainer.max_steps=1", "metrics=none"]
TO_FIRST_STEP = "train.py to the first step"
REFERENCE = 'python -c "import lightning"'
COMMANDS = {
    REFERENCE: [sys.executable, "-c", "import lightning"],
    TO_FIRST_STEP: [*TRAIN, *RUN, "+callbacks.first_step._target_=startup.FirstStep", "trust=[startup]"],
    "train.py --help": [*TRAIN, "--help"],
    "train.py --cfg job": [*TRAIN, "--cfg", "job"],
    "train.py with a mistyped key": [*TRAIN, "modle=dcgan"],
}


class FirstStep(Callback):
    """Says when the first step is done."""

    def on_train_batch_end(self, *_: Any) -> None:
        """Writes the time into a file of the working directory."""
        Path("first_step").write_text(str(time.time()), "utf-8")


def seconds(name: str) -> tuple[float, float]:
    """Of one start: wall clock to its end or, where it trains, to the end of its first step; and processor time."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])}
    with tempfile.TemporaryDirectory() as folder:
        start, busy = time.time(), processor_time()
        done = subprocess.run(COMMANDS[name], cwd=folder, env=environment, capture_output=True, encoding="utf-8")
        end = time.time()
        if name == TO_FIRST_STEP:
            if done.returncode:
                raise SystemExit(done.stdout + done.stderr)
            end = float((Path(folder) / "first_step").read_text("utf-8"))
    return end - start, processor_time() - busy


def processor_time() -> float:
    """Seconds that all finished child processes have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(turns: int) -> list[dict[str, Any]]:
    """A row for each command."""
    times = [{name: seconds(name) for name in COMMANDS} for _ in range(turns + 1)][1:]
    rows = []
    for name in COMMANDS:
        wall, busy = ([turn[name][k] / turn[REFERENCE][k] for turn in times] for k in (0, 1))
        rows.append(
            {
                "command": name,
                "seconds": statistics.median(turn[name][0] for turn in times),
                "ratio": statistics.median(wall),
                "least_ratio": min(wall),
                "largest_ratio": max(wall),
                "ratio_of_processor_time": statistics.median(busy),
            }
        )
    return rows


def main() -> None:
    """Measures and prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5, help="starts of each command that count")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    rows = measure(options.turns)
    head = ("command", "seconds", f"ratio to `{REFERENCE}` (least to largest)", "ratio of processor time")
    cells = [
        (
            row["command"],
            f"{row['seconds']:.2f}",
            f"{row['ratio']:.2f} ({row['least_ratio']:.2f} to {row['largest_ratio']:.2f})",
            f"{row['ratio_of_processor_time']:.2f}",
        )
        for row in rows
    ]
    print(as_table(head, cells))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()

"""Trains full-size recipes for a given time each, schedules stretched over it, and writes `results.md`.

    python -m studies.results [--cifar10 <folder or archive>] [--minutes 8] [--only stylegan2_ada_cifar10 ...]
                           [-- data.batch_size=32 ...]

For a machine with a GPU. How many updates fit into the time is measured first, in a short run of the same command; the
budget is then set to that, so that learning rates, ramps and augmentation go through the whole of their course. What
follows ``--`` goes to `train.py`. Started again it leaves out what is finished.
"""

from __future__ import annotations

import argparse
import csv
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from studies import ROOT
from studies.unattended import add_roots, root_of

RUNS, RECORDS = ROOT / "outputs" / "results", ROOT / "docs" / "results"
EXPERIMENTS = ("stylegan2_ada_cifar10", "biggan_large_cifar10", "sngan_cifar10")
#: updates of the short run, the first half of which only warms up
TIMED = 60
HEAD = """# Results at full size

Each row is one run of a published recipe (`conf/experiment/`) for a fixed time on the machine named, its schedules
stretched over that time. These are far shorter than the published budgets: they show how far the time goes, not how
good the recipes are. Scores compare only where fingerprints are equal. Made by `python -m studies.results`, which
trains, on a machine with a GPU, what is not in the table yet.

"""
COLUMNS = ("experiment", "device", "minutes", "updates", "images shown", "images/s", "scores", "fingerprint", "command")


def train(folder: Path, overrides: list[str]) -> dict[str, Any]:
    """One run and its result."""
    command = [sys.executable, str(ROOT / "train.py"), *overrides, f"run_dir={folder}"]
    subprocess.run(command, cwd=ROOT, check=True)
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return result


def updates_per_second(folder: Path) -> float:
    """Of the second half of a run."""
    with open(folder / "metrics.csv") as file:
        rows = [(int(row["step"]), float(row["seconds"])) for row in csv.DictReader(file) if row["seconds"]]
    (first, began), (last, ended) = rows[len(rows) // 2], rows[-1]
    return (last - first) / (ended - began)


def measure(experiment: str, minutes: float, overrides: list[str]) -> None:
    """Trains ``experiment`` for ``minutes`` and keeps its record, grid and curves under `docs/results`."""
    record = RECORDS / f"{experiment}.json"
    if record.is_file():
        return
    given = [f"experiment={experiment}", *overrides]
    timed = RUNS / f"{experiment}-timed"
    shutil.rmtree(timed, ignore_errors=True)
    train(timed, [*given, f"trainer.max_steps={TIMED}", "trainer.log_every_n_steps=5", "~callbacks.evaluation"])
    steps = max(TIMED, int(updates_per_second(timed) * 60 * minutes))
    budget = [
        f"trainer.max_steps={steps}",
        f"callbacks.evaluation.every_n_steps={max(1, steps // 4)}",
        f"callbacks.samples.every_n_steps={max(1, steps // 4)}",
    ]
    run = RUNS / experiment
    result = train(run, [*given, *budget])
    environment = dict(line.split(" ", 1) for line in (run / "environment.txt").read_text().splitlines() if " " in line)
    RECORDS.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(run / "samples" / f"{result['generator_updates']:06d}.png", RECORDS / f"{experiment}.png")
    curves(run / "metrics.csv", RECORDS / f"{experiment}-curves.png")
    # The paths of this machine are nobody else's.
    public = [argument for argument in [*given, *budget] if not argument.startswith("data.root=")]
    command = shlex.join(["python", "train.py", *public])
    record.write_text(json.dumps({"device": environment["device"], "command": command, **result}, indent=2) + "\n")


def curves(metrics: Path, out: Path) -> None:
    """Losses and the first score over the images shown."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with open(metrics) as file:
        rows = list(csv.DictReader(file))
    scores = [name for name in rows[0] if name.startswith("score/")][:1]
    panels = [["loss/discriminator", "loss/generator"], scores]
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3), constrained_layout=True)
    for axis, names in zip(axes, panels, strict=True):
        images = 0.0
        for name in names:
            points = []
            for row in rows:
                images = float(row["images_seen"] or images)
                if row[name]:
                    points.append((images, float(row[name])))
            axis.plot(*zip(*points, strict=True), marker="o" if len(points) < 10 else None, label=name)
        axis.set_xlabel("images shown")
        axis.legend(frameon=False)
    figure.savefig(out, dpi=100)
    pyplot.close(figure)


def write() -> None:
    """The page, from the records."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    pictures = []
    for file in sorted(RECORDS.glob("*.json")):
        record = json.loads(file.read_text())
        scores = [f"{name} {value:.4g}" for name, value in record["metrics"].items() if value and "_std" not in name]
        cells = (
            f"`{file.stem}`",
            record["device"],
            f"{record['seconds'] / 60:.1f}",
            f"{record['generator_updates']:,}",
            f"{record['images_seen']:,}",
            f"{record['images_per_second']:,.0f}",
            "<br>".join(scores),
            f"`{record['fingerprint_id']}`",
            f"`{record['command']}`",
        )
        lines.append(f"| {' | '.join(cells)} |")
        pictures.append(
            f"\n## {file.stem}\n\n![Curves](results/{file.stem}-curves.png)\n\n![Samples](results/{file.stem}.png)\n"
        )
    table = "\n".join(lines) if pictures else "No row has been measured yet."
    (ROOT / "docs" / "results.md").write_text(HEAD + table + "\n" + "".join(pictures))


def main() -> None:
    """Trains and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_roots(parser, ("cifar10",))
    parser.add_argument("--minutes", type=float, default=8, help="of training each (default: 8)")
    parser.add_argument("--only", nargs="+", default=list(EXPERIMENTS), help="experiments (default: the three)")
    parser.add_argument("overrides", nargs="*", help="for train.py, after --")
    arguments = parser.parse_args()
    for experiment in arguments.only:
        measure(experiment, arguments.minutes, [*root_of("cifar10", arguments), *arguments.overrides])
        write()
    write()


if __name__ == "__main__":
    main()

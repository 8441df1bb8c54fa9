"""Counts the modes of stacked MNIST that each recipe covers, over several seeds, and writes `stacked_mnist.md`.

    python -m studies.stacked_mnist [--mnist <folder or archive>] [--workers 2] [--seeds 3] [--full]

Without a path MNIST is downloaded. ``--full`` trains with the networks and the budget of the published code instead,
for a machine with a GPU. Started again it leaves out what is finished, and goes on with what is not.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from studies import ROOT
from studies.stacked_mnist.figure import draw
from studies.unattended import Job, add_roots, add_workers, cpu_minutes, root_of, train_all

RUNS, PICTURES = ROOT / "outputs" / "stacked_mnist", ROOT / "docs" / "images" / "stability"
HEAD = """# Stacked MNIST: how many of 1,000 modes

Three random digits are the red, green and blue channel of an image: 1,000 modes, which a classifier of digits can
count (Metz et al. 2017). A generator that draws perfect digits and always the same ones is found out. Everything here
comes from

    python -m studies.stacked_mnist

which trains `experiment=stacked_mnist_*` and scores each run with `metrics=stacked_modes`: {fakes:,} samples of the
moving average, each channel named by the package's MNIST classifier; *modes* is how many of the 1,000 occur, *KL* the
divergence of their histogram from equal shares (in nats; one mode alone: 6.91), *confidence* the classifier's, to see
whether it is digits that it names. 26,000 real stacks score 1,000 modes, KL 0.024 and confidence 0.995.
Mean ± standard deviation over the seeds.
"""
TABLE = """
| recipe | seeds | modes | KL | confidence | images | images/s | CPU minutes | parameters G / D | samples of seed 1 |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---|
"""
FIGURE = """
Each mode is a cell below: samples of the first seed, and how often each of the 1,000 modes is among 5,000 of them.

![modes of each recipe](images/stability/stacked_mnist_modes.png)

With 4, 8 and 16 channels in D, DCGAN forgets half of the modes or more with every seed. Packs of four samples, which
show D what is missing, keep most of them with two seeds (925 and 940) and lose 804 with the third; the relativistic
objective with R1 and R2 keeps 858 to 928 with all three, at the price of less certain digits.
A confidence of 0.7 to 0.8 says that many samples lie between digits: 600,000 images are a tenth of the published
budget.
"""
PUBLISHED = """
## Published

| recipe | modes | KL | source |
|---|---:|---:|---|
| DCGAN | 99.0 | 3.40 | Srivastava et al. 2017 ("VEEGAN") |
| PacDCGAN4 | 1000.0 | 0.07 | Lin et al. 2018 ("PacGAN"), table 2 |

Their protocol, as the code that Lin et al. published has it: 128,000 stacks of 28x28 pixels, drawn once from all 70,000
digits, reals in [0, 1] (while G ends in a tanh); DCGAN of width 64 with four convolutions a side, 100 uniform latents,
Adam at 2e-4 with beta1 0.5, 100,000 updates of D with 64 packs each (of four images: 256), two updates of G for each;
26,000 samples, KL(samples || equal shares). Here digits are padded to 32x32 and scaled as G's, those of the test split
are held out, networks have three convolutions a side, and G takes one update for each of D. The small recipes have 64,
32 and 16 channels in G and 4, 8 and 16 in D, as in the experiment of Metz et al. whose D is half of G. So compare
recipes within a table, not digits between tables.

`python -m studies.stacked_mnist --full` trains width 64 for 100,000 updates of 64 images or packs, as published, on a
GPU; a single run of it is, for instance,

    python train.py --config-dir=studies/conf experiment=stacked_mnist_dcgan {full}
"""


class Recipe(NamedTuple):
    """A row of the table: its name (and that of its runs), its overrides, and what makes it as large as published.

    Without the last it is trained in its small size alone.
    """

    name: str
    overrides: tuple[str, ...]
    full: tuple[str, ...] = ()


LONG = (
    "optim.generator.lr=2e-4",
    "optim.discriminator.lr=2e-4",
    "trainer.max_steps=100000",
    "callbacks.samples.every_n_steps=10000",
    "callbacks.evaluation.every_n_steps=20000",
)
WIDE = ("model.generator.width=64", "model.discriminator.width=64")
WIDE_PACKS = ("model.generator.width=64", "model.discriminator.network.width=64", "data.batch_size=256")
RECIPES = (
    Recipe("dcgan", ("experiment=stacked_mnist_dcgan",), (*WIDE, *LONG)),
    Recipe("pacgan4", ("experiment=stacked_mnist_pacgan4",), (*WIDE_PACKS, *LONG)),
    Recipe("r1", ("experiment=stacked_mnist_r1",), (*WIDE, *LONG)),
)


def jobs_of(seeds: int, overrides: tuple[str, ...], full: bool) -> list[Job]:
    """All recipes with the first seed, then with the next: what is finished early says something of each."""
    return [
        (
            folder_of(recipe, seed, full),
            (
                *recipe.overrides,
                f"seed={seed}",
                *(recipe.full if full else ("trainer.accelerator=cpu",)),
                *overrides,
            ),
        )
        for seed in range(1, seeds + 1)
        for recipe in RECIPES
        if recipe.full or not full
    ]


def folder_of(recipe: Recipe, seed: int, full: bool) -> Path:
    """Of one run."""
    return RUNS / ("full" if full else "small") / f"{recipe.name}-{seed}"


def results_of(recipe: Recipe, full: bool) -> dict[int, dict[str, Any]]:
    """By seed, of what is finished."""
    stem = folder_of(recipe, 0, full)
    files = sorted(stem.parent.glob(f"{recipe.name}-*/result.json"))
    found = {int(file.parent.name.rpartition("-")[2]): json.loads(file.read_text()) for file in files}
    return {seed: result for seed, result in sorted(found.items()) if result["status"] != "stopped"}


def spread(values: list[float], digits: int) -> str:
    """Mean ± standard deviation; of one value the value."""
    mean = f"{statistics.fmean(values):,.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def row(recipe: Recipe, results: dict[int, dict[str, Any]], full: bool) -> str:
    """A line of the table."""
    picture = f"stacked_mnist_{'full_' if full else ''}{recipe.name}.png"
    first, result = min(results.items())
    crop(folder_of(recipe, first, full) / "samples" / f"{result['generator_updates']:06d}.png", PICTURES / picture)
    scores = [
        spread([found["metrics"][f"mode{name}"] for found in results.values()], digits)
        for name, digits in (("s_covered", 1), ("_kl", 2), ("_confidence", 3))
    ]
    sizes = " / ".join(f"{result['cost']['parameters'][network]:,}" for network in ("generator", "discriminator"))
    cells = [
        f"`{' '.join(recipe.overrides)}`",
        str(len(results)),
        *scores,
        f"{result['images_seen']:,}",
        f"{statistics.fmean(found['images_per_second'] for found in results.values()):.0f}",
        f"{statistics.fmean(cpu_minutes(folder_of(recipe, seed, full)) for seed in results):.1f}",
        sizes,
        f'<img src="images/stability/{picture}" width="240" alt="samples of {recipe.name}">',
    ]
    return f"| {' | '.join(cells)} |\n"


def crop(source: Path, target: Path) -> None:
    """The picture at half its size: samples are shown at their own."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(source) as image:
        image.reduce(2).save(target, optimize=True)


def table(full: bool) -> str:
    """All recipes of which a run is finished; empty if there is none."""
    found = [(recipe, results) for recipe in RECIPES if (results := results_of(recipe, full))]
    if not found:
        return ""
    every = [result for _, results in found for result in results.values()]
    [(precision, fingerprint)] = {(result["precision"], result["fingerprint_id"]) for result in every}
    title = "the published budget" if full else "minutes on one CPU core"
    note = f"\n## In {title}\n\nTrained in {precision}; fingerprint of the scores `{fingerprint}`.\n"
    return note + TABLE + "".join(row(recipe, results, full) for recipe, results in found)


def figure() -> str:
    """Draws the first run of each recipe in its small size, and shows it; empty if there is none."""
    titles = {}
    for recipe in RECIPES:
        if results := results_of(recipe, full=False):
            seed, result = min(results.items())
            scores = result["metrics"]
            text = f"{scores['modes_covered']:.0f} modes, KL {scores['mode_kl']:.2f}"
            titles[folder_of(recipe, seed, full=False)] = f"{recipe.name}: {text}"
    if not titles:
        return ""
    draw(titles, PICTURES / "stacked_mnist_modes.png")
    return FIGURE


def main() -> int:
    """Trains and writes; its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_roots(parser, ("mnist",))
    add_workers(parser)
    parser.add_argument("--seeds", type=int, default=3, help="runs of each recipe, with seeds from 1 on (default: 3)")
    parser.add_argument("--full", action="store_true", help="networks and budget as published, for a GPU")
    arguments = parser.parse_args()
    jobs = jobs_of(arguments.seeds, root_of("mnist", arguments), arguments.full)
    failed = train_all(jobs, arguments.workers, "stacked MNIST")
    text = HEAD.format(fakes=26_000) + table(full=False) + figure() + table(full=True)
    (ROOT / "docs" / "stacked_mnist.md").write_text(text + PUBLISHED.format(full=" ".join(RECIPES[0].full)))
    print("\n".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""Trains losses and penalties on eight and 25 Gaussians, five seeds each, and writes `synthetic.md` with their scores.

    python -m studies.synthetic [--only ring8_ns grid25_best ...] [--workers 2]

140 runs, three to 40 CPU seconds each. Started again it leaves out what is finished, and goes on with what is not.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from PIL import Image
from torch import Tensor

import adversaria
from adversaria.cli.inprocess import compose
from adversaria.config.build import construct
from adversaria.data.synthetic.points import GaussianMixture
from adversaria.evaluation.metrics.modes import RADIUS
from adversaria.reporting.compare.figures import COLORS
from studies import ROOT
from studies.inprocess import train_in_workers
from studies.unattended import add_workers

RUNS, PAGE = ROOT / "outputs" / "synthetic", ROOT / "docs" / "synthetic.md"
FIGURE = ROOT / "docs" / "images" / "stability" / "synthetic.png"
SEEDS = (1, 2, 3, 4, 5)
SHOWN = SEEDS[0]
SAMPLES = 2500
INK = "#333333"
#: the cells, and what each is in a line of the table
CELLS = {
    "ns": "non-saturating loss",
    "ns_normal": "non-saturating, two normal latents",
    "ns_r1": "non-saturating, R1",
    "ns_dragan": "non-saturating, DRAGAN",
    "ns_sn": "non-saturating, spectral normalisation",
    "ns_pac2": "non-saturating, D judges pairs (PacGAN2)",
    "hinge": "hinge loss",
    "hinge_sn": "hinge, spectral normalisation",
    "lsgan": "least squares loss",
    "lsgan_r1": "least squares, R1",
    "wgan_clip": "Wasserstein loss, weights clipped",
    "wgan_gp": "Wasserstein loss, gradient penalty",
    "rp_r1_r2": "relativistic pairing, R1 and R2 (R3GAN)",
    "best": "best recipe, see above",
}
#: modes of Lin et al. 2018, table 1, by data set
PUBLISHED = {"ring8": {"GAN": 6.3, "PacGAN2": 7.9}, "grid25": {"GAN": 17.3, "PacGAN2": 23.8}}
EXPERIMENTS = [f"{data}_{cell}" for data in PUBLISHED for cell in CELLS]
SCORES = {"modes_covered": 1, "high_quality_share": 3, "mode_tv": 3}
#: of a run that diverged: it makes nothing
NOTHING = {"modes_covered": 0.0, "high_quality_share": 0.0, "mode_tv": 1.0}


def spread(samples: Tensor, modes: Tensor, sigma: float) -> float:
    """How wide a mode's high-quality samples are, root mean square over the modes, in standard deviations of the data.

    Args:
        samples: ``[N, 2]``.
        modes: ``[K, 2]``.
        sigma: of each mode.

    Returns:
        0 if every mode is a single point, 0.97 for the data, whose tails beyond three standard deviations are not of
        high quality either; NaN without a mode of two samples.
    """
    distances, nearest = torch.cdist(samples.double(), modes.double()).min(dim=1)  # [N]
    near = distances <= RADIUS * sigma
    squares, count = 0.0, 0
    for k in range(len(modes)):
        own = samples[near & (nearest == k)].double()
        if len(own) > 1:
            squares += float(own.var(dim=0).sum()) * len(own)
            count += len(own)
    return (squares / count / samples.shape[1]) ** 0.5 / sigma if count else float("nan")


def row(experiment: str, words: str, results: list[dict[str, Any]], spreads: list[float]) -> str:
    """A line of the table: means and standard deviations over ``results``, one for each seed."""
    cells = [f"`{experiment}`", words]
    for score, digits in SCORES.items():
        found = [result["metrics"].get(score) for result in results]
        cells.append(mean_and_deviation([NOTHING[score] if value is None else value for value in found], digits))
    updates = max(result["generator_updates"] for result in results)
    seconds = statistics.mean(result["cpu_seconds"] for result in results)
    cells += [mean_and_deviation(spreads, 2), f"{updates:,}", f"{seconds:.0f}", str(len(results))]
    return f"| {' | '.join(cells)} |\n"


def mean_and_deviation(values: list[float], digits: int) -> str:
    """``mean ± standard deviation`` of the values that are not NaN; of a single one the value, of none nothing."""
    known = [value for value in values if value == value]
    if not known:
        return ""
    mean = f"{statistics.mean(known):.{digits}f}"
    return f"{mean} ± {statistics.stdev(known):.{digits}f}" if len(known) > 1 else mean


def data_of(name: str) -> GaussianMixture:
    """The data set, ready."""
    data: GaussianMixture = construct(compose("model=mlp", f"data={name}")["data"], "data", [])
    data.prepare()
    return data


def samples_of(folder: Path) -> Tensor:
    """``[SAMPLES, 2]`` of the average at the end of a run; empty if it saved nothing."""
    try:
        return adversaria.load(folder).sample(SAMPLES)
    except adversaria.core.errors.UserError:
        return torch.empty(0, 2)


def write() -> None:
    """The page and its figure, of what is finished."""
    tables = {}
    figure, axes = plt.subplots(4, 8, figsize=(11, 6.4), dpi=100)
    for name, panels in zip(PUBLISHED, (axes[:2].flat, axes[2:].flat), strict=True):
        data = data_of(name)
        reals = torch.from_numpy(data.split("train").samples[:SAMPLES])
        draw(next(panels), data, reals, f"{name}: data", f"{len(data.modes)} modes")
        lines = ""
        for cell, words in CELLS.items():
            folders = [RUNS / f"{name}_{cell}" / f"seed{seed}" for seed in SEEDS]
            folders = [folder for folder in folders if (folder / "result.json").is_file()]
            results = [json.loads((folder / "result.json").read_text()) for folder in folders]
            if not results:
                continue
            samples = [samples_of(folder) for folder in folders]
            lines += row(f"{name}_{cell}", words, results, [spread(s, data.modes, data.sigma) for s in samples])
            metrics = NOTHING | {key: value for key, value in results[0]["metrics"].items() if value is not None}
            below = f"{metrics['modes_covered']:.0f} modes, {metrics['high_quality_share']:.0%}"
            draw(next(panels), data, samples[0], cell, below)
        for empty in panels:
            empty.set_visible(False)
        published = ", ".join(f"{method} {modes}" for method, modes in PUBLISHED[name].items())
        tables[name] = TABLE.format(published=published) + lines
    figure.subplots_adjust(left=0.01, right=0.99, top=0.965, bottom=0.035, hspace=0.36, wspace=0.06)
    save(figure, FIGURE)
    PAGE.write_text(HEAD.format(seeds=len(SEEDS), shown=SHOWN, **tables))


def save(figure: Any, file: Path) -> None:
    """A PNG of few colours: points and words need no more."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    plt.close(figure)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.open(buffer).convert("RGB").quantize(64, dither=Image.Dither.NONE).save(file, optimize=True)


def draw(axes: Any, data: GaussianMixture, samples: Tensor, title: str, below: str) -> None:
    """One panel: the modes as rings, samples of high quality in blue and the others in orange."""
    extent = float(data.modes.abs().max()) * 1.3
    distances = torch.cdist(samples.double(), data.modes.double()).min(dim=1).values
    good = distances <= RADIUS * data.sigma
    axes.scatter(*data.modes.T, s=70 if len(data.modes) < 10 else 40, facecolors="none", edgecolors="#bbbbbb", lw=0.6)
    for chosen, colour in ((~good, COLORS[1]), (good, COLORS[0])):
        axes.scatter(*samples[chosen].T, s=1.6, color=colour, alpha=0.5, linewidths=0)
    axes.set(xlim=(-extent, extent), ylim=(-extent, extent), xticks=[], yticks=[], aspect="equal")
    axes.spines[:].set_color("#cccccc")
    axes.set_title(title, fontsize=9, color=INK, pad=3)
    axes.set_xlabel(below, fontsize=8, color=INK, labelpad=2)


def main() -> int:
    """Trains and writes; its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_workers(parser)
    parser.add_argument("--only", nargs="+", choices=EXPERIMENTS, default=EXPERIMENTS, help="which (default: all)")
    arguments = parser.parse_args()
    # Seed after seed, so that an early stop leaves every cell with some.
    common = ("trainer.accelerator=cpu", "logger=csv", "~callbacks.progress")
    jobs = [
        (RUNS / experiment / f"seed{seed}", (f"experiment={experiment}", f"seed={seed}", *common))
        for seed in SEEDS
        for experiment in arguments.only
    ]
    failed = train_in_workers(jobs, arguments.workers, "synthetic")
    write()
    print("\n".join(failed))
    return 1 if failed else 0


TABLE = """Published on the same data with the same two measures (see below), modes: {published}.

| experiment | what it is | modes covered | high-quality share | `mode_tv` | spread | updates | CPU s | seeds |
|---|---|---:|---:|---:|---:|---:|---:|---:|
"""
HEAD = """# Eight and 25 Gaussians

Which loss, regulariser, discriminator or latents keep the modes? Every cell is an experiment,
`experiment=ring8_<cell>` and `experiment=grid25_<cell>`, with {seeds} seeds, one thread on one CPU core. All of it,
and the figure, by

    python -m studies.synthetic

and one cell by `python train.py --config-dir=studies/conf experiment=ring8_ns`.

**Scores** are those of `metrics=modes`, of 2,500 samples of the moving average of G at the end of the run, mean ±
standard deviation over the seeds. A sample is of high quality within three standard deviations of a mode, and a mode is
covered by one such sample (Srivastava et al. 2017; Lin et al. 2018). `mode_tv` is the total variation distance from
equal shares of the modes, 0 at best. Of the data 98.9% are of high quality. Spread is how wide the high-quality samples
of a mode are, 0.97 for data and 0 if a mode has become a point: the other scores do not see that. CPU seconds are
training and evaluation without the start of Python. A run that diverged counts as no mode.

**What the cells share**: G and D fully connected, three layers of 64, 16 latents that are signs (`latent=bernoulli`),
Adam at 2e-3 with betas (0.5, 0.999), in the second half along a cosine to 0, batches of 256, float32, and the same
number of updates of G: 600 on the ring and 1,000 on the grid. That is short on purpose: all of it takes twenty
CPU minutes. On the grid no cell but `best` is at its end: the table says how fast they learn, not where they arrive.

**What differs** besides what the names say: WGAN takes RMSprop at 5e-4 and five steps of D, as its paper does, at a
tenfold rate for the short budget; WGAN-GP takes five steps of D, betas (0.5, 0.9) and the weight 0.1 of its authors'
code for points. Both so see five times as many reals and cost more. Gamma of R1 and R2 is 0.001 on the ring and 0.025
on the grid, whose modes are five times as wide: a penalty on squared gradients goes with the square of the scale.
DRAGAN has its published weight of 10. `ns_normal` has two normal latents, as the published runs, instead of 16 signs.
`best` is another recipe on each. On the ring it is MGAN (Hoang et al. 2018) with 1,000 updates: as many generators as
there are modes, which share all layers but the first, two uniform latents, and a head of D that tells the generators
apart. It is told the number of modes, which the others are not. On the grid it is `ns_r1` with batches of 512
and 6,000 updates (batches of 256 gave 94.2% of high quality). In both the rates fall from the first update on. They
were chosen after some 50 trial runs with some of these seeds (on the
ring `ns_r1` with 2,000 updates came first and was given up, for it kept four modes with two of four seeds); what the
cells share suits `ns`, and no other was tuned.

**Published**: Lin et al. 2018 ("PacGAN", table 1) train GAN and PacGAN2 on the same mixtures with two normal latents, G
of width 400, a maxout D of width 200, Adam at 1e-4 in batches of 100, for 400 epochs of 100,000 points, ten runs each
(the authors' code). That is more than a hundred times the points that a cell sees here, so their figures are no
baseline of the cells but a mark for `best`.

## ring8

{ring8}
## grid25

{grid25}
## What it shows

- Latents decide what the samples between the modes are. Two normal latents cover the ring with every seed, but most
  samples lie on the lines from mode to mode (`ns_normal`); with signs they fall into clouds, of which fewer than
  eight can be left (`ns`, `lsgan`, `ns_pac2`).
- Clouds that settle on half of the modes stay there: see `lsgan` in the figure and in the
  [animation](images/stability/ring8_surface.gif), where D has found the missing modes and G has no way to them.
- A D that may not be steep is slow where modes are narrow: spectral normalisation, clipped weights and DRAGAN's
  slope of 1 around reals have next to no sample of high quality after these updates. More updates would tell whether
  they arrive.
- On the ring `wgan_gp`, `best` and, with its lines, `ns_normal` keep all eight modes with every seed; on the grid only
  `best` keeps all 25. Covered says little by itself: a cloud over everything covers, too (`wgan_clip`).
- The samples of `best` are narrower than the modes (spread): a high share of high quality is no equal distribution.

## Samples

Seed {shown}, the moving average of G: in blue what is of high quality, in orange what is not.

![Samples of every cell over the modes](images/stability/synthetic.png)
"""

if __name__ == "__main__":
    sys.exit(main())

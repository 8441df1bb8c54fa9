"""Draws ``docs/images/stability/ring8_surface.gif``: D's logits and G's samples while a bad and a good recipe train.

    python -m studies.synthetic.animate

One CPU minute. Both train anew, into ``outputs/animate``. The logits are those of the networks as they train, drawn
about their median and over their largest, so that the shape shows: how sure D is differs between the panels.
"""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from PIL import Image
from torch import Tensor

from adversaria.cli.inprocess import compose, train
from adversaria.config.build import construct
from adversaria.core.modes import evaluating
from adversaria.data.module import DataModule
from adversaria.reporting.compare.figures import COLORS
from adversaria.sampling.draw import Draw
from studies import CONF, ROOT

OUT = ROOT / "docs" / "images" / "stability" / "ring8_surface.gif"
RUNS = ROOT / "outputs" / "animate"
#: the experiments side by side, and what each is in words
PANELS = {
    "ring8_lsgan": "least squares loss: four of eight modes",
    "ring8_best": "a generator for each mode: all eight",
}
#: of both
UPDATES = 1000
SEED = 1
FRAMES, HOLD = 60, 20
EXTENT, PIXELS = 1.6, 81
SAMPLES = 400
INK = "#333333"
LEGEND = "orange: data     blue: samples of G     dark: what D takes for real, on a scale of each panel"
LEVELS = np.linspace(-3, 3, 13)


class Snapshot(NamedTuple):
    """Attributes: step; logits ``[PIXELS, PIXELS]`` on the square, rows from below; samples ``[SAMPLES, 2]``."""

    step: int
    logits: np.ndarray[Any, Any]
    samples: np.ndarray[Any, Any]


class Snapshots(Callback):
    """Keeps D's logits on a square and samples of G, the trained networks', at ``steps``."""

    def __init__(self, steps: list[int]) -> None:
        self.steps, self.taken = set(steps), list[Snapshot]()

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """The first, before any update."""
        self._take(trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        """One if it is due."""
        self._take(trainer, pl_module)

    @torch.no_grad()
    def _take(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.global_step in self.steps:
            with evaluating(pl_module):
                logits = pl_module.discriminator(square()).logits.reshape(PIXELS, PIXELS)
                samples = Draw(pl_module.generator, pl_module.device, pl_module.inputs())(0, SAMPLES).samples
            self.taken.append(Snapshot(trainer.global_step, logits.numpy(), samples.numpy()))


def square() -> Tensor:
    """Points ``[PIXELS ** 2, 2]`` on the square of half-width EXTENT, x the faster."""
    axis = torch.linspace(-EXTENT, EXTENT, PIXELS)
    return torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1).reshape(-1, 2)


def steps_of(updates: int) -> list[int]:
    """FRAMES steps from 0 to ``updates``, denser at the beginning, where most happens."""
    return sorted({round(updates * (k / (FRAMES - 1)) ** 1.5) for k in range(FRAMES)})


def frame(snapshots: list[Snapshot], reals: np.ndarray[Any, Any]) -> Image.Image:
    """One picture: a panel for each experiment."""
    figure, axes = plt.subplots(1, len(snapshots), figsize=(7.2, 4.15), dpi=90)
    for panel, words, snapshot in zip(axes, PANELS.values(), snapshots, strict=True):
        logits = snapshot.logits - np.median(snapshot.logits)
        scale = max(float(np.abs(logits).max()), 1e-6)
        panel.contourf(
            logits / scale * LEVELS[-1], LEVELS, cmap="Greys", extent=(-EXTENT, EXTENT) * 2, antialiased=False
        )
        panel.scatter(*reals.T, s=12, color=COLORS[1], linewidths=0, antialiased=False)
        panel.scatter(*snapshot.samples.T, s=5, color=COLORS[0], linewidths=0, antialiased=False)
        panel.set(xticks=[], yticks=[], xlim=(-EXTENT, EXTENT), ylim=(-EXTENT, EXTENT), aspect="equal")
        panel.set_title(words, color=INK, fontsize=11)
        panel.set_xlabel(f"update {snapshot.step:,}", color=INK, fontsize=10)
    figure.subplots_adjust(left=0.02, right=0.98, top=0.93, bottom=0.14, wspace=0.04)
    figure.text(0.5, 0.02, LEGEND, ha="center", color=INK, fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    plt.close(figure)
    return Image.open(buffer).convert("RGB").quantize(48, dither=Image.Dither.NONE)


def main() -> None:
    """Trains and draws."""
    taken = []
    for experiment in PANELS:
        shutil.rmtree(RUNS / experiment, ignore_errors=True)
        taken.append(watch(experiment, RUNS / experiment))
    reals = taken[0][1]
    frames = [frame(list(pair), reals) for pair in zip(*(snapshots for snapshots, _ in taken), strict=True)]
    OUT.parent.mkdir(parents=True, exist_ok=True)
    frames += [frames[-1]] * HOLD
    frames[0].save(OUT, save_all=True, append_images=frames[1:], duration=100, loop=0, optimize=True)
    print(f"figure {OUT}, {OUT.stat().st_size / 1e6:.1f} MB")


def watch(experiment: str, folder: Path) -> tuple[list[Snapshot], np.ndarray[Any, Any]]:
    """Trains, and gives the snapshots and as many reals ``[SAMPLES, 2]`` as samples."""
    overrides = (f"experiment={experiment}", f"seed={SEED}", f"trainer.max_steps={UPDATES}")
    snapshots = Snapshots(steps_of(UPDATES))
    quiet = ("trainer.accelerator=cpu", "logger=csv", "~callbacks.progress")
    torch.set_num_threads(1)
    train(*overrides, *quiet, run_dir=folder, callbacks=[snapshots], config_dir=CONF)
    return snapshots.taken, points_of(compose(*overrides, config_dir=CONF))


def points_of(config: dict[str, Any]) -> np.ndarray[Any, Any]:
    """The first reals ``[SAMPLES, 2]`` of the data set."""
    data: DataModule = construct(config["data"], "data", [])
    data.prepare()
    points: np.ndarray[Any, Any] = data.split("train").samples[:SAMPLES]
    return points


if __name__ == "__main__":
    main()

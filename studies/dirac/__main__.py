"""Trains the Dirac-GAN in every way of `experiment=dirac_*`, and draws what theory says over what training did.

    python -m studies.dirac

Writes ``docs/images/stability/dirac.png`` and ``dirac.md``, the table beside it, in about a minute on one core. The
theory is that of `studies.dirac.theory`, after Mescheder et al. 2018, "Which Training Methods for GANs do actually
Converge?".
"""

from __future__ import annotations

import argparse
import io
import math
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from matplotlib.axes import Axes
from PIL import Image

from adversaria.cli.inprocess import compose, train
from studies import CONF, ROOT
from studies.dirac.theory import DiracGAN, observed_rate, of_config

OUT = ROOT / "docs" / "images" / "stability"
#: what each is called, and its colour: those of Wong 2011 ("Points of view: Color blindness")
METHODS = {
    "unregularised": ("Unregularised", "#333333"),
    "nonsaturating": ("Non-saturating loss", "#E69F00"),
    "wgan": ("WGAN", "#56B4E9"),
    "wgan_gp": ("WGAN-GP", "#CC79A7"),
    "instance_noise": ("Instance noise", "#009E73"),
    "r1": ("R1", "#0072B2"),
    "r2": ("R2", "#D55E00"),
}
#: where the lines of the last panel are named
LABELS = (
    (330, 2.3, "unregularised, WGANs", "unregularised"),
    (420, 0.07, "non-saturating", "nonsaturating"),
    (735, 1e-3, "R1", "r1"),
    (555, 1.5e-5, "noise", "instance_noise"),
    (300, 1e-7, "R2", "r2"),
)
EXTENT, NOWHERE = 1.9, "jumps"
INK, PALE, FORBIDDEN = "#333333", "#c4c9d0", "#ececec"


class Trajectory(Callback):
    """Keeps theta and psi before the first update and after each."""

    def __init__(self) -> None:
        self.points: list[tuple[float, float]] = []

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """The beginning."""
        self._keep(pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        """The end of an update."""
        self._keep(pl_module)

    def _keep(self, gan: Any) -> None:
        self.points.append((gan.generator.theta.item(), gan.discriminator.psi.item()))


class Result(NamedTuple):
    """One way of training: what was done, ``path [updates + 1, 2]``, and the closed form of the same config."""

    game: DiracGAN
    lr: float
    path: np.ndarray[Any, Any]

    @property
    def error(self) -> float:
        """The largest distance between the path and the closed form's."""
        theta, psi = self.path[0]
        expected = self.game.trajectory(theta, psi, self.lr, len(self.path) - 1)
        return float(np.abs(self.path - expected).max())


def run(experiment: str, folder: Path) -> Result:
    """What ``python train.py experiment=...`` trains, with the trajectory kept."""
    overrides, trajectory = (
        [f"experiment={experiment}", "trust=[studies]", "logger=none", "~callbacks.progress"],
        Trajectory(),
    )
    train(*overrides, run_dir=folder / experiment, callbacks=[trajectory], config_dir=CONF)
    config = compose(*overrides, config_dir=CONF)
    return Result(of_config(config), config["optim"]["generator"]["lr"], np.array(trajectory.points))


def complex_pair(values: np.ndarray[Any, Any]) -> str:
    """Two eigenvalues in a few signs."""
    if np.isnan(values).any():
        return NOWHERE
    first, second = values
    if first.imag:
        real = f"{first.real:.4g} " if abs(first.real) > 1e-12 else ""
        return f"{real}± {abs(first.imag):.4g}i"
    return f"{first.real:.4g}" if abs(first - second) < 1e-7 else f"{first.real:.4g}, {second.real:.4g}"


def number(value: float, absent: str = NOWHERE) -> str:
    """Four decimals, or what to say where there is no such number."""
    return absent if math.isnan(value) else f"{value:.4f}"


def setting(game: DiracGAN) -> str:
    """What sets this game apart."""
    parts = (("γ", game.gamma), ("σ", game.sigma), ("λ", game.gradient_penalty))
    text = [f"{name} = {value:g}" for name, value in parts if value]
    return ", ".join(text + ([f"−{game.limit:g} ≤ ψ ≤ {game.limit:g}"] if math.isfinite(game.limit) else []))


def table(results: dict[str, Result]) -> str:
    """The Markdown table."""
    head = (
        "| experiment | setting | eigenvalues of the field | of a step | predicted rate | observed rate "
        "| distance at the end | training against closed form |\n|---|---|---|---|---:|---:|---:|---:|\n"
    )
    rows = [
        f"| `dirac_{name}` | {setting(game)} "
        f"| {complex_pair(game.eigenvalues())} | {complex_pair(game.eigenvalues(lr))} "
        f"| {number(game.rate(lr))} | {number(observed_rate(path))} | {np.linalg.norm(path[-1]):.2g} "
        f"| {result.error:.0e} |\n"
        for name, result in results.items()
        for game, lr, path in (result,)
    ]
    return head + "".join(rows)


def draw(results: dict[str, Result]) -> None:
    """Writes the figure: a phase portrait for each method, and the distances over the updates."""
    plt.rcParams.update({"font.family": "DejaVu Sans", "font.size": 9, "text.color": INK, "axes.labelcolor": INK})
    figure, axes = plt.subplots(2, 4, figsize=(12.4, 7.5), dpi=110)
    figure.subplots_adjust(left=0.045, right=0.985, top=0.815, bottom=0.065, wspace=0.24, hspace=0.46)
    for place, (name, result) in zip(axes.flat, results.items(), strict=False):
        portrait(place, *METHODS[name], result)
    distances(axes[-1, -1], results)
    figure.text(0.045, 0.965, "Which ways of training reach the equilibrium", size=15, weight="bold", va="center")
    [(lr, updates)] = {(result.lr, len(result.path) - 1) for result in results.values()}
    figure.text(
        0.045,
        0.922,
        "Dirac-GAN: the data is the point 0, G the point θ, D(x) = ψx. Grey: the field of gradient descent. In colour: "
        f"{updates:,} alternating updates of train.py at rate {lr:g}.\n"
        "Above each panel: by what an update multiplies the distance to the equilibrium, predicted by the eigenvalues "
        "there, and observed over the last half of the run.",
        size=9.5,
        va="center",
        linespacing=1.5,
    )
    picture = io.BytesIO()
    figure.savefig(picture)
    plt.close(figure)
    OUT.mkdir(parents=True, exist_ok=True)
    Image.open(picture).convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE).save(
        OUT / "dirac.png", optimize=True
    )


def portrait(axes: Axes, title: str, colour: str, result: Result) -> None:
    """The field, and the path over it."""
    game, lr, path = result
    line = np.linspace(-EXTENT, EXTENT, 80)
    theta, psi = np.meshgrid(line, line)
    speed = game.generator_field(theta, psi), game.discriminator_field(theta, psi)
    axes.streamplot(line, line, *speed, color=PALE, linewidth=0.8, density=0.8, arrowsize=0.8, zorder=1)
    if game.limit < EXTENT:
        for low in (-EXTENT, game.limit):
            axes.axhspan(low, low + EXTENT - game.limit, color=FORBIDDEN, zorder=2)
    axes.plot(*path.T, color=colour, linewidth=1.3, zorder=3)
    axes.plot(*path[0], "o", color=colour, markersize=6, markeredgecolor="white", zorder=4)
    axes.plot(0, 0, "+", color=INK, markersize=9, markeredgewidth=1.6, zorder=5)
    axes.set(xlim=(-EXTENT, EXTENT), ylim=(-EXTENT, EXTENT), aspect="equal", xticks=(-1, 0, 1), yticks=(-1, 0, 1))
    axes.set_xlabel("θ", labelpad=1)
    axes.set_ylabel("ψ", labelpad=-2, rotation=0)
    axes.tick_params(length=0, pad=3, colors=INK, labelsize=8)
    axes.spines[:].set_color(PALE)
    head(axes, title, colour)
    axes.text(1, 1.14, setting(game), transform=axes.transAxes, size=9.5, ha="right")
    predicted = number(game.rate(lr), "none")
    axes.text(0, 1.04, f"predicted {predicted}, observed {number(observed_rate(path))}", transform=axes.transAxes)


def head(axes: Axes, title: str, colour: str) -> None:
    """A title above the axes."""
    axes.text(0, 1.14, title, transform=axes.transAxes, size=11.5, weight="bold", color=colour)


def distances(axes: Axes, results: dict[str, Result]) -> None:
    """How far from the equilibrium after each update."""
    for name, result in results.items():
        axes.plot(np.linalg.norm(result.path, axis=1), color=METHODS[name][1], linewidth=1.3)
    axes.set(yscale="log", ylim=(1e-8, 10), xlabel="updates", xlim=(0, None))
    axes.minorticks_off()
    head(axes, "Distance to the equilibrium", INK)
    for x, y, label, name in LABELS:
        axes.text(x, y, label, color=METHODS[name][1], size=8.5, weight="bold")
    axes.grid(axis="y", color=PALE, linewidth=0.6)
    axes.tick_params(length=0, pad=3, colors=INK, labelsize=8)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(PALE)


def main() -> None:
    """See the module."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = {name: run(f"dirac_{name}", Path(folder)) for name in METHODS}
    draw(results)
    text = table(results)
    (OUT / "dirac.md").write_text(text)
    print(text)
    print(f"figure {OUT / 'dirac.png'}")


if __name__ == "__main__":
    main()

"""The figure of `stacked_mnist.py`: samples of each recipe, and a map of the 1,000 modes coloured by their share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import torch
from PIL import Image
from torch import Tensor

import adversaria
from adversaria.config.build import construct
from adversaria.core.types import DataSpec
from adversaria.data.images.stacked import StackedMNIST
from adversaria.evaluation.metrics.stacked_modes import name_modes
from adversaria.features.classifier_extractor import committed
from adversaria.modalities.pictures import show

COUNT, BATCH = 5_000, 64
SHOWN, COLUMNS = 27, 9
INK = "#333333"
#: shares are shown in multiples of an equal one, up to here
MOST = 3.0


class Panel(NamedTuple):
    """One row of the figure: what it is called, what draws its samples (uint8 ``[n, 3, H, W]``), and their spec."""

    title: str
    samples: Callable[[int, int], Tensor]
    spec: DataSpec


def draw(titles: dict[Path, str], target: Path) -> None:
    """Draws the reals and each run of ``titles``, and saves the figure as ``target``."""
    samplers = {run: adversaria.load(run) for run in titles}
    data: StackedMNIST = construct(next(iter(samplers.values())).config["data"], "data", [])
    data.prepare()
    train = data.split("train")
    panels = [Panel("the data", lambda start, stop: train.batch(slice(start, stop)).samples, data.spec)]
    panels += [Panel(titles[run], of(sampler), data.spec) for run, sampler in samplers.items()]
    plt.rcParams.update({"font.size": 9, "text.color": INK, "axes.labelcolor": INK, "axes.titlecolor": INK})
    height = 1.62 * len(panels) + 0.5  # inches
    figure = plt.figure(figsize=(11, height), dpi=100)
    grid = figure.add_gridspec(
        len(panels),
        3,
        width_ratios=(4, 7.2, 0.12),
        left=0.01,
        right=0.945,
        top=1 - 0.3 / height,
        bottom=0.55 / height,
        hspace=0.34,
        wspace=0.15,
    )
    for row, panel in enumerate(panels):
        show_samples(figure.add_subplot(grid[row, 0]), panel)
        axes = figure.add_subplot(grid[row, 1])
        colours = show_modes(axes, panel)
        axes.set_title(panel.title, loc="left", fontsize=10)
    axes.set_xlabel("digits in green and blue")
    bar = figure.colorbar(colours, cax=figure.add_subplot(grid[:, 2]), extend="max")
    bar.set_label("share, 1 = equal (grey: none)")
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target)
    with Image.open(target) as drawn:  # a palette makes the file half as large
        drawn.convert("RGB").quantize(256).save(target, optimize=True)
    plt.close(figure)


def of(sampler: adversaria.sampling.sampler.Sampler) -> Callable[[int, int], Tensor]:
    """The samples that `metrics=stacked_modes` scores, as it sees them."""
    draws = sampler.draw(seed=0)
    return lambda start, stop: sampler.spec.modality.encode(draws(start, stop).samples)


def show_samples(axes: Any, panel: Panel) -> None:
    """The first few samples."""
    picture = show(panel.samples(0, BATCH)[:SHOWN], panel.spec, COLUMNS).picture
    axes.imshow(picture.permute(1, 2, 0), interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def show_modes(axes: Any, panel: Panel) -> Any:
    """A cell for each mode: its red digit is the row, its green and blue ones are the column."""
    network = committed(StackedMNIST.channel_classifier)
    assert network is not None
    modes = torch.cat([name_modes(network, panel.samples(i, i + BATCH))[:, 0] for i in range(0, COUNT, BATCH)])[:COUNT]
    shares = torch.bincount(modes.long(), minlength=1000).double() * (1000 / COUNT)
    shares[shares == 0] = torch.nan
    colours = plt.get_cmap("viridis").with_extremes(bad="#d9d9d9")
    image = axes.imshow(shares.view(10, 100), cmap=colours, vmin=0, vmax=MOST, aspect="auto", interpolation="nearest")
    axes.set(yticks=[0, 3, 6, 9], xticks=range(0, 100, 10), ylabel="red")
    axes.set_xticklabels([f"{column:02d}" for column in range(0, 100, 10)])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=2, colors=INK, labelsize=8)
    return image

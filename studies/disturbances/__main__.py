"""Draws ``docs/images/disturbances.png``: the Fréchet distance of every committed classifier as images get worse.

    python -m studies.disturbances --mnist <root> --cifar10 <root>

Each root is a folder or an archive as `data.root` takes it; without one the data set is downloaded to ``data/``. After
Heusel et al. 2017, figure 3: test images, disturbed, against training images.
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from torch import Tensor

from adversaria.cli.inprocess import compose
from adversaria.config.build import construct
from adversaria.core.files import cache_folder
from adversaria.data.module import DataModule
from adversaria.evaluation.metrics.frechet import RunningGaussian, frechet_distance, symmetric_root
from adversaria.features import ClassifierExtractor
from adversaria.features.extraction import embed
from studies import ROOT
from studies.disturbances.images import DISTURBANCES, drop_classes

Picture = NDArray[Any]  # [H, W, 3] uint8

OUT = ROOT / "docs" / "images" / "disturbances.png"
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
#: training images of the reference, and test images
TRAIN, TEST = 10_000, 2_000
DROPPED = (0, 2, 4, 6)
#: of the test images of CIFAR-10
EXAMPLE = 7003

TITLES = {
    "gaussian_noise": ("Gaussian noise", "standard deviation"),
    "gaussian_blur": ("Gaussian blur", "standard deviation / height"),
    "black_rectangles": ("Black rectangles", "side / side of the image"),
    "swirl": ("Swirl", "turn of the centre in radians"),
    "salt_and_pepper": ("Salt and pepper", "share of pixels"),
    "dropped": ("Dropped classes", "classes dropped, of ten"),
}
LINES = {
    "digits": ("digits", "#CC79A7", "o"),
    "mnist": ("MNIST", "#0072B2", "s"),
    "cifar10": ("CIFAR-10", "#D55E00", "D"),
}
INK, PALE = "#333333", "#dddddd"


def open_data(name: str, root: str | None) -> DataModule:
    """A data set by the name of its config."""
    config = compose(f"data={name}", *([f"data.root={root}"] if root else []))
    data: DataModule = construct(config["data"], "data", [])
    data.prepare()
    return data


def spread(count: int, total: int) -> Tensor:
    """``count`` indices, evenly over ``total``."""
    return torch.linspace(0, total - 1, min(count, total)).round().long()


def measure(data: DataModule) -> dict[str, list[float]]:
    """The Fréchet distances of a data set's test images from its training images, by disturbance and level."""
    extractor = ClassifierExtractor()
    extractor.load(data, DEVICE, cache_folder())
    extractor.to(DEVICE).eval()

    def features(images: Tensor) -> Tensor:
        return torch.cat([embed(extractor, part, DEVICE)[0] for part in torch.split(images, 500)])

    gaussian = RunningGaussian(extractor.feature_dim)
    train, test = data.split("train"), data.split("test")
    gaussian.update(features(train.batch(spread(TRAIN, len(train))).samples))
    root = symmetric_root(gaussian.covariance)

    def distance(some: Tensor) -> float:
        return frechet_distance(some, gaussian.mean, root)

    images, labels = test.batch(spread(TEST, len(test)))
    assert labels is not None
    distances = {
        name: [distance(features(disturbance(images, level))) for level in range(4)]
        for name, disturbance in DISTURBANCES.items()
    }
    kept = [drop_classes(features(images), labels, dropped) for dropped in DROPPED]
    count = len(kept[-1])  # as many of each, for the distance falls with the number of images
    distances["dropped"] = [distance(some[spread(count, len(some))]) for some in kept]
    return distances


def examples(data: DataModule) -> dict[str, list[Picture]]:
    """One image at every level, and images of the classes that are left."""
    test = data.split("test")
    image = test.batch([EXAMPLE]).samples
    shown = {name: [_rgb(disturb(image, level)[0]) for level in range(4)] for name, disturb in DISTURBANCES.items()}
    assert test.labels is not None
    of_class = [int(np.flatnonzero(test.labels == label)[3]) for label in range(10)]
    cells = [_rgb(image) for image in test.batch(of_class).samples]
    shown["dropped"] = [_mosaic(cells[: 10 - dropped]) for dropped in DROPPED]
    return shown


def _rgb(image: Tensor) -> Picture:
    return image.permute(1, 2, 0).numpy()


def _mosaic(cells: list[Picture]) -> Picture:
    """Up to ten images in rows of three, four and three; grey where one is missing."""
    grid = [*cells, *[np.full_like(cells[0], 232)] * (10 - len(cells))]
    framed = [np.pad(cell, ((1, 1), (1, 1), (0, 0)), constant_values=255) for cell in grid]
    half = np.full_like(framed[0], 255)[:, ::2]
    rows = [[half, *framed[:3], half], framed[3:7], [half, *framed[7:], half]]
    return np.concatenate([np.concatenate(row, axis=1) for row in rows])


def draw(distances: dict[str, dict[str, list[float]]], shown: dict[str, list[Picture]]) -> None:
    """Writes the figure: a panel for each disturbance, with its pictures above the lines."""
    plt.rcParams.update({"font.family": "DejaVu Sans", "font.size": 9, "text.color": INK, "axes.labelcolor": INK})
    figure = plt.figure(figsize=(11, 7.2), dpi=150)
    panels = figure.add_gridspec(2, 3, wspace=0.16, hspace=0.32, left=0.06, right=0.985, top=0.885, bottom=0.07)
    for place, name in zip(panels, TITLES, strict=True):
        top, bottom = place.subgridspec(2, 1, height_ratios=(1, 1.9), hspace=0.04)
        draw_pictures(figure.add_subplot(top), name, shown[name])
        draw_lines(figure.add_subplot(bottom), name, {data: lines[name] for data, lines in distances.items()})
    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=6, linewidth=2, label=label)
        for label, colour, marker in LINES.values()
    ]
    figure.legend(handles=handles, loc="upper right", ncols=3, frameon=False, bbox_to_anchor=(0.99, 0.985))
    figure.text(0.06, 0.972, "The Fréchet distance rises as images get worse", size=14, weight="bold", va="center")
    figure.text(
        0.06, 0.94, "on each classifier's features, as a share of its value at the highest level", size=9.5, va="center"
    )
    figure.savefig(OUT)


def draw_pictures(axes: Axes, name: str, pictures: list[Picture]) -> None:
    """One above each point of the lines."""
    for i, picture in enumerate(pictures):
        height, width = picture.shape[:2]
        half = 0.45 * height / width
        axes.imshow(picture, extent=(i - 0.45, i + 0.45, -half, half), interpolation="nearest")
    axes.set(xlim=(-0.5, 3.5), ylim=(-0.5, 0.5), aspect="equal", anchor="S")
    axes.set_title(TITLES[name][0], loc="left", weight="bold", size=10.5, x=0.0125)
    axes.axis("off")


def draw_lines(axes: Axes, name: str, distances: dict[str, list[float]]) -> None:
    """A line for each data set, relative to its last value."""
    for data, values in distances.items():
        _, colour, marker = LINES[data]
        relative = np.array(values) / values[-1]
        axes.plot(
            relative,
            color=colour,
            marker=marker,
            markersize=6,
            linewidth=2,
            markeredgecolor="white",
            zorder=3,
            clip_on=False,
        )
    label = TITLES[name][1]
    ticks = DROPPED if name == "dropped" else (0, *DISTURBANCES[name].strength)
    axes.set(xlim=(-0.5, 3.5), ylim=(0, 1.06), xlabel=label, xticks=range(4), yticks=(0, 0.5, 1))
    axes.set_xticklabels([str(Fraction(tick)) if name == "gaussian_blur" else f"{tick:g}" for tick in ticks])
    axes.tick_params(length=0, pad=7, colors=INK)
    axes.grid(axis="y", color=PALE, linewidth=0.8)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(PALE)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", help="folder or archive of MNIST")
    parser.add_argument("--cifar10", help="folder or archive of CIFAR-10")
    arguments = parser.parse_args()
    data = {name: open_data(name, getattr(arguments, name, None)) for name in LINES}
    distances = {}
    for name in LINES:
        distances[name] = measure(data[name])
        for disturbance, values in distances[name].items():
            print(f"{name:8} {disturbance:16}", *(f"{value:9.3f}" for value in values))
    draw(distances, examples(data["cifar10"]))
    print(f"figure {OUT}")


if __name__ == "__main__":
    main()

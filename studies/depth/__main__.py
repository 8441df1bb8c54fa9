"""Measures where gradients of deep networks vanish and explode, and what cures it; writes `depth.md` and its figure.

    python -m studies.depth

Networks of up to 34 layers on scikit-learn's digits: some six CPU minutes on one thread, nothing is downloaded.
"""

from __future__ import annotations

import io
import logging
import math
import statistics
import warnings
from collections import Counter
from typing import Any

import matplotlib.pyplot as plt
import torch
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from PIL import Image
from tqdm import tqdm

from studies import ROOT
from studies.depth.networks import ROWS, Row, Variant
from studies.depth.runs import Profile, measure

HERE = ROOT / "docs"
FIGURE, PAGE = HERE / "images" / "stability" / "depth.png", HERE / "depth.md"
INK, FAINT, BAND = "#333333", "#777777", "#E9EEF2"
#: of Wong 2011 ("Points of view: Color blindness"), and a grey
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
#: eps of Adam: a weight whose gradient stays below this moves by less than half the learning rate
ADAM = 1e-8
#: what is drawn for zero: below everything that float32 can hold
FLOOR = 1e-50
PANELS = (("discriminator", "D: gradient of each layer"), ("generator", "G: gradient of each layer"))

#: by line and number of layers
Measured = dict[tuple[str, str], dict[int, dict[str, Profile]]]

HEAD = """# Gradients against depth

What reaches the first layers of deep generators and discriminators, and what changes it. All of it by

    python -m studies.depth

![gradient norms of each layer of deep D and G, and of D's first layer against depth](images/stability/depth.png)

Norm of the gradient of each layer's weights, at the first update (solid) and the median of the last ten of {updates}
updates (dashed), one seed, scikit-learn's digits at 16x16, non-saturating loss, Adam at 2e-4. Fully connected networks
are 64 wide and have 33 layers (34 with shortcuts); convolutional ones have 16 channels at 8x8, 32 at 4x4, 35 layers,
and are trained for {fewer} updates. The band is what lies within a factor of a hundred of 1. Below the dotted line a
layer's gradient is smaller than Adam's epsilon, and Adam no longer makes up for its size. On the right the first layer
of D in networks of every depth.

How to read it. In backpropagation each layer multiplies the error, the gradient with respect to its outputs, by a
factor, and depth takes that factor to a power. The gradient of a layer's weights is its error times what the layer was
given. Rectifiers without biases multiply signal and error alike: all layers then have gradients of one size, and it is
this *level* that sinks or rises with depth. Where the signal stays and the error does not, as with biases, sigmoids and
BatchNorm, the profile *slopes*. G learns through all of D: a D that loses the error leaves nothing to any layer of G.

The factor below is that of one layer on the error in D at the first update, the median over layers; "predicted" is the
mean field of wide networks, for norms and spectral norm the formulas in `depth_theory.py`. The decades are log10 of the
gradient of the first over that of the last of the layers of one shape: -3 says that the first one gets a thousandth,
0 that all get as much. The level is log10 of the gradient of the first layer of all. Both stand for the first update
and for the last ones; "none" is a gradient of exactly zero.

| network | factor: predicted | measured | D: decades | D: level | G: decades | G: level |
|---|---:|---:|---:|---:|---:|---:|
"""


def same(sizes: list[int]) -> list[int]:
    """The layers of the commonest size."""
    size = Counter(sizes).most_common(1)[0][0]
    return [i for i, s in enumerate(sizes) if s == size]


def decimal(value: float) -> float:
    """log10, of zero as well."""
    return math.log10(max(value, FLOOR))


def layer_factor(profile: Profile) -> float:
    """What a layer multiplies the error by: the median, since the ends of a stack are not like its middle.

    Taken over two layers of one shape at a time, a whole residual block: within one the error is off the trunk.
    """
    layers = same(profile.sizes)
    pairs = zip(layers, layers[2:], strict=False)
    slopes = [(decimal(profile.error[i]) - decimal(profile.error[j])) / (j - i) for i, j in pairs]
    return float(10 ** statistics.median(slopes))


def measure_all() -> Measured:
    """Every line of the figure at every depth; trains only where that is shown."""
    tasks = [(row, variant, layers) for row in ROWS for variant in row.variants for layers in variant.depths]
    found: Measured = {}
    for row, variant, layers in tqdm(tasks, unit="network"):
        trained = row.trained or layers == max(variant.depths)
        profiles = measure(variant.at(layers), row.updates if trained else 1)
        found.setdefault((row.title, variant.name), {})[layers] = profiles
    return found


def draw(found: Measured) -> None:
    """The figure: a row for each question; D, G, and D's first layer against depth."""
    plt.rcParams.update({"font.size": 9, "axes.edgecolor": INK, "text.color": INK, "axes.labelcolor": INK})
    figure, axes = plt.subplots(
        len(ROWS), 3, figsize=(11.5, 2.35 * len(ROWS) + 0.6), dpi=100, width_ratios=(1, 1, 0.72), squeeze=False
    )
    for row, places in zip(ROWS, axes, strict=True):
        for variant, color in zip(row.variants, COLORS, strict=False):
            depths = found[row.title, variant.name]
            deepest = depths[max(depths)]
            for (network, _), place in zip(PANELS, places, strict=False):
                _profiles(place, deepest[network], color)
            firsts = [
                (p["discriminator"].last if row.trained else p["discriminator"].first)[0] for p in depths.values()
            ]
            places[2].plot(list(depths), [decimal(v) for v in firsts], color=color, marker="o", markersize=3.5, lw=1.4)
        _finish(row, places)
    for place, title in zip(axes[0], (*(t for _, t in PANELS), "D: first layer against depth"), strict=True):
        place.set_title(title, fontsize=10.5, pad=8)
    for place, label in zip(axes[-1], ("input" + " " * 24 + "layer" + " " * 24 + "output",) * 2, strict=False):
        place.set_xlabel(label)
    axes[-1][2].set_xlabel("layers with weights")
    styles = [
        Line2D([], [], color=INK, lw=1.6, label="first update"),
        Line2D([], [], color=INK, lw=1.2, ls=(0, (3, 2)), label="after the updates"),
        Patch(color=BAND, label="within a factor of 100 of 1"),
        Line2D([], [], color=INK, lw=0.9, ls=":", label="Adam's epsilon"),
    ]
    figure.legend(handles=styles, loc="upper left", ncols=4, frameon=False, bbox_to_anchor=(0.06, 0.999))
    figure.subplots_adjust(left=0.085, right=0.80, top=0.945, bottom=0.035, hspace=0.2, wspace=0.16)
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    figure.savefig(buffer)
    Image.open(buffer).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(FIGURE, optimize=True)


def _profiles(place: Any, profile: Profile, color: str) -> None:
    along = [i / (len(profile.first) - 1) for i in range(len(profile.first))]
    place.plot(along, [decimal(v) for v in profile.first], color=color, lw=1.6)
    place.plot(along, [decimal(v) for v in profile.last], color=color, lw=1.2, ls=(0, (3, 2)))
    typical = Counter(profile.sizes).most_common(1)[0][0]
    place.axhline(decimal(ADAM * math.sqrt(typical)), color=INK, lw=0.9, ls=":", zorder=1)


def _finish(row: Row, places: Any) -> None:
    for place in places:
        place.set_ylim(*row.limits)
        place.spines[["top", "right"]].set_visible(False)
        place.axhspan(-2, 2, color=BAND, zorder=0)
        place.yaxis.set_major_locator(plt.MaxNLocator(5, integer=True))
        place.yaxis.set_major_formatter(lambda value, _: f"$10^{{{value:.0f}}}$")
    for place in places[:2]:
        place.set(xticks=[], xlim=(-0.02, 1.02))
    for place in places[1:]:
        place.tick_params(labelleft=False)
    places[0].set_ylabel(row.title, fontsize=9.5)
    if row.trained:
        places[2].text(0.03, 0.04, "after the updates", transform=places[2].transAxes, fontsize=8, color=FAINT)
    handles = [Line2D([], [], color=c, lw=2, label=v.name) for v, c in zip(row.variants, COLORS, strict=False)]
    places[2].legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8.5)


def write(found: Measured) -> None:
    """The page with its table and the commands behind it."""
    lines, commands = [], []
    for row in ROWS:
        lines.append(f"| **{' '.join(row.title.split())}** | | | | | | |")
        for variant in row.variants:
            depths = found[row.title, variant.name]
            lines.append(_line(variant, depths[max(depths)]))
            commands.append(f"    train.py {' '.join(variant.at(max(depths)))}")
    text = HEAD.format(updates=max(row.updates for row in ROWS), fewer=min(row.updates for row in ROWS)) + "\n".join(
        lines
    )
    PAGE.write_text(f"{text}\n\nThe networks, in this order:\n\n" + "\n".join(dict.fromkeys(commands)) + "\n")


def _line(variant: Variant, profiles: dict[str, Profile]) -> str:
    d = profiles["discriminator"]
    cells = [variant.name, f"{variant.predicted:.2f}" if variant.predicted else "", f"{layer_factor(d):.2f}"]
    for profile in (d, profiles["generator"]):
        first, *_, last = same(profile.sizes)
        both = (profile.first, profile.last)
        cells.append(" → ".join(_shown(v[first], v[last]) for v in both))
        cells.append(" → ".join(_shown(v[0], 1.0) for v in both))
    return f"| {' | '.join(cells)} |"


def _shown(value: float, over: float) -> str:
    """log10 of the ratio."""
    return f"{decimal(value) - decimal(over):+.1f}" if value > 0 and over > 0 else "none"


def main() -> None:
    """See the module."""
    warnings.filterwarnings("ignore")
    logging.getLogger("adversaria").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    found = measure_all()
    draw(found)
    write(found)
    print(f"figure {FIGURE}\ntable {PAGE}")


if __name__ == "__main__":
    main()

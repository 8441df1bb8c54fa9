"""Draws ``docs/images/ada.png``: what D sees of training images as ADA's probability p rises.

    python docs/augment.py --cifar10 <root>

The root is a folder or an archive as `data.root` takes it; without one the data set is downloaded to ``data/``. After
Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", figure 2.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import torch

from adversaria.cli.inprocess import compose
from adversaria.config.build import construct
from adversaria.data.module import DataModule
from adversaria.modalities.pictures import show
from adversaria.objectives.augment import ADA

OUT = Path(__file__).parent / "images" / "ada.png"
PROBABILITIES = (0.0, 0.2, 0.5, 1.0)
COLUMNS = 10
SEED = 1
INK = "#333333"


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar10", help="folder or archive of CIFAR-10")
    root = parser.parse_args().cifar10
    config = compose("data=cifar10", *([f"data.root={root}"] if root else []))
    data: DataModule = construct(config["data"], "data", [])
    data.prepare()
    train = data.split("train")
    samples, _ = train.batch([(2 * k + 1) * len(train) // (2 * COLUMNS) for k in range(COLUMNS)])
    images = data.spec.modality.decode(samples)

    torch.manual_seed(SEED)
    figure, axes = plt.subplots(len(PROBABILITIES), figsize=(COLUMNS * 0.75 + 0.7, len(PROBABILITIES) * 0.76), dpi=100)
    for row, p in zip(axes, PROBABILITIES, strict=True):
        seen = ADA(spec=data.spec, target=None, p=p)(images)
        row.imshow(show(seen, data.spec, COLUMNS).picture.permute(1, 2, 0).numpy(), interpolation="nearest")
        row.set(xticks=[], yticks=[])
        row.spines[:].set_visible(False)
        row.set_ylabel(f"p = {p:g}", rotation=0, ha="right", va="center", color=INK)
    figure.subplots_adjust(left=0.08, right=0.998, top=0.995, bottom=0.005, hspace=0.02)
    figure.savefig(OUT, pil_kwargs={"optimize": True})
    print(f"figure {OUT}")


if __name__ == "__main__":
    main()

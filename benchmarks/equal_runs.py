"""Trains, samples and scores short runs of many recipes, with whatever package is imported: one side of `equal.py`.

    python benchmarks/equal_runs.py FOLDER [--old OLD] [--only dcgan mlp]

Each recipe gets a folder: ``run``, the run folder; ``half``, a copy of it as it was half way; ``samples.npy``,
``evaluation.json``; and, where OLD is the FOLDER of another start, ``gone_on``, a run that went on from the half of
that one. What fails is written to ``error.txt`` or ``error_going_on.txt``. Of the package it calls only what the
README promises (`adversaria.train`, `adversaria.load` and ``evaluate.py``), so that it fits every version.
"""

from __future__ import annotations

import argparse
import runpy
import shutil
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from PIL import Image

import adversaria

UPDATES, HALF = 6, 3
#: what all recipes share: whatever happens in a run happens within its few updates, and its speed decides nothing
SHORT = (
    "data.batch_size=8",
    f"trainer.max_steps={UPDATES}",
    "trainer.log_every_n_steps=1",
    "trainer.accelerator=cpu",
    f"callbacks.checkpoint.every_n_steps={HALF}",
    f"callbacks.evaluation.every_n_steps={HALF}",
    "callbacks.evaluation.max_share=null",
    "callbacks.health.every_n_steps=2",
    f"callbacks.samples.every_n_steps={HALF}",
    "callbacks.samples.count=4",
)
#: of image recipes: 64 fakes, whose scores are meaningless and as exact as those of many
SCORES = ("metrics.count=64", "metrics.kid_subsets=4", "metrics.kid_subset_size=32", "trainer.precision=32-true")
DIGITS = ("data=digits", *SCORES)
WIDTH = ("model.generator.width=8", "model.discriminator.width=8")
INNER_WIDTH = ("model.generator.network.width=8", "model.discriminator.network.width=8")
RESIDUAL = ("optim.n_critic=2", "optim.generator_batch=12", *WIDTH)
STYLE = ("model.generator.channel_max=16", "model.discriminator.channel_max=16", "penalty.r1.interval=2")
#: overrides by recipe; every network, loss and data path of the package, with most terms and augmentations.
#: Regularisers stand under the older name of their group, which every version reads.
RECIPES: dict[str, tuple[str, ...]] = {
    "dcgan": ("model=dcgan", *DIGITS, *WIDTH, "augment=diffaugment", "data.mirror=true"),
    "dcgan_files": (
        *("model=dcgan", "data=image_folder", "data.root=noise", "data.size=16", "data.storage=disk"),
        *("metrics=classifier", "metrics.extractor.weights=cifar10", "guard=rollback", *SCORES, *WIDTH),
    ),
    "cgan": ("model=cgan", *DIGITS, *WIDTH, "latent=truncated_normal", "penalty=[r1,lecam]", "penalty.lecam.start=2"),
    "lsgan_packed": (
        *("model=lsgan", "discriminator=packed", *DIGITS),
        *("model.generator.width=8", "model.discriminator.network.width=8"),
    ),
    "wgan": ("model=wgan", *DIGITS, *WIDTH, "optim.n_critic=2"),
    "dragan": ("model=dragan", *DIGITS, *WIDTH, "schedule=cosine"),
    "sndcgan": ("model=sndcgan", *DIGITS, *WIDTH, "penalty=consistency"),
    "wgan_gp": ("model=wgan_gp", *DIGITS, *RESIDUAL),
    "sngan": ("model=sngan", *DIGITS, *RESIDUAL),
    "acgan": ("model=acgan", *DIGITS, *RESIDUAL),
    "projection": ("model=projection", *DIGITS, *RESIDUAL),
    "sagan": ("model=sagan", *DIGITS, *WIDTH),
    "biggan": (
        *("model=biggan_large", *DIGITS, *WIDTH, "data.size=32", "optim.n_critic=2"),
        *("penalty=orthogonal", "callbacks.ema.decay=0.9", "callbacks.ema.start=2"),
    ),
    "stylegan2": ("model=stylegan2", *DIGITS, *STYLE, "penalty.path_length.interval=2", "augment=ada"),
    "r3gan": (
        *("model=r3gan", *DIGITS, "model.generator.width=[24,16,8]", "model.discriminator.width=[24,16,8]"),
        *("model.generator.blocks=1", "model.discriminator.blocks=1"),
    ),
    "infogan": ("model=infogan", *DIGITS, *INNER_WIDTH),
    "mgan": ("model=mgan", *DIGITS, *INNER_WIDTH),
    "vae": ("model=vae", *DIGITS, "model.generator.width=8", "model.encoder.width=8"),
    "mlp_ring8": ("model=mlp", "data=ring8", "data.count=2000", "metrics.count=64"),
}


class KeepHalf(Callback):
    """Copies the run's folder as it is after the checkpoint half way, when the next update is about to begin."""

    def __init__(self, run: Path, half: Path) -> None:
        self.run, self.half = run, half

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        """Copies, once."""
        if trainer.global_step == HALF and not self.half.exists():
            # Pictures are written beside the training: a file that is not whole yet may be gone any moment.
            shutil.copytree(self.run, self.half, ignore=shutil.ignore_patterns("*.tmp"))


def work(name: str, folder: Path) -> None:
    """Trains, samples and scores one recipe in ``folder``."""
    run = folder / "run"
    overrides = overrides_of(name)
    adversaria.train(*overrides, run_dir=run, callbacks=[KeepHalf(run, folder / "half")])
    np.save(folder / "samples.npy", adversaria.load(run).sample(64, seed=0).numpy())
    if any("metrics.count" in override for override in overrides):
        evaluate(f"checkpoint={run}", f"out={folder / 'evaluation.json'}")


def go_on(name: str, folder: Path, half: Path) -> None:
    """Goes on in ``folder`` from the run ``half`` of another start."""
    shutil.copytree(half, folder / "gone_on")
    adversaria.train(*overrides_of(name), run_dir=folder / "gone_on")


def overrides_of(name: str) -> tuple[str, ...]:
    """All that make a recipe's run."""
    return (*SHORT, "~callbacks.progress", *RECIPES[name])


def evaluate(*overrides: str) -> None:
    """Runs ``evaluate.py`` of the tree that the package lies in."""
    script = Path(adversaria.__file__).resolve().parents[2] / "evaluate.py"
    sys.argv = [str(script), *overrides]
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as ended:
        if ended.code:
            raise RuntimeError(f"evaluate.py {' '.join(overrides)} ended with {ended.code}") from ended


def write_noise(root: Path) -> None:
    """Colour noise as PNG files in class folders, 16 x 16, the same each time."""
    draw = np.random.default_rng(0)
    for split, count in (("train", 64), ("test", 32)):
        for i in range(count):
            file = root / split / str(i % 2) / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(file)


@contextmanager
def noted(file: Path) -> Iterator[None]:
    """Writes an error to ``file``; everything else is to be compared all the same."""
    try:
        yield
    except Exception:
        file.write_text(traceback.format_exc(), "utf-8")


def main() -> None:
    """Works through the recipes and prints a line when one is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--old", type=Path, help="the folder of the start to go on from")
    parser.add_argument("--only", nargs="+", choices=RECIPES, default=list(RECIPES), metavar="RECIPE")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if not Path("noise").exists():
        write_noise(Path("noise"))
    for name in options.only:
        folder = options.folder / name
        folder.mkdir(parents=True)
        with noted(folder / "error.txt"):
            work(name, folder)
        if options.old is not None:
            with noted(folder / "error_going_on.txt"):
                go_on(name, folder, options.old / name / "half")
        print(f"done {name}", flush=True)


if __name__ == "__main__":
    main()

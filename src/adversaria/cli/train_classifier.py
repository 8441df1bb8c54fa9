"""Trains the classifier of a labelled data set as `metrics=classifier` does, and writes its weights to a file.

``python -m adversaria.cli.train_classifier data=mnist data.root=<folder or archive> out=mnist.npz``

Besides ``out``, and ``images`` (how many are shown in all; default 300,000), it takes what ``train.py`` takes for its
data, and ``seed``. Beside the weights it writes a JSON file that says how they were made and how many test images they
name correctly. The weights that come with the package were made by this command; the same data, version of torch and
number of threads give the same file again.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from adversaria.cli.inprocess import compose
from adversaria.config.build import check, construct
from adversaria.core.arrays import content_hash, save_arrays
from adversaria.core.errors import UserError
from adversaria.data.module import DataModule
from adversaria.features.classifier import from_arrays, to_arrays
from adversaria.features.classifier_extractor import describe, train_on
from adversaria.features.classifier_training import Recipe, accuracy

_OWN = ("out=", "images=")
#: Overrides that say where things lie, not what they are.
_PLACES = ("out=", "data.root=", "data.cache_dir=")


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        report = run(arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(report, indent=2))
    return 0


def run(arguments: Sequence[str]) -> dict[str, Any]:
    """Trains as ``arguments`` say, writes weights and report, and returns the report.

    Raises:
        UserError: no ``out``, data without labels, and what else the user can put right.
    """
    own = dict(argument.split("=", 1) for argument in arguments if argument.startswith(_OWN))
    out, images = Path(own.get("out", "")), own.get("images", str(Recipe.images))
    if out.suffix != ".npz":
        raise UserError("out is not given; add out=<file>.npz, where the weights go")
    if not images.isdecimal():
        raise UserError(f"images={images} is not a whole number")
    config = compose(*(argument for argument in arguments if not argument.startswith(_OWN)))
    check(config["data"], "data", config["trust"])
    data: DataModule = construct(config["data"], "data", config["trust"])
    data.prepare()
    if not data.spec.num_classes:
        raise UserError(f"data={data.name} has no labels; a classifier needs some")
    recipe = Recipe(images=int(images), seed=config["seed"])
    arrays, about = to_arrays(train_on(data, recipe, torch.device("cuda" if torch.cuda.is_available() else "cpu")))
    kept = [argument for argument in arguments if not argument.startswith(_PLACES)]
    report = {
        "command": " ".join(["python -m adversaria.cli.train_classifier", *kept]),
        **describe(data, recipe),
        "epochs": recipe.epochs(len(data.split("train"))),
        "weights": content_hash(arrays),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    if "test" in data.loaded.splits:
        # of the weights as they are stored
        report["test_data"] = data.identity("test")
        report["test_accuracy"] = accuracy(from_arrays(arrays, about), data.split("test"))
    save_arrays(out, arrays, about)
    out.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    return report


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""How useful generated images are: what a classifier learns from them, alone or beside real ones."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch

from adversaria.core.errors import UserError
from adversaria.core.ranges import Between, Count, Length, PositiveShare
from adversaria.core.types import Draw
from adversaria.data.storage import Split
from adversaria.evaluation.generated import generated_batches
from adversaria.features.classifier_training import Recipe, TrainingProgress, accuracy, train_on_mixture
from adversaria.features.extraction import untouched_rng

if TYPE_CHECKING:
    from adversaria.data.module import DataModule
    from adversaria.features.classifier import ClassifierNetwork

log = logging.getLogger(__name__)

#: images at a time where nothing is trained
_BATCH = 256


class Usefulness:
    """Accuracies on real test images of classifiers that were trained on generated images, on real ones, and on both.

    - Classification accuracy score, ``cas`` (Ravuri & Vinyals 2019, "Classification Accuracy Score for Conditional
      Generative Models"): trained on generated images alone. To be read beside ``accuracy_100pct``, the same classifier
      trained on all real images. Theirs is a ResNet; this one is that of `metrics=classifier`, with its recipe.
    - Gain, ``gain_1pct`` and so on: how much better a classifier becomes if generated images are added to a share of
      the labelled real ones (their Naive Augmentation Score, less the accuracy without). Every batch is then half
      real and half generated, so that a few real images are not drowned by many generated ones.

    All trainings show the same number of images in batches of the same size: more data never mean more training. A
    seed draws the share (the same number of every class, up to rounding), the weights, the order and the crops, the
    same ones with and without generated images: differences are taken pair by pair. The generated images are the same
    for all seeds.

    Labels of generated images are those that a conditional model was given. An unconditional model has none. A
    classifier of all real labels could name its images, but would bring in labels that the share does not have; so
    each share's own classifier names them (self-training), and ``cas`` is left out, because it would measure that
    classifier rather than the model. The fingerprint says which: ``labels: model`` or ``labels: pseudo``.

    Args:
        images: how many are shown in each training; at least 1,280, and far more before a classifier has converged (its
            spread tells).
        seeds: how many times everything is repeated; at least 2, as a spread needs.
        shares: of the real training images that generated ones are added to, above 0 to 1; the whole (1) is always
            measured as well.
        count: number of generated images; None: as many as there are real training images.

    Raises:
        UserError: a value out of range.
    """

    def __init__(
        self,
        *,
        images: Count = 100_000,
        seeds: Annotated[int, Between(1, 100)] = 3,
        shares: Annotated[Sequence[PositiveShare], Length(1, 100)] = (0.01, 1.0),
        count: Count | None = None,
    ) -> None:
        least = 10 * Recipe.batch_size
        for key, value, minimum in (("images", images, least), ("seeds", seeds, 2), ("count", count, 1)):
            if value is not None and value < minimum:
                raise UserError(f"usefulness.{key}={value} is too small; it must be at least {minimum}")
        for share in shares:
            if not 0 < share <= 1:
                raise UserError(f"usefulness.shares={list(shares)} holds {share}; a share is above 0 and at most 1")
        self.images, self.seeds, self.count = images, seeds, count
        self.shares = sorted({*map(float, shares), 1.0})
        self._made: dict[str, str | int | float | bool] = {}

    def check(self, data: DataModule) -> None:
        """Refuses data that cannot be used, before anything is generated; `evaluate` calls it as well.

        Raises:
            UserError: the data are no images, or have fewer than two classes or no test split.
        """
        if data.spec.image_shape is None or (data.spec.num_classes or 0) < 2:
            raise UserError(f"usefulness needs images of at least two classes, which data={data.name} is not")
        if "test" not in data.loaded.splits:
            raise UserError(f"usefulness needs test images, which data={data.name} has none of; give it a test split")

    def evaluate(self, draw: Draw, data: DataModule, device: torch.device) -> dict[str, float]:
        """Trains ``seeds`` times 1 + 2 classifiers for each share (2 for each share without labels of the model's own).

        The global random state stays as it was.

        Args:
            draw: draws the samples; with labels for a conditional model, in the proportions of the data.
            data: labelled images with a test split.
            device: where to train.

        Returns:
            For each share p in percent ``accuracy_{p}pct``, ``accuracy_{p}pct_with_generated``, and ``gain_{p}pct``,
            the mean of their differences; for a conditional model ``cas``: shares of the test images, 0 to 1, as means
            over seeds. Each has its standard deviation over seeds beside it, ``cas_std``.

        Raises:
            UserError: see `check`; or samples are not finite.
        """
        self.check(data)
        with untouched_rng(device):
            generated = _store(draw, data, self.count or len(data.split("train")))
            self._made = self._describe(data, generated)
            trainings = self.seeds * (2 * len(self.shares) + (generated.labels is not None))
            log.info("usefulness trains %d classifiers on %s images each", trainings, f"{self.images:,}")
            if generated.labels is None:
                log.info("the model is unconditional: the classifier of each share labels its images, cas is left out")
            with closing(TrainingProgress("usefulness", trainings * Recipe(self.images).batches)) as progress:
                runs = [self._accuracies(seed, data, generated, device, progress) for seed in range(self.seeds)]
        scores: dict[str, float] = {}
        for name in runs[0]:
            values = np.array([run[name] for run in runs])
            scores |= {name: float(values.mean()), f"{name}_std": float(values.std(ddof=1))}
        return scores

    def fingerprint(self) -> dict[str, str | int | float | bool]:
        """How the accuracies were made. Needs `evaluate`."""
        if not self._made:
            raise RuntimeError("call evaluate() first")
        return dict(self._made)

    def _describe(self, data: DataModule, generated: Split) -> dict[str, str | int | float | bool]:
        recipe = asdict(Recipe(self.images))
        del recipe["seed"]
        return {
            "labels": "pseudo" if generated.labels is None else "model",
            "generated": len(generated),
            "sample_precision": "uint8",
            "mixture": "half of each batch",
            "seeds": self.seeds,
            "mirror": data.mirror,
            **{f"recipe_{name}": value for name, value in recipe.items()},
            **{f"{split}_{name}": value for split in ("train", "test") for name, value in data.identity(split).items()},
        }

    def _accuracies(
        self, seed: int, data: DataModule, generated: Split, device: torch.device, progress: TrainingProgress
    ) -> dict[str, float]:
        """The accuracies of one seed, and their differences."""
        classes, recipe = data.spec.num_classes, Recipe(self.images, seed=seed)
        assert classes is not None

        def fit(*splits: Split) -> ClassifierNetwork:
            return train_on_mixture(
                splits, classes, mirror=data.mirror, recipe=recipe, device=device, progress=progress
            )

        test = data.images("test")
        values = {} if generated.labels is None else {"cas": accuracy(fit(generated), test)}
        for share in self.shares:
            real, name = stratified(data.images("train"), share, seed), f"{100 * share:g}pct"
            alone = fit(real)
            named = _labelled_by(alone, generated) if generated.labels is None else generated
            without, with_generated = accuracy(alone, test), accuracy(fit(real, named), test)
            values[f"accuracy_{name}"] = without
            values[f"accuracy_{name}_with_generated"] = with_generated
            values[f"gain_{name}"] = with_generated - without
        return values


def stratified(split: Split, share: float, seed: int) -> Split:
    """``share`` of the images of every class, rounded, at least one; drawn by ``seed``, in the order of ``split``."""
    assert split.labels is not None
    if share == 1:
        return split
    random = np.random.default_rng(seed)
    chosen = []
    for label in np.unique(split.labels):
        rows = np.flatnonzero(split.labels == label)
        chosen.append(random.permutation(rows)[: max(1, round(share * len(rows)))])
    rows = np.sort(np.concatenate(chosen))
    return Split(np.array(split.samples[rows]), split.labels[rows])


def _store(draw: Draw, data: DataModule, count: int) -> Split:
    """The first ``count`` samples as a data set would hold them."""
    assert data.spec.image_shape is not None
    channels, height, width = data.spec.image_shape
    samples = np.empty((count, height, width, channels), np.uint8)
    labels: list[np.ndarray[Any, Any]] = []
    filled = 0
    for images, own in generated_batches(draw, data.spec, count, _BATCH, "generating"):
        samples[filled : filled + len(images)] = images.permute(0, 2, 3, 1).cpu().numpy()
        filled += len(images)
        if own is not None:
            labels.append(own.cpu().numpy())
    return Split(samples, np.concatenate(labels) if labels else None)


@torch.no_grad()
def _labelled_by(network: ClassifierNetwork, split: Split) -> Split:
    """``split`` with the labels that ``network``, in eval mode, finds most probable."""
    device = network.head.weight.device
    starts = range(0, len(split), _BATCH)
    logits = [network(split.batch(slice(start, start + _BATCH)).samples.to(device))[1] for start in starts]
    return Split(split.samples, torch.cat(logits).argmax(1).cpu().numpy())

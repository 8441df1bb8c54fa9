"""How the classifier of `metrics=classifier` is trained: one recipe for every labelled data set."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import count, islice
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.lr_scheduler import OneCycleLR
from tqdm import tqdm

from adversaria.core.types import Batch
from adversaria.data.stream import EpochStream
from adversaria.features.classifier import ClassifierNetwork, native_size

if TYPE_CHECKING:
    from adversaria.data.storage import Split

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """SGD with Nesterov momentum under one triangle of the learning rate (Smith & Topin 2019, "Super-Convergence").

    No label smoothing and no erasing: the one would bound the Inception Score below the number of classes, the other
    would teach the features to overlook just such defects as they are there to find.

    Attributes:
        images: how many are shown in all, as far as that is between 5 and 200 epochs.
        batch_size, lr, momentum, weight_decay: of SGD; ``lr`` is the peak.
        seed: of the weights, the order and the crops.
    """

    images: int = 300_000
    batch_size: int = 128
    lr: float = 0.2
    momentum: float = 0.9
    weight_decay: float = 5e-4
    seed: int = 0

    def epochs(self, count: int) -> int:
        """How often each of ``count`` images is shown."""
        return max(5, min(200, round(self.images / count)))

    @property
    def batches(self) -> int:
        """How many batches of ``batch_size`` make ``images``, whatever the number of epochs."""
        return self.images // self.batch_size


class TrainingProgress:
    """A bar over the batches of one training or of several, and a line in the log that says early how long they take.

    Args:
        what: names the bar.
        total: batches of all trainings together.
    """

    def __init__(self, what: str, total: int) -> None:
        self._bar = tqdm(total=total, desc=what, unit="batch", leave=False)
        self._started = time.monotonic()

    def update(self) -> None:
        """After each batch."""
        self._bar.update()
        if self._bar.n == 20:
            log.info("training takes about %.0f s", (time.monotonic() - self._started) / 20 * self._bar.total)

    def close(self) -> None:
        """Removes the bar."""
        self._bar.close()


def train(split: Split, num_classes: int, *, mirror: bool, recipe: Recipe, device: torch.device) -> ClassifierNetwork:
    """Trains a classifier; it comes back in eval mode on ``device``. The global random state stays as it was.

    Args:
        split: labelled images.
        num_classes: how many there are.
        mirror: whether half of the images are flipped left to right.
        recipe: the rest.
        device: where to.
    """
    batch_size = min(recipe.batch_size, max(2, len(split) // 4))  # few images make small batches, not few steps
    steps = recipe.epochs(len(split)) * (len(split) // batch_size)
    generator = torch.Generator().manual_seed(recipe.seed)
    batches = islice(_whole_batches(split, batch_size, generator), steps)
    network = _new_network(split, num_classes, recipe, device)
    with closing(TrainingProgress("classifier", steps)) as progress:
        return _fit(network, batches, steps, mirror, recipe, generator, progress)


def train_on_mixture(
    splits: Sequence[Split],
    num_classes: int,
    *,
    mirror: bool,
    recipe: Recipe,
    device: torch.device,
    progress: TrainingProgress,
) -> ClassifierNetwork:
    """As `train`, but for ``recipe.batches`` batches of ``recipe.batch_size``, however few images there are:
    classifiers that were trained on different images can so be compared.

    Args:
        splits: labelled images; every batch has equal shares of each.
        num_classes, mirror, recipe, device: see `train`.
        progress: told of every batch.
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    batches = islice(_mixed_batches(splits, recipe.batch_size // len(splits), recipe.seed), recipe.batches)
    network = _new_network(splits[0], num_classes, recipe, device)
    return _fit(network, batches, recipe.batches, mirror, recipe, generator, progress)


def _whole_batches(split: Split, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
    """Endless; in each epoch another order, of which the images that fill no batch are left out."""
    while True:
        order = torch.randperm(len(split), generator=generator).numpy()
        for start in range(0, len(split) // batch_size * batch_size, batch_size):
            # sorted: sequential reads where the array is on a disk
            yield split.batch(np.sort(order[start : start + batch_size]))


def _mixed_batches(splits: Sequence[Split], share: int, seed: int) -> Iterator[Batch]:
    """Endless; ``share`` images of each split, which is shown whole before any of its images is shown again."""
    streams = [EpochStream(len(split), seed) for split in splits]
    for start in count(step=share):
        parts = [
            split.batch(np.sort(stream.indices(start, share).numpy()))
            for split, stream in zip(splits, streams, strict=True)
        ]
        samples, labels = zip(*parts, strict=True)
        yield Batch(torch.cat(samples), torch.cat(labels))


def _new_network(split: Split, num_classes: int, recipe: Recipe, device: torch.device) -> ClassifierNetwork:
    _, height, width, channels = split.samples.shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        network = ClassifierNetwork(channels, num_classes, native_size(height, width))
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _fit(
    network: ClassifierNetwork,
    batches: Iterable[Batch],
    steps: int,
    mirror: bool,
    recipe: Recipe,
    generator: torch.Generator,
    progress: TrainingProgress,
) -> ClassifierNetwork:
    """``network`` after ``steps`` labelled ``batches``, in eval mode; ``generator`` draws the crops and flips."""
    device = network.head.weight.device
    network.train()
    optimizer = torch.optim.SGD(
        network.parameters(), recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay, nesterov=True
    )
    schedule = OneCycleLR(
        optimizer, recipe.lr, total_steps=steps, pct_start=0.2, anneal_strategy="linear", cycle_momentum=False
    )
    for images, labels in batches:
        assert labels is not None
        x = crop_and_flip(network.resize(images.to(device)), mirror, generator)
        loss = F.cross_entropy(network.head(network.embed(x)), labels.to(device))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        progress.update()
    return network.eval()


@torch.no_grad()
def accuracy(network: ClassifierNetwork, split: Split) -> float:
    """The share of ``split``'s images that ``network``, in eval mode, names correctly."""
    device = network.head.weight.device
    right = 0
    for start in range(0, len(split), 256):
        images, labels = split.batch(slice(start, start + 256))
        assert labels is not None
        right += int((network(images.to(device))[1].argmax(1).cpu() == labels).sum())
    return right / len(split)


def crop_and_flip(x: Tensor, mirror: bool, generator: torch.Generator) -> Tensor:
    """Each image of ``x [N, C, S, S]`` shifted by up to S / 8 pixels with reflected borders, and flipped half the time.

    ``generator`` lives on the CPU, so that every device sees the same crops.
    """
    n, _, size, _ = x.shape
    pad = size // 8
    shift = torch.randint(0, 2 * pad + 1, (2, n), generator=generator)
    rows = shift[0, :, None] + torch.arange(size)  # [N, S]
    columns = shift[1, :, None] + torch.arange(size)
    if mirror:
        flip = torch.rand(n, generator=generator) < 0.5
        columns = torch.where(flip[:, None], columns.flip(1), columns)
    x = F.pad(x, (pad, pad, pad, pad), mode="reflect").permute(0, 2, 3, 1)  # [N, S + 2 pad, S + 2 pad, C]
    places = torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]
    return x[tuple(place.to(x.device) for place in places)].permute(0, 3, 1, 2)  # channels-last in memory

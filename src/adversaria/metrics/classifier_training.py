"""How the classifier of `metrics=classifier` is trained: one recipe for every labelled data set."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.lr_scheduler import OneCycleLR
from tqdm import tqdm

from adversaria.metrics.classifier import ClassifierNetwork, native_size

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


def train(split: Split, num_classes: int, *, mirror: bool, recipe: Recipe, device: torch.device) -> ClassifierNetwork:
    """Trains a classifier; it comes back in eval mode on ``device``. The global random state stays as it was.

    Args:
        split: labelled images.
        num_classes: how many there are.
        mirror: whether half of the images are flipped left to right.
        recipe: the rest.
        device: where to.
    """
    count, height, width, channels = split.samples.shape
    batch = min(recipe.batch_size, max(2, count // 4))  # few images make small batches, rather than few steps
    generator = torch.Generator().manual_seed(recipe.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        network = ClassifierNetwork(channels, num_classes, native_size(height, width))
    network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    epochs, steps_per_epoch = recipe.epochs(count), count // batch
    optimizer = torch.optim.SGD(
        network.parameters(), recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay, nesterov=True
    )
    schedule = OneCycleLR(
        optimizer,
        recipe.lr,
        total_steps=epochs * steps_per_epoch,
        pct_start=0.2,
        anneal_strategy="linear",
        cycle_momentum=False,
    )
    bar = tqdm(total=epochs * steps_per_epoch, desc="classifier", unit="batch", leave=False)
    started = time.monotonic()
    for _ in range(epochs):
        order = torch.randperm(count, generator=generator).numpy()
        for start in range(0, steps_per_epoch * batch, batch):
            chosen = np.sort(order[start : start + batch])  # sorted: sequential reads where the array is on a disk
            images, labels = split.batch(chosen)
            assert labels is not None
            x = crop_and_flip(network.resize(images.to(device)), mirror, generator)
            loss = F.cross_entropy(network.head(network.embed(x)), labels.to(device))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            bar.update()
            if bar.n == 20:
                log.info("training takes about %.0f s", (time.monotonic() - started) / 20 * bar.total)
    bar.close()
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

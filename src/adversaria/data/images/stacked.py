"""Stacked MNIST: three digits as the channels of one image, a thousand modes that a classifier of digits can count."""

from __future__ import annotations

import dataclasses
import itertools
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adversaria.core.errors import UserError
from adversaria.core.files import cache_folder
from adversaria.core.ranges import Count, Seed, Side, Workers
from adversaria.core.types import DataSpec
from adversaria.data.cache import store as cache
from adversaria.data.images.named import MNIST
from adversaria.data.images.pixels import Fit
from adversaria.data.images.survey import Survey
from adversaria.data.module import DataModule, Loaded
from adversaria.data.storage import Split, Storage

CHANNELS = 3
_TEST_SHARE = 10  # of the training images
_ROWS = 4096  # stacked and written at a time


class StackedMNIST(DataModule):
    """A fixed, unlabelled data set of colour images whose red, green and blue channel is a random digit of MNIST each.

    Every triple of digits is a mode, 1,000 in all: whether a generator covers them, `metrics=stacked_modes` counts.
    From Metz et al. 2017 ("Unrolled Generative Adversarial Networks", section 3.3.1, which draws stacks without end);
    Srivastava et al. 2017 ("VEEGAN", section 4.2) and Lin et al. 2018 ("PacGAN", section 4.2) draw 128,000 of them
    once, as here. Their digits are 28x28. Digits are drawn uniformly from the images, not from the classes: the modes
    are as unequal as the classes of MNIST.

    The training stacks are of training digits, the test stacks, a tenth as many, of test digits where there are any.
    They are made once and kept in the cache, 393 MB for 128,000 of 32x32 pixels.

    Args:
        name, batch_size, storage, num_workers, seed: see `DataModule`.
        root, download: of MNIST, see `MNIST`.
        size, fit, cache_dir: see `ImageData`.
        count: training images.
        source_seed: of the draw of digits; the data set does not change with the run's ``seed``.

    Attributes:
        channel_classifier: whose committed classifier names what each channel shows.

    Raises:
        UserError: ``count`` is below 10, or MNIST is not there.
    """

    channel_classifier = "mnist"

    def __init__(
        self,
        *,
        name: str,
        batch_size: Count,
        storage: Storage,
        num_workers: Workers,
        seed: Seed,
        root: str | None,
        download: bool,
        size: Side | None,
        fit: Fit,
        cache_dir: str | None,
        count: Count,
        source_seed: Seed,
    ) -> None:
        super().__init__(name=name, batch_size=batch_size, storage=storage, num_workers=num_workers, seed=seed)
        if count < _TEST_SHARE:
            raise UserError(f"data.count={count}: give at least {_TEST_SHARE} images")
        self.count = count
        self.source_seed = source_seed
        self._cache_folder = cache_folder(cache_dir)
        self._digits = MNIST(
            name="mnist",  # as data=mnist calls them, whose cache it shares
            root=root,
            download=download,
            size=size,
            channels=1,
            fit=fit,
            mirror=False,
            limit=None,
            cache_dir=cache_dir,
            batch_size=1,
            storage="disk",
            num_workers=0,
            seed=0,
        )

    def survey(self) -> Survey:
        """As many training images as there are stacks, as large as the digits; see `ImageData.survey`."""
        return dataclasses.replace(self._digits.survey(), count=self.count)

    def load(self) -> Loaded:
        """Opens the cached stacks, after drawing them if need be; the same ones every time."""
        digits = self._digits.load()
        counts = {
            which: count
            for which, count in (("train", self.count), ("test", self.count // _TEST_SHARE))
            if which in digits.splits
        }
        key = {"digits": digits.identities, "counts": counts, "source_seed": self.source_seed}
        entry = cache.get(self._cache_folder, self.name, key, partial(self._stack, digits, counts))
        splits = {which: Split(entry.samples[start:stop], None) for which, (start, stop) in entry.splits.items()}
        identities: dict[str, dict[str, str | int]] = {
            which: {
                **digits.identities[which],
                "dataset": str(digits.identities[which]["dataset"]).replace("mnist", self.name, 1),
                "count": counts[which],
                "channels": CHANNELS,
                "content": entry.content[which],
            }
            for which in splits
        }
        spec = DataSpec((CHANNELS, *digits.spec.shape[1:]), None, digits.spec.modality)
        return Loaded(spec, splits, identities, notes=[*digits.notes, "1,000 modes: each channel is a digit"])

    def _stack(self, digits: Loaded, counts: dict[str, int], path: Path) -> cache.Written:
        """Writes the rows of all splits to ``path``."""
        with path.open("wb") as file:
            for which, count in counts.items():
                samples = digits.splits[which].samples  # [M, H, W, 1]
                drawn = draw_stacks(count, len(samples), self.source_seed, split=list(digits.splits).index(which))
                for start in range(0, count, _ROWS):
                    stacked = np.moveaxis(samples[drawn[start : start + _ROWS]][..., 0], 1, -1)  # [n, H, W, 3]
                    file.write(np.ascontiguousarray(stacked).data)
        ends = [0, *itertools.accumulate(counts.values())]
        _, height, width = digits.spec.shape
        splits = dict(zip(counts, itertools.pairwise(ends), strict=True))
        return cache.Written((ends[-1], height, width, CHANNELS), None, splits, {})


def draw_stacks(count: int, available: int, source_seed: int, split: int) -> NDArray[np.int64]:
    """Which of ``available`` digits are the channels of each stack: ``[count, 3]``, drawn with replacement.

    Args:
        count: stacks.
        available: digits.
        source_seed: see `StackedMNIST`.
        split: 0 for training, 1 for test; another number, another draw.
    """
    return np.random.default_rng((source_seed, split)).integers(available, size=(count, CHANNELS))

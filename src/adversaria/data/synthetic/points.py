"""Two-dimensional mixtures of Gaussians: the smallest data on which mode collapse can be seen and counted.

The ring of 8 and the grid of 25 follow Metz et al. 2017 ("Unrolled Generative Adversarial Networks") and Srivastava
et al. 2017 ("VEEGAN", section 4.1).
"""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from adversaria.core.errors import UserError
from adversaria.core.ranges import Between, Count, Depth, Positive, Seed, Workers
from adversaria.core.types import DataSpec
from adversaria.data.cache.store import content_hash
from adversaria.data.module import DataModule, Loaded
from adversaria.data.storage import Split, Storage
from adversaria.modalities.points import Points

#: all lie in memory at once, whoever asks for them: also a config out of a file
_Modes = Annotated[int, Between(1, 2**20)]
_Points = Annotated[int, Between(1, 2**24)]

_TEST_SHARE = 10  # of the training points
_REACH = 4  # standard deviations beyond the outermost mode that the value range includes


class GaussianMixture(DataModule):
    """A fixed, unlabelled data set of points drawn from equally likely isotropic Gaussians.

    The value range is that of the outermost mode's centre plus 4 standard deviations; it informs, nothing is clipped.

    Args:
        name, batch_size, storage, num_workers, seed: see `DataModule`.
        modes: centres ``[K, D]``.
        sigma: the standard deviation of each mode.
        count: training points; the test split, drawn independently, has a tenth of them.
        source_seed: of the draw; the data set does not change with the run's ``seed``.

    Raises:
        UserError: ``sigma`` or ``count`` is not positive.
    """

    modes: Tensor
    sigma: float

    def __init__(
        self,
        *,
        name: str,
        batch_size: Count,
        storage: Storage,
        num_workers: Workers,
        seed: Seed,
        modes: Tensor,
        sigma: Positive,
        count: _Points,
        source_seed: Seed,
    ) -> None:
        super().__init__(name=name, batch_size=batch_size, storage=storage, num_workers=num_workers, seed=seed)
        if not sigma > 0:
            raise UserError(f"data.sigma={sigma}: give a standard deviation above 0")
        if count < _TEST_SHARE:
            raise UserError(f"data.count={count}: give at least {_TEST_SHARE} points")
        self.modes = modes
        self.sigma = sigma
        self.count = count
        self.source_seed = source_seed

    def load(self) -> Loaded:
        """Draws the points; the same ones every time."""
        extent = float(self.modes.abs().max()) + _REACH * self.sigma
        spec = DataSpec((self.modes.shape[1],), None, Points((-extent, extent)))
        splits = {"train": self._draw(self.count, 0), "test": self._draw(self.count // _TEST_SHARE, 1)}
        identities: dict[str, dict[str, str | int]] = {
            which: {
                "dataset": self.name,
                "split": which,
                "count": len(split),
                "content": content_hash(split.samples, None),
            }
            for which, split in splits.items()
        }
        return Loaded(spec, splits, identities, notes=[f"{len(self.modes)} modes, sigma {self.sigma:g}"])

    def _draw(self, count: int, split: int) -> Split:
        random = np.random.default_rng((self.source_seed, split))
        centres = self.modes.numpy()[random.integers(len(self.modes), size=count)]
        points = centres + self.sigma * random.standard_normal(centres.shape)
        return Split(points.astype(np.float32), None)


def ring(*, number: _Modes, radius: Positive) -> Tensor:
    """Centres ``[number, 2]`` equally spaced on a circle around the origin, the first at angle 0.

    Raises:
        UserError: ``number`` or ``radius`` is not positive.
    """
    if number < 1 or not radius > 0:
        raise UserError(
            f"data.modes.number={number}, data.modes.radius={radius}: give a mode or more, a radius above 0"
        )
    angles = torch.arange(number, dtype=torch.float64) * (2 * math.pi / number)
    return (radius * torch.stack([angles.cos(), angles.sin()], dim=1)).float()


def grid(*, side: Depth, spacing: Positive) -> Tensor:
    """Centres ``[side * side, 2]`` on a square grid around the origin.

    Args:
        side: modes in a row and in a column.
        spacing: between neighbours.

    Raises:
        UserError: ``side`` or ``spacing`` is not positive.
    """
    if side < 1 or not spacing > 0:
        raise UserError(f"data.modes.side={side}, data.modes.spacing={spacing}: give a mode or more, a spacing above 0")
    axis = (torch.arange(side) - (side - 1) / 2) * spacing
    return torch.cartesian_prod(axis, axis)

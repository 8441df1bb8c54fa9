"""A single point: the data of the Dirac-GAN (Mescheder et al. 2018, definition 2.1)."""

from __future__ import annotations

import numpy as np

from adversaria.core.errors import UserError
from adversaria.core.ranges import Count, Seed, Workers
from adversaria.core.types import DataSpec
from adversaria.data.cache.store import content_hash
from adversaria.data.module import DataModule, Loaded
from adversaria.data.storage import Split, Storage
from adversaria.modalities.points import Points

_EXTENT = 2.0  # of the value range around the point; it informs, nothing is clipped


class DiracPoints(DataModule):
    """``count`` unlabelled points of dimension 1, all of them 0, in the training and in the test split.

    Args:
        name, batch_size, storage, num_workers, seed: see `DataModule`.
        count: of the points in each split.

    Raises:
        UserError: ``count`` is below 1.
    """

    def __init__(
        self, *, name: str, batch_size: Count, storage: Storage, num_workers: Workers, seed: Seed, count: Count
    ) -> None:
        super().__init__(name=name, batch_size=batch_size, storage=storage, num_workers=num_workers, seed=seed)
        if count < 1:
            raise UserError(f"data.count={count}: give at least 1 point")
        self.count = count

    def load(self) -> Loaded:
        """Zeros."""
        points = np.zeros((self.count, 1), np.float32)
        spec = DataSpec((1,), None, Points((-_EXTENT, _EXTENT)))
        splits = {"train": Split(points, None), "test": Split(points, None)}
        identities: dict[str, dict[str, str | int]] = {
            which: {
                "dataset": self.name,
                "split": which,
                "count": self.count,
                "content": content_hash(points, None),
            }
            for which in splits
        }
        return Loaded(spec, splits, identities, notes=["all points are 0"])

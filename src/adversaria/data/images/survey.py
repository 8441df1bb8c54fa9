"""What can be known of images before any of them is decoded: how many there are, and how large."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from adversaria.core.errors import UserError
from adversaria.data.images.pictures import Pictures

# Of more images a part says the same; evenly spaced, so that every class and every source is among them.
_LOOKED_AT = 10_000


@dataclass(frozen=True)
class Survey:
    """The training images.

    Attributes:
        count: how many there are.
        sides: the smaller side in pixels of those that were looked at, ascending.
    """

    count: int
    sides: NDArray[np.int64]

    def side_of(self, share: float) -> int:
        """The largest side that at least ``share`` of the images have."""
        return int(np.quantile(self.sides, 1 - share, method="lower"))


def survey(pictures: Pictures, where: str, limit: int | None = None) -> Survey:
    """Looks at the headers of at most 10,000 training images.

    Args:
        pictures: the data set.
        where: its place, for messages.
        limit: how many images will be used; None: all.

    Raises:
        UserError: none of them is readable.
    """
    count = pictures.layout.splits["train"]
    looked_at = np.unique(np.linspace(0, count - 1, min(count, _LOOKED_AT)).astype(np.int64)).tolist()
    found = tqdm(
        pictures.sizes(looked_at), total=len(looked_at), desc="sizes", unit="image", disable=None, delay=1, leave=False
    )
    sides = np.sort(np.array([min(size) for size in found if size is not None], dtype=np.int64))
    if not len(sides):
        raise UserError(f"data.root={where} holds no readable image: all of them are damaged")
    return Survey(min(count, limit or count), sides)

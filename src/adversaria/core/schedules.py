"""Values that change while a model trains, as pure functions of how far it is: nothing to save, nothing to restore.

Their length is a number of images, as papers give it, or a share of the budget, so that a shorter run goes through all
of it: ramps over 20 million images do nothing in a run of one million.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from adversaria.core.errors import UserError
from adversaria.core.ranges import AtLeast, Count, PositiveShare, Real


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        update: generator updates done.
        updates: the budget of generator updates.
        images: reals shown to D, over all devices.
        total_images: reals that will have been shown at the end of the budget.
    """

    update: int
    updates: int
    images: int
    total_images: int


#: a pure function of the progress
Ramp = Callable[[Progress], float]
#: how much a term counts, 0 or above, also at both ends of a ramp
Weight = Annotated[float | Ramp, AtLeast(0)]


@dataclass(frozen=True)
class LinearRamp:
    """A straight line from ``start`` to ``end``, which then stays.

    Args:
        start: value at the beginning.
        end: value at the end of the ramp and after it.
        images: length of the ramp, in reals shown to D; null: ``share`` of the budget.
        share: length of the ramp as a share of the budget, in (0, 1].

    Raises:
        UserError: a length that is not above 0.
    """

    start: Real
    end: Real
    images: Count | None = None
    share: PositiveShare = 1.0

    def __post_init__(self) -> None:
        if self.images is not None and self.images <= 0:
            raise UserError(f"images={self.images} of a ramp must be above 0, or null for a share of the budget")
        if not 0 < self.share <= 1:
            raise UserError(f"share={self.share} of a ramp is outside the share of the budget from 0 to 1")

    def __call__(self, progress: Progress) -> float:
        """The value at ``progress``."""
        length = self.images if self.images is not None else self.share * progress.total_images
        return self.start + (self.end - self.start) * self.shape(min(1.0, progress.images / length))

    def shape(self, done: float) -> float:
        """From 0 at ``done=0`` to 1 at ``done=1``."""
        return done


@dataclass(frozen=True)
class CosineRamp(LinearRamp):
    """Half a cosine from ``start`` to ``end`` instead of the straight line (Huang et al. 2024, R3GAN, appendix)."""

    def shape(self, done: float) -> float:
        """From 0 at ``done=0`` to 1 at ``done=1``."""
        return 0.5 * (1 - math.cos(math.pi * done))


def value_at(value: float | Ramp, progress: Progress) -> float:
    """``value`` itself, or what the ramp says at ``progress``."""
    return value(progress) if callable(value) else value

"""Ranges of values as they stand in a config or in a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Sequence

from adversaria.core.errors import UserError


def checked_range(values: Sequence[float]) -> tuple[float, float]:
    """A smallest and a largest value as a pair of floats.

    Raises:
        UserError: they are not two finite numbers in ascending order.
    """
    low, high = (float(value) for value in values)
    if not -math.inf < low < high < math.inf:
        raise UserError(f"value_range={[low, high]} is no range of values; give a smaller and a larger number")
    return low, high

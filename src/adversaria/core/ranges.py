"""Which values a field takes, said beside its type: ``width: Width``, ``weight: Annotated[float, AtLeast(0)]``.

The annotations of a constructor are the schema of its config. `adversaria.config.build.check` reads them, so that a new
class gets checks, and messages with the true path of a field, for nothing. A range around a union with a ramp holds for
both ends of the ramp. Every ``float`` is finite and every ``int`` has 64 bits, whatever else is said.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, runtime_checkable

#: of whole numbers that NumPy, PyTorch and the files take
LARGEST_INT = 2**63 - 1


@runtime_checkable
class Range(Protocol):
    """What a value must satisfy besides its type; stands in ``Annotated[type, range]``."""

    def admits(self, value: Any) -> bool:
        """Whether ``value``, which is of the type, lies in it."""
        ...

    def words(self) -> str:
        """As it follows "a number", such as "above 0"."""
        ...


@dataclass(frozen=True)
class Between:
    """Numbers from ``low`` to ``high``, both included unless said otherwise."""

    low: float
    high: float
    above_low: bool = False
    below_high: bool = False

    def admits(self, value: Any) -> bool:
        """See `Range`."""
        low = value > self.low if self.above_low else value >= self.low
        return bool(low and (value < self.high if self.below_high else value <= self.high))

    def words(self) -> str:
        """See `Range`."""
        low = f"above {self.low}" if self.above_low else f"from {self.low}"
        if math.isinf(self.low):
            return "(finite)"
        if math.isinf(self.high):
            return low if self.above_low else f"of at least {self.low}"
        return f"{low} to {'below ' if self.below_high else ''}{self.high}"


def AtLeast(low: float) -> Between:
    """Numbers from ``low`` on."""
    return Between(low, math.inf)


def Above(low: float) -> Between:
    """Numbers greater than ``low``."""
    return Between(low, math.inf, above_low=True)


@dataclass(frozen=True)
class Length:
    """Lists of ``low`` to ``high`` entries."""

    low: int
    high: int

    def admits(self, value: Sequence[Any]) -> bool:
        """See `Range`."""
        return self.low <= len(value) <= self.high

    def words(self) -> str:
        """See `Range`."""
        return f"of {self.low} entries" if self.low == self.high else f"of {self.low} to {self.high} entries"


@dataclass(frozen=True)
class Distinct:
    """Lists without an entry that stands there twice."""

    def admits(self, value: Sequence[Any]) -> bool:
        """See `Range`."""
        return len(set(map(repr, value))) == len(value)

    def words(self) -> str:
        """See `Range`."""
        return "without doubles"


#: how many of something that is made one by one in memory or on disk, or how many updates
Count = Annotated[int, Between(1, 2**31 - 1)]
#: the same, or none
Amount = Annotated[int, Between(0, 2**31 - 1)]
#: processes that read ahead
Workers = Annotated[int, Between(0, 1024)]
#: channels, features, numbers in a latent
Width = Annotated[int, Between(1, 2**20)]
#: the same, or none
WidthOrNone = Annotated[int, Between(0, 2**20)]
#: layers or blocks, which a constructor makes in a loop
Depth = Annotated[int, Between(1, 1024)]
#: the same, or none
DepthOrNone = Annotated[int, Between(0, 1024)]
#: pixels along a side
Side = Annotated[int, Between(1, 2**14)]
#: of a generator of random numbers
Seed = Annotated[int, Between(0, LARGEST_INT)]
#: 0 to 1
Share = Annotated[float, Between(0, 1)]
#: 0 to 1 without 0
PositiveShare = Annotated[float, Between(0, 1, above_low=True)]
#: of an exponential average, of Adam's moments
Decay = Annotated[float, Between(0, 1, below_high=True)]
#: above 0
Positive = Annotated[float, Above(0)]
#: 0 or above
NonNegative = Annotated[float, AtLeast(0)]
#: any finite number
Real = Annotated[float, Between(-math.inf, math.inf)]
#: a learning rate; with 0 a network stays as it is
Rate = Annotated[float, AtLeast(0)]
#: of Adam, the first and the second moment's
Betas = Annotated[Sequence[Decay], Length(2, 2)]

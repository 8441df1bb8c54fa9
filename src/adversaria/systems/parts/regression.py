"""What stands for `adversaria.systems.regression.Regression` in a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from adversaria.systems.pairing import Pairing
from adversaria.systems.parts import Parts


@dataclass(frozen=True, kw_only=True)
class RegressionParts(Parts):
    """Those of `adversaria.systems.regression.Regression`, where their meaning is described."""

    generator: nn.Module
    pairing: Pairing | None = None

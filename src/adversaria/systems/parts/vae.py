"""What a stored config says of a VAE."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from adversaria.core.ranges import NonNegative
from adversaria.systems.parts import Parts


@dataclass(frozen=True, kw_only=True)
class VAEParts(Parts):
    """Those of `adversaria.systems.vae.VAE`, where their meaning is described."""

    encoder_name: ClassVar[str | None] = "encoder"
    generator: nn.Module
    encoder: Callable[..., nn.Module]
    beta: NonNegative = 1.0

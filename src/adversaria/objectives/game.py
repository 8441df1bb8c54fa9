"""What the parts of an objective may look at before training begins."""

from __future__ import annotations

from typing import Protocol

from torch import nn

from adversaria.core.types import DataSpec
from adversaria.objectives.losses import AdversarialLoss


class Game(Protocol):
    """A generator and a discriminator that play for a loss.

    Attributes:
        spec: of the data.
        generator, discriminator, augment: the networks; ``augment`` is the identity unless configured.
        loss: of both.
        pairs: whether the i-th fake answers the i-th real.
    """

    spec: DataSpec
    generator: nn.Module
    discriminator: nn.Module
    augment: nn.Module
    loss: AdversarialLoss
    pairs: bool

"""The pair of losses that a GAN is trained with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class DiscriminatorLoss(Protocol):
    """What D minimises."""

    def __call__(self, real_logits: Tensor, fake_logits: Tensor, /) -> Tensor:
        """Logits ``[N, ...]`` and ``[M, ...]`` -> a scalar."""
        ...


class GeneratorLoss(Protocol):
    """What G minimises."""

    def __call__(self, fake_logits: Tensor, real_logits: Tensor | None, /) -> Tensor:
        """Logits ``[M, ...]`` and, if the loss needs them, ``[N, ...]`` -> a scalar."""
        ...


@dataclass(frozen=True)
class AdversarialLoss:
    """A loss for D and one for G, which need not be each other's negative.

    Attributes:
        d_loss: of the logits of reals and fakes.
        g_loss: of the logits of fakes and, where ``needs_real_logits``, those of reals; else it may be given None.
        needs_real_logits: whether a G step must show reals to D as well.
    """

    d_loss: DiscriminatorLoss
    g_loss: GeneratorLoss
    needs_real_logits: bool = False

"""The distance of a fake from its answer: what makes a paired translation faithful."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from adversaria.core.errors import UserError
from adversaria.core.ranges import Count
from adversaria.core.schedules import Weight
from adversaria.core.types import Network, Step
from adversaria.nn.layers import at_least_float32
from adversaria.objectives.game import Game
from adversaria.objectives.terms.checks import check_term


class Reconstruction:
    """Mean absolute difference of fakes and the reals that they answer (Isola et al. 2017, equation 3).

    Args:
        weight: 0 or more, or a ramp; 100 in the paper, beside an adversarial loss of weight 1.
        interval: computed every so many G steps, and then counted so many times.

    Raises:
        UserError: a negative weight or an interval below 1.
    """

    applies_to: Network = "generator"

    def __init__(self, *, weight: Weight = 100.0, interval: Count = 1) -> None:
        check_term("reconstruction", weight, interval)
        self.weight = weight
        self.interval = interval

    def check(self, game: Game) -> None:
        """Refuses a system whose fakes answer no reals.

        Raises:
            UserError: it is no paired translation.
        """
        if not game.pairs:
            raise UserError(
                "regulariser.reconstruction compares fakes with the reals that they answer, and here fakes are made "
                "from noise; choose model=pix2pix, or leave the term out"
            )

    def __call__(self, step: Step) -> Tensor:
        """A float32 scalar."""
        return F.l1_loss(at_least_float32(step.fake), at_least_float32(step.real))

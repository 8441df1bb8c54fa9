"""Weight clipping."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.core.ranges import Positive
from adversaria.core.types import Network


class WeightClipping:
    """Keeps every parameter of D in [-limit, limit] (Arjovsky et al. 2017, "Wasserstein GAN", algorithm 1).

    Args:
        limit: the paper's c, above 0.

    Raises:
        UserError: a limit of 0 or less.
    """

    applies_to: Network = "discriminator"

    def __init__(self, *, limit: Positive = 0.01) -> None:
        if not limit > 0:
            raise UserError(f"regulariser.weight_clipping.limit={limit} is out of range: it must be above 0")
        self.limit = limit

    @torch.no_grad()
    def project(self, network: nn.Module) -> None:
        """Clamps the parameters in place; buffers, such as BatchNorm's running statistics, stay."""
        parameters: list[Tensor] = list(network.parameters())
        torch._foreach_clamp_min_(parameters, -self.limit)
        torch._foreach_clamp_max_(parameters, self.limit)

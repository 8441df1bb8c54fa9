"""The Dirac-GAN: one parameter each, the smallest GAN that shows whether a way to train converges.

Mescheder, Geiger & Nowozin 2018, "Which Training Methods for GANs do actually Converge?", definition 2.1. The data is
the point 0, G moves a point theta, D is the line psi * x; all is well at theta = psi = 0 and nowhere else. What theory
says of the two is in `studies.dirac.theory`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.core.ranges import Real, Width
from adversaria.core.types import DataSpec, DiscriminatorOutput
from adversaria.nn.layers import require_positive
from adversaria.nn.network import Discriminator, Generator


class DiracGenerator(Generator):
    """The point theta, whatever the latent.

    Args:
        spec: of points of dimension 1.
        latent_dim: length of the latent, which is ignored.
        theta: where the point begins.

    Raises:
        UserError: other data, or a latent without a number.
    """

    def __init__(self, *, spec: DataSpec, latent_dim: Width = 1, theta: Real = 1.0) -> None:
        super().__init__()
        require_positive("model.generator", latent_dim=latent_dim)
        _require_line(spec, "generator")
        self.latent_dim = latent_dim
        self.theta = nn.Parameter(torch.tensor([float(theta)]))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """``z [N, latent_dim]`` -> N times theta, ``[N, 1]``."""
        return self.theta.expand(len(z), 1)


class DiracDiscriminator(Discriminator):
    """The line psi * x.

    Args:
        spec: of points of dimension 1.
        psi: the slope at the beginning.

    Raises:
        UserError: other data.
    """

    def __init__(self, *, spec: DataSpec, psi: Real = 1.0) -> None:
        super().__init__()
        _require_line(spec, "discriminator")
        self.psi = nn.Parameter(torch.tensor([float(psi)]))

    def forward(self, x: Tensor, labels: Tensor | None = None) -> DiscriminatorOutput:
        """``x [N, 1]`` -> logits ``[N]``."""
        return DiscriminatorOutput((self.psi * x).flatten())


def _require_line(spec: DataSpec, what: str) -> None:
    if spec.shape != (1,):
        shape = "x".join(str(side) for side in spec.shape)
        raise UserError(
            f"{what}=dirac is made for points of dimension 1 and the data has {shape}: choose data=dirac, or another "
            f"{what}"
        )

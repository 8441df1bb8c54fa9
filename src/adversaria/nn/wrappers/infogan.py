"""InfoGAN (Chen et al. 2016, "InfoGAN: Interpretable Representation Learning by Information Maximizing ...").

A generator whose latent carries codes, and a discriminator with a head Q that reads them off the samples. Both enclose
networks of any architecture. What they learn from is ``penalty=mutual_information``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.core.ranges import Between, Length, Width, WidthOrNone
from adversaria.core.types import DataSpec, DiscriminatorOutput
from adversaria.nn.latents import draw_latent, latent_device
from adversaria.nn.layers import Codes, require_positive
from adversaria.nn.networks.dcgan import init_weights
from adversaria.nn.wrappers.enclosing import check_enclosed, feature_dim

#: how far pictures sweep a continuous code: twice as far as it is drawn in training, as in the paper's figure 2
SWEEP = 2.0
#: random latents in a picture of a categorical code
ROWS = 10


class InfoGANGenerator(nn.Module):
    """Any generator with ``latent = [noise | one-hot categorical codes | continuous codes]``.

    Args:
        spec: of the data.
        network: called with ``spec``, gives the generator. Its ``latent_dim`` counts noise and codes together.
        categorical: number of categories of each categorical code.
        continuous: how many continuous codes.

    Raises:
        UserError: no codes, or no room for noise beside them.
    """

    def __init__(
        self,
        *,
        spec: DataSpec,
        network: Callable[..., nn.Module],
        categorical: Annotated[Sequence[Annotated[int, Between(2, 2**16)]], Length(0, 64)] = (10,),
        continuous: WidthOrNone = 2,
    ) -> None:
        super().__init__()
        self.network: nn.Module = network(spec=spec)
        self.codes = Codes(tuple(categorical), continuous)
        self.latent_dim = int(self.network.latent_dim)  # type: ignore[arg-type]
        self.noise_dim = self.latent_dim - self.codes.dim
        if self.noise_dim < 1:
            raise UserError(
                f"model.generator.network.latent_dim={self.latent_dim} leaves no room for noise beside codes of "
                f"{self.codes.dim} numbers: set it above {self.codes.dim}"
            )
        self.conditional = bool(getattr(self.network, "conditional", False))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """``z [N, latent_dim]``, ``labels [N]`` if conditional -> samples ``[N, *spec.shape]``."""
        samples: Tensor = self.network(z, labels)
        return samples

    def sample_latent(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """``[n, latent_dim]``: noise of the prior and random codes behind it."""
        noise = draw_latent(self, n, self.noise_dim, generator)
        return torch.cat([noise, self.codes.draw(n, generator, latent_device(self, generator))], dim=1)

    def traversals(self, columns: int, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Latents ``[R, C, latent_dim]`` of one picture for each code; within a row only that code changes.

        ``categorical_0`` and so on show 10 random latents, one in each row, with each category. ``continuous_0`` and so
        on sweep a code from -2 to 2 in ``columns`` steps; the rows differ in the first categorical code alone (without
        one they are 10 random latents).
        """
        base = self.sample_latent(ROWS, generator)  # [R, latent_dim]
        pictures = {}
        start = self.noise_dim
        for i, size in enumerate(self.codes.categorical):
            z = base[:, None].repeat(1, size, 1)  # [R, size, latent_dim]
            z[:, :, start : start + size] = torch.eye(size, device=z.device)
            pictures[f"categorical_{i}"] = z
            start += size
        rows = base
        if self.codes.categorical:
            size = self.codes.categorical[0]
            rows = base[:1].repeat(size, 1)
            rows[:, self.noise_dim : self.noise_dim + size] = torch.eye(size, device=base.device)
        for j in range(self.codes.continuous):
            z = rows[:, None].repeat(1, columns, 1)  # [R, C, latent_dim]
            z[:, :, start + j] = torch.linspace(-SWEEP, SWEEP, columns, device=z.device)
            pictures[f"continuous_{j}"] = z
        return pictures

    def check(self, system: Any) -> None:
        """Lets the enclosed network refuse what it cannot go with."""
        check_enclosed(self.network, system)


class CodeDiscriminator(nn.Module):
    """Any discriminator with a head on its features that reads the latent codes: all but the last layers are shared.

    Q of InfoGAN has a hidden layer of 128 with BatchNorm and LeakyReLU of slope 0.1 (appendix C.1); MGAN's classifier
    of generators has none (Hoang et al. 2018, section 4).

    Args:
        spec: of the data.
        network: called with ``spec``, gives the discriminator, whose output must have features.
        categorical: number of categories of each categorical code, those of the generator.
        continuous: how many continuous codes, those of the generator.
        hidden: units of the head's hidden layer; null: none.
        batch_norm: in the hidden layer.

    Raises:
        UserError: no codes, ``hidden`` below 1, or a discriminator without features.
    """

    def __init__(
        self,
        *,
        spec: DataSpec,
        network: Callable[..., nn.Module],
        categorical: Annotated[Sequence[Annotated[int, Between(2, 2**16)]], Length(0, 64)] = (10,),
        continuous: WidthOrNone = 2,
        hidden: Width | None = 128,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        self.network: nn.Module = network(spec=spec)
        self.codes = Codes(tuple(categorical), continuous)
        self.conditional = bool(getattr(self.network, "conditional", False))
        width = feature_dim(network, spec)
        layers: list[nn.Module] = []
        if hidden is not None:
            require_positive("model.discriminator", hidden=hidden)
            layers = [nn.Linear(width, hidden), *([nn.BatchNorm1d(hidden)] if batch_norm else []), nn.LeakyReLU(0.1)]
            width = hidden
        self.code_head = nn.Sequential(*layers, nn.Linear(width, self.codes.dim))
        self.code_head.apply(init_weights)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> DiscriminatorOutput:
        """``x [N, *spec.shape]`` -> the discriminator's logits and features, and what it reads of the codes.

        ``class_logits [N, D]`` are logits of the categories of each categorical code, one code after the other, and
        behind them the means of the continuous codes.
        """
        output: DiscriminatorOutput = self.network(x, labels)
        return DiscriminatorOutput(output.logits, output.features, self.code_head(output.features))

    def check(self, system: Any) -> None:
        """Lets the enclosed network refuse what it cannot go with."""
        check_enclosed(self.network, system)

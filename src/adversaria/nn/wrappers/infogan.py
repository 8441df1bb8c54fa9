"""InfoGAN (Chen et al. 2016, "InfoGAN: Interpretable Representation Learning by Information Maximizing ...").

A generator whose latent carries codes, and a discriminator with a head Q that reads them off the samples. Both enclose
networks of any architecture. What they learn from is ``regulariser=mutual_information``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.core.ranges import Between, Length, Width, WidthOrNone
from adversaria.core.types import DataSpec, DiscriminatorOutput
from adversaria.nn.layers import Codes, require_positive
from adversaria.nn.networks.dcgan import init_weights
from adversaria.nn.wrappers.enclosing import EnclosingDiscriminator, EnclosingGenerator, codes_in_turn, feature_dim
from adversaria.nn.wrappers.pictures import of_codes


class InfoGANGenerator(EnclosingGenerator):
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
        super().__init__(network(spec=spec))
        self._own = Codes(tuple(categorical), continuous)
        self._behind = self.inner.codes
        self.codes = self._own if self._behind is None else self._own.beside(self._behind)
        if self.noise_dim < 1:
            raise UserError(
                f"model.generator.network.latent_dim={self.latent_dim} leaves no room for noise beside codes of "
                f"{self.codes.dim} numbers: set it above {self.codes.dim}"
            )

    def inner_latents(self, z: Tensor) -> Tensor:
        """``z``, where the enclosed generator takes these codes for noise; behind them stand its own, if it has any."""
        return codes_in_turn(z, self.noise_dim, self._own, self._behind)

    def traversals(self, columns: int, draw: Callable[[int], Tensor]) -> Mapping[str, Tensor]:
        """One picture for each code, see `adversaria.nn.wrappers.pictures.of_codes`."""
        assert self.codes is not None
        return of_codes(self.codes, columns, draw)


class CodeDiscriminator(EnclosingDiscriminator):
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
        super().__init__(network(spec=spec))
        self.codes = codes = Codes(tuple(categorical), continuous)
        self.num_class_logits = None  # its head speaks of codes
        width = feature_dim(network, spec)
        layers: list[nn.Module] = []
        if hidden is not None:
            require_positive("model.discriminator", hidden=hidden)
            layers = [nn.Linear(width, hidden), *([nn.BatchNorm1d(hidden)] if batch_norm else []), nn.LeakyReLU(0.1)]
            width = hidden
        self.code_head = nn.Sequential(*layers, nn.Linear(width, codes.dim))
        self.code_head.apply(init_weights)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> DiscriminatorOutput:
        """``x [N, *spec.shape]`` -> the discriminator's logits and features, and what it reads of the codes.

        ``class_logits [N, D]`` are logits of the categories of each categorical code, one code after the other, and
        behind them the means of the continuous codes.
        """
        output: DiscriminatorOutput = self.network(x, labels)
        return DiscriminatorOutput(output.logits, output.features, self.code_head(output.features))

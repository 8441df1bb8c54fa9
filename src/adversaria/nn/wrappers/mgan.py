"""MGAN: several generators against one discriminator.

Hoang et al. 2018, "MGAN: Training Generative Adversarial Nets with Multiple Generators". A sample is that of a
generator chosen at random; a classifier beside D tells the generators apart, and they are rewarded for being told
apart (``regulariser=generator_classifier``). The index of the generator is a one-hot code behind the noise of the
latent.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.core.ranges import Depth, Width
from adversaria.core.types import DataSpec
from adversaria.nn.layers import Codes
from adversaria.nn.network import Generator, as_generator
from adversaria.nn.wrappers.enclosing import EnclosingGenerator, codes_in_turn
from adversaria.nn.wrappers.pictures import of_codes, of_generators


class MGANGenerator(EnclosingGenerator):
    """Generators that share all layers but the first, the linear one that takes the noise (section 4).

    Args:
        spec: of the data.
        network: called with ``spec``, gives a generator that uses its latent in one linear layer, such as dcgan,
            sndcgan or mlp. Its ``latent_dim`` is the length of the noise.
        number: of generators.

    Unlike in the authors' code, BatchNorm behind the first layer is shared as well.

    Raises:
        UserError: fewer than two generators, or a network that uses its latent elsewhere.
    """

    def __init__(self, *, spec: DataSpec, network: Callable[..., nn.Module], number: Depth = 10) -> None:
        index = index_of(number)
        inner = network(spec=spec)
        # The first layers of as many networks, so that each starts as the architecture says.
        linears = [first_linear(inner), *(first_linear(network(spec=spec)) for _ in range(number - 1))]
        super().__init__(inner)
        branched = BranchedLinear([linear for _, linear in linears], self.latent_dim)
        inner.set_submodule(linears[0][0], branched)
        self._before, self._index = self.inner.codes, index
        self.codes = index if self._before is None else self._before.beside(index)
        self.latent_dim += number
        self._try(spec)

    def inner_latents(self, z: Tensor) -> Tensor:
        """``[N, noise | codes of the enclosed generator, if it has any | index]``, whose first layer takes it all."""
        return codes_in_turn(z, self.noise_dim, self._before, self._index)

    def traversals(self, columns: int, draw: Callable[[int], Tensor]) -> Mapping[str, Tensor]:
        """``generators``, and a picture for each code where the enclosed generator has some."""
        assert self.codes is not None
        inside = {} if self._before is None else of_codes(self.codes, columns, draw)
        return {**inside, **of_generators(self._index, self.codes, columns, draw)}

    def _try(self, spec: DataSpec) -> None:
        """Refuses a network that takes the latent in another layer as well, which would not fit there."""
        probe = copy.deepcopy(self.network).to("meta")
        labels = torch.zeros(2, dtype=torch.int64, device="meta") if self.conditional else None
        try:
            shape = probe(torch.zeros(2, self.latent_dim, device="meta"), labels).shape[1:]
        except RuntimeError:
            shape = None
        if shape != spec.shape:
            raise UserError(
                f"generators of {type(probe).__name__} cannot share all but their first layer, because its latent goes "
                "into other layers as well: take generator@model.generator.network=dcgan, sndcgan or mlp, or "
                "generator=mgan_different"
            )


class BranchedLinear(nn.Module):
    """Linear layers of which the one-hot index in the input chooses one for each sample.

    All are computed, in one matrix product, and one is kept. An index between two (on the way from one latent to
    another) gives the weighted sum of both.

    Args:
        linears: of equal size.
        noise_dim: at which number of the input the index begins.
    """

    def __init__(self, linears: list[nn.Linear], noise_dim: Width) -> None:
        super().__init__()
        self.noise_dim, self.number = noise_dim, len(linears)
        self.weight = nn.Parameter(torch.cat([linear.weight.detach() for linear in linears]))  # [K * out, in]
        biases = [linear.bias.detach() for linear in linears if linear.bias is not None]
        self.bias = nn.Parameter(torch.cat(biases)) if biases else None

    def forward(self, x: Tensor) -> Tensor:
        """``[N, noise_dim + K + rest]`` -> ``[N, out]``; the rest, such as embedded labels, joins the noise."""
        noise, index, rest = torch.split(
            x, [self.noise_dim, self.number, x.shape[1] - self.noise_dim - self.number], dim=1
        )
        h = nn.functional.linear(torch.cat([noise, rest], dim=1), self.weight, self.bias)
        h = h.reshape(len(h), self.number, -1)  # [N, K, out]
        return torch.einsum("nk,nko->no", index.to(h.dtype), h)


class MixtureGenerator(Generator):
    """Generators that share nothing and need not be alike: of other widths, latents or architectures.

    Every generator makes every sample and the index keeps one of them: as many times the work, but BatchNorm sees whole
    batches, as in a generator alone, and nothing waits for the device.

    Args:
        spec: of the data.
        generators: by name. Each is given the first numbers of the noise, as many as its latent has.
        number: how many they are; D's classifier has as many outputs.

    Raises:
        UserError: fewer than two generators, another number, or some that take labels beside some that take none.
    """

    def __init__(self, *, spec: DataSpec, generators: Mapping[str, nn.Module], number: Depth) -> None:
        if number != len(generators):
            raise UserError(
                f"model.generator.number={number}, but model.generator.generators has {len(generators)} of them "
                f"({', '.join(generators)}): set model.generator.number={len(generators)}"
            )
        super().__init__()
        self.codes = index_of(number)
        self.generators = nn.ModuleDict(dict(generators))
        self._dims = [said.latent_dim for said in self._said()]
        self.latent_dim = max(self._dims) + number
        if any(said.codes is not None for said in self._said()):
            raise UserError(
                "model.generator.generators have codes of their own, which a mixture would fill with noise: take "
                "generator=infogan around generator=mgan_different"
            )
        conditional = {said.conditional for said in self._said()}
        if len(conditional) > 1:
            raise UserError(
                "model.generator.generators take labels in part only: set conditional to the same value for all"
            )
        self.conditional = conditional.pop()

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """``z [N, noise_dim + number]``, ``labels [N]`` if conditional -> samples ``[N, *spec.shape]``."""
        noise, index = z[:, : self.noise_dim], z[:, self.noise_dim :].argmax(dim=1)  # [N, noise_dim], [N]
        each = [g(noise[:, :dim], labels) for g, dim in zip(self.generators.values(), self._dims, strict=True)]
        return torch.stack(each, dim=1)[torch.arange(len(z), device=z.device), index]  # [N, K, ...] -> [N, ...]

    def check(self, system: Any) -> None:
        """Lets the enclosed networks refuse what they cannot go with."""
        for said in self._said():
            said.check(system)

    def traversals(self, columns: int, draw: Callable[[int], Tensor]) -> Mapping[str, Tensor]:
        """``generators``: a generator a row, a noise a column."""
        assert self.codes is not None
        return of_generators(self.codes, self.codes, columns, draw)

    def _said(self) -> list[Generator]:
        return [as_generator(network) for network in self.generators.values()]


def index_of(number: int) -> Codes:
    """The one-hot index of one of ``number`` generators as a code.

    Raises:
        UserError: fewer than two generators.
    """
    if number < 2:
        raise UserError(f"model.generator.number={number} is no mixture: it must be 2 or more")
    return Codes((number,))


def first_linear(network: nn.Module) -> tuple[str, nn.Linear]:
    """The name of a network's first linear layer, and the layer.

    Raises:
        UserError: it has none.
    """
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear):
            return name, module
    raise UserError(
        f"{type(network).__name__} has no linear layer to take the noise, so generators cannot differ in it: take "
        "generator=mgan_different"
    )

"""MGAN: several generators against one discriminator.

Hoang et al. 2018, "MGAN: Training Generative Adversarial Nets with Multiple Generators". A sample is that of a
generator chosen at random; a classifier beside D tells the generators apart, and they are rewarded for being told
apart (``penalty=generator_classifier``). The index of the generator is a one-hot code behind the noise of the latent.
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
from adversaria.nn.latents import draw_latent, latent_device
from adversaria.nn.layers import Codes
from adversaria.nn.wrappers.enclosing import check_enclosed


class Mixture(nn.Module):
    """What mixtures of generators share: latents ``[noise | one-hot index]`` and a picture of each generator.

    Args:
        number: of generators.
        noise_dim: length of the noise.

    Raises:
        UserError: fewer than two generators.
    """

    def __init__(self, number: Depth, noise_dim: Width) -> None:
        super().__init__()
        if number < 2:
            raise UserError(f"model.generator.number={number} is no mixture: it must be 2 or more")
        self.codes = Codes((number,))
        self.noise_dim = noise_dim
        self.latent_dim = noise_dim + number

    def sample_latent(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """``[n, latent_dim]``: noise of the prior and the one-hot index of a random generator behind it."""
        noise = draw_latent(self, n, self.noise_dim, generator)
        return torch.cat([noise, self.codes.draw(n, generator, latent_device(self, generator))], dim=1)

    def traversals(self, columns: int, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """``generators``: latents ``[number, columns, latent_dim]``, a generator a row, a noise a column."""
        number = self.codes.dim
        noise = draw_latent(self, columns, self.noise_dim, generator)[None].expand(number, -1, -1)
        index = torch.eye(number, device=noise.device)[:, None].expand(-1, columns, -1)
        return {"generators": torch.cat([noise, index], dim=2)}


class MGANGenerator(Mixture):
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
        inner: Any = network(spec=spec)
        super().__init__(number, inner.latent_dim)
        # The first layers of as many networks, so that each starts as the architecture says.
        linears = [first_linear(inner), *(first_linear(network(spec=spec)) for _ in range(number - 1))]
        branched = BranchedLinear([linear for _, linear in linears], self.noise_dim)
        inner.set_submodule(linears[0][0], branched)
        self.network: Any = inner
        self.conditional = bool(getattr(inner, "conditional", False))
        self._try(spec)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """``z [N, noise_dim + number]``, ``labels [N]`` if conditional -> samples ``[N, *spec.shape]``."""
        samples: Tensor = self.network(z, labels)
        return samples

    def check(self, system: Any) -> None:
        """Lets the enclosed network refuse what it cannot go with."""
        check_enclosed(self.network, system)

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


class MixtureGenerator(Mixture):
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
        super().__init__(number, max((int(g.latent_dim) for g in generators.values()), default=0))  # type: ignore[arg-type]
        self.generators = nn.ModuleDict(dict(generators))
        conditional = {bool(getattr(g, "conditional", False)) for g in generators.values()}
        if len(conditional) > 1:
            raise UserError(
                "model.generator.generators take labels in part only: set conditional to the same value for all"
            )
        self.conditional = conditional.pop()

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """``z [N, noise_dim + number]``, ``labels [N]`` if conditional -> samples ``[N, *spec.shape]``."""
        noise, index = z[:, : self.noise_dim], z[:, self.noise_dim :].argmax(dim=1)  # [N, noise_dim], [N]
        each = [g(noise[:, : g.latent_dim], labels) for g in self.generators.values()]
        return torch.stack(each, dim=1)[torch.arange(len(z), device=z.device), index]  # [N, K, ...] -> [N, ...]

    def check(self, system: Any) -> None:
        """Lets the enclosed networks refuse what they cannot go with."""
        for network in self.generators.values():
            check_enclosed(network, system)


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

"""The distributions that the noise of latents is drawn from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from adversaria.core.errors import UserError
from adversaria.core.ranges import Positive


class Latent(Protocol):
    """A distribution of latents.

    Attributes:
        redraws: whether a number of a latent can be drawn again without regard to the others, as truncation does.
    """

    redraws: bool

    def draw(self, n: int, dim: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
        """``n`` latents, ``[n, dim]`` float32 on ``device``, that of ``generator`` if there is one."""
        ...


@dataclass(frozen=True)
class Normal:
    """Standard normal numbers."""

    redraws = True

    def draw(self, n: int, dim: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
        """See `Latent`."""
        return torch.randn(n, dim, generator=generator, device=device, dtype=torch.float32)


@dataclass(frozen=True)
class Uniform:
    """Numbers uniform in [-1, 1] (Radford et al. 2016, section 4)."""

    redraws = True

    def draw(self, n: int, dim: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
        """See `Latent`."""
        return torch.rand(n, dim, generator=generator, device=device, dtype=torch.float32) * 2 - 1


@dataclass(frozen=True)
class TruncatedNormal:
    """Standard normal numbers that are drawn again until they lie in [-limit, limit] (Brock et al. 2019, section 3.1).

    Args:
        limit: above 0.

    Raises:
        UserError: a limit of 0 or less.
    """

    limit: Positive = 2.0
    redraws = True

    def __post_init__(self) -> None:
        if not self.limit > 0:
            raise UserError(f"model.latent.limit={self.limit} is out of range: it must be above 0")

    def draw(self, n: int, dim: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
        """See `Latent`.

        Uniform numbers go through the inverse of the distribution function, so that nothing has to be drawn twice.
        """
        outer = math.erf(self.limit / math.sqrt(2))  # P(|x| <= limit)
        uniform = torch.rand(n, dim, generator=generator, device=device, dtype=torch.float32)
        normal = torch.erfinv(outer * (2 * uniform - 1)) * math.sqrt(2)
        return normal.clamp_(-self.limit, self.limit)


@dataclass(frozen=True)
class Sphere:
    """Directions uniform on the sphere of radius sqrt(dim), the length that normal latents have on average.

    Karras et al. 2018 ("Progressive Growing of GANs", appendix A.1) draw them this way.
    """

    redraws = False

    def draw(self, n: int, dim: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
        """See `Latent`."""
        z = torch.randn(n, dim, generator=generator, device=device, dtype=torch.float32)
        lengths: Tensor = torch.linalg.vector_norm(z, dim=1, keepdim=True)
        return z * (math.sqrt(dim) / lengths)


@dataclass(frozen=True)
class Bernoulli:
    """Independent signs -1 and 1 with equal probability: as normal latents, of mean 0 and variance 1.

    Brock et al. 2019 (appendix E) compare them, as 0 and 1, with other distributions.
    """

    redraws = False

    def draw(self, n: int, dim: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
        """See `Latent`."""
        ones = torch.randint(2, (n, dim), generator=generator, device=device)
        return ones.to(torch.float32) * 2 - 1

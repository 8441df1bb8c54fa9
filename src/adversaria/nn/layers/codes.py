"""Latent codes: the part of a latent that a second network is to read off the samples again.

InfoGAN's categorical and continuous codes (Chen et al. 2016, "InfoGAN: Interpretable Representation Learning by
Information Maximizing Generative Adversarial Nets") and the index of a generator in a mixture (Hoang et al. 2018,
"MGAN: Training Generative Adversarial Nets with Multiple Generators") are such codes. They stand behind the noise:
``latent = [noise | one-hot categorical codes | continuous codes]``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from adversaria.core.errors import UserError
from adversaria.core.ranges import WidthOrNone
from adversaria.nn.layers.precision import at_least_float32


@dataclass(frozen=True)
class Codes:
    """What codes a latent has.

    Args:
        categorical: number of categories of each categorical code, each 2 or more; they are drawn with equal
            probability and written one-hot.
        continuous: how many continuous codes, each uniform in [-1, 1].

    Raises:
        UserError: no code at all, a single category, or a negative number.
    """

    categorical: tuple[int, ...]
    continuous: WidthOrNone = 0

    def __post_init__(self) -> None:
        if self.continuous < 0 or any(size < 2 for size in self.categorical) or self.dim == 0:
            raise UserError(
                f"categorical={list(self.categorical)} with continuous={self.continuous} is no set of codes: "
                "categories are 2 or more, continuous codes 0 or more, and there must be a code at all"
            )

    @property
    def dim(self) -> int:
        """How many numbers the codes take in a latent."""
        return sum(self.categorical) + self.continuous

    def draw(self, n: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
        """``n`` random codes, ``[n, dim]`` float32 on ``device``, that of ``generator`` if there is one."""
        parts = [
            one_hot(torch.randint(size, (n,), generator=generator, device=device), size) for size in self.categorical
        ]
        uniform = torch.rand(n, self.continuous, generator=generator, device=device, dtype=torch.float32)
        return torch.cat([*parts, uniform * 2 - 1], dim=1)

    def split(self, codes: Tensor) -> tuple[list[Tensor], Tensor]:
        """``[N, dim]`` -> the categorical codes, each ``[N, size]``, and the continuous ones ``[N, continuous]``."""
        *categorical, continuous = torch.split(codes, [*self.categorical, self.continuous], dim=1)
        return categorical, continuous

    def beside(self, others: Codes) -> Codes:
        """These codes and ``others`` as the codes of one latent: ``[both's categorical | both's continuous]``."""
        return Codes((*self.categorical, *others.categorical), self.continuous + others.continuous)

    def apart(self, others: Codes, codes: Tensor) -> tuple[Tensor, Tensor]:
        """``[N, dim]`` of ``self.beside(others)`` -> these codes ``[N, dim]`` and the ``others``, each by itself."""
        categorical, continuous = self.beside(others).split(codes)
        count = len(self.categorical)
        own = torch.cat([*categorical[:count], continuous[:, : self.continuous]], dim=1)
        return own, torch.cat([*categorical[count:], continuous[:, self.continuous :]], dim=1)

    def nll(self, predicted: Tensor, codes: Tensor, continuous_weight: float = 1.0) -> Tensor:
        """-E[log Q(codes | x)] in nats, without constants: what a reader Q of the codes minimises.

        For a categorical code it is the cross-entropy of Q's softmax; a continuous one is normal with the mean that Q
        gives and the fixed variance 1, as in the authors' code (InfoGAN), so that it is half the squared error.

        Args:
            predicted: logits of the categories and means of the continuous codes, ``[N, dim]``.
            codes: ``[N, dim]``.
            continuous_weight: of the continuous codes' part.

        Returns:
            a float32 scalar (float64 stays).
        """
        logits, means = self.split(at_least_float32(predicted))
        one_hots, values = self.split(codes)
        total = continuous_weight * 0.5 * (values - means).square().sum(dim=1).mean()
        for code, scores in zip(one_hots, logits, strict=True):
            total = total - (code * log_softmax(scores, dim=1)).sum(dim=1).mean()
        return total


def one_hot(index: Tensor, size: int) -> Tensor:
    """``[N]`` int64 below ``size`` -> ``[N, size]`` float32."""
    return (index[:, None] == torch.arange(size, device=index.device)).to(torch.float32)

"""The kernel distance between sets of features (Bińkowski et al. 2018, "Demystifying MMD GANs", section 4)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from adversaria.features.extraction import progress


def kernel_distance(fake: Tensor, real: Tensor, subsets: int, size: int, seed: int = 2020) -> tuple[float, float]:
    """Mean and standard deviation of the unbiased squared MMD over random subsets.

    Args:
        fake: features ``[N, F]``.
        real: features ``[M, F]``.
        subsets: how many pairs of subsets are drawn.
        size: of each, at least 2 and at most N and M.
        seed: of the draw; the default makes it the one of torch-fidelity.
    """
    generator = np.random.RandomState(seed)
    values = []
    for _ in progress(range(subsets), "kernel distance"):
        chosen = generator.choice(len(fake), size, replace=False)
        against = generator.choice(len(real), size, replace=False)
        values.append(polynomial_mmd(fake[chosen], real[against]))
    return float(np.mean(values)), float(np.std(values))


def polynomial_mmd(x: Tensor, y: Tensor) -> float:
    """The unbiased squared MMD of ``x [N, F]`` and ``y [M, F]`` under the kernel ``(x . y / F + 1)^3``.

    It may be slightly negative, which says that the two are very close. Products are taken in the features' own
    precision and added up in float64: a single product is off by 1e-7, the mean of a million by far less.
    """
    n, m = len(x), len(y)
    within_x, within_y = _kernel(x, x), _kernel(y, y)
    pairs_x = within_x.sum(dtype=torch.float64) - within_x.diagonal().sum(dtype=torch.float64)
    pairs_y = within_y.sum(dtype=torch.float64) - within_y.diagonal().sum(dtype=torch.float64)
    across = _kernel(x, y).mean(dtype=torch.float64)
    return float(pairs_x / (n * (n - 1)) + pairs_y / (m * (m - 1)) - 2 * across)


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return torch.addmm(torch.ones((), dtype=x.dtype), x, y.T, alpha=1 / x.shape[1]).pow_(3)  # [N, M]

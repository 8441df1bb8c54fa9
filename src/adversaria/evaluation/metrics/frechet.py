"""The Fréchet distance between two Gaussians fitted to features (Heusel et al. 2017, "GANs Trained by a Two
Time-Scale Update Rule", equation 6), in float64: float32 loses it in the difference of large traces.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: Columns of a symmetric product that are computed at a time.
BLOCK = 256


class RunningGaussian:
    """Mean and covariance of a stream of features, merged batch by batch (Chan et al. 1983) in float64.

    Args:
        dim: F, the number of features.
    """

    def __init__(self, dim: int) -> None:
        self.count = 0
        self.mean = torch.zeros(dim, dtype=torch.float64)  # [F]
        self._scatter = torch.zeros(dim, dim, dtype=torch.float64)  # [F, F], about the mean; its lower triangle holds

    def update(self, features: Tensor) -> None:
        """Adds ``features [N, F]``."""
        batch = features.to("cpu", torch.float64)
        n, total = len(batch), self.count + len(batch)
        mean = batch.mean(0)
        centred, shift = batch - mean, mean - self.mean
        _add_lower(self._scatter, centred.T, centred)
        self._scatter.addr_(shift, shift, alpha=self.count * n / total)
        self.mean += shift * (n / total)
        self.count = total

    @property
    def covariance(self) -> Tensor:
        """``[F, F]`` float64, unbiased."""
        lower = self._scatter.tril() / (self.count - 1)
        return lower + lower.tril(-1).T


def symmetric_root(matrix: Tensor) -> Tensor:
    """The symmetric square root ``[F, F]`` of a positive semi-definite matrix, singular ones included."""
    values, vectors = torch.linalg.eigh(matrix)
    # What rounding leaves of zero eigenvalues would come back as its square root, eight orders larger.
    floor = values[-1].clamp(min=0) * len(values) * torch.finfo(values.dtype).eps
    root: Tensor = (vectors * values.where(values > floor, 0.0).sqrt()) @ vectors.T
    return root


def frechet_distance(features: Tensor, mean: Tensor, root: Tensor) -> float:
    """The squared distance ``|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))``, at least 0.

    Args:
        features: ``[N, F]`` of the one set, N >= 2.
        mean: ``[F]`` float64 of the other.
        root: ``[F, F]`` float64, the `symmetric_root` of the other's covariance.

    Raises:
        torch.linalg.LinAlgError: the eigenvalues do not converge.
    """
    n, dim = features.shape
    if n < dim:
        features = features.to("cpu", torch.float64)
        own_mean = features.mean(0)
        scaled = (features - own_mean) / (n - 1) ** 0.5  # [N, F]; the covariance is its Gram matrix
        trace, cross = scaled.square().sum(), cross_trace_by_features(scaled, root)
    else:
        own = RunningGaussian(dim)
        for start in range(0, n, 4096):
            own.update(features[start : start + 4096])
        own_mean, covariance = own.mean, own.covariance
        trace, cross = covariance.trace(), cross_trace_by_covariance(covariance, root)
    distance = (own_mean - mean).square().sum() + trace + root.square().sum() - 2 * cross
    return max(float(distance), 0.0)


def cross_trace_by_covariance(covariance: Tensor, root: Tensor) -> Tensor:
    """``tr((R S R)^(1/2))`` for ``S [F, F]`` and ``R [F, F]``: symmetric, so `eigvalsh` serves (ten times faster than a
    matrix square root).
    """
    product = torch.zeros_like(root)
    _add_lower(product, root @ covariance, root)
    values: Tensor = torch.linalg.eigvalsh(product, UPLO="L")
    return values.clamp(min=0).sqrt().sum()


def cross_trace_by_features(scaled: Tensor, root: Tensor) -> Tensor:
    """The same for ``S = A^T A`` with ``A [N, F]``: the sum of the singular values of ``A R``, cheap for N < F."""
    values: Tensor = torch.linalg.svdvals(scaled @ root)
    return values.sum()


def _add_lower(out: Tensor, a: Tensor, b: Tensor) -> None:
    """Adds ``a [F, N] @ b [N, F]``, which must be symmetric, to the lower triangle of ``out [F, F]``: half the work of
    the whole. Above the diagonal ``out`` is undefined.
    """
    for start in range(0, len(out), BLOCK):
        stop = start + BLOCK
        out[start:, start:stop].addmm_(a[start:], b[:, start:stop])

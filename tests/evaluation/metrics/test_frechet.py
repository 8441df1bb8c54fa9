from __future__ import annotations

import math

import pytest
import scipy.linalg
import torch
from torch import Tensor
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from adversaria.evaluation.metrics.frechet import (
    RunningGaussian,
    cross_trace_by_covariance,
    cross_trace_by_features,
    frechet_distance,
    symmetric_root,
)


def features_with(mean: Tensor, factor: Tensor, n: int) -> Tensor:
    """``[n, F]`` whose sample mean is ``mean [F]`` and whose sample covariance is ``factor^T factor`` (``[k, F]``)."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(n, len(factor), generator=generator, dtype=torch.float64)
    white = torch.linalg.qr(noise - noise.mean(0)).Q * math.sqrt(n - 1)
    return white @ factor + mean


def distance(mean_1: Tensor, factor_1: Tensor, mean_2: Tensor, factor_2: Tensor, n: int) -> float:
    return frechet_distance(features_with(mean_1, factor_1, n), mean_2, symmetric_root(factor_2.T @ factor_2))


def random_matrix(rows: int, columns: int, seed: int) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("chunk", [1, 7, 500])
def test_running_statistics_are_those_of_the_whole(chunk: int) -> None:
    features = random_matrix(500, 6, 0) @ random_matrix(6, 6, 1) + 100
    running = RunningGaussian(6)
    for start in range(0, 500, chunk):
        running.update(features[start : start + chunk])
    torch.testing.assert_close(running.mean, features.mean(0), rtol=0, atol=1e-10)
    torch.testing.assert_close(running.covariance, features.T.cov(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("n", [6, 9, 400])  # fewer samples than the 8 dimensions, and more
def test_equal_covariances_leave_the_means(n: int) -> None:
    factor, shift = random_matrix(4, 8, 0), random_matrix(1, 8, 1)[0]
    assert distance(shift, factor, torch.zeros(8), factor, n) == pytest.approx(float(shift.square().sum()), abs=1e-6)
    assert distance(shift, factor, shift, factor, n) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("n", [7, 300])
def test_commuting_covariances(n: int) -> None:
    rotation = torch.linalg.qr(random_matrix(9, 9, 0)).Q
    a, b = torch.tensor([4.0, 3.0, 0.5, 1.0, 0.0]), torch.tensor([1.0, 0.0, 2.5, 1.0, 7.0])  # singular both
    factors = [torch.diag(values.double().sqrt()) @ rotation[:5] for values in (a, b)]
    expected = float((a.sqrt() - b.sqrt()).square().sum())
    assert distance(torch.zeros(9), factors[0], torch.zeros(9), factors[1], n) == pytest.approx(expected, abs=1e-6)


def test_two_dimensions_in_closed_form() -> None:
    # of a 2 x 2 matrix M with non-negative eigenvalues, tr(M^(1/2)) = (tr M + 2 (det M)^(1/2))^(1/2)
    a, b = random_matrix(2, 2, 0), random_matrix(2, 2, 1)
    one, two = a.T @ a, b.T @ b
    product = one @ two
    cross = torch.sqrt(product.trace() + 2 * product.det().sqrt())
    expected = float(one.trace() + two.trace() - 2 * cross)
    assert distance(torch.zeros(2), a, torch.zeros(2), b, 50) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("n", [10, 100])
def test_disjoint_supports_add_their_variances(n: int) -> None:
    one, two = torch.zeros(3, 40, dtype=torch.float64), torch.zeros(3, 40, dtype=torch.float64)
    one[:, :3], two[:, 20:23] = random_matrix(3, 3, 0), random_matrix(3, 3, 1)
    expected = float(one.square().sum() + two.square().sum())
    assert distance(torch.zeros(40), one, torch.zeros(40), two, n) == pytest.approx(expected, abs=1e-6)


def test_constant_features() -> None:
    constant, zeros, identity = torch.full((30, 5), 2.0), torch.zeros(5, 5).double(), torch.eye(5).double()
    assert frechet_distance(constant, zeros[0], zeros) == pytest.approx(20, abs=1e-6)
    assert frechet_distance(constant, zeros[0] + 2, identity) == pytest.approx(5, abs=1e-6)


def test_both_formulas_agree_with_the_matrix_square_root() -> None:
    scaled, other = random_matrix(30, 12, 0) / 5, random_matrix(12, 12, 1)
    covariance, reference = scaled.T @ scaled, other.T @ other
    expected = float(scipy.linalg.sqrtm((covariance @ reference).numpy()).trace().real)
    root = symmetric_root(reference)
    assert float(cross_trace_by_covariance(covariance, root)) == pytest.approx(expected, abs=1e-8)
    assert float(cross_trace_by_features(scaled, root)) == pytest.approx(expected, abs=1e-8)


def test_many_samples_are_taken_in_parts() -> None:
    factor, shift = random_matrix(3, 3, 0), random_matrix(1, 3, 1)[0]
    assert distance(shift, factor, 0 * shift, factor, 9000) == pytest.approx(float(shift.square().sum()), abs=1e-6)


@pytest.mark.parametrize("dim", [256, 257, 600])  # products are taken 256 columns at a time
def test_many_dimensions_are_taken_in_parts(dim: int) -> None:
    features, other = random_matrix(700, dim, 0) + 3, random_matrix(dim, dim, 1) / 10
    running = RunningGaussian(dim)
    for part in features.split(300):
        running.update(part)
    torch.testing.assert_close(running.covariance, features.T.cov(), rtol=0, atol=1e-10)
    ours = frechet_distance(features, torch.zeros(dim).double(), symmetric_root(other.T @ other))
    cross = scipy.linalg.svdvals(((features - features.mean(0)) / math.sqrt(699) @ other.T).numpy()).sum()
    traces = features.var(0).sum() + other.square().sum()
    assert ours == pytest.approx(float(features.mean(0).square().sum() + traces - 2 * cross), rel=1e-10)


def test_is_never_negative() -> None:
    for seed in range(20):
        features = random_matrix(40, 10, seed)
        assert frechet_distance(features, features.mean(0), symmetric_root(features.T.cov())) >= 0


def test_equals_torch_fidelity() -> None:
    fake, real = ((random_matrix(300, 20, seed) @ random_matrix(20, 20, seed + 2)).relu().float() for seed in (0, 1))
    statistics = [fid_features_to_statistics(features) for features in (fake, real)]
    expected = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    reference = RunningGaussian(20)
    reference.update(real)
    ours = frechet_distance(fake, reference.mean, symmetric_root(reference.covariance))
    assert ours == pytest.approx(expected, rel=1e-5)


def test_root_of_a_singular_matrix_is_exactly_as_singular() -> None:
    factor = random_matrix(3, 50, 0)
    root = symmetric_root(factor.T @ factor)
    torch.testing.assert_close(root @ root, factor.T @ factor, rtol=0, atol=1e-12)
    assert int(torch.linalg.matrix_rank(root, rtol=1e-10)) == 3

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_fidelity.metric_kid import kid_features_to_metric

from adversaria.evaluation.metrics.kernel import kernel_distance, polynomial_mmd


def features(n: int, seed: int) -> torch.Tensor:
    return torch.randn(n, 24, generator=torch.Generator().manual_seed(seed)).relu()


def test_equals_torch_fidelity() -> None:
    fake, real = features(300, 0) * 1.1, features(400, 1)
    oracle = kid_features_to_metric(fake.double(), real.double(), kid_subsets=7, kid_subset_size=90, verbose=False)
    mean, std = kernel_distance(fake, real, subsets=7, size=90)
    assert mean == pytest.approx(oracle["kernel_inception_distance_mean"], rel=1e-5)
    assert std == pytest.approx(oracle["kernel_inception_distance_std"], rel=1e-5)


def test_two_points_each_in_closed_form() -> None:
    x, y = torch.eye(2), -torch.eye(2)
    # k(x1, x2) = (0 / 2 + 1)^3 = 1 = k(y1, y2); across: (-1 / 2 + 1)^3 = 1 / 8 twice, 1 twice
    assert polynomial_mmd(x, y) == pytest.approx(1 + 1 - 2 * (1 / 8 + 1) / 2)


def test_is_unbiased_where_a_small_biased_estimate_is_not() -> None:
    rng = np.random.default_rng(0)
    same = features(4000, 2)
    values = [polynomial_mmd(*same[rng.permutation(4000)[:80]].split(40)) for _ in range(400)]
    assert abs(np.mean(values)) < 3 * np.std(values) / 20
    assert min(values) < 0

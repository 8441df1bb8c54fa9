from __future__ import annotations

import math

import pytest
import torch

from adversaria.evaluation.metrics.classes import (
    class_accuracy,
    class_kl,
    intra_frechet,
    missing_classes,
)
from adversaria.evaluation.protocol import Undefined

REAL = torch.tensor([10, 10, 10, 10])


def test_accuracy_is_the_share_of_classes_that_were_asked_for() -> None:
    logits = torch.eye(4)[[0, 1, 2, 3, 3]]
    assert class_accuracy(logits, torch.tensor([0, 1, 2, 3, 0])) == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("fake", "kl", "missing"),
    [
        ([3, 3, 3, 3], 0.0, 0),
        ([8, 0, 0, 0], math.log(4), 3),  # one class of K: log K
        ([6, 6, 0, 0], math.log(2), 2),
        ([1, 3, 0, 0], 0.25 * math.log(1) + 0.75 * math.log(3), 2),
    ],
)
def test_histograms(fake: list[int], kl: float, missing: int) -> None:
    assert class_kl(torch.tensor(fake), REAL) == pytest.approx(kl)
    assert missing_classes(torch.tensor(fake), REAL) == missing


def test_a_class_without_reals_is_not_missing_but_infinitely_unlikely() -> None:
    real = torch.tensor([10, 10, 0, 0])
    assert missing_classes(torch.tensor([5, 5, 0, 0]), real) == 0
    assert class_kl(torch.tensor([5, 4, 1, 0]), real) == math.inf


def test_intra_distance_sees_classes_that_were_mixed_up() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 2
    reals, fakes = (torch.randn(400, 3, generator=generator) + 10.0 * labels[:, None] for _ in range(2))
    right = intra_frechet(fakes, labels, reals, labels)
    assert right < 0.2
    # The set is the same, but each class has moved by 10 in each of three dimensions.
    assert intra_frechet(fakes, 1 - labels, reals, labels) == pytest.approx(300, rel=0.05)


def test_intra_distance_of_shifted_classes_is_the_mean_of_the_shifts() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(300) % 3
    reals = torch.randn(300, 2, generator=generator, dtype=torch.float64)
    shift = torch.tensor([0.0, 1.0, 2.0])[labels][:, None] * torch.tensor([1.0, 0.0])
    assert intra_frechet(reals + shift, labels, reals, labels) == pytest.approx((0 + 1 + 4) / 3, abs=1e-6)


def test_intra_distance_says_which_class_has_nobody_to_compare() -> None:
    features, labels = torch.randn(10, 2), torch.arange(10) % 2
    with pytest.raises(Undefined, match="class dog has 5 of 10 reals and 0 of 10 fakes"):
        intra_frechet(features, torch.zeros(10, dtype=torch.int64), features, labels, names=["cat", "dog"])

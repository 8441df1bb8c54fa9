from __future__ import annotations

import pytest
import torch
from torch_fidelity.metric_isc import isc_features_to_metric

from adversaria.evaluation.metrics.inception_score import inception_score


@pytest.mark.parametrize(("n", "splits"), [(500, 10), (503, 7), (64, 1)])
def test_equals_torch_fidelity(n: int, splits: int) -> None:
    logits = 3 * torch.randn(n, 10, generator=torch.Generator().manual_seed(0))
    oracle = isc_features_to_metric(logits, splits=splits)
    mean, std = inception_score(logits, splits)
    assert mean == pytest.approx(oracle["inception_score_mean"], rel=1e-9)
    assert std == pytest.approx(oracle["inception_score_std"], rel=1e-9, abs=1e-12)


def test_sure_and_even_gives_the_number_of_classes_even_in_sorted_order() -> None:
    logits = 100 * torch.eye(4).repeat_interleave(1000, dim=0)
    mean, _ = inception_score(logits, 1)
    assert mean == pytest.approx(4)
    mean, _ = inception_score(logits, 10)
    assert mean == pytest.approx(4, rel=0.02)


def test_undecided_or_always_the_same_gives_one() -> None:
    assert inception_score(torch.zeros(100, 5), 5)[0] == pytest.approx(1)
    assert inception_score(100 * torch.eye(5)[:1].repeat(100, 1), 5)[0] == pytest.approx(1)

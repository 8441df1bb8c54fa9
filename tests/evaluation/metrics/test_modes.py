from __future__ import annotations

import logging
import math

import pytest
import torch

from adversaria.core.errors import UserError
from adversaria.core.types import Batch
from adversaria.data.synthetic import points
from adversaria.data.synthetic.points import GaussianMixture
from adversaria.evaluation.metrics import ModeCoverage
from adversaria.evaluation.metrics.modes import mode_scores

CENTRES = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])


def ring() -> GaussianMixture:
    data = GaussianMixture(
        name="ring8",
        modes=points.ring(number=8, radius=1.0),
        sigma=0.01,
        count=2500,
        source_seed=0,
        batch_size=64,
        storage="auto",
        num_workers=0,
        seed=0,
    )
    data.prepare()
    return data


def grid() -> GaussianMixture:
    data = GaussianMixture(
        name="grid25",
        modes=points.grid(side=5, spacing=2.0),
        sigma=0.05,
        count=2500,
        source_seed=0,
        batch_size=64,
        storage="auto",
        num_workers=0,
        seed=0,
    )
    data.prepare()
    return data


@pytest.mark.parametrize("make", [ring, grid])
def test_the_data_themselves_cover_all_modes(make: object, device: torch.device) -> None:
    data = make()
    points = torch.from_numpy(data.split("train").samples)
    metrics = ModeCoverage(count=2500)
    metrics.prepare(data, device)
    scores = metrics.evaluate(lambda start, stop: Batch(points.repeat(2, 1)[start:stop], None), device)
    assert scores["modes_covered"] == len(data.modes)
    assert scores["high_quality_share"] == pytest.approx(1 - math.exp(-4.5), abs=0.008)
    assert scores[metrics.monitor] < 0.07


def test_three_sigmas_are_within_and_more_are_not() -> None:
    sigma = 0.5
    samples = CENTRES.repeat(1, 1) + torch.tensor([[0.0, 1.4999], [1.5001, 0.0], [-1.0, -1.0], [1.2, 1.2]])
    scores = mode_scores(samples, CENTRES, sigma)
    assert scores["modes_covered"] == 2
    assert scores["high_quality_share"] == 0.5
    assert scores["mode_tv"] == pytest.approx(0.5)


@pytest.mark.parametrize(("covered", "expected"), [(1, 0.75), (2, 0.5), (4, 0.0)])
def test_total_variation_of_collapse(covered: int, expected: float) -> None:
    scores = mode_scores(CENTRES[:covered].repeat(100, 1), CENTRES, 0.1)
    assert scores == {"modes_covered": covered, "high_quality_share": 1.0, "mode_tv": pytest.approx(expected)}


def test_samples_far_from_every_mode() -> None:
    scores = mode_scores(torch.full((10, 2), 5.0), CENTRES, 0.1)
    assert scores == {"modes_covered": 0, "high_quality_share": 0, "mode_tv": pytest.approx(1)}


def test_nan_samples_give_nan_and_one_warning(device: torch.device, caplog: pytest.LogCaptureFixture) -> None:
    def draw(start: int, stop: int) -> Batch:
        return Batch(torch.full((stop - start, 2), math.nan), None)

    metrics = ModeCoverage(count=100)
    metrics.prepare(ring(), device)
    with caplog.at_level(logging.WARNING):
        scores = metrics.evaluate(draw, device)
    assert metrics.monitor in scores
    assert all(math.isnan(value) for value in scores.values())
    assert len(caplog.records) == 1


def test_fingerprint_tells_data_and_count_apart(device: torch.device) -> None:
    prints = []
    for metrics, data in ((ModeCoverage(), ring()), (ModeCoverage(), grid()), (ModeCoverage(count=500), ring())):
        metrics.prepare(data, device)
        prints.append(metrics.fingerprint())
    assert prints[0] != prints[1]
    assert prints[0] != prints[2]


def test_data_without_modes_are_refused(digits: object, device: torch.device) -> None:
    with pytest.raises(UserError, match="metrics=classifier"):
        ModeCoverage().prepare(digits, device)

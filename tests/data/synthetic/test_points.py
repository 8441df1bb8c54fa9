"""Gaussian mixtures against their closed forms."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from adversaria.config.build import check
from adversaria.core.errors import UserError
from adversaria.data.synthetic import points
from adversaria.data.synthetic.points import GaussianMixture
from adversaria.modalities import Points

COMMON: dict[str, Any] = {
    "batch_size": 64,
    "storage": "auto",
    "num_workers": 0,
    "seed": 0,
    "count": 20_000,
    "source_seed": 0,
}


def ring(*, number: int = 8, radius: float = 1.0, **options: Any) -> GaussianMixture:
    modes = points.ring(number=number, radius=radius)
    return GaussianMixture(**{**COMMON, "name": "ring8", "modes": modes, "sigma": 0.01, **options})


def grid(*, side: int = 5, spacing: float = 2.0, **options: Any) -> GaussianMixture:
    modes = points.grid(side=side, spacing=spacing)
    return GaussianMixture(**{**COMMON, "name": "grid25", "modes": modes, "sigma": 0.05, **options})


def test_the_ring_has_equally_spaced_modes():
    modes = ring().modes
    assert torch.allclose(modes.norm(dim=1), torch.ones(8))
    neighbours = (modes - modes.roll(1, 0)).norm(dim=1)
    assert torch.allclose(neighbours, torch.full((8,), 2 * math.sin(math.pi / 8)))


def test_the_grid_is_centred_and_spaced():
    modes = grid().modes
    assert sorted(map(tuple, modes.tolist())) == [(2.0 * i, 2.0 * j) for i in range(-2, 3) for j in range(-2, 3)]


@pytest.mark.parametrize("make", [ring, grid])
def test_points_are_equally_likely_isotropic_gaussians_around_the_modes(make: Any):
    data = make()
    data.prepare()
    assert data.spec.shape == (2,)
    assert data.spec.num_classes is None
    assert isinstance(data.spec.modality, Points)
    points = data.split("train").batch(slice(None)).samples
    assert points.shape == (20_000, 2)
    assert points.dtype == torch.float32
    nearest = torch.cdist(points, data.modes).argmin(1)
    k, n = len(data.modes), len(points)
    counts = torch.bincount(nearest, minlength=k).float()
    chi_square = ((counts - n / k) ** 2 / (n / k)).sum()
    assert chi_square < (k - 1) + 6 * math.sqrt(2 * (k - 1))
    offsets = (points - data.modes[nearest]) / data.sigma  # standard normal in 2 dimensions
    assert offsets.mean(0).abs().max() < 6 / math.sqrt(n)
    assert (torch.cov(offsets.T) - torch.eye(2)).abs().max() < 6 * math.sqrt(2 / n)
    # The radius is Rayleigh: P(r > 3) = exp(-9/2).
    expected = math.exp(-4.5)
    share = (offsets.norm(dim=1) > 3).float().mean()
    assert abs(share - expected) < 6 * math.sqrt(expected / n)


def test_the_data_set_is_fixed_and_its_splits_differ():
    first, other_run, other_set = ring(seed=0), ring(seed=1), ring(source_seed=1)
    for data in (first, other_run, other_set):
        data.prepare()
    assert first.identity("train") == other_run.identity("train")
    assert first.identity("train")["content"] != other_set.identity("train")["content"]
    train, test = (first.split(which).samples for which in ("train", "test"))
    assert len(test) == 2000
    drawn = [torch.cdist(torch.from_numpy(points[:2000]), first.modes).argmin(1) for points in (train, test)]
    assert (drawn[0] == drawn[1]).float().mean() < 0.2  # independent draws agree on one mode in eight
    low, high = first.spec.value_range
    assert low < train.min() < train.max() < high * 1.02
    assert not torch.equal(first.reals(0, 0, 1, 64).samples, other_run.reals(0, 0, 1, 64).samples)


def test_decode_passes_points_on():
    data = ring()
    data.prepare()
    batch = data.reals(0, 0, 1, 8)
    samples, labels = data.decode(batch)
    assert torch.equal(samples, batch.samples)
    assert labels is None


@pytest.mark.parametrize(
    ("make", "options", "key"),
    [
        (ring, {"number": 0}, "number"),
        (ring, {"radius": 0.0}, "radius"),
        (ring, {"sigma": -1.0}, "sigma"),
        (ring, {"count": 0}, "count"),
        (grid, {"side": 0}, "side"),
        (grid, {"spacing": -2.0}, "spacing"),
    ],
)
def test_wrong_options_give_a_sentence(make: Any, options: dict[str, Any], key: str):
    with pytest.raises(UserError, match=rf"data\.(modes\.)?{key}="):
        make(**options)


@pytest.mark.parametrize(("key", "change"), [("count", {"count": 10**9}), ("modes.number", {})])
def test_numbers_that_take_all_memory_are_refused_before_anything_is_drawn(key: str, change: dict[str, Any]) -> None:
    modes = {"_target_": "adversaria.data.synthetic.points.ring", "number": 8 if change else 10**9, "radius": 1.0}
    node = {"_target_": "adversaria.data.synthetic.points.GaussianMixture", "name": "ring", "modes": modes, **change}
    with pytest.raises(UserError, match=rf"data\.{key}=1000000000"):
        check(node, "data")

"""Moments, ranges and supports of the distributions of latents."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from adversaria.core.errors import UserError
from adversaria.nn.latents import Bernoulli, Normal, Sphere, TruncatedNormal, Uniform
from adversaria.nn.layers import Codes
from adversaria.nn.prior import Prior

ALL = [Normal(), Uniform(), TruncatedNormal(), TruncatedNormal(limit=0.5), Sphere(), Bernoulli()]


def cut_variance(limit: float) -> float:
    """Of a standard normal within [-limit, limit]."""
    density = math.exp(-(limit**2) / 2) / math.sqrt(2 * math.pi)
    return 1 - 2 * limit * density / math.erf(limit / math.sqrt(2))


@pytest.mark.parametrize(
    ("prior", "variance", "largest"),
    [
        (Normal(), 1.0, math.inf),
        (Uniform(), 1 / 3, 1.0),
        (TruncatedNormal(), cut_variance(2.0), 2.0),
        (TruncatedNormal(limit=0.5), cut_variance(0.5), 0.5),
        (Sphere(), 1.0, math.sqrt(20)),
        (Bernoulli(), 1.0, 1.0),
    ],
    ids=repr,
)
def test_moments_and_bounds(prior, variance, largest):
    z = prior.draw(10_000, 20, torch.Generator().manual_seed(0), torch.device("cpu"))
    assert z.shape == (10_000, 20)
    assert z.dtype == torch.float32
    assert z.mean().item() == pytest.approx(0, abs=0.01)
    assert z.var().item() == pytest.approx(variance, rel=0.02)
    assert z.abs().max() <= largest + 1e-5
    covariance = z.T @ z / len(z)
    assert (covariance - torch.diag(covariance.diag())).abs().max() < 0.06  # the numbers are uncorrelated


def test_the_truncated_normal_is_a_normal_inside_its_limit():
    z = TruncatedNormal(limit=1.0).draw(100_000, 1, torch.Generator().manual_seed(0), torch.device("cpu"))
    inside = math.erf(0.5 / math.sqrt(2)) / math.erf(1 / math.sqrt(2))  # P(|x| <= 0.5 | |x| <= 1)
    assert (z.abs() <= 0.5).float().mean().item() == pytest.approx(inside, abs=0.005)


def test_supports():
    generator = torch.Generator().manual_seed(0)
    z = Sphere().draw(50, 7, generator, torch.device("cpu"))
    torch.testing.assert_close(z.norm(dim=1), torch.full((50,), math.sqrt(7)))
    assert Bernoulli().draw(50, 7, generator, torch.device("cpu")).unique().tolist() == [-1, 1]


@pytest.mark.parametrize("distribution", ALL, ids=repr)
def test_latents_follow_the_generator_and_the_device(distribution):
    prior = Prior(distribution, 4)
    first, again = (prior.draw(3, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, again)
    assert first.shape == (3, 4)
    assert not torch.equal(first, prior.draw(3, torch.Generator().manual_seed(6)))
    assert prior.draw(3, device=torch.device("meta")).device.type == "meta"


def test_codes_stand_behind_noise_of_the_distribution():
    z = Prior(Uniform(), 20, Codes((4, 3), 2)).draw(500)
    assert z.shape == (500, 20)
    assert z[:, :11].abs().max() <= 1
    (four, three), continuous = Codes((4, 3), 2).split(z[:, 11:])
    assert torch.equal(four.sum(1), torch.ones(500))
    assert torch.equal(three.sum(1), torch.ones(500))
    assert continuous.shape == (500, 2)


def test_the_prior_is_that_of_what_a_network_says():
    network = nn.Linear(3, 1)
    with pytest.raises(UserError, match="Linear says of no latent_dim"):
        Prior.of(network)
    network.latent_dim = 3
    assert Prior.of(network) == Prior(Normal(), 3)
    network.codes, network.takes_truncation = Codes((2,)), True
    assert Prior.of(network, Sphere()) == Prior(Sphere(), 3, Codes((2,)), network_truncates=True)
    network.sample_latent = lambda n, generator=None: torch.zeros(n, 3)
    with pytest.raises(UserError, match=r"Linear has a method sample_latent.*drawn from model\.latent"):
        Prior.of(network)


@pytest.mark.parametrize("limit", [0.0, -1.0, math.nan])
def test_limits_that_leave_nothing_are_refused(limit):
    with pytest.raises(UserError, match=r"model\.latent\.limit"):
        TruncatedNormal(limit=limit)

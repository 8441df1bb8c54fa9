"""Sample i depends on the seed and on i alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.core.modes import evaluating
from adversaria.core.types import BLOCK, DataSpec
from adversaria.modalities import Points
from adversaria.nn.latents import Bernoulli, Latent, Sphere, TruncatedNormal, Uniform, prior_of
from adversaria.nn.networks.mlp import MLPGenerator
from adversaria.sampling.draw import Draw
from adversaria.systems.build import build_system

CPU = torch.device("cpu")


class Echo(nn.Module):
    """Returns its latents, with the labels as a further column."""

    def sample_latent(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        return torch.randn(n, 3, generator=generator)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return z if labels is None else torch.cat([z, labels[:, None].float()], 1)


@pytest.mark.parametrize("size", [1, 7, BLOCK, 100])
def test_any_batch_size_gives_the_same_samples(size: int) -> None:
    draw = Draw(Echo(), CPU, seed=5, class_weights=[1, 2, 3], truncation=0.9)
    whole = draw(0, 200)
    parts = [draw(start, min(200, start + size)) for start in range(0, 200, size)]
    assert torch.equal(whole.samples, torch.cat([part.samples for part in parts]))
    assert torch.equal(whole.labels, torch.cat([part.labels for part in parts]))
    other = Draw(Echo(), CPU, seed=6, class_weights=[1, 2, 3], truncation=0.9)
    assert not torch.equal(whole.samples, other(0, 200).samples)


def test_truncation_keeps_the_shape_of_the_distribution_inside() -> None:
    z, _ = Draw(Echo(), CPU, truncation=0.7).latents(0, 6400)
    assert z.abs().max() <= 0.7
    # variance of a standard normal cut at +-0.7: 1 - 2 * 0.7 * pdf(0.7) / (2 cdf(0.7) - 1)
    assert float(z.var()) == pytest.approx(1 - 1.4 * 0.312254 / 0.516073, rel=0.05)


def test_labels_follow_the_weights_or_take_turns() -> None:
    _, labels = Draw(Echo(), CPU, class_weights=[1, 0, 3]).latents(0, 6400)
    assert labels is not None
    assert torch.bincount(labels, minlength=3).tolist() == pytest.approx([1600, 0, 4800], rel=0.1)
    _, turns = Draw(Echo(), CPU, labels=[4, 2]).latents(3, 7)
    assert turns is not None
    assert turns.tolist() == [2, 4, 2, 4]


def test_drawing_leaves_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    Draw(Echo(), CPU, class_weights=[1], truncation=0.5)(0, 100)
    assert torch.equal(before, torch.get_rng_state())


def test_modes_come_back_as_they_were() -> None:
    network = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout())
    network[1].eval()
    with evaluating(network):
        assert not any(m.training for m in network.modules())
    assert [m.training for m in network.modules()] == [True, True, False]


def test_truncation_must_be_above_zero() -> None:
    with pytest.raises(UserError, match="truncation=0"):
        Draw(Echo(), CPU, truncation=0)


def test_truncation_draws_a_prior_again_or_refuses_it() -> None:
    network = MLPGenerator(spec=DataSpec((2,), None, Points((-2.0, 2.0))), latent_dim=5)
    network.latent = Uniform()
    z, _ = Draw(network, CPU, truncation=0.4).latents(0, 640)
    assert z.abs().max() <= 0.4
    assert float(z.var()) == pytest.approx(0.4**2 / 3, rel=0.1)
    for prior in (Sphere(), Bernoulli()):
        network.latent = prior
        assert Draw(network, CPU).latents(0, 3)[0].shape == (3, 5)
        with pytest.raises(UserError, match=type(prior).__name__):
            Draw(network, CPU, truncation=0.4)


@pytest.mark.parametrize(("name", "prior"), [("uniform", Uniform()), ("truncated_normal", TruncatedNormal(limit=2.0))])
def test_the_chosen_distribution_reaches_the_generator(make_config: Any, name: str, prior: Latent) -> None:
    spec = DataSpec((2,), None, Points((-2.0, 2.0)))
    system = build_system(make_config("model=mlp", f"latent={name}"), spec)
    assert prior_of(system.sampler) == prior
    assert system.sampler.sample_latent(1000).abs().max() <= getattr(prior, "limit", 1.0)


class Psi(Echo):
    """Draws its latents towards their mean by itself, as a style-based generator does."""

    takes_truncation = True

    def forward(self, z: Tensor, labels: Tensor | None = None, *, truncation: float = 1.0) -> Tensor:
        return truncation * super().forward(z, labels)


@pytest.mark.parametrize("psi", [0.3, 1.0, 1.5])
def test_a_network_that_takes_truncation_gets_it_and_the_latents_stay(psi: float) -> None:
    whole, cut = Draw(Psi(), CPU, seed=2), Draw(Psi(), CPU, seed=2, truncation=psi)
    assert torch.equal(whole.latents(0, 100)[0], cut.latents(0, 100)[0])
    assert torch.equal(cut(0, 100).samples, psi * whole(0, 100).samples)
    z = torch.randn(4, 3)
    assert torch.equal(cut.samples_of(z, torch.arange(4)), psi * whole.samples_of(z, torch.arange(4)))
    with pytest.raises(UserError, match="truncation=0"):
        Draw(Psi(), CPU, truncation=0)

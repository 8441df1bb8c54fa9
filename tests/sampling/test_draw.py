"""Sample i depends on the seed and on i alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.core.modes import evaluating
from adversaria.core.types import BLOCK, DataSpec
from adversaria.modalities import Image, Points
from adversaria.nn.inputs import LatentInputs
from adversaria.nn.latents import Bernoulli, Latent, Sphere, TruncatedNormal, Uniform
from adversaria.nn.prior import Prior
from adversaria.sampling.draw import Draw
from adversaria.systems.build import build_system

CPU = torch.device("cpu")


def drawing(network: nn.Module, **options: Any) -> Draw:
    return Draw(network, CPU, LatentInputs(Prior.of(network), **options))


class Echo(nn.Module):
    """Returns its latents, with the labels as a further column."""

    latent_dim = 3

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return z if labels is None else torch.cat([z, labels[:, None].float()], 1)


@pytest.mark.parametrize("size", [1, 7, BLOCK, 100])
def test_any_batch_size_gives_the_same_samples(size: int) -> None:
    draw = drawing(Echo(), seed=5, class_weights=[1, 2, 3], truncation=0.9)
    whole = draw(0, 200)
    parts = [draw(start, min(200, start + size)) for start in range(0, 200, size)]
    assert torch.equal(whole.samples, torch.cat([part.samples for part in parts]))
    assert torch.equal(whole.labels, torch.cat([part.labels for part in parts]))
    other = drawing(Echo(), seed=6, class_weights=[1, 2, 3], truncation=0.9)
    assert not torch.equal(whole.samples, other(0, 200).samples)


def test_truncation_keeps_the_shape_of_the_distribution_inside() -> None:
    z, _ = drawing(Echo(), truncation=0.7).inputs(0, 6400)
    assert z.abs().max() <= 0.7
    # variance of a standard normal cut at +-0.7: 1 - 2 * 0.7 * pdf(0.7) / (2 cdf(0.7) - 1)
    assert float(z.var()) == pytest.approx(1 - 1.4 * 0.312254 / 0.516073, rel=0.05)


def test_labels_follow_the_weights_or_take_turns() -> None:
    _, labels = drawing(Echo(), class_weights=[1, 0, 3]).inputs(0, 6400)
    assert labels is not None
    assert torch.bincount(labels, minlength=3).tolist() == pytest.approx([1600, 0, 4800], rel=0.1)
    _, turns = drawing(Echo(), labels=[4, 2]).inputs(3, 7)
    assert turns is not None
    assert turns.tolist() == [2, 4, 2, 4]


def test_drawing_leaves_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    drawing(Echo(), class_weights=[1], truncation=0.5)(0, 100)
    assert torch.equal(before, torch.get_rng_state())


def test_modes_come_back_as_they_were() -> None:
    network = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout())
    network[1].eval()
    with evaluating(network):
        assert not any(m.training for m in network.modules())
    assert [m.training for m in network.modules()] == [True, True, False]


def test_truncation_must_be_above_zero() -> None:
    with pytest.raises(UserError, match="truncation=0"):
        drawing(Echo(), truncation=0)


def test_truncation_draws_a_prior_again_or_refuses_it() -> None:
    z, _ = LatentInputs(Prior(Uniform(), 5), truncation=0.4)(0, 640)
    assert z.abs().max() <= 0.4
    assert float(z.var()) == pytest.approx(0.4**2 / 3, rel=0.1)
    for distribution in (Sphere(), Bernoulli()):
        prior = Prior(distribution, 5)
        assert LatentInputs(prior)(0, 3)[0].shape == (3, 5)
        with pytest.raises(UserError, match=type(distribution).__name__):
            LatentInputs(prior, truncation=0.4)


@pytest.mark.parametrize("model", ["mlp", "vae"])
def test_a_system_has_the_inputs_of_its_sampler(make_config: Any, model: str) -> None:
    spec = DataSpec((1, 16, 16), None, Image())
    system = build_system(make_config(f"model={model}", "model.generator.width=8"), spec)
    z, labels = system.inputs(seed=3, truncation=0.5)(10, 20)
    assert labels is None
    assert z.shape == (10, system.sampler.latent_dim)
    assert torch.equal(z, LatentInputs(system.prior, seed=3, truncation=0.5)(0, 100)[0][10:20])


@pytest.mark.parametrize(
    ("name", "distribution"), [("uniform", Uniform()), ("truncated_normal", TruncatedNormal(limit=2.0))]
)
def test_the_chosen_distribution_reaches_the_generator(make_config: Any, name: str, distribution: Latent) -> None:
    spec = DataSpec((2,), None, Points((-2.0, 2.0)))
    system = build_system(make_config("model=mlp", f"latent={name}"), spec)
    assert system.prior.distribution == distribution
    assert system.prior.draw(1000).abs().max() <= getattr(distribution, "limit", 1.0)


class Psi(Echo):
    """Draws its latents towards their mean by itself, as a style-based generator does."""

    takes_truncation = True

    def forward(self, z: Tensor, labels: Tensor | None = None, *, truncation: float = 1.0) -> Tensor:
        return truncation * super().forward(z, labels)


@pytest.mark.parametrize("psi", [0.3, 1.0, 1.5])
def test_a_network_that_takes_truncation_gets_it_and_the_latents_stay(psi: float) -> None:
    whole, cut = drawing(Psi(), seed=2), drawing(Psi(), seed=2, truncation=psi)
    assert torch.equal(whole.inputs(0, 100)[0], cut.inputs(0, 100)[0])
    assert torch.equal(cut(0, 100).samples, psi * whole(0, 100).samples)
    z = torch.randn(4, 3)
    assert torch.equal(cut.samples_of(z, torch.arange(4)), psi * whole.samples_of(z, torch.arange(4)))
    with pytest.raises(UserError, match="truncation=0"):
        drawing(Psi(), truncation=0)

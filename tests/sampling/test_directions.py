"""Directions of latents: normals of boundaries, and eigenvectors of weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from sampling.test_inversion import Linear, Styled, sampler_of
from torch import nn

import adversaria
from adversaria.core.errors import UserError
from adversaria.core.types import DataSpec
from adversaria.modalities import Image
from adversaria.nn.layers.modulated import StyledConv2d, ToImage
from adversaria.nn.networks.stylegan2 import StyleGAN2Generator
from adversaria.sampling.directions import by_labels, first_weight, moved, without_labels
from adversaria.sampling.latents import Latents, Space

STORED = Path(__file__).parents[1] / "stored"


def test_a_direction_by_labels_leads_from_one_class_to_the_other() -> None:
    shift = nn.functional.normalize(torch.randn(6), dim=0)
    labels = torch.arange(600) % 2
    values = torch.randn(600, 6) + 2 * labels[:, None] * shift
    found = by_labels(values, labels)
    assert list(found) == [1]
    assert float(found[1] @ shift) > 0.95
    assert float(found[1].norm()) == pytest.approx(1)
    three = by_labels(torch.randn(300, 6), torch.arange(300) % 3)
    assert list(three) == [0, 1, 2]
    with pytest.raises(UserError, match="all of one"):
        by_labels(values, torch.zeros(600))


def test_a_direction_by_labels_does_not_depend_on_units() -> None:
    units = torch.tensor([1.0, 100.0, 0.01])
    labels = torch.arange(400) % 2
    values = torch.randn(400, 3) + labels[:, None] * torch.tensor([1.0, 1.0, 0.0])
    one, other = by_labels(values, labels)[1], by_labels(values * units, labels)[1]
    torch.testing.assert_close(nn.functional.normalize(other * units, dim=0), one, atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", ["dcgan", "cgan", "sngan"])
def test_directions_without_labels_are_those_of_the_first_layer(name: str) -> None:
    sampler = adversaria.load(STORED / name)
    dim = sampler.prior.latent_dim
    first = next(m for m in sampler.network.modules() if isinstance(m, nn.Linear) and m.in_features >= dim)
    _, sizes, vectors = torch.linalg.svd(first.weight[:, :dim].detach().double(), full_matrices=False)
    found = without_labels(Space(sampler), 4).double()
    torch.testing.assert_close((found * vectors[:4]).sum(1).abs(), torch.ones(4).double(), atol=1e-4, rtol=0)
    torch.testing.assert_close((first.weight[:, :dim].double() @ found.T).norm(dim=0), sizes[:4], atol=1e-4, rtol=1e-4)


def test_in_w_every_layer_that_takes_the_style_counts() -> None:
    spec = DataSpec((1, 16, 16), None, Image())
    generator = StyleGAN2Generator(spec=spec, latent_dim=8, style_dim=6, mapping_layers=2, channel_max=8)
    space = Space(sampler_of(generator, (1, 16, 16)))
    layers = [m.affine.weight for m in generator.modules() if isinstance(m, StyledConv2d | ToImage)]
    assert first_weight(space).shape == (sum(map(len, layers)), 6)
    stacked = torch.cat(layers).double()
    torch.testing.assert_close(first_weight(space).T @ first_weight(space), stacked.T @ stacked)


def test_a_generator_without_such_a_layer_is_refused() -> None:
    with pytest.raises(UserError, match="directions=sefa needs a matrix"):
        without_labels(Space(sampler_of(Linear())), 2)
    assert without_labels(Space(sampler_of(Styled()), "z"), 9).shape == (4, 4)


def test_steps_along_a_direction_pass_through_the_latents() -> None:
    latents = Latents(torch.randn(3, 4), "z", torch.tensor([2, 0, 1]))
    direction = nn.functional.normalize(torch.randn(4), dim=0)
    places = moved(latents, direction, 2.0, 5)
    assert places.labels is not None
    assert places.labels.tolist() == [2] * 5 + [0] * 5 + [1] * 5
    torch.testing.assert_close(places.values[2::5], latents.values)
    along = (places.values - latents.values.repeat_interleave(5, 0)) @ direction
    torch.testing.assert_close(along, torch.linspace(-2, 2, 5).repeat(3))

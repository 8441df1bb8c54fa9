"""Regularisers of weights against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from objectives.terms.test_gradient import make_step
from torch import nn

from adversaria.core.errors import UserError
from adversaria.core.types import Term
from adversaria.nn.layers import spectral_norm
from adversaria.objectives.terms import OrthogonalRegularisation, WeightDecay
from adversaria.objectives.terms.weights import weight_matrices

TERMS = [OrthogonalRegularisation, WeightDecay]


def step_with(generator=None, discriminator=None):
    step = make_step(discriminator or nn.Identity(), torch.zeros(2, 3), torch.zeros(2, 3))
    step.generator = generator or nn.Identity()
    return step


def linear(weight):
    layer = nn.Linear(len(weight[0]), len(weight))
    layer.weight.data.copy_(torch.tensor(weight))
    return layer


@pytest.mark.parametrize("kind", TERMS)
def test_is_a_term_of_either_network(kind):
    network = linear([[1.0, 2.0], [0.5, 1.0]])
    for applies_to in ("generator", "discriminator"):
        term = kind(applies_to=applies_to)
        assert isinstance(term, Term)
        assert term.applies_to == applies_to
        assert term(step_with(**{applies_to: network})) > 0


def test_orthogonal_filters_of_any_length_are_free():
    rotation = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(0)))[0]
    network = linear((torch.tensor([[1.0], [2.0], [5.0]]) * rotation[:3]).tolist())
    assert OrthogonalRegularisation()(step_with(network)).item() == pytest.approx(0, abs=1e-8)


def test_orthogonal_counts_each_pair_of_filters_twice():
    # inner products 1 * 3 + 2 * 4 = 11, 1 * 0 + 2 * 1 = 2 and 3 * 0 + 4 * 1 = 4
    network = linear([[1.0, 2.0], [3.0, 4.0], [0.0, 1.0]])
    assert OrthogonalRegularisation()(step_with(network)).item() == pytest.approx(2 * (121 + 4 + 16))


def test_weight_decay_is_half_the_square_and_its_gradient_the_weight():
    network = nn.Sequential(linear([[3.0, 4.0]]), nn.BatchNorm1d(1), nn.Conv1d(1, 2, 3))
    value = WeightDecay()(step_with(discriminator=network))
    assert value.item() == pytest.approx(12.5 + 0.5 * network[2].weight.square().sum().item())
    value.backward()
    assert torch.equal(network[0].weight.grad, network[0].weight)
    assert network[0].bias.grad is None
    assert network[1].weight.grad is None


def test_weights_are_seen_by_filters_without_embeddings():
    network = nn.Sequential(
        nn.Conv2d(3, 5, 2), nn.ConvTranspose2d(3, 7, 2), nn.Embedding(4, 6), spectral_norm(nn.Linear(2, 8))
    )
    assert [tuple(m.shape) for m in weight_matrices(network)] == [(5, 12), (7, 12), (8, 2)]


def test_a_transposed_convolution_is_judged_by_what_it_puts_out():
    layer = nn.ConvTranspose2d(2, 2, 1, bias=False)
    weight = torch.tensor([[1.0, 0.0], [1.0, 3.0]])  # [C_in, C_out]: the filters are [1, 1] and [0, 3]
    layer.weight.data.copy_(weight[:, :, None, None])
    assert OrthogonalRegularisation()(step_with(layer)).item() == pytest.approx(2 * 9)


@pytest.mark.parametrize("kind", TERMS)
def test_autocast_changes_nothing(kind):
    torch.manual_seed(0)
    step, term = step_with(nn.Linear(5, 4)), kind(applies_to="generator")
    expected = term(step)
    with torch.autocast("cpu", torch.bfloat16):
        value = term(step)
    assert value.dtype == torch.float32
    assert torch.equal(value, expected)


@pytest.mark.parametrize("kind", TERMS)
@pytest.mark.parametrize(("field", "value"), [("weight", -1.0), ("weight", math.nan), ("interval", 0)])
def test_values_out_of_range_are_refused(kind, field, value):
    with pytest.raises(UserError, match=rf"regulariser\.\w+\.{field}={value}"):
        kind(**{field: value})

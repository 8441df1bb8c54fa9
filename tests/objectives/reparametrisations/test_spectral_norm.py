from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from adversaria.core.errors import UserError
from adversaria.core.types import Constraint, Reparametrisation, Term
from adversaria.nn.layers import spectral_norm
from adversaria.objectives.reparametrisations import SpectralNorm


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ConvTranspose2d(8, 5, 4), nn.Flatten(), nn.Linear(5 * 81, 1)
    )


def test_is_a_reparametrisation_of_the_discriminator():
    part = SpectralNorm()
    assert isinstance(part, Reparametrisation)
    assert not isinstance(part, Term | Constraint)
    assert part.applies_to == "discriminator"


def test_every_layer_has_largest_singular_value_one():
    net = network()
    SpectralNorm(n_power_iterations=30).reparametrise(net)
    net(torch.randn(2, 3, 8, 8))
    conv, _, transposed, _, linear = net
    for matrix in (conv.weight.flatten(1), transposed.weight.transpose(0, 1).flatten(1), linear.weight):
        assert torch.linalg.matrix_norm(matrix.detach(), ord=2).item() == pytest.approx(1, rel=1e-3)


def test_outputs_are_those_of_the_divided_weights():
    net = network().eval()
    divided = copy.deepcopy(net)
    with torch.no_grad():
        for layer, dim in ((divided[0], 0), (divided[2], 1), (divided[4], 0)):
            layer.weight.div_(torch.linalg.matrix_norm(layer.weight.transpose(0, dim).flatten(1), ord=2))
    SpectralNorm(n_power_iterations=50).reparametrise(net)
    for layer in (net[0], net[2], net[4]):
        layer.train().weight  # noqa: B018  each look in training mode iterates
        layer.eval()
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(net(x), divided(x), rtol=1e-4, atol=1e-5)


def test_layers_that_are_normalised_already_stay():
    net = nn.Sequential(spectral_norm(nn.Linear(4, 4)), nn.Linear(4, 4))
    SpectralNorm().reparametrise(net)
    assert [len(layer.parametrizations.weight) for layer in net] == [1, 1]


def test_a_network_without_such_layers_is_refused():
    with pytest.raises(UserError, match=r"regulariser\.spectral_norm finds no layer"):
        SpectralNorm().reparametrise(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4)))


def test_no_iterations_are_refused():
    with pytest.raises(UserError, match=r"regulariser\.spectral_norm\.n_power_iterations=0"):
        SpectralNorm(n_power_iterations=0)


def test_weights_that_start_at_zero_are_refused():
    net = network()
    nn.init.zeros_(net[4].weight)
    with pytest.raises(UserError, match="divide by zero"):
        SpectralNorm().reparametrise(net)

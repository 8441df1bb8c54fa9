from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from adversaria.core.errors import UserError
from adversaria.nn.layers import SeparableConv2d, SeparableConvTranspose2d, initialise
from adversaria.nn.layers.initialisation import fans

#: of 40 to 60 channels or units; fan_in and fan_out by counting
LAYERS = {
    "linear": (nn.Linear(40, 60), 40, 60),
    "conv": (nn.Conv2d(40, 60, 3, padding=1), 40 * 9, 60 * 9),
    "conv_stride": (nn.Conv2d(40, 60, 4, 2, 1), 40 * 16, 60 * 4),
    "transposed": (nn.ConvTranspose2d(40, 60, 4, 2, 1), 40 * 4, 60 * 16),
    "groups": (nn.Conv2d(40, 60, 3, padding=1, groups=4), 10 * 9, 15 * 9),
}


@pytest.mark.parametrize("name", LAYERS)
def test_fans_are_what_gradients_count(name):
    layer, fan_in, fan_out = LAYERS[name]
    assert fans(layer) == (fan_in, fan_out)
    layer = copy.deepcopy(layer)
    nn.init.ones_(layer.weight)
    nn.init.zeros_(layer.bias)
    side = [] if name == "linear" else [32, 32]
    x = torch.ones(1, 40, *side, requires_grad=True)
    out = layer(x)
    (grad,) = torch.autograd.grad(out.sum(), x)
    inner = (..., slice(4, -4), slice(4, -4)) if side else ...
    assert out[inner].mean().item() == pytest.approx(fan_in)
    assert grad[inner].mean().item() == pytest.approx(fan_out)


@pytest.mark.parametrize("gain", [1.0, 1.7])
@pytest.mark.parametrize("name", LAYERS)
def test_variances_are_the_published_ones(name, gain):
    torch.manual_seed(0)
    layer, fan_in, fan_out = LAYERS[name]
    for init, variance in (("xavier", 2 / (fan_in + fan_out)), ("he", 2 / fan_in)):
        network = nn.Sequential(copy.deepcopy(layer))
        initialise("model.generator", network, init, gain)
        assert network[0].weight.std().item() == pytest.approx(gain * math.sqrt(variance), rel=0.08)
        assert not network[0].bias.any()


def test_orthogonal_layers_keep_lengths():
    torch.manual_seed(0)
    network = nn.Linear(32, 32)
    initialise("model.generator", network, "orthogonal", 1.0)
    x = torch.randn(5, 32)
    torch.testing.assert_close(network(x).norm(dim=1), x.norm(dim=1))


@pytest.mark.parametrize("make", [SeparableConv2d, SeparableConvTranspose2d])
def test_a_separable_convolution_starts_as_strong_as_a_plain_one(make):
    torch.manual_seed(0)
    layer = make(64, 64, 4, 2, 1)
    initialise("model.generator", layer, "he", 1.0)
    out = layer(torch.randn(8, 64, 16, 16))
    # E[out^2] = fan_in Var(w) E[x^2] = 2, but for the borders.
    assert out[..., 2:-2, 2:-2].square().mean().item() == pytest.approx(2, rel=0.2)


def test_the_default_leaves_everything_but_its_gain():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), SeparableConv2d(3, 4, 3))
    before = copy.deepcopy(network.state_dict())
    state = torch.get_rng_state()
    initialise("model.generator", network, "default", 1.0)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)  # what is drawn afterwards stays the same as well
    initialise("model.generator", network, "default", 3.0)
    scaled = {"0.weight", "2.pointwise.weight"}  # of the two parts one, so that their product has the gain
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name] * (3 if name in scaled else 1), msg=name)


@pytest.mark.parametrize(
    ("init", "gain", "message"), [("hee", 1.0, r"\.init=hee is unknown"), ("he", 0.0, r"\.init_gain=0\.0 is out of")]
)
def test_wrong_settings_are_refused(init, gain, message):
    with pytest.raises(UserError, match="model.generator" + message):
        initialise("model.generator", nn.Linear(2, 2), init, gain)

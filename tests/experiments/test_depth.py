"""Gradients of deep networks, and the fields that decide about them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from adversaria.core.errors import UserError
from adversaria.core.types import DataSpec
from adversaria.health.layers import gradient_profile
from adversaria.modalities import Image
from adversaria.nn.layers import ACTIVATIONS
from adversaria.nn.network import Generator
from adversaria.nn.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from adversaria.nn.networks.mlp import MLPDiscriminator, MLPGenerator
from adversaria.nn.networks.residual_mlp import ResidualMLPDiscriminator, ResidualMLPGenerator
from adversaria.nn.prior import Prior

GREY = DataSpec((1, 16, 16), None, Image())
NETWORKS = [
    MLPGenerator, MLPDiscriminator, ResidualMLPGenerator, ResidualMLPDiscriminator, DCGANGenerator, DCGANDiscriminator,
]  # fmt: skip


def decades(network):
    """log10 of the gradient norm of each layer, first to last, of a loss that is fooled or not."""
    if isinstance(network, Generator):
        network(Prior.of(network).draw(32)).mean().backward()
    else:
        nn.functional.softplus(network(torch.randn(32, 1, 16, 16)).logits).mean().backward()
    return [math.log10(norm) for norm in gradient_profile(network).values()]


@pytest.mark.parametrize("make", [MLPGenerator, MLPDiscriminator])
def test_a_deep_sigmoid_network_loses_the_gradient_and_shortcuts_keep_it(make):
    torch.manual_seed(0)
    plain = decades(make(spec=GREY, width=32, depth=16, activation="sigmoid"))
    assert len(plain) == 17
    # A sigmoid's slope is a quarter at most, and PyTorch's weights have variance 1 / 3n: 0.84 decades a layer.
    assert plain[0] - plain[-2] < -10
    residual = {MLPGenerator: ResidualMLPGenerator, MLPDiscriminator: ResidualMLPDiscriminator}[make]
    kept = decades(residual(spec=GREY, width=32, depth=8, activation="sigmoid"))
    assert len(kept) == 18
    assert abs(kept[0] - kept[-2]) < 1.5


@pytest.mark.parametrize("init", ["he", "xavier"])
def test_all_layers_of_a_network_of_rectifiers_without_biases_share_one_product(init):
    # f(x; ..., c W_l, ...) = c f(x) for every l, so that <W_l, dL/dW_l> is the same for all layers (Euler).
    torch.manual_seed(0)
    d = MLPDiscriminator(spec=GREY, width=32, depth=8, init=init).double()
    d(torch.randn(8, 1, 16, 16, dtype=torch.float64)).logits.sum().backward()
    products = torch.stack([(p * p.grad).sum() for p in d.parameters() if p.ndim > 1])
    torch.testing.assert_close(products, products[:1].expand_as(products))


@pytest.mark.parametrize("gain", [0.5, 1.0, 2.0])
def test_the_gain_is_taken_to_the_power_of_the_depth(gain):
    # Without biases each of 17 layers multiplies the logits by its gain.
    logits = []
    for init_gain in (1.0, gain):
        torch.manual_seed(0)
        d = MLPDiscriminator(spec=GREY, width=16, depth=16, init="he", init_gain=init_gain).double()
        logits.append(d(torch.ones(2, 1, 16, 16, dtype=torch.float64)).logits)
    torch.testing.assert_close(logits[1], logits[0] * gain**17)


def test_he_keeps_the_gradient_that_the_default_loses():
    levels = {}
    for init in ("default", "he"):
        torch.manual_seed(0)
        levels[init] = decades(MLPDiscriminator(spec=GREY, width=64, depth=16, init=init))[0]
    assert levels["default"] < -4
    assert -2 < levels["he"] < 2


def test_batch_norm_makes_a_plain_stack_explode():
    torch.manual_seed(0)
    d = DCGANDiscriminator(spec=GREY, width=8, norm="batch", plain_blocks=4)
    profile = decades(d)
    # 1.115 a layer for LeakyReLU of slope 0.2: the first of eight layers of one shape gets the most.
    assert 0.02 < (profile[1] - profile[8]) / 7 < 0.08


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_network_takes_every_activation(make, name):
    kind = type(ACTIVATIONS[name]())
    with torch.device("meta"):
        network = make(spec=GREY, width=8, activation=name)
    others = {type(make_other()) for make_other in ACTIVATIONS.values()} - {kind}
    found = {type(module) for module in network.modules() if isinstance(module, tuple(others))}
    assert found <= {nn.Tanh}  # at the end of generators
    assert any(isinstance(module, kind) for module in network.modules())


@pytest.mark.parametrize("make", NETWORKS)
def test_new_fields_leave_the_default_networks_alone(make):
    torch.manual_seed(0)
    state = make(spec=GREY, width=8).state_dict()
    torch.manual_seed(0)
    act = "relu" if make is DCGANGenerator else "leaky_relu"
    again = make(spec=GREY, width=8, activation=act, init="default", init_gain=1.0).state_dict()
    assert state.keys() == again.keys()
    assert all(torch.equal(value, again[name]) for name, value in state.items())


def test_default_networks_keep_their_tensors():
    with torch.device("meta"):
        mlp = [make(spec=GREY, width=8, depth=2) for make in (MLPGenerator, MLPDiscriminator)]
        residual = [make(spec=GREY, width=8, depth=1) for make in (ResidualMLPGenerator, ResidualMLPDiscriminator)]

    def both(*layers):
        return {f"{layer}.{name}" for layer in layers for name in ("weight", "bias")}

    assert set(mlp[0].state_dict()) == both("layers.0", "layers.2", "layers.4")
    assert set(mlp[1].state_dict()) == both("layers.0", "layers.2", "head")
    blocks = both("trunk.stem", "trunk.blocks.0.inner", "trunk.blocks.0.outer")
    assert set(residual[0].state_dict()) == blocks | both("head.0")
    assert set(residual[1].state_dict()) == blocks | both("head")
    assert sum(p.numel() for p in mlp[1].parameters()) == 257 * 8 + 9 * 8 + 9


@pytest.mark.parametrize("make", [DCGANGenerator, DCGANDiscriminator])
def test_plain_blocks_are_residual_ones_without_shortcuts(make):
    sizes = []
    with torch.device("meta"):
        for blocks in ("residual_blocks", "plain_blocks"):
            network = make(spec=GREY, width=8, norm="none", **{blocks: 2})
            sizes.append([p.shape for p in network.parameters()])
    assert sizes[0] == sizes[1]
    network = make(spec=GREY, width=8, norm="none", plain_blocks=2)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.shape[-2:] == (3, 3) or name.endswith("bias"):
                parameter.zero_()
    x = Prior.of(network).draw(4) if make is DCGANGenerator else torch.randn(4, 1, 16, 16)
    out = network(x)
    # Nothing passes by a silenced block.
    assert not (out if make is DCGANGenerator else out.features).any()


@pytest.mark.parametrize("make", [DCGANGenerator, DCGANDiscriminator])
def test_negative_counts_are_refused(make):
    with pytest.raises(UserError, match=r"\.plain_blocks=-1 is negative"):
        make(spec=GREY, plain_blocks=-1)

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from adversaria.nn.layers import (
    ConditionalBatchNorm2d,
    frozen_statistics,
    mixes_samples,
    spectral_norm,
    standing_statistics,
)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(5), nn.BatchNorm1d(5))


def test_the_output_is_that_of_training_mode_and_the_statistics_stay(network):
    x = torch.randn(6, 3, 5, 5)
    network(x)
    before = copy.deepcopy(network.state_dict())
    frozen = frozen_statistics(network)
    with frozen:
        inside = network(x)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert torch.equal(inside, network(x))  # and now they move again
    assert network[1].num_batches_tracked.item() == 2
    assert not torch.equal(network[1].running_mean, before["1.running_mean"])
    with frozen:  # it can be entered again
        network(x)
    assert network[1].num_batches_tracked.item() == 2


def test_evaluation_mode_still_uses_the_running_statistics(network):
    x = torch.randn(6, 3, 5, 5)
    network(x)
    network.eval()
    expected = network(x)
    with frozen_statistics(network):
        assert torch.equal(network(x), expected)


def test_statistics_thaw_after_an_error(network):
    x = torch.randn(6, 3, 5, 5)
    network(x)

    def fail():
        with frozen_statistics(network):
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    network(x)
    assert network[1].num_batches_tracked.item() == 2


def test_mixes_samples():
    class MinibatchDeviation(nn.Module):
        mixes_samples = True

    assert mixes_samples(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    assert mixes_samples(nn.Sequential(nn.Linear(2, 2), MinibatchDeviation()))
    assert not mixes_samples(nn.Sequential(nn.Conv2d(2, 2, 1), nn.InstanceNorm2d(2), nn.GroupNorm(1, 2)))


class Affine(nn.Module):
    """BatchNorm of ``z * scale + shift``: for standard normal latents its mean and variance are known."""

    def __init__(self):
        super().__init__()
        self.scale, self.shift = torch.tensor([1.0, 2.0, 0.5]), torch.tensor([-1.0, 0.0, 3.0])
        self.norm = nn.BatchNorm1d(3, momentum=0.3)

    def forward(self, z):
        return self.norm(z * self.scale + self.shift)


def of_numbers(network, latents):
    return lambda start, stop: network(latents[start:stop])


def test_standing_statistics_are_those_of_the_distribution():
    network = Affine().eval()
    latents = torch.randn(100 * 64, 3)
    assert standing_statistics(network, of_numbers(network, latents), batches=100, size=64)
    features = (latents * network.scale + network.shift).double()
    # the mean over batches of the mean, and of the unbiased variance, of each
    batches = features.view(100, 64, 3)
    assert torch.allclose(network.norm.running_mean.double(), batches.mean(1).mean(0), atol=1e-5)
    assert torch.allclose(network.norm.running_var.double(), batches.var(1).mean(0), rtol=1e-5)
    # and, within five standard errors, of the distribution itself
    assert torch.allclose(network.norm.running_mean, network.shift, atol=5 * 2 / 80)
    assert torch.allclose(network.norm.running_var, network.scale**2, rtol=5 * (2 / 6300) ** 0.5)
    assert network.norm.momentum == 0.3
    assert not any(m.training for m in network.modules())


def test_standing_statistics_forget_what_was_before_and_repeat_themselves():
    network = Affine()
    draw = of_numbers(network, torch.randn(128, 3))
    standing_statistics(network, draw, batches=2, size=64)
    first = copy.deepcopy(network.state_dict())
    network.train()(100 + torch.randn(8, 3))
    standing_statistics(network, draw, batches=2, size=64)
    assert all(torch.equal(value, first[name]) for name, value in network.state_dict().items())
    assert network.training
    assert network.norm.training


def test_standing_statistics_change_batch_norm_alone():
    network = nn.ModuleDict({"first": spectral_norm(nn.Linear(3, 3)), "norm": ConditionalBatchNorm2d(3, 5)})
    before = copy.deepcopy(network.state_dict())

    def draw(start, stop):
        torch.manual_seed(start)
        x = network["first"](torch.randn(stop - start, 3))
        assert not network["first"].training
        return network["norm"](x[:, :, None, None], torch.randint(5, (stop - start,)))

    assert standing_statistics(network, draw, batches=3, size=16)
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {f"norm.norm.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}


def test_without_batch_norm_nothing_is_drawn():
    assert not standing_statistics(nn.Linear(2, 2), lambda *_: pytest.fail("drawn"), batches=1, size=4)

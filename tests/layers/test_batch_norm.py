from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from adversaria.layers import frozen_statistics, mixes_samples


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

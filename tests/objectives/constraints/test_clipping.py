from __future__ import annotations

import pytest
import torch
from torch import nn

from adversaria.core.errors import UserError
from adversaria.core.types import Constraint
from adversaria.objectives.constraints import WeightClipping


def test_parameters_are_clamped_and_buffers_are_not():
    network = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8))
    with torch.no_grad():
        network[0].weight.copy_(torch.linspace(-1, 1, 32).view(8, 4))
    before = network[0].weight.clone()
    WeightClipping(limit=0.25).project(network)
    assert torch.equal(network[0].weight, before.clamp(-0.25, 0.25))
    assert network[1].weight.tolist() == [0.25] * 8
    assert network[1].running_var.tolist() == [1.0] * 8
    assert all(p.requires_grad and p.is_leaf for p in network.parameters())


def test_is_a_constraint_of_the_discriminator():
    assert isinstance(WeightClipping(), Constraint)
    assert WeightClipping().applies_to == "discriminator"


@pytest.mark.parametrize("limit", [0.0, -0.1])
def test_a_limit_that_leaves_nothing_is_refused(limit):
    with pytest.raises(UserError, match=r"regulariser\.weight_clipping\.limit"):
        WeightClipping(limit=limit)

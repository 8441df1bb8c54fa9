from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from adversaria.health.layers import gradient_profile


@pytest.mark.parametrize("scale", [1e-36, 1e-25, 1.0, 1e25, 1e35])
def test_norms_are_exact_where_squares_leave_the_range_of_float32(scale):
    layer = nn.Linear(32, 32, bias=False)
    layer.weight.grad = torch.tensor([[3.0, -4.0]]).repeat(32, 16) * scale
    [norm] = gradient_profile(layer).values()
    assert norm.item() == pytest.approx(5 * math.sqrt(32 * 16) * scale, rel=1e-6)


@pytest.mark.parametrize("value", [0.0, math.inf, math.nan])
def test_norms_of_what_has_no_size(value):
    layer = nn.Linear(2, 1, bias=False)
    layer.weight.grad = torch.tensor([[value, value]])
    [norm] = gradient_profile(layer).values()
    torch.testing.assert_close(norm, torch.tensor(value), equal_nan=True)

from __future__ import annotations

import math

import pytest
import torch

from adversaria.core.errors import UserError
from adversaria.nn.layers import ACTIVATIONS, activation_layer

#: each at one number, by its paper's formula
FORMULAS = {
    "relu": lambda x: max(x, 0),
    "leaky_relu": lambda x: max(x, 0.2 * x),
    "elu": lambda x: x if x > 0 else math.expm1(x),
    "selu": lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * math.expm1(x)),
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "silu": lambda x: x / (1 + math.exp(-x)),
    "tanh": math.tanh,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_what_they_are_called(name):
    x = torch.linspace(-4, 4, 33, dtype=torch.float64)
    expected = torch.tensor([FORMULAS[name](value) for value in x.tolist()], dtype=torch.float64)
    layer = activation_layer("model.generator", name)
    before = x.clone()
    torch.testing.assert_close(layer(x), expected)
    assert torch.equal(x, before)  # several layers may share what they are given
    assert not layer.state_dict()


def test_unknown_activations_are_refused():
    with pytest.raises(UserError, match=r"model\.generator\.activation=swoosh is unknown: choose one of relu, leaky_"):
        activation_layer("model.generator", "swoosh")

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn

from adversaria.layers import spectral_norm


def largest_singular_value(weight):
    return torch.linalg.matrix_norm(weight.detach().flatten(1), ord=2).item()


LAYERS = [lambda: nn.Linear(12, 7), lambda: nn.Conv2d(3, 8, 4)]


@pytest.mark.parametrize("make", LAYERS)
def test_the_largest_singular_value_becomes_one(make):
    torch.manual_seed(0)
    layer = spectral_norm(make())
    original = layer.parametrizations.weight.original
    for _ in range(100):
        layer.weight  # noqa: B018  each look in training mode is one power iteration
    assert largest_singular_value(layer.weight) == pytest.approx(1.0, rel=1e-4)
    assert torch.allclose(layer.weight * largest_singular_value(original), original, rtol=1e-3)


def test_a_transposed_convolution_is_a_matrix_by_what_it_puts_out():
    torch.manual_seed(0)
    layer = spectral_norm(nn.ConvTranspose2d(8, 3, 4))  # weight [C_in, C_out, K, K]
    for _ in range(100):
        weight = layer.weight
    assert largest_singular_value(weight.transpose(0, 1)) == pytest.approx(1.0, rel=1e-4)


def test_more_power_iterations_are_closer():
    torch.manual_seed(0)
    few, many = nn.Linear(40, 40), nn.Linear(40, 40)
    many.load_state_dict(few.state_dict())
    torch.manual_seed(1)
    spectral_norm(few)
    torch.manual_seed(1)
    spectral_norm(many, n_power_iterations=30)
    assert abs(largest_singular_value(many.weight) - 1) < abs(largest_singular_value(few.weight) - 1)


def test_iterates_in_training_mode_only():
    layer = spectral_norm(nn.Linear(12, 7))
    u = layer.parametrizations.weight[0].u
    layer.eval()
    before = u.clone()
    layer(torch.zeros(1, 12))
    assert torch.equal(u, before)
    layer.train()
    layer(torch.zeros(1, 12))
    assert not torch.equal(u, before)


def test_two_passes_before_one_backward():
    layer = spectral_norm(nn.Linear(12, 7))
    x = torch.randn(2, 12)
    (layer(x).sum() - layer(x + 1).sum()).backward()
    assert layer.parametrizations.weight.original.grad.isfinite().all()


def test_the_gradient_sees_the_division():
    # W / sigma(W) does not change when W is scaled, so the gradient is orthogonal to W.
    torch.manual_seed(0)
    layer = spectral_norm(nn.Linear(12, 7, bias=False)).double()
    layer(torch.randn(4, 12, dtype=torch.float64)).square().sum().backward()
    original = layer.parametrizations.weight.original
    cosine = torch.cosine_similarity(original.grad.flatten(), original.detach().flatten(), dim=0)
    assert cosine.item() == pytest.approx(0.0, abs=1e-9)


def test_autocast_keeps_the_weight_in_float32():
    layer = spectral_norm(nn.Conv2d(3, 8, 4)).eval()
    expected = layer.weight
    with torch.autocast("cpu", torch.bfloat16):
        assert layer.weight.dtype == torch.float32
        assert torch.equal(layer.weight, expected)
        assert layer(torch.zeros(1, 3, 4, 4)).dtype == torch.bfloat16


def test_state_and_copies():
    torch.manual_seed(0)
    layer, other = spectral_norm(nn.Conv2d(3, 8, 4)), spectral_norm(nn.Conv2d(3, 8, 4))
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    clone = copy.deepcopy(layer)
    x = torch.randn(2, 3, 6, 6)
    for _ in range(2):  # the singular vectors move alike, too
        expected = layer(x)
        assert torch.equal(other(x), expected)
        assert torch.equal(clone(x), expected)


def test_channels_last_is_the_same_matrix():
    torch.manual_seed(0)
    layer = spectral_norm(nn.Conv2d(3, 8, 4)).eval()
    expected = layer.weight
    assert torch.allclose(layer.to(memory_format=torch.channels_last).weight, expected, rtol=1e-6)
